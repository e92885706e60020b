"""Triple-GAN: a generator, a classifier, and a discriminator of pairs of a row and its class (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, DataError
from ..base.records import record
from ..base.schedules import Schedule, value_at
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec
from ..losses import Minimax, NonSaturating, Objective
from ..losses.base import wide
from ..metrics.measures import Accuracy, Measure
from ..networks import Networks, advance_spectral_norms, one_hot
from ..theory.divergences import softplus
from .contest_losses import generator_loss, labelled_columns, labelled_entropy, need_shape, need_single
from .spec import GameSpec, Latent, fit_pair, logits


@record
class TripleGAN(GameSpec):
    r"""Three players: a classifier C and a generator G against a discriminator D of pairs (Li et al. 2017, section 3).

    .. math::
        \min_{C, G} \max_D\; & E_{p(x, y)} \log D(x, y) + \alpha\, E_{p_c(x, y)} \log(1 - D(x, y))
            + (1 - \alpha)\, E_{p(y), z} \log(1 - D(G(z, y), y)) \\
        & - E_{p(x, y)} \log p_c(y | x) - \alpha_P\, E_{p_g(x, y)} \log p_c(y | x)

    with :math:`p_c(x, y) = p(x)\, p_c(y|x)`. For fixed C and G, :math:`D^* = p / (p + \alpha p_c + (1 - \alpha) p_g)`,
    and :math:`p = p_c = p_g` is the equilibrium. As in the paper's Algorithm 1, the last line is descended by C alone.

    The class that C gives a row is a category, through which no gradient passes. The expectation over it is the sum
    over all classes, :math:`E_{p(x)} \sum_y p_c(y|x) \log(1 - D(x, y))`, for D and for C: no category is drawn, and C's
    gradient is exact. D scores each row once for each class.

    Rows of :math:`p(x)` are those of the batch, labelled or not. Pairs of :math:`p(x, y)` are those of the columns
    ``labelled`` and ``label`` where the data deals them as a stream of their own (``few:mnist,100``), else those rows
    of the batch whose label is not -1. Their labels are the generator's classes too: a draw of :math:`p(y)`.

    Args:
        alpha: :math:`\alpha`, the classifier's share of what D is to refuse.
        pseudo_weight: :math:`\alpha_P`, of the cross entropy on generated pairs, or a schedule of it.
        pseudo_pairs: s, the share of pairs with the classifier's class among D's real pairs: :math:`(1 - s)\, p + s\,
            p_c` stands for p in D's loss (section 3.3, where labels are few). 0 is the game above.
        objective: :math:`L_G` of the generator, ``minimax`` as above, or ``nonsaturating``: :math:`-\log D`.
        latent: the law of the codes.

    Raises:
        ConfigError: a share beyond [0, 1], or another objective.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = TripleGAN().build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,), classes=3))
        >>> [player.name for player in game.players]
        ['discriminator', 'classifier', 'generator']
        >>> game.classify({"x": torch.zeros(4, 2)}).shape
        torch.Size([4])
    """

    alpha: float = 0.5
    pseudo_weight: float | Schedule = 0.1
    pseudo_pairs: float = 0.0
    objective: Objective = NonSaturating()
    latent: Latent = Latent(size=100)

    def __post_init__(self) -> None:
        need_single(self.objective, "Triple-GAN")
        if self.objective not in (Minimax(), NonSaturating()):
            what = f"Triple-GAN with the objective {self.objective}; its losses are logarithms without smoothed labels"
            raise ConfigError(what, settings={"objective": "nonsaturating"})

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        if not data.classes:
            raise DataError("Triple-GAN needs labels of some rows, and the data has none", "use few:mnist,100")
        return {
            "generator": networks.generator(self.latent.size, data.shape, data.classes),
            "discriminator": networks.discriminator(data.shape, data.classes),
            "classifier": networks.encoder(data.shape, data.classes),
        }

    def measures(self) -> tuple[Measure, ...]:
        """The share of held-out rows that the classifier puts in their class."""
        return (Accuracy(),)

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return TripleGANGame(self, modules, data)


class TripleGANGame(Game):
    """The game that :class:`TripleGAN` describes."""

    def __init__(self, spec: TripleGAN, modules: Mapping[str, nn.Module], data: DataSpec) -> None:
        super().__init__()
        self.spec, self.classes, self.class_shares = spec, data.classes, data.class_shares
        fit_pair(modules["generator"], modules["discriminator"], spec.latent.size, data.shape, data.classes)
        self.generator, self.discriminator = modules["generator"], logits(modules["discriminator"])
        self.classifier = modules["classifier"]
        was_training = self.training
        self.eval()
        with torch.no_grad():
            need_shape(self.classifier(torch.zeros(2, *data.shape)), (2, data.classes), "the classifier, for 2 rows,")
        self.train(was_training)
        self._labelled = labelled_columns(data)
        self.players = tuple(Player(name, (name,)) for name in ("discriminator", "classifier", "generator"))
        self.maps = {"classify": Map("classify", gives="label", about="the most probable class of rows")}

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        latent = self.spec.latent.codes(n, labels)
        y = self.usual_classes(n) if labels is None else labels
        return {"latent": latent, "label": one_hot(y.to(latent.device), self.classes)}

    def draw(self, batch: Batch) -> Batch:
        labelled, label = (batch[name] for name in self._labelled)
        known = label >= 0
        shares = torch.tensor(self.class_shares or (1.0,) * self.classes, device=label.device)
        asked = torch.where(known, label, torch.multinomial(shares, len(label), replacement=True))
        return {
            "real": batch["x"],
            "labelled": labelled,
            "known": known.to(labelled.dtype),
            "label": one_hot(asked, self.classes),
            "latent": self.spec.latent.codes(len(label), labelled),
        }

    def contests(self, draw: Draw) -> dict[str, Contest]:
        given, label = (draw["labelled"], draw["label"]), draw["label"]
        return {
            "generated": Contest(given, (self.sample(draw), label), self.discriminator),
            "classified": Contest(given, (draw["real"], self.classifier(draw["real"]).softmax(1)), self._expected),
        }

    def _expected(self, x: Tensor, shares: Tensor) -> Tensor:
        """The mean score of rows whose classes have probabilities ``(n, K)``."""
        return (shares * self._scores(x)).sum(1)

    def _scores(self, x: Tensor) -> Tensor:
        """The score of each row with each class, ``(n, K)``."""
        every = torch.eye(self.classes, dtype=x.dtype, device=x.device).repeat(len(x), 1)
        scores: Tensor = wide(self.discriminator(x.repeat_interleave(self.classes, 0), every))
        return scores.reshape(len(x), self.classes)

    def loss(self, player: str, draw: Draw) -> Loss:
        if player == "generator":
            made = Contest((), (self.sample(draw), draw["label"]), self.discriminator)
            return Loss((1 - self.spec.alpha) * generator_loss(made, self.spec.objective))
        return self._classifier(draw) if player == "classifier" else self._discriminator(draw)

    def _discriminator(self, draw: Draw) -> Loss:
        contest = Contest((draw["labelled"], draw["label"]), (self.sample(draw), draw["label"]), self.discriminator)
        real, fake, scores = wide(contest.scores("real")), wide(contest.scores("fake")), self._scores(draw["real"])
        shares, alpha, pseudo = wide(self.classifier(draw["real"])).softmax(1), self.spec.alpha, self.spec.pseudo_pairs
        # Processes divide by the share of labelled rows of all of them.
        (share,) = distributed.mean(draw["known"].mean())
        total = (1 - pseudo) * (draw["known"] * softplus(-real)).mean() / share.clamp(min=1 / 2**20)
        total = total + alpha * (shares * softplus(scores)).sum(1).mean() + (1 - alpha) * softplus(fake).mean()
        if pseudo:
            total = total + pseudo * (shares * softplus(-scores)).sum(1).mean()
        judged = {"real": real, "fake": fake, "classified": (shares * scores).sum(1)}
        return Loss(total, {f"score/{side}": score.mean() for side, score in judged.items()})

    def _classifier(self, draw: Draw) -> Loss:
        real = draw["real"]
        refused = -(wide(self.classifier(real)).softmax(1) * softplus(self._scores(real))).sum(1).mean()
        own = labelled_entropy(self.classifier(draw["labelled"]), draw["known"][:, None] * draw["label"])
        made = labelled_entropy(self.classifier(self.sample(draw)), draw["label"])
        total = self.spec.alpha * refused + own.total + value_at(self.spec.pseudo_weight, draw) * made.total
        entropies = {"entropy/labelled": own.total, "entropy/generated": made.total}
        agreed = {"accuracy/generated": made.parts["accuracy/labelled"]}
        return Loss(total, {"refused": refused, **entropies, **own.parts, **agreed})

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"], draw["label"])
        return made

    def classify(self, rows: Batch) -> Tensor:
        """The most probable class of rows ``x``, ``(n,)``."""
        outputs: Tensor = self.classifier(rows["x"])
        return outputs.argmax(1)

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
