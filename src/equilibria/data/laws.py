"""Laws on vectors that can be sampled without end, with their exact log-densities where they have one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..base.errors import DataError, ShapeError

__all__ = ["Curves", "Dirac", "GaussianMixture", "Law", "Segment"]

_CHUNK = 1 << 21  # pairs (point, component) handled at a time: 32 MB of float64 for planar laws


class Law(ABC):
    """A probability law on R^d: samples, and exact log-densities in nats.

    Attributes:
        name: what ``equilibria.data.law`` reopens it by, where it is a registered law.
        dim: d.
        modes: centres ``(k, d)`` of the components whose capture is counted, or None.
        std: their common standard deviation per coordinate, or None.
        weights: their probabilities ``(k,)``, or None.
        components: the number of components that ``draw`` tells apart.
    """

    name: str
    dim: int
    modes: Tensor | None = None
    std: float | None = None
    weights: Tensor | None = None
    components: int = 1

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``n`` points ``(n, d)`` float32 and the component ``(n,)`` int64 of each, on the generator's device."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density at ``x (n, d)`` in nats, ``(n,)`` float64; differentiable in ``x``.

        Raises:
            DataError: the law has no density.
            ShapeError: ``x`` is not ``(n, d)``.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The numbers that determine the law, in plain form."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` independent points ``(n, d)`` float32, on the generator's device."""
        return self.draw(n, generator)[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dim={self.dim})"


def _checked(x: Tensor, law: Law) -> Tensor:
    if x.dim() != 2 or x.shape[1] != law.dim:
        raise ShapeError(f"law '{law.name}' lives on (n, {law.dim}), not {tuple(x.shape)}", "give one point a row")
    return x.double()


