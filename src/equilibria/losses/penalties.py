r"""Terms that a discriminator's loss carries beside its objective, and constraints on what it may be.

A penalty is a record called with a contest and a draw; it returns its weighted value, 0-dim. Slopes are gradients of
the score (the logit) with respect to the input, :math:`\nabla_x h`; their norm runs over all axes but the first.
Weights and standard deviations may be schedules, read off the draw's clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Protocol, cast

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError, not_known
from ..base.records import record
from ..base.schedules import Schedule, value_at

Side = Literal["real", "fake"]
Weight = float | Schedule


class Contest(Protocol):
    """Who tells what from what: two sides of points and a score, as penalties see them.

    Points are detached tuples; the first entry is the input whose slope counts, the rest is its context (labels).
    """

    @property
    def real(self) -> tuple[Tensor, ...]:
        """The real points."""

    @property
    def fake(self) -> tuple[Tensor, ...]:
        """The fake points."""

    def scores(self, side: Side) -> Tensor:
        """Scores of a side, ``(n,)`` or a map ``(n, ...)``."""

    def slopes(self, side: Side) -> Tensor:
        """Slopes at a side's first points, shaped as they are, differentiable."""

    def slopes_at(self, x: Tensor, side: Side) -> Tensor:
        """Slopes at other points ``x``, in the context of a side."""


class Moment(Protocol):
    """A draw as penalties see it: the noise they asked for by name, and the time."""

    @property
    def step(self) -> Any:
        """Rounds played."""

    @property
    def time(self) -> Any:
        """The share of the run played."""

    def __getitem__(self, name: str) -> Tensor: ...


class Penalty(ABC):
    """A term of the discriminator's loss.

    Attributes:
        sides: the sides whose slopes the penalty reads.
    """

    sides: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def noise(self, real: Tensor) -> dict[str, Tensor]:
        """The random tensors this penalty needs for real points ``real``, drawn from the (seeded) global generator."""

    @abstractmethod
    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        """The penalty, weighted; 0-dim."""


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _squares(slopes: Tensor) -> Tensor:
    """The squared norm of each row."""
    return _wide(slopes).square().flatten(1).sum(1)


def _norms(squares: Tensor) -> Tensor:
    """Square roots whose derivatives at 0 are zero instead of infinite, in every order."""
    positive = squares > 0
    roots = torch.where(positive, squares, torch.ones_like(squares)).sqrt()
    return torch.where(positive, roots, torch.zeros_like(squares))


def _away(slopes: Tensor, center: float, one_sided: bool = False) -> Tensor:
    squares = _squares(slopes)
    if center == 0:
        return squares.mean()
    distance = _norms(squares) - center
    return (torch.relu(distance) if one_sided else distance).square().mean()


def _row_scores(scores: Tensor) -> Tensor:
    return _wide(scores).flatten(1).mean(1) if scores.ndim > 1 else _wide(scores)


def _per_row(real: Tensor) -> Tensor:
    """A uniform number for each row, shaped to multiply ``real``."""
    return torch.rand(real.shape[0], *(1,) * (real.ndim - 1), device=real.device, dtype=_wide(real).dtype)


def _weighted(weight: Weight, draw: Moment, value: Tensor) -> Tensor:
    return cast(Tensor, value_at(weight, draw) * value)


def _check(name: str, value: Weight) -> None:
    if isinstance(value, (int, float)) and not value >= 0:
        raise ConfigError(f"{name}={value} is below 0", settings={name: 1.0})


@record
class R1(Penalty):
    r"""Squared slopes on real points (Mescheder et al. 2018, eq. 9).

    .. math:: \frac{\gamma}{2} E_p \|\nabla_x h\|^2

    Their official code adds ``reg_param`` times the mean square, so its 10 is ``gamma = 20`` here.

    Examples:
        >>> from types import SimpleNamespace
        >>> contest = SimpleNamespace(slopes=lambda side: torch.tensor([[3.0, 4.0]]))
        >>> R1(gamma=2.0)(contest, draw=None)
        tensor(25.)
    """

    sides: ClassVar[tuple[str, ...]] = ("real",)
    gamma: Weight = 1.0

    def __post_init__(self) -> None:
        _check("gamma", self.gamma)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        return _weighted(self.gamma, draw, _squares(contest.slopes("real")).mean() / 2)


@record
class R2(Penalty):
    r"""Squared slopes on fake points (Mescheder et al. 2018, eq. 10).

    .. math:: \frac{\gamma}{2} E_q \|\nabla_x h\|^2
    """

    sides: ClassVar[tuple[str, ...]] = ("fake",)
    gamma: Weight = 1.0

    def __post_init__(self) -> None:
        _check("gamma", self.gamma)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        return _weighted(self.gamma, draw, _squares(contest.slopes("fake")).mean() / 2)


