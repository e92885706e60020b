"""Checks of a user's own pair of networks, by one trial run before training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..base.errors import ShapeError
from .layers import one_hot

_ROWS = 4


class _Logits(nn.Module):
    """A discriminator whose output of shape ``(n, 1)`` or ``(n, 1, 1, 1)`` is reshaped to ``(n,)``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        scores: Tensor = self.net(x) if y is None else self.net(x, y)
        return _flat(scores, x.shape[0])


def as_logits(discriminator: nn.Module) -> nn.Module:
    """The discriminator with its output as ``(n,)``; one that returns ``(n, 1)`` or ``(n, 1, 1, 1)`` is squeezed.

    The result contains the network and shares its parameters. :func:`check_pair` tests it in advance; in training,
    an output of another shape raises :class:`~equilibria.base.errors.ShapeError`.

    Examples:
        >>> as_logits(nn.Linear(2, 1))(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    return discriminator if isinstance(discriminator, _Logits) else _Logits(discriminator)


def check_pair(
    generator: nn.Module, discriminator: nn.Module, latent: int, shape: tuple[int, ...], classes: int = 0
) -> tuple[str, ...]:
    """Run both networks once on a few points, and report what does not fit.

    It has no side effects: no gradient is computed, the networks run in evaluation mode, and their train flags, their
    buffers and torch's random generators are restored.

    Args:
        generator: called with ``(n, latent)``, and one-hot labels ``(n, classes)`` if there are classes.
        discriminator: called with ``(n, *shape)``, and labels if there are classes.
        latent: size of the latent codes.
        shape: shape of a real point.
        classes: number of classes; 0 for an unconditional pair.

    Returns:
        Warnings, one sentence each; empty if nothing is suspicious.

    Raises:
        ShapeError: the generator does not accept the codes or returns points of another shape, or the discriminator
            does not accept the points or does not return one logit per point.

    Examples:
        >>> check_pair(nn.Linear(8, 2), nn.Linear(2, 1), latent=8, shape=(2,))
        ()
        >>> try:
        ...     check_pair(nn.Linear(8, 3), nn.Linear(2, 1), latent=8, shape=(2,))
        ... except ShapeError as error:
        ...     print(error.what)
        the generator gives points of shape (3,), and the data has (2,)
    """
    device, dtype = _kind(generator, discriminator)
    source = torch.Generator(device).manual_seed(0)
    with torch.no_grad(), _undisturbed(device, generator, discriminator):
        y = one_hot(torch.arange(_ROWS, device=device) % classes, classes, dtype) if classes else None
        z = torch.randn(_ROWS, latent, generator=source, device=device, dtype=dtype)
        fake = _call(generator, z, y, "the generator", "latent codes")
        _check_points(fake, shape)
        _flat(_call(discriminator, fake, y, "the discriminator", "points"), _ROWS)
        return _suspicions(discriminator, fake, y, source)


def _check_points(fake: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(fake.shape) == (_ROWS, *shape):
        return
    wanted = f"(n, {', '.join(map(str, shape))})"
    if fake.ndim > 1 and fake.numel() == _ROWS * torch.Size(shape).numel():
        fix = f"end its forward with x.reshape(-1, {', '.join(map(str, shape))})"
    else:
        fix = f"end the generator with an output of shape {wanted}"
    given = tuple(fake.shape[1:]) if fake.ndim and fake.shape[0] == _ROWS else f"{tuple(fake.shape)} for {_ROWS} codes"
    raise ShapeError(f"the generator gives points of shape {given}, and the data has {tuple(shape)}", fix)


def _flat(scores: Tensor, rows: int) -> Tensor:
    """Scores as ``(n,)``; there must be one per row."""
    if scores.shape[:1] == (rows,) and scores.numel() == rows:
        return scores.reshape(rows)
    raise ShapeError(
        f"the discriminator gives scores of shape {tuple(scores.shape)} for {rows} points",
        "end it with one logit per point: shape (n,) or (n, 1); average a map of patches",
    )


def _call(net: nn.Module, x: Tensor, y: Tensor | None, who: str, what: str) -> Tensor:
    try:
        out = net(x) if y is None else net(x, y)
    except Exception as error:
        labels = "" if y is None else f" and labels {tuple(y.shape)}"
        reason = (str(error).splitlines() or [""])[0]
        raise ShapeError(
            f"{who} ({type(net).__name__}) cannot take {what} of shape {tuple(x.shape)}{labels}: "
            f"{type(error).__name__}: {reason}",
            _remedy(net, x, y, who),
        ) from error
    if not isinstance(out, Tensor):
        raise ShapeError(f"{who} returns a {type(out).__name__}, not a tensor", "return one tensor from its forward")
    return out


def _remedy(net: nn.Module, x: Tensor, y: Tensor | None, who: str) -> str:
    """A fix, found by trying changes of the input that may work."""
    tries = [(x.flatten(1), "x = x.flatten(1)")] if x.ndim > 2 else [(x[:, :, None, None], "z = z[:, :, None, None]")]
    for other, code in tries:
        try:
            net(other) if y is None else net(other, y)
        except Exception:
            continue
        return f"begin its forward with {code}"
    if y is not None:
        return "let its forward take (inputs, one-hot float labels), or use classes=0"
    return "build it for this size" if who == "the discriminator" else "build it for this size, or pass its own latent="


def _suspicions(discriminator: nn.Module, fake: Tensor, y: Tensor | None, source: torch.Generator) -> tuple[str, ...]:
    """Warnings: scores that stay in [0, 1] even for very large inputs suggest a sigmoid at the end."""
    noise = torch.randn((3, *fake.shape), generator=source, device=fake.device, dtype=fake.dtype)
    probes = [fake, noise[0], 1e3 * noise[1], 1e6 * noise[2]]
    scores = torch.cat([_flat(_call(discriminator, x, y, "the discriminator", "points"), _ROWS) for x in probes])
    if bool(torch.isnan(scores).any()):
        return ("the discriminator's scores are NaN on some inputs",)
    if bool(((scores >= 0) & (scores <= 1)).all()) and bool(scores.max() > scores.min()):
        return (
            "the discriminator's scores lie in [0, 1] on every input tried: it seems to end in a sigmoid, but the "
            "losses of this package need logits; remove the sigmoid",
        )
    return ()


def _kind(*nets: nn.Module) -> tuple[torch.device, torch.dtype]:
    for net in nets:
        for tensor in net.parameters():
            if tensor.is_floating_point():
                return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


@contextmanager
def _undisturbed(device: torch.device, *nets: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; flags, buffers and random generators are restored at exit."""
    flags = [(part, part.training) for net in nets for part in net.modules()]
    kept = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for part, _ in flags:
                part.training = False
            yield
    finally:
        for part, flag in flags:
            part.training = flag
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
