"""The interval in which the operations before a value keep it, by interval arithmetic over its graph.

A squashing function stops the walk: what comes before it does not matter. A constant that is added is not in a graph,
so behind it only the length of an interval is known. Clamps count for nothing: they cut, and a network learns to stay
outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_DEEPEST = 10
SAME_VALUES = frozenset(
    (
        *("Mean", "View", "Squeeze", "Unsqueeze", "Reshape", "ReshapeAlias", "UnsafeView", "ToCopy", "Clone", "Select"),
        *("Alias", "Permute", "Transpose", "T", "Slice", "Split", "SplitWithSizes", "Expand"),
    )
)
"""Operations that lay out or average values, and do not change them."""
_FIRST = SAME_VALUES | {"Index", "IndexSelect", "Clamp", "ClampMin", "ClampMax", "Unbind", "Narrow"}


def name_of(node: Any) -> str:
    """The operation: ``Sigmoid``, ``Addmm``."""
    return str(node.name()).partition("Backward")[0]


@dataclass(frozen=True)
class Interval:
    """All values between two ends.

    Attributes:
        low, high: the ends.
        placed: whether the ends are known, and not only the distance between them.
    """

    low: float = -math.inf
    high: float = math.inf
    placed: bool = True

    @property
    def length(self) -> float:
        """The distance of the ends."""
        return self.high - self.low


_FIXED = {
    **dict.fromkeys(("Sigmoid", "Softmax", "Hardsigmoid"), Interval(0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Sin", "Cos", "Erf"), Interval(-1.0, 1.0)),
    "Atan": Interval(-math.pi / 2, math.pi / 2),
}


def interval(node: Any, depth: int = 0) -> Interval:
    """The interval of what a node returned.

    Examples:
        >>> x = torch.randn(4, 1, requires_grad=True)
        >>> interval((0.5 * (x.tanh() + 1)).grad_fn).length
        1.0
        >>> interval(torch.exp(-torch.nn.functional.softplus(-x)).grad_fn)
        Interval(low=0.0, high=1.0, placed=True)
        >>> interval((3 * x + 1).grad_fn).length
        inf
    """
    name = "" if node is None else name_of(node)
    if name in _FIXED or name not in _READ or depth > _DEEPEST:
        return _FIXED.get(name, Interval())
    before = [None if after is None else interval(after, depth + 1) for after, _ in node.next_functions]
    known = [one for one in before if one is not None]
    if not known:
        return Interval()
    if name in _FIRST:
        return known[0]
    if name in _MAPS:
        return _mapped(known[0], *_MAPS[name])
    if name == "Neg":
        return Interval(-known[0].high, -known[0].low, known[0].placed)
    if name in ("Add", "Sub", "Rsub"):
        return _sum(before, -1.0 if name == "Sub" else 1.0)
    return _scaled(node, name, known)


def clamp_length(node: Any) -> float:
    """The length of the interval to which a node clamps; infinite where it does not, or to one side only.

    Examples:
        >>> x = torch.randn(4, 1, requires_grad=True)
        >>> clamp_length(x.clamp(0, 1).grad_fn), clamp_length(x.clamp(min=0).grad_fn), clamp_length(x.tanh().grad_fn)
        (1.0, inf, inf)
    """
    for low, high in (("_saved_min", "_saved_max"), ("_saved_min_val", "_saved_max_val")):
        ends = (getattr(node, low, None), getattr(node, high, None))
        if all(isinstance(end, (int, float)) for end in ends):
            return float(ends[1]) - float(ends[0])  # type: ignore[arg-type]
    return math.inf


_MAPS: dict[str, tuple[Callable[[float], float], float, float]] = {
    "Exp": (lambda v: math.exp(min(v, 700.0)) if v < math.inf else math.inf, 0.0, math.inf),
    "Softplus": (lambda v: max(v, 0.0) + math.log1p(math.exp(-abs(v))), 0.0, math.inf),
    "LogSigmoid": (lambda v: min(v, 0.0) - math.log1p(math.exp(-abs(v))), -math.inf, 0.0),
    "Relu": (lambda v: max(v, 0.0), 0.0, math.inf),
}
"""Operations that grow with their input: the operation, and the ends of what it can return."""

_READ = frozenset((*_FIRST, *_MAPS, "Neg", "Add", "Sub", "Rsub", "Mul", "Div"))


def _mapped(one: Interval, value: Callable[[float], float], low: float, high: float) -> Interval:
    return Interval(value(one.low), value(one.high)) if one.placed else Interval(low, high)


def _sum(before: list[Interval | None], sign: float) -> Interval:
    first, second = (*before, None)[:2]
    if second is not None and sign < 0:
        second = Interval(-second.high, -second.low, second.placed)
    known = [one for one in (first, second) if one is not None]
    placed = len(known) == 2 and all(one.placed for one in known)
    return Interval(sum(one.low for one in known), sum(one.high for one in known), placed)


def _scaled(node: Any, name: str, known: list[Interval]) -> Interval:
    other = getattr(node, "_saved_other", None)
    if len(known) > 1 or not isinstance(other, torch.Tensor) or other.numel() != 1:
        return Interval()
    by = float(other.detach())
    if not by:
        return Interval()
    factor = by if name == "Mul" else 1 / by
    ends = sorted((factor * known[0].low, factor * known[0].high))
    return Interval(ends[0], ends[1], known[0].placed)
