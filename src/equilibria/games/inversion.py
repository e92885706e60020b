"""Codes of given rows under a trained generator: the inverse of a GAN, by search and by a network."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from ..base.errors import ConfigError, DataError, did_you_mean
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, make_draw
from ..core.maps import Map
from ..data import DataSpec
from ..metrics import Measured
from ..metrics.measures import InverseError, LabellerOf, Measure, Rows, Trained
from ..networks import Encoder, Frozen, Networks, Trunk
from .contest_losses import need_positive, need_shape
from .spec import GameSpec, Latent

ERRORS = ("squared", "cross-entropy")
_EDGE = 1e-4  # how near to 0 and 1 a pixel comes in the cross-entropy, whose slope is infinite there


@record
class Search:
    r"""Gradient descent on the codes of given rows, from several starts at once (Creswell & Bharath 2018, Algorithm 1).

    .. math:: z^* = \arg\min_z\; e(G(z), x) - \beta \log P(z), \qquad
        z \leftarrow z - \eta_t\, g_t \Big/ \sqrt{\textstyle v_t + \epsilon},\quad
        v_t = \rho\, v_{t-1} + (1 - \rho)\, g_t^2

    (RMSProp). Each start is a code of the source's law; of uniform codes, a number that has left [-1, 1] is drawn again
    (stochastic clipping, Lipton & Tripathi 2017). The steps shrink along half a cosine. Each row keeps the code, of all
    starts and steps, for which the aim is least.

    Args:
        starts: codes per row.
        steps: of each.
        rate: η at the beginning.
        last: η at the end, as a share of that at the beginning; 1 keeps it constant.
        decay: ρ.
        prior: β over the numbers of a row, where e is a mean over them.
        error: ``"squared"``, the mean squared difference, or ``"cross-entropy"`` of images brought to [0, 1] (the
            paper's for gray images).
        guess: whether the first start is what the learned inverse says.

    Raises:
        ConfigError: a count or a rate that is not positive, a share outside [0, 1], or an unknown error.
    """

    starts: int = 8
    steps: int = 500
    rate: float = 0.05
    last: float = 0.01
    decay: float = 0.9
    prior: float = 0.0
    error: str = "squared"
    guess: bool = True

    def __post_init__(self) -> None:
        need_positive(starts=self.starts, steps=self.steps, rate=self.rate)
        for name in ("last", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}", f"use a {name} in [0, 1]")
        if self.prior < 0:
            raise ConfigError(f"prior={self.prior}", "use prior >= 0")
        if self.error not in ERRORS:
            raise ConfigError(f"error '{self.error}'", did_you_mean(self.error, ERRORS))

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, along half a cosine.

        Examples:
            >>> search = Search(steps=11, rate=1.0, last=0.1)
            >>> [round(search.rate_at(step), 3) for step in (0, 5, 10)]
            [1.0, 0.55, 0.1]
        """
        share = step / max(1, self.steps - 1)
        return self.rate * (self.last + (1 - self.last) * (1 + math.cos(math.pi * share)) / 2)

    def distance(self, made: Tensor, x: Tensor) -> Tensor:
        """What is made small, one number per row."""
        if self.error == "squared":
            return _squared(made, x)
        inside = ((made + 1) / 2).clamp(_EDGE, 1 - _EDGE)
        return binary_cross_entropy(inside, (x + 1) / 2, reduction="none").flatten(1).mean(1)


def _squared(made: Tensor, x: Tensor) -> Tensor:
    """The mean squared difference of each row, ``(n,)``."""
    return (made - x).square().flatten(1).mean(1)


@record
class InverseGAN(GameSpec):
    r"""The inverse of a trained generator (Creswell & Bharath 2018), which the source ``generator`` gives.

    What is trained is a network that guesses the code of a sample, from pairs that the frozen generator makes
    (Zhu et al. 2016, section 3.1, hybrid):

    .. math:: \min_E\; E_{z \sim P}\Big[\tfrac1k \|E(G(z)) - z\|^2 + \tfrac1d \|G(E(G(z))) - G(z)\|^2\Big]

    with :math:`k` numbers in a code and :math:`d` in a row. Then the maps: ``encode``, that guess; ``invert``, the
    search (:class:`Search`), which finds codes that generate the rows themselves where the generator can; and
    ``generate`` and ``reconstruct``, the way back. Rows that the generator does not make (dropped modes, other data)
    keep a large error, however long the search: it tells what a generator has not learned.

    Args:
        search: how codes are sought.

    Raises:
        ConfigError: no source, one without plain codes, or an error that the data does not allow.
        DataError: the source was trained on data of another shape.
    """

    search: Search = Search()

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        """Nobody: the one player is in no contest."""
        return {"generator": (), "discriminator": ()}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        if data.kind != "image" and self.search.error == "cross-entropy":
            raise ConfigError("cross-entropy of vectors", "--set game.search.error=squared")
        return {"generator": nn.Identity(), "encoder": networks.trunk(data.shape)}

    def measures(self) -> tuple[Measure, ...]:
        """How often the search finds a code of samples and of rows, and how near it comes to negatives of rows."""
        return (InverseError(), InverseError(column="x"), StartErrors(), NegativeError())

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        source = modules["generator"]
        if not isinstance(source, Frozen) or not isinstance(source.net, Game):
            raise ConfigError(
                "the inverse of a generator starts from a finished run, and none was named", "add --from RUN"
            )
        return InverseGame(self, source, modules["encoder"], data)


class InverseGame(Game):
    """The game that :class:`InverseGAN` describes: one player, who guesses codes.

    Args:
        spec: how codes are sought.
        source: a trained game, frozen, whose codes are one entry ``latent`` of vectors (and labels).
        encoder: rows to codes, or a trunk, to which the last layer is added.
        data: what rows are.
    """

    def __init__(self, spec: InverseGAN, source: Frozen, encoder: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator = spec, source
        codes, latent = self._source.codes(2), getattr(getattr(self._source, "spec", None), "latent", None)
        if "latent" not in codes or codes["latent"].dim() != 2:
            name = type(self._source).__name__
            raise ConfigError(f"the codes of a {name} are {', '.join(codes)}", "start from a run of a two-player game")
        self.size, self.law = int(codes["latent"].shape[1]), latent.law if isinstance(latent, Latent) else "normal"
        self.classes, self.class_shares = self._source.classes, self._source.class_shares
        self.encoder = Encoder(encoder, self.size) if isinstance(encoder, Trunk) else encoder
        self.players = (Player("encoder", ("encoder",)),)
        takes = ("x", "y") if self.classes else ("x",)
        self.maps = {
            "invert": Map("invert", takes, "codes", "codes that generate the rows, by search"),
            "encode": Map("encode", takes, "codes", "codes that the learned inverse guesses"),
            "generate": Map("generate", ("codes", *takes[1:]), "x", "rows from codes"),
            "reconstruct": Map("reconstruct", takes, "x", "rows generated from the codes that the search finds"),
            "start_errors": Map("start_errors", takes, "codes", "the mean squared error of each start of the search"),
        }
        with torch.no_grad():
            need_data(self._source.sample(make_draw(codes, 0, time=1.0)), data)
            need_shape(self.encoder(torch.zeros(2, *data.shape)), (2, self.size), "the encoder, for 2 rows,")

    @property
    def _source(self) -> Game:
        assert isinstance(self.generator.net, Game)
        return self.generator.net

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return self._source.codes(n, labels)

    def sample(self, draw: Draw) -> Tensor:
        """Samples of the frozen generator."""
        return self._source.sample(draw)

    def draw(self, batch: Batch) -> Batch:
        with torch.device(batch["x"].device):
            return self._source.codes(len(batch["x"]), batch["y"] if self.classes else None)

    def contests(self, draw: Draw) -> dict[str, Contest]:
        """No contest: this game has no discriminator."""
        return {}

    def loss(self, player: str, draw: Draw) -> Loss:
        made = self._source.sample(draw)
        code = self.encoder(made)
        back = self._made(code, draw.tensors)
        errors = {"code_error": (code - draw["latent"]).square().mean(), "row_error": (back - made).square().mean()}
        return Loss(errors["code_error"] + errors["row_error"], errors)

    def _made(self, z: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """Rows from codes; ``others`` are the further entries of a draw (labels), one row each."""
        return self._source.sample(make_draw({**others, "latent": z}, 0, time=1.0))

    def _others(self, rows: Batch, n: int) -> Batch:
        """The entries of a draw besides ``latent``, for rows with their labels."""
        with torch.device(next(iter(rows.values())).device):
            drawn = self._source.codes(n, rows["y"] if self.classes else None)
        return {name: tensor for name, tensor in drawn.items() if name != "latent"}

    # Maps

    def encode(self, rows: Batch) -> Tensor:
        code: Tensor = self.encoder(rows["x"])
        return code

    def generate(self, rows: Batch) -> Tensor:
        return self._made(rows["codes"], self._others(rows, len(rows["codes"])))

    def invert(self, rows: Batch) -> Tensor:
        return self._sought(rows)[0]

    def reconstruct(self, rows: Batch) -> Tensor:
        code = self.invert(rows)
        return self._made(code, self._others(rows, len(code)))

    def start_errors(self, rows: Batch) -> Tensor:
        return self._sought(rows)[1]

    def _sought(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """The best code of each row ``(n, k)``, and the squared error of the best of each start ``(n, starts)``."""
        search, x = self.spec.search, rows["x"]
        n, s = len(x), search.starts
        others = {name: t.repeat_interleave(s, 0) for name, t in self._others(rows, n).items()}
        target = x.repeat_interleave(s, 0)
        with torch.device(x.device):
            z = self._source.codes(n * s, rows["y"].repeat_interleave(s) if self.classes else None)["latent"]
        if search.guess:
            z[::s] = self.encoder(x)
        best, speed = z.clone(), torch.zeros_like(z)
        least, errors = (torch.full((n * s,), float("inf"), device=x.device) for _ in range(2))
        for step in range(search.steps + 1):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                made = self._made(z, others)
                aim = search.distance(made, target) + search.prior * self._surprise(z) / x[0].numel()
                (slope,) = torch.autograd.grad(aim.sum(), z)
            nearer = aim.detach() < least
            best, least = torch.where(nearer[:, None], z.detach(), best), torch.where(nearer, aim.detach(), least)
            errors = torch.where(nearer, _squared(made.detach(), target), errors)
            if step < search.steps:
                slope = slope * x[0].numel()  # of the sum over a row: ε is small beside it
                speed = search.decay * speed + (1 - search.decay) * slope.square()
                z = self._inside(z.detach() - search.rate_at(step) * slope / (speed + 1e-12).sqrt())
        chosen = least.view(n, s).argmin(1)
        return best.view(n, s, -1)[torch.arange(n, device=x.device), chosen], errors.view(n, s)

    def _surprise(self, z: Tensor) -> Tensor:
        """Minus the log-density of codes, up to a constant, ``(n,)``."""
        return z.square().sum(1) / 2 if self.law == "normal" else torch.zeros_like(z[:, 0])

    def _inside(self, z: Tensor) -> Tensor:
        """Codes of the law's support: numbers outside are drawn again."""
        return torch.where(z.abs() > 1, torch.rand_like(z) * 2 - 1, z) if self.law == "uniform" else z


def need_data(made: Tensor, data: DataSpec) -> None:
    """Hold a source's samples to the shape of the data.

    Raises:
        DataError: the source was trained on other data.
    """
    if tuple(made.shape[1:]) != tuple(data.shape):
        raise DataError(
            f"the source generates rows of shape {tuple(made.shape[1:])}, the data has {tuple(data.shape)}",
            "name the data that the source was trained on, or leave --data out",
        )


@record
class StartErrors(Measure):
    r"""The share of single starts of the search that reach a sample of the game.

    .. math:: \frac1{ns} \sum_{i, j} \mathbf 1\big[\tfrac1d\|G(z^*_{ij}) - x_i\|^2 < \epsilon\big]

    The share of rows that some start reaches is that of :class:`~equilibria.metrics.measures.InverseError`.

    Args:
        within: ε, in squared units of the data.
        most: samples at most.
    """

    within: float = 1e-3
    most: int = 64

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        errors = apply("start_errors", {**rows, "x": apply.sample(self.most)})
        value = float((errors < self.within).double().mean())
        return {"starts_within": Measured(value=value, floor=1.0, unit="share", n=errors.numel(), higher=True)}


@record
class NegativeError(Measure):
    """The error of the search on rows that are not of the data: negatives of images, rows reflected at their mean.

    Args:
        most: rows at most.
    """

    most: int = 64

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        x = rows["x"][: self.most]
        other = -x if x.dim() == 4 else 2 * x.mean(0) - x
        errors = (apply("reconstruct", {**rows, "x": other}) - other).flatten(1).double().square().mean(1)
        return {
            "inverse_error/negatives": Measured(value=float(errors.mean()), unit="distance²", n=len(x), higher=True)
        }
