"""Checks of arguments: laws that sum to one, and shapes that fit. Errors state the given value and the rule."""

from __future__ import annotations

import torch
from torch import Tensor

CLOSE = 1e-3
"""Allowed deviation of a law's mass from one: rounding, and tails outside the grid."""


def readable(values: Tensor) -> bool:
    """Whether Python can read the values: not under ``vmap``, and not while compiling. Value checks are skipped there.

    Examples:
        >>> torch.func.vmap(lambda row: torch.tensor(readable(row)))(torch.zeros(2, 3)), readable(torch.zeros(3))
        (tensor([False, False]), True)
    """
    if torch.compiler.is_compiling():
        return False
    inside = torch._C._functorch
    while inside.is_gradtrackingtensor(values):
        values = inside.get_unwrapped(values)
    return not inside.is_batchedtensor(values)


def check_positive(**numbers: float) -> None:
    """Check that each number is above zero; infinity is allowed, NaN is not.

    Raises:
        ValueError: names the numbers that are not.

    Examples:
        >>> check_positive(epsilon=0.1, rounds=3)
    """
    wrong = [f"{name}={number}" for name, number in numbers.items() if not number > 0]  # "not >" also refuses NaN
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: must be > 0")


def check_points(**points: Tensor) -> None:
    """Check that all coordinates of the points are finite: a comparison with NaN is false, and would pass in silence.

    Raises:
        ValueError: names the points that are not, and how many entries.

    Examples:
        >>> check_points(x=torch.zeros(3, 2))
    """
    for name, values in points.items():
        if readable(values) and not bool(values.isfinite().all()):
            wrong = int((~values.isfinite()).sum())
            raise ValueError(f"{name}: {wrong} of {values.numel()} entries are not finite; remove these points")


def check_square(matrix: Tensor, name: str = "the matrix") -> None:
    """Check that a matrix has shape ``(n, n)``.

    Raises:
        ValueError: it has another shape.

    Examples:
        >>> check_square(torch.eye(2))
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}; want (n, n)")


def check_map(x: Tensor, value: Tensor, name: str = "a map") -> None:
    """Check that a point has shape ``(n,)`` and that the value of a map at it has the same shape.

    Raises:
        ValueError: other shapes.

    Examples:
        >>> check_map(torch.zeros(2), torch.ones(2))
    """
    if x.ndim != 1 or value.shape != x.shape:
        raise ValueError(f"{name} from {tuple(x.shape)} to {tuple(value.shape)}; want (n,) to (n,)")


def check_masses(p: Tensor, q: Tensor) -> None:
    """Check two non-negative floating tensors of one shape ``(..., k)``; their sums are not checked.

    Raises:
        ValueError: other shapes or types, or a negative entry.

    Examples:
        >>> check_masses(torch.tensor([2.0, 0.0]), torch.tensor([0.5, 0.5]))
    """
    if p.shape != q.shape or p.ndim == 0 or not p.is_floating_point() or not q.is_floating_point():
        raise ValueError(f"laws {tuple(p.shape)} {p.dtype} and {tuple(q.shape)} {q.dtype}: want floats of one shape")
    for name, law in (("p", p), ("q", q)):
        _check_sign(law, name)


def check_laws(p: Tensor, q: Tensor, weights: Tensor | None = None) -> None:
    """Check two laws on the same points: probabilities ``(..., k)``, or densities with quadrature weights ``(k,)``.

    Raises:
        ValueError: other shapes, a negative entry, or a law whose sum (or integral) is not 1.

    Examples:
        >>> check_laws(torch.full((4,), 0.5), torch.full((4,), 0.5), torch.full((4,), 0.5))
    """
    check_masses(p, q)
    for name, law in (("p", p), ("q", q)):
        _check_mass(law, name, weights)


def check_law(law: Tensor, name: str, weights: Tensor | None = None) -> None:
    """Check one law ``(k,)``, as :func:`check_laws` does.

    Raises:
        ValueError: it is not a law.

    Examples:
        >>> check_law(torch.tensor([0.25, 0.75]), "p")
    """
    if law.ndim != 1 or not law.is_floating_point():
        raise ValueError(f"{name} has shape {tuple(law.shape)} and type {law.dtype}; want floats (k,)")
    _check_sign(law, name)
    _check_mass(law, name, weights)


def _check_sign(law: Tensor, name: str) -> None:
    if readable(law) and not bool((law >= 0).all()):
        raise ValueError(f"{name} has an entry that is not >= 0 (least: {law.min().item():.6g})")


def _check_mass(law: Tensor, name: str, weights: Tensor | None) -> None:
    if weights is not None and weights.shape != law.shape[-1:]:
        raise ValueError(
            f"quadrature weights {tuple(weights.shape)} for {name} {tuple(law.shape)}; want (k,), one each"
        )
    masses = (law if weights is None else law * weights).sum(-1)
    if not readable(masses) or bool(((masses - 1).abs() <= CLOSE).all()):
        return
    worst = masses.flatten()[(masses - 1).abs().nan_to_num(torch.inf).argmax()].item()
    if weights is None:
        raise ValueError(
            f"{name} sums to {worst:.6g}, not 1: it is not a law; divide it by its sum, or give quadrature weights"
        )
    raise ValueError(
        f"{name} integrates to {worst:.6g}, not 1: it is not a law; widen or refine the grid, or check the weights"
    )
