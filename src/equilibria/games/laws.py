"""Laws of latent codes; a law may have a state, buffers of the game, computed from the data before training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from ..base.registry import Registry
from ..core.game import Batch, Tensors
from .spec import Latent


@runtime_checkable
class LatentLaw(Protocol):
    """The law of a game's latent codes: a frozen record. Its state is held by :class:`Law`.

    :class:`~equilibria.games.spec.Latent` is the law without state.
    """

    @property
    def size(self) -> int:
        """The size of a code."""

    @property
    def prepared_on(self) -> int:
        """Number of rows of the data that ``prepared`` needs; 0 for none."""

    def state(self) -> Tensors:
        """The law's state before it has seen the data: tensors of their final shapes, by name."""

    def prepared(self, x: Tensor) -> Tensors:
        """The state after ``prepared_on`` rows ``x`` ``(n, …)``; may use the (seeded) global generator."""

    def entries(self, n: int, like: Tensor | None, state: Mapping[str, Tensor]) -> Batch:
        """Entries of a draw of ``n`` rows: ``"latent"`` ``(n, size)``, and others that terms of a loss read."""


class Law(nn.Module):
    """A latent law with its state as buffers, so that a checkpoint, an ensemble and a device have it.

    Examples:
        >>> law = Law(Embedded(points=4, subsets=2))
        >>> law.prepare(torch.tensor([[0.0], [1.0], [5.0], [6.0]]))
        >>> {name: tuple(entry.shape) for name, entry in law(3).items()}
        {'latent': (3, 4), 'latent_scale': (3,)}
    """

    def __init__(self, spec: LatentLaw) -> None:
        super().__init__()
        self.spec = spec
        for name, value in spec.state().items():
            self.register_buffer(name, value)

    def prepare(self, x: Tensor) -> None:
        """Fill the state, in place, from rows of the data."""
        own = dict(self.named_buffers())
        for name, value in self.spec.prepared(x).items():
            own[name].copy_(value)

    def forward(self, n: int, like: Tensor | None = None) -> Batch:
        """The entries of a draw of ``n`` rows, on the device of ``like`` or of the state."""
        return self.spec.entries(n, like, dict(self.named_buffers()))


@record
class Embedded:
    r"""A mixture of Gaussians around an embedding of rows of the data: BourGAN (Xiao et al. 2018, section 4).

    ``points`` rows :math:`x_i` of the data are embedded by Bourgain's construction: for each level :math:`j = 1, …,
    \lceil \log_2 n \rceil` and each of ``subsets`` random subsets :math:`S`, which hold each row with probability
    :math:`2^{-j}`, one coordinate is

    .. math:: \min_{s \in S} \|x_i - s\|_2

    (0 for an empty subset). The embedding is centred and divided by the root mean square of its coordinates. A code is
    an embedded row, chosen uniformly, plus normal noise of standard deviation ``spread``.

    ``latent_scale`` ``(n,)`` in the draw is the factor between the distances of codes and those of the data, the
    geometric mean over all pairs of different rows; :class:`~equilibria.losses.PreservedDistances` reads it.

    Args:
        points: rows that are embedded.
        subsets: random subsets per level.
        spread: standard deviation of the noise.

    Raises:
        ConfigError: fewer than two points, no subset, or a spread that is not positive.

    Examples:
        >>> Embedded(points=1000, subsets=5).size
        50
    """

    points: int = 1000
    subsets: int = 5
    spread: float = 0.01

    def __post_init__(self) -> None:
        if self.points < 2 or self.subsets < 1:
            what = f"points={self.points}, subsets={self.subsets}: at least 2 points and 1 subset are needed"
            raise ConfigError(what, settings={"points": 1000, "subsets": 5})
        if not self.spread > 0:
            raise ConfigError(f"spread={self.spread} is not positive", settings={"spread": 0.01})

    @property
    def size(self) -> int:
        """``subsets`` for each of the levels."""
        return self.subsets * self._levels

    @property
    def prepared_on(self) -> int:
        """The number of embedded rows."""
        return self.points

    @property
    def _levels(self) -> int:
        return math.ceil(math.log2(self.points))

    def state(self) -> Tensors:
        """``centres`` ``(points, size)`` and ``scale`` ``()``."""
        return {"centres": torch.zeros(self.points, self.size), "scale": torch.ones(())}

    def prepared(self, x: Tensor) -> Tensors:
        """The embedding of the rows, and the factor to the data's distances."""
        apart = _distances(x.flatten(1))
        columns = []
        for level in range(1, self._levels + 1):
            for _ in range(self.subsets):
                inside = torch.rand(len(x), device=x.device) < 2.0**-level
                nearest = torch.where(inside, apart, torch.inf).amin(1)
                columns.append(torch.where(inside.any(), nearest, torch.zeros_like(nearest)))
        embedded = torch.stack(columns, 1)
        embedded = embedded - embedded.mean(0)
        embedded = embedded / embedded.square().mean().sqrt().clamp(min=1e-8)
        between = _distances(embedded)
        distinct = (apart > 0) & (between > 0)
        ratio = torch.where(distinct, apart / between, torch.ones_like(apart)).log().sum() / distinct.sum().clamp(min=1)
        return {"centres": embedded, "scale": ratio.exp()}

    def entries(self, n: int, like: Tensor | None, state: Mapping[str, Tensor]) -> Batch:
        """``latent`` ``(n, size)`` and ``latent_scale`` ``(n,)``."""
        centres = state["centres"]
        chosen = centres[torch.randint(len(centres), (n,), device=centres.device)]
        return {"latent": chosen + self.spread * torch.randn_like(chosen), "latent_scale": state["scale"].expand(n)}


def _distances(rows: Tensor) -> Tensor:
    """Euclidean distances of all pairs, ``(n, n)``, exactly 0 on the diagonal."""
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


LATENT_LAWS: Registry[LatentLaw] = Registry(
    "latent law",
    {"normal": Latent(), "uniform": Latent(law="uniform"), "embedded": Embedded()},
    aliases={"gaussian": "normal", "bourgain": "embedded"},
    base=(LatentLaw, Latent),
)
"""Laws of latent codes by name, with their default sizes."""