def _mixture_log_prob(x: Tensor, centres: Tensor, log_weights: Tensor, std: float) -> Tensor:
    r"""The log of Σ_k w_k N(x; c_k, σ² I), a chunk of rows at a time."""
    d = x.shape[1]
    constant = log_weights - 0.5 * d * math.log(2.0 * math.pi * std**2)
    rows = max(1, _CHUNK // (len(centres) * d))
    parts = []
    for piece in torch.split(x, rows):
        # differences, not |x|² - 2xc + |c|²: far from the origin the latter loses the digits that decide
        squares = ((piece[:, None, :] - centres) ** 2).sum(-1)
        parts.append(torch.logsumexp(constant - squares / (2.0 * std**2), dim=1))
    return torch.cat(parts) if parts else x.new_zeros(0)


class GaussianMixture(Law):
    r"""A mixture of isotropic Gaussians with one standard deviation.

    .. math:: p(x) = \sum_k w_k \, \mathcal N(x; c_k, \sigma^2 I)

    Args:
        centres: ``(k, d)``.
        std: σ > 0, per coordinate (not the variance: published ring benchmarks differ in this).
        weights: ``(k,)``, positive; normalised here. None: all equal.
        name: for messages and fingerprints.

    Raises:
        DataError: centres or weights of the wrong shape, σ or a weight that is not positive.

    Examples:
        >>> law = GaussianMixture([[0.0, 0.0]], std=1.0)
        >>> law.log_prob(torch.zeros(1, 2))  # -log 2π nats
        tensor([-1.8379], dtype=torch.float64)
        >>> law.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        centres: Tensor | Sequence[Sequence[float]],
        std: float,
        weights: Tensor | Sequence[float] | None = None,
        name: str = "mixture",
    ) -> None:
        c = torch.as_tensor(centres, dtype=torch.float64)
        if c.dim() != 2 or c.numel() == 0 or not c.isfinite().all():
            raise DataError(f"mixture centres of shape {tuple(c.shape)}", "give finite centres, one a row: (k, d)")
        if not (0.0 < std < math.inf):
            raise DataError(f"mixture std={std}", "give a positive standard deviation")
        w = torch.ones(len(c), dtype=torch.float64)
        if weights is not None:
            w = torch.as_tensor(weights, dtype=torch.float64)
        if w.shape != (len(c),) or not (w > 0).all() or not w.isfinite().all():
            raise DataError(f"weights {w.tolist()} for {len(c)} centres", "give one positive weight per centre")
        self.name, self.dim, self.components = name, c.shape[1], len(c)
        self.std, self.weights = float(std), w / w.sum()
        self._centres, self._uniform = c, weights is None
        self.modes = c.float()

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        assert self.modes is not None and self.weights is not None and self.std is not None
        if self._uniform:
            which = torch.randint(self.components, (n,), generator=generator, device=device)
        else:
            u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
            edges = self.weights.to(device).cumsum(0)[:-1]
            which = torch.searchsorted(edges, u, right=True)
        noise = torch.randn(n, self.dim, generator=generator, device=device)
        return noise.mul_(self.std).add_(self.modes.to(device).index_select(0, which)), which

    def log_prob(self, x: Tensor) -> Tensor:
        points = _checked(x, self)
        assert self.weights is not None and self.std is not None
        centres, weights = self._centres.to(x.device), self.weights.to(x.device)
        return _mixture_log_prob(points, centres, weights.log(), self.std)

    def parameters(self) -> dict[str, Any]:
        assert self.weights is not None
        return {"centres": self._centres.tolist(), "std": self.std, "weights": self.weights.tolist()}


class Segment:
    r"""A planar curve with t uniform on an interval.

    .. math:: \gamma(t) = a + b t + (r + g t) (\cos(t + \phi), \sin(t + \phi))

    One formula holds the line (r = g = 0), the arc (b = g = 0) and Archimedes' spiral (b = r = 0).

    Args:
        span: the interval of t.
        start: a.
        slope: b.
        radius: r.
        growth: g.
        phase: φ.

    Examples:
        >>> Segment((0.0, 1.0), slope=(2.0, 0.0)).at(torch.tensor([0.5]))
        tensor([[1., 0.]])
    """

    def __init__(
        self,
        span: tuple[float, float],
        *,
        start: tuple[float, float] = (0.0, 0.0),
        slope: tuple[float, float] = (0.0, 0.0),
        radius: float = 0.0,
        growth: float = 0.0,
        phase: float = 0.0,
    ) -> None:
        self.span, self.start, self.slope = span, start, slope
        self.radius, self.growth, self.phase = radius, growth, phase

    def at(self, t: Tensor) -> Tensor:
        """Points ``(n, 2)`` at parameters ``t (n,)``."""
        return _on_curves(self.row(t.dtype).to(t.device).expand(len(t), -1), t, self.radius != 0 or self.growth != 0)

    def row(self, dtype: torch.dtype) -> Tensor:
        """The numbers a, b, r, g, φ and the interval's start and length, ``(9,)``."""
        low, high = self.span
        return torch.tensor(
            [*self.start, *self.slope, self.radius, self.growth, self.phase, low, high - low], dtype=dtype
        )

    def speed(self) -> float:
        """An upper bound of |dγ/dt| over the interval."""
        far = max(abs(self.span[0]), abs(self.span[1]))
        return math.hypot(*self.slope) + abs(self.growth) + abs(self.radius) + abs(self.growth) * far

    def parameters(self) -> dict[str, Any]:
        """The numbers that determine the curve."""
        return dict(vars(self))


def _on_curves(rows: Tensor, t: Tensor, bent: bool) -> Tensor:
    """γ(t) with the curve of each row of :meth:`Segment.row`."""
    points = torch.addcmul(rows[:, 0:2], rows[:, 2:4], t[:, None])
    if not bent:
        return points
    angle = t + rows[:, 6]
    reach = torch.addcmul(rows[:, 4], rows[:, 5], t)
    return points.addcmul_(torch.stack([angle.cos(), angle.sin()], dim=1), reach[:, None])


class Curves(Law):
    r"""A uniform choice among planar curves, plus isotropic Gaussian noise.

    .. math:: x = \gamma_k(t) + \sigma \varepsilon, \qquad
              p(x) = \frac1K \sum_k \int \mathcal N(x; \gamma_k(t), \sigma^2 I) \, \frac{dt}{|I_k|}

    The integral is a Gauss-Legendre sum over panels no longer than :math:`2 \sigma` of arc with 8 nodes
    each: exact to about 1e-12 relative. Without noise the law has no density and ``log_prob`` raises.

    Args:
        curves: the curves, equally likely.
        noise: σ >= 0.
        name: for messages and fingerprints.

    Examples:
        >>> line = Curves([Segment((-1.0, 1.0), slope=(1.0, 0.0))], noise=0.1)
        >>> line.log_prob(torch.zeros(1, 2)).exp()  # ½ · 1 / (σ √2π)
        tensor([1.9947], dtype=torch.float64)
    """

    def __init__(self, curves: Sequence[Segment], noise: float = 0.0, name: str = "curves") -> None:
        if not curves:
            raise DataError("a law of no curves", "give at least one Segment")
        if not (0.0 <= noise < math.inf):
            raise DataError(f"noise={noise} on law '{name}'", "give a standard deviation >= 0")
        self.name, self.dim, self.components = name, 2, len(curves)
        self.curves, self.noise = tuple(curves), float(noise)
        self._table = torch.stack([c.row(torch.float32) for c in curves])
        self._bent = any(c.radius != 0.0 or c.growth != 0.0 for c in curves)
        self._nodes: tuple[Tensor, Tensor] | None = None

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device, k = generator.device, self.components
        table = self._table.to(device)
        if k == 1:
            which = torch.zeros(n, dtype=torch.int64, device=device)
            rows = table.expand(n, -1)
        else:
            which = torch.randint(k, (n,), generator=generator, device=device)
            rows = table.index_select(0, which)
        t = torch.addcmul(rows[:, 7], rows[:, 8], torch.rand(n, generator=generator, device=device))
        points = _on_curves(rows, t, self._bent)
        if self.noise > 0.0:
            points.add_(torch.randn(n, 2, generator=generator, device=device), alpha=self.noise)
        return points, which

    def log_prob(self, x: Tensor) -> Tensor:
        points = _checked(x, self)
        if self.noise == 0.0:
            raise DataError(
                f"law '{self.name}' sits on curves, so it has no density in the plane",
                "compare samples, or give its parameter noise a value above 0",
            )
        if self._nodes is None:
            self._nodes = self._quadrature()
        centres, log_weights = (v.to(x.device) for v in self._nodes)
        return _mixture_log_prob(points, centres, log_weights, self.noise)

    def _quadrature(self) -> tuple[Tensor, Tensor]:
        import numpy as np

        unit, unit_weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(8))
        centres, weights = [], []
        for curve in self.curves:
            low, high = curve.span
            panels = max(1, math.ceil((high - low) * curve.speed() / (2.0 * self.noise)))
            edges = torch.linspace(low, high, panels + 1, dtype=torch.float64)
            half = (edges[1:] - edges[:-1])[:, None] / 2
            t = (edges[:-1, None] + half * (1 + unit)).reshape(-1)
            centres.append(curve.at(t))
            weights.append((half * unit_weights).reshape(-1) / ((high - low) * self.components))
        return torch.cat(centres), torch.cat(weights).log()

    def parameters(self) -> dict[str, Any]:
        return {"curves": [c.parameters() for c in self.curves], "noise": self.noise}


class Dirac(Law):
    r"""The point mass at ``at``: the data of the Dirac-GAN (Mescheder et al. 2018, Definition 2.1, at 0).

    Examples:
        >>> Dirac([0.5]).sample(2, torch.Generator())
        tensor([[0.5000],
                [0.5000]])
    """

    def __init__(self, at: Sequence[float] = (0.0,), name: str = "dirac") -> None:
        self.name, self.dim = name, len(at)
        self.at = torch.tensor(at, dtype=torch.float32)
        self.modes, self.weights, self.std = self.at[None, :], torch.ones(1, dtype=torch.float64), 0.0

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        return self.at.to(device).repeat(n, 1), torch.zeros(n, dtype=torch.int64, device=device)

    def log_prob(self, x: Tensor) -> Tensor:
        _checked(x, self)
        raise DataError(f"law '{self.name}' is a point mass, so it has no density", "compare samples instead")

    def parameters(self) -> dict[str, Any]:
        return {"at": self.at.tolist()}
