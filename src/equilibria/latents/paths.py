"""Paths between latent codes: on the segment (lerp) and on the arc (slerp)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..base.errors import ShapeError

Path = Callable[[Tensor, Tensor, Tensor], Tensor]
_PARALLEL = 1e-9  # sine of an angle below which two directions in float64 have no plane of their own


def lerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    r"""Points on the segments from ``a`` to ``b``: :math:`(1 - t)\,a + t\,b`.

    Between independent standard normal codes of d dimensions the middle has the expected squared length d/2, where
    codes have d: in many dimensions a generator has not been trained on such codes, and :func:`slerp` avoids them
    (White 2016, "Sampling Generative Networks", section 2).

    Args:
        a: codes ``(n, d)`` or one code ``(d,)``.
        b: codes of the same shape.
        shares: ``(k,)``, t of each point; outside [0, 1] the segment is extended.

    Returns:
        ``(n, k, d)``, or ``(k, d)`` for one code; at t = 0 and t = 1 exactly ``a`` and ``b``.

    Raises:
        ShapeError: codes of different shapes.

    Examples:
        >>> lerp(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 4.0]), torch.tensor([0.0, 0.5, 1.0])).tolist()
        [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    """
    _check(a, b, shares)
    return torch.lerp(a[..., None, :], b[..., None, :], shares.to(a)[:, None])


def slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    r"""Points on the arcs from ``a`` to ``b``: directions turn, and lengths change, at a constant speed.

    .. math:: \big((1 - t)\,\|a\| + t\,\|b\|\big)\,\big(\cos(t\theta)\,u + \sin(t\theta)\,w\big), \qquad
        u = a / \|a\|, \quad \cos\theta = u \cdot b / \|b\|,

    with w the unit vector perpendicular to u in the plane of a and b. For codes of one length this is the formula of
    White 2016, section 2.1 (after Shoemake 1985):

    .. math:: \frac{\sin((1 - t)\theta)}{\sin\theta}\, a + \frac{\sin(t\theta)}{\sin\theta}\, b .

    For codes of different lengths White applies it to the codes as they are. Its points are unbounded as the angle
    comes close to :math:`\pi`, so here it is applied to the directions, and the length is interpolated.

    The plane is not unique for two kinds of codes. Parallel ones stay on their ray. Antipodal ones turn through the
    coordinate axis that is the closest to perpendicular. Codes of length 0 have no direction: such a pair is on the
    segment (:func:`lerp`).

    Args:
        a: codes ``(n, d)`` or one code ``(d,)``.
        b: codes of the same shape.
        shares: ``(k,)``, t of each point.

    Returns:
        ``(n, k, d)``, or ``(k, d)`` for one code, computed in float64; at t = 0 and t = 1 exactly ``a`` and ``b``.

    Raises:
        ShapeError: codes of different shapes.

    Examples:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.5, 1.0]))
        tensor([[1.0000, 0.0000],
                [1.4142, 1.4142],
                [0.0000, 3.0000]])
    """
    _check(a, b, shares)
    first, second, t = a.double()[..., None, :], b.double()[..., None, :], shares.to(a.device).double()[:, None]
    lengths = [torch.linalg.vector_norm(z, dim=-1, keepdim=True) for z in (first, second)]
    tiny = torch.finfo(torch.float64).tiny
    u, v = first / lengths[0].clamp(min=tiny), second / lengths[1].clamp(min=tiny)
    cosine = (u * v).sum(-1, keepdim=True)
    across = v - cosine * u
    sine = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    w = torch.where(sine > _PARALLEL, across / sine.clamp(min=_PARALLEL), _perpendicular(u))
    angle = torch.atan2(torch.where(sine > _PARALLEL, sine, torch.zeros_like(sine)), cosine)
    arc = torch.lerp(lengths[0], lengths[1], t) * ((t * angle).cos() * u + (t * angle).sin() * w)
    straight = torch.lerp(first, second, t)
    points = torch.where((lengths[0] > 0) & (lengths[1] > 0), arc, straight)
    return torch.where(t == 0, first, torch.where(t == 1, second, points)).to(a.dtype)


def closed_path(codes: Tensor, steps: int, path: Path = slerp) -> Tensor:
    """A path through codes and back to the first one, ``steps`` points from each to the next, without repeating it.

    Args:
        codes: ``(n, stops, d)``, n paths.
        steps: points from a stop to the next.
        path: :func:`lerp` or :func:`slerp`.

    Returns:
        ``(n, stops * steps, d)``; every ``steps``-th point is a stop, and the next one after the last is the first.

    Examples:
        >>> closed_path(torch.tensor([[[0.0], [1.0], [4.0]]]), steps=2, path=lerp).flatten().tolist()
        [0.0, 0.5, 1.0, 2.5, 4.0, 2.0]
    """
    shares = torch.arange(steps, dtype=torch.float64) / steps
    following = codes.roll(-1, dims=1)
    parts = [path(codes[:, k], following[:, k], shares) for k in range(codes.shape[1])]
    return torch.cat(parts, dim=1)


def _perpendicular(u: Tensor) -> Tensor:
    """A unit vector perpendicular to unit vectors ``(…, d)``: the axis with the smallest coordinate, made so.

    In one dimension there is none: it is 0, and the path goes through the origin.
    """
    axis = torch.nn.functional.one_hot(u.abs().argmin(-1), u.shape[-1]).to(u)
    found = axis - (axis * u).sum(-1, keepdim=True) * u
    length = torch.linalg.vector_norm(found, dim=-1, keepdim=True)
    return torch.where(length > _PARALLEL, found / length.clamp(min=_PARALLEL), torch.zeros_like(found))


def _check(a: Tensor, b: Tensor, shares: Tensor) -> None:
    if a.shape != b.shape or a.dim() not in (1, 2):
        raise ShapeError(f"a path from codes {tuple(a.shape)} to {tuple(b.shape)}", "give two of one shape (n, d)")
    if shares.dim() != 1:
        raise ShapeError(f"shares of shape {tuple(shares.shape)}", "give one number for each point of the path, (k,)")


PATHS: Mapping[str, Path] = {"slerp": slerp, "lerp": lerp}
"""Paths by name."""
