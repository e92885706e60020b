"""Games that learn classes from a few labelled rows and many without labels: the semi-supervised AAE."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..base.errors import ConfigError, DataError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec
from ..losses import NonSaturating, Objective, Penalty
from ..metrics.measures import Accuracy, Measure, Reconstruction
from ..networks import Networks, advance_spectral_norms, one_hot
from .contest_losses import discriminator_loss, generator_loss, labelled_columns, labelled_entropy, need_shape
from .spec import GameSpec, Latent, logits

CONTESTS = ("style", "category")


@record
class SemiSupervisedAAE(GameSpec):
    r"""Adversarial autoencoder with classes from a few labels (Makhzani et al. 2015, section 4, figure 6).

    The encoder gives a category :math:`\hat y(x)`, a softmax over the classes, and a style :math:`\hat z(x)`. Two
    discriminators compare them with the laws that they are to follow, a one-hot category :math:`y` and the prior of the
    style :math:`z`. Four players move in three phases, all on the same rows (``Alternating(share=True)``):

    .. math::
        \text{reconstruction, autoencoder: } & \min_{e, d} E_x \|d(\hat y, \hat z) - x\|^2 / \dim x \\
        \text{regularisation, discriminators: } & \min_{h_y, h_z}
            L_D\big(h_z(z), h_z(\hat z)\big) + L_D\big(h_y(y), h_y(\hat y)\big) \\
        \text{regularisation, encoder: } & \min_e L_G\big(h_z(\hat z)\big) + L_G\big(h_y(\hat y)\big) \\
        \text{classification, classifier: } & \min_e -E_{(x, \ell)} \log \hat y_\ell(x)

    The last runs over labelled rows only: those of the columns ``labelled`` and ``label`` where the data deals labelled
    rows as a stream of their own (``few:mnist,100``), else those rows of the batch whose label is not -1. A batch
    without a label gives no gradient there.

    Args:
        prior: the law of the style.
        objective: the adversarial losses of both contests.
        penalties: added to the discriminators' loss, in both contests.
        noise: standard deviation of normal noise on what the encoder is given in training.

    Raises:
        ConfigError: a negative ``noise``.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> digits = DataSpec(kind="image", shape=(1, 8, 8), classes=10, unlabelled=True)
        >>> game = SemiSupervisedAAE().build(MLPPair(width=8), digits)
        >>> [player.name for player in game.players]
        ['autoencoder', 'discriminators', 'encoder', 'classifier']
    """

    prior: Latent = Latent(size=10)
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise ConfigError(f"noise={self.noise}", "use noise=0, or a positive standard deviation")

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {"generator": ("encoder",), "discriminator": ("discriminators",)}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        if not data.classes:
            raise DataError(
                "a semi-supervised game needs labels of some rows, and the data has none", "use few:mnist,100"
            )
        size = data.classes + self.prior.size
        return {
            "encoder": networks.encoder(data.shape, size),
            "decoder": networks.generator(size, data.shape),
            "style_discriminator": networks.discriminator((self.prior.size,)),
            "category_discriminator": networks.discriminator((data.classes,)),
        }

    def measures(self) -> tuple[Measure, ...]:
        """The share of held-out rows in their class, and the error of their reconstruction."""
        return (Accuracy(), Reconstruction())

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return SemiSupervisedAAEGame(self, modules, data)


class SemiSupervisedAAEGame(Game):
    """The game that :class:`SemiSupervisedAAE` describes."""

    def __init__(self, spec: SemiSupervisedAAE, modules: Mapping[str, nn.Module], data: DataSpec) -> None:
        super().__init__()
        self.spec, self.classes, self.class_shares = spec, data.classes, data.class_shares
        self.encoder, self.decoder = modules["encoder"], modules["decoder"]
        self.style_discriminator = logits(modules["style_discriminator"])
        self.category_discriminator = logits(modules["category_discriminator"])
        self.players = (
            Player("autoencoder", ("encoder", "decoder")),
            Player("discriminators", ("style_discriminator", "category_discriminator")),
            Player("encoder", ("encoder",)),
            Player("classifier", ("encoder",)),
        )
        self._labelled = labelled_columns(data)
        self.maps = {
            "classify": Map("classify", gives="label", about="the most probable class of rows"),
            "encode": Map("encode", gives="codes", about="the style of rows"),
            "reconstruct": Map("reconstruct", gives="x", about="rows decoded from their own category and style"),
        }
        self._fit(data)

    def _fit(self, data: DataSpec) -> None:
        style, both = self.spec.prior.size, self.classes + self.spec.prior.size
        was_training = self.training
        self.eval()
        with torch.no_grad():
            made = self.decoder(torch.zeros(2, both))
            need_shape(made, (2, *data.shape), "the decoder, for 2 codes,")
            need_shape(self.encoder(made), (2, both), "the encoder, for 2 points,")
            need_shape(self.style_discriminator(torch.zeros(2, style)), (2,), "the discriminator of styles")
            need_shape(
                self.category_discriminator(torch.zeros(2, self.classes)), (2,), "the discriminator of categories"
            )
        self.train(was_training)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        latent = self.spec.prior.codes(n, labels)
        y = self.usual_classes(n) if labels is None else labels
        return {"latent": latent, "category": one_hot(y.to(latent.device), self.classes)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        labelled, label = (batch[name] for name in self._labelled)
        category = one_hot(torch.randint(self.classes, (len(real),), device=real.device), self.classes)
        drawn: Batch = {"real": real, "latent": self.spec.prior.codes(len(real), real), "category": category}
        drawn |= {"labelled": labelled, "label": one_hot(label, self.classes)}
        drawn |= {"noise": torch.randn_like(real), "labelled_noise": torch.randn_like(labelled)}
        for contest, prior in (("style", drawn["latent"]), ("category", category)):
            for penalty in self.spec.penalties:
                drawn |= {f"{contest}/{name}": value for name, value in penalty.noise(prior).items()}
        return drawn

    def encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The category's unnormalised log-probabilities ``(n, classes)`` and the style ``(n, size)`` of rows."""
        out = self.encoder(x)
        return out[:, : self.classes], out[:, self.classes :]

    def contests(self, draw: Draw) -> dict[str, Contest]:
        category, style = self.encoded(draw["real"] + self.spec.noise * draw["noise"])
        return {
            "style": Contest((draw["latent"],), (style,), self.style_discriminator),
            "category": Contest((draw["category"],), (category.softmax(1),), self.category_discriminator),
        }

    def loss(self, player: str, draw: Draw) -> Loss:
        if player == "classifier":
            return self._classification(draw)
        contests = self.contests(draw)
        if player == "autoencoder":
            error = mse_loss(self._decoded(contests), draw["real"])
            return Loss(error, {"reconstruction": error})
        if player == "encoder":
            each = {
                f"{name}/fooled": generator_loss(contest, self.spec.objective) for name, contest in contests.items()
            }
            return Loss(torch.stack(list(each.values())).sum(), each)
        losses = [
            discriminator_loss(contest, self.spec.objective, self.spec.penalties, _own(draw, name), name)
            for name, contest in contests.items()
        ]
        total = torch.stack([loss.total for loss in losses]).sum()
        return Loss(total, {name: part for loss in losses for name, part in loss.parts.items()})

    def _classification(self, draw: Draw) -> Loss:
        """The cross entropy over labelled rows."""
        category, _ = self.encoded(draw["labelled"] + self.spec.noise * draw["labelled_noise"])
        return labelled_entropy(category, draw["label"])

    def _decoded(self, contests: Mapping[str, Contest]) -> Tensor:
        made: Tensor = self.decoder(torch.cat([contests["category"].fake[0], contests["style"].fake[0]], 1))
        return made

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.decoder(torch.cat([draw["category"], draw["latent"]], 1))
        return made

    def classify(self, rows: Batch) -> Tensor:
        """The most probable class of rows ``x``, ``(n,)``."""
        return self.encoded(rows["x"])[0].argmax(1)

    def encode(self, rows: Batch) -> Tensor:
        """The style of rows ``x``, ``(n, size)``."""
        return self.encoded(rows["x"])[1]

    def reconstruct(self, rows: Batch) -> Tensor:
        """Rows ``x`` decoded from their category (a softmax) and style."""
        category, style = self.encoded(rows["x"])
        made: Tensor = self.decoder(torch.cat([category.softmax(1), style], 1))
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminators":
            advance_spectral_norms(self.style_discriminator)
            advance_spectral_norms(self.category_discriminator)


def _own(draw: Draw, contest: str) -> Draw:
    """The draw as the penalties of one contest see it."""
    own = {name.removeprefix(f"{contest}/"): value for name, value in draw.tensors.items()}
    return Draw(own, draw.step, draw.time, draw.seed)