@record
class GradientPenalty(Penalty):
    r"""Slopes held near a norm (WGAN-GP: Gulrajani et al. 2017, eq. 3).

    .. math:: \lambda\, E_{\hat x}\big(\|\nabla_x h(\hat x)\|_2 - c\big)^2, \qquad \hat x = \epsilon x + (1-\epsilon) y

    with one :math:`\epsilon \sim U(0,1)` per pair of a real ``x`` and a fake ``y``. ``one_sided`` keeps only norms
    above :math:`c` (their sec. 4). ``at="real"`` or ``"fake"`` takes the slopes there; ``center=0`` with ``at="real"``
    is :class:`R1` of ``gamma = 2 weight``. Interpolates are scored in the context (labels) of the real side.
    """

    weight: Weight = 10.0
    center: float = 1.0
    one_sided: bool = False
    at: Literal["interpolates", "real", "fake"] = "interpolates"

    def __post_init__(self) -> None:
        _check("weight", self.weight)
        if self.at not in ("interpolates", "real", "fake"):
            raise not_known("at", self.at, ("interpolates", "real", "fake"))

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {"gradient_penalty_mix": _per_row(real)} if self.at == "interpolates" else {}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        slopes = self._between(contest, draw) if self.at == "interpolates" else contest.slopes(self.at)
        return _weighted(self.weight, draw, _away(slopes, self.center, self.one_sided))

    def _between(self, contest: Contest, draw: Moment) -> Tensor:
        real, fake, mix = contest.real[0], contest.fake[0], draw["gradient_penalty_mix"]
        if real.shape != fake.shape:
            raise ShapeError(
                f"real {tuple(real.shape)} and fake {tuple(fake.shape)} cannot be interpolated",
                "draw as many fakes as there are real examples, or set at=real",
            )
        return contest.slopes_at(fake + mix * (real - fake), "real")


@record
class Dragan(Penalty):
    r"""Slopes held near a norm around the data (Kodali et al. 2017).

    .. math::
        \lambda\, E\big(\|\nabla_x h(x + \delta)\|_2 - k\big)^2, \qquad
        \delta = \alpha \cdot \text{spread} \cdot \mathrm{std}(x) \cdot u, \quad \alpha \sim U(0,1),\; u \sim U(0,1)^d

    with one :math:`\alpha` per row and the standard deviation of the whole batch. The perturbation is the one of the
    authors' code; the paper's text has :math:`\delta \sim N(0, cI)`. The deviation is taken when the noise is drawn, so
    the penalty stays a mean over rows.
    """

    weight: Weight = 10.0
    center: float = 1.0
    spread: float = 0.5

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        wide = _wide(real)
        size = self.spread * wide.std(correction=0)
        return {"dragan_shift": _per_row(real) * size * torch.rand_like(wide)}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        slopes = contest.slopes_at(contest.real[0] + draw["dragan_shift"], "real")
        return _weighted(self.weight, draw, _away(slopes, self.center))


@record
class JSRegulariser(Penalty):
    r"""What Gaussian noise of variance ``gamma`` on the inputs adds to a JS discriminator, to first order.

    .. math::
        \frac{\gamma}{2}\Big( E_p (1 - D)^2 \|\nabla_x h\|^2 + E_q D^2 \|\nabla_x h\|^2 \Big), \qquad D = \sigma(h)

    (Roth et al. 2017, the Jensen-Shannon case.) The weights are differentiated too. For a patch map ``h`` is its mean.
    """

    sides: ClassVar[tuple[str, ...]] = ("real", "fake")
    gamma: Weight = 0.1

    def __post_init__(self) -> None:
        _check("gamma", self.gamma)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        # Slopes come first: computing them leaves the scores behind.
        on_real, on_fake = _squares(contest.slopes("real")), _squares(contest.slopes("fake"))
        doubt = torch.sigmoid(-_row_scores(contest.scores("real"))).square()
        trust = torch.sigmoid(_row_scores(contest.scores("fake"))).square()
        return _weighted(self.gamma, draw, ((doubt * on_real).mean() + (trust * on_fake).mean()) / 2)


@record
class DriftPenalty(Penalty):
    r"""Keeps a critic's scores near zero, where its loss does not (Karras et al. 2018, App. A.1).

    .. math:: \epsilon\, E_p h^2
    """

    weight: Weight = 1e-3

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: Contest, draw: Moment) -> Tensor:
        return _weighted(self.weight, draw, _wide(contest.scores("real")).square().mean())


@record
class Clip:
    """The box of weights ``[-value, value]`` as a player's constraint (Arjovsky et al. 2017, Algorithm 1).

    Examples:
        >>> Clip(value=0.01)("layer.weight", torch.tensor([-1.0, 0.005]))
        tensor([-0.0100,  0.0050])
    """

    value: float = 0.01

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ConfigError(f"value={self.value} is not positive", settings={"value": 0.01})

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.clamp(-self.value, self.value)


@record
class InstanceNoise:
    """Gaussian noise on what the discriminator sees, real and fake (Sonderby et al. 2017; Arjovsky & Bottou 2017, 3).

    Both sides must be noised, in both players' losses: only then is the generator's gradient that of a divergence of
    the noised laws (Corollary 3.2 there).

    Examples:
        >>> from equilibria.base.schedules import Clock, Linear
        >>> InstanceNoise(std=Linear(start=1.0, end=0.0))(torch.zeros(2), torch.ones(2), Clock(0, 0.75))
        tensor([0.2500, 0.2500])
    """

    std: Weight = 0.1

    def __post_init__(self) -> None:
        _check("std", self.std)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        """Standard normal tensors for both sides, shaped as ``real``."""
        return {"noise_real": torch.randn_like(real), "noise_fake": torch.randn_like(real)}

    def __call__(self, x: Tensor, eps: Tensor, clock: Any) -> Tensor:
        """``x`` noised by ``eps`` at the standard deviation of this time."""
        return x + _weighted(self.std, clock, eps)


PENALTIES: dict[str, Penalty] = {
    "r1": R1(),
    "r2": R2(),
    "gradient-penalty": GradientPenalty(),
    "gradient-penalty-one-sided": GradientPenalty(one_sided=True),
    "dragan": Dragan(),
    "js-regulariser": JSRegulariser(),
    "drift": DriftPenalty(),
}
ALIASES = {"wgan-gp": "gradient-penalty", "gp": "gradient-penalty", "roth": "js-regulariser"}
