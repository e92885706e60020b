"""Checks of the metrics' inputs: wrong shapes, and values that are not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..base.errors import DataError, ShapeError


class LawLike(Protocol):
    """The interface of a law that the metrics use: fresh samples and, for a mixture, its components.

    ``modes`` is ``(k, d)`` or ``None``; ``std`` is the components' shared isotropic standard deviation; ``weights``
    sum to one, ``None`` for equal weights.
    """

    @property
    def modes(self) -> Tensor | None: ...
    @property
    def std(self) -> float | None: ...
    @property
    def weights(self) -> Tensor | Sequence[float] | None: ...

    def sample(self, n: int, generator: torch.Generator) -> Tensor: ...


def points(x: Tensor, name: str = "samples", least: int = 1) -> Tensor:
    """``x`` as float64 rows ``(n, d)``, detached, on the CPU; images are flattened, and ``(n,)`` becomes ``(n, 1)``.

    Raises:
        ShapeError: ``x`` is no tensor, is a scalar, or has fewer than ``least`` rows.
        DataError: an entry is NaN or infinite.

    Examples:
        >>> points(torch.zeros(3, 1, 2, 2)).shape
        torch.Size([3, 4])
    """
    given: Any = x
    if not isinstance(given, Tensor):
        raise ShapeError(f"{name} are a {type(x).__name__}, and a tensor is needed", "pass torch.as_tensor(rows)")
    if x.dim() == 0 or x.shape[0] < least:
        raise ShapeError(f"{name} of shape {tuple(x.shape)}: at least {least} rows are needed", "pass more samples")
    rows = x.detach().to("cpu", torch.float64).reshape(x.shape[0], -1)
    bad = int((~torch.isfinite(rows)).any(1).sum())
    if bad:
        raise DataError(f"{bad} of {len(rows)} {name} are NaN or infinite", "check whether the generator has diverged")
    return rows


def pair(x: Tensor, y: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two sets of points of the same dimension, as :func:`points` returns them.

    Raises:
        ShapeError: they have different dimensions.
    """
    a, b = points(x, "samples", least), points(y, "reference points", least)
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"samples of dimension {a.shape[1]} cannot be compared with a reference of dimension {b.shape[1]}",
            "pass both with the same features",
        )
    return a, b


def generator(seed: int) -> torch.Generator:
    """A new CPU random generator with this seed."""
    return torch.Generator().manual_seed(seed)
