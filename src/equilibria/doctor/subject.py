"""What the doctor examines: a generator and a discriminator, how they are called, and their inputs.

Nothing here changes them: gradients are taken at copies of the parameters, and buffers and random number generators are
restored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..base.errors import ConfigError, DataError, ShapeError
from ..base.randomness import mix
from .randomness import preserved_randomness

Params = dict[str, Tensor]
Codes = tuple[Tensor, Tensor | None]
_EPSILON = 1e-7
_PASSED_ON = re.compile(
    r"(Mean|View|Squeeze|Unsqueeze|Reshape|UnsafeView|ToCopy|Clone|Select|Alias|Permute|Transpose|T)"
)
_STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass
class Subject:
    """A pair of networks and their inputs.

    Attributes:
        generator: called ``generator(z)``, or ``generator(z, y)`` if there are labels.
        discriminator: called ``discriminator(x)``, or ``discriminator(x, y)``.
        real: ``(n, …)`` training rows.
        labels: of the training rows, ``(n,)``, one-hot, or any other condition ``(n, …)``; or None.
        holdout: rows that no network is trained on, or None.
        codes: ``n -> (n, latent)`` codes.
        sampler: ``n -> (n, …)`` if samples are not ``generator(codes)``.
        calls: other calling conventions, ``{"generator": fn(z, y), "discriminator": fn(x, y)}``.
        probabilities: whether the discriminator ends in a sigmoid (found by :meth:`inspect`).
        non_finite: share of the real rows that held a non-finite number; they are left out here.
        codes_are_rows: whether codes are real rows, as in image-to-image translation; then there is no latent space.
    """

    generator: nn.Module
    discriminator: nn.Module
    real: Tensor
    labels: Tensor | None = None
    holdout: Tensor | None = None
    codes: Callable[[int], Tensor] | None = None
    latent: int = 0
    sampler: Callable[[int], Tensor] | None = None
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    probabilities: bool = False
    non_finite: float = 0.0
    codes_are_rows: bool = False

    @property
    def classes(self) -> Tensor | None:
        """The labels if they are classes, ``(n,)`` or one-hot; None for other conditions."""
        y = self.labels
        if y is None or y.dim() == 1:
            return y
        one_hot = y.dim() == 2 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())
        return y if one_hot else None

    @property
    def device(self) -> torch.device:
        """The device of the discriminator."""
        return next((p.device for p in self.discriminator.parameters()), self.real.device)

    @property
    def stateful(self) -> bool:
        """Whether train and eval mode differ: batch norm or dropout in either network."""
        return any(isinstance(m, _STATEFUL) for net in self.networks.values() for m in net.modules())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by player."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def draw_codes(self, n: int) -> Codes:
        """``n`` codes (and labels, drawn from the data's), on the device."""
        if self.codes is None:
            raise ConfigError("the doctor was given no latent", "pass latent=128, or latent=fn with fn(n) -> codes")
        y = None
        if self.labels is not None:
            y = self.labels[torch.randint(len(self.labels), (n,))].to(self.device)
        return self.codes(n).to(self.device), y

    def make(self, codes: Codes, params: Params | None = None) -> Tensor:
        """Generated rows; with ``params`` in place of the generator's parameters."""
        call = self.calls.get("generator")
        z, y = _fitted(codes[0], self.generator), codes[1]
        if call is not None:
            return _first(_swapped(self.generator, params, lambda: call(z, y)), "generator")
        given = (z,) if y is None else (z, y)
        return _first(_called(self.generator, params, given), "generator")

    def sample(self, n: int) -> Tensor:
        """``n`` samples, by the sampler if there is one."""
        return self.sampler(n).to(self.device) if self.sampler is not None else self.make(self.draw_codes(n))

    def raw(self, x: Tensor, y: Tensor | None = None, params: Params | None = None) -> Tensor:
        """The discriminator's outputs, one number for each row: patch maps are averaged."""
        call = self.calls.get("discriminator")
        x = _fitted(x, self.discriminator)
        if call is not None:
            out = _swapped(self.discriminator, params, lambda: call(x, y))
        else:
            out = _called(self.discriminator, params, (x,) if self.labels is None else (x, y))
        return _per_row(_first(out, "discriminator"), len(x)).float()

    def score(self, x: Tensor, y: Tensor | None = None, params: Params | None = None) -> Tensor:
        """Logits ``(n,)``: higher is more real. Probabilities are converted to logits."""
        out = self.raw(x, y, params)
        if not self.probabilities:
            return out
        p = out.clamp(_EPSILON, 1 - _EPSILON)
        return p.log() - (1 - p).log()

    def batch(self, n: int, holdout: bool = False) -> tuple[Tensor, Tensor | None]:
        """``n`` real rows at random, and their labels."""
        rows = self.holdout if holdout and self.holdout is not None else self.real
        chosen = torch.randint(len(rows), (min(n, len(rows)),)) if len(rows) > n else torch.arange(len(rows))
        x = rows[chosen.to(rows.device)].to(self.device)
        if not x.is_floating_point():
            x = x.float()
        y = (
            self.labels[chosen.to(self.labels.device)].to(self.device)
            if self.labels is not None and not holdout
            else None
        )
        return x, y

    def inspect(self) -> None:
        """Call both networks once, and find out whether the discriminator ends in a sigmoid.

        Raises:
            ShapeError: an output or input does not fit; the message says what is needed.
        """
        with self.undisturbed(0), torch.no_grad():
            x, y = self.batch(64)
            try:
                fake = self.sample(len(x))
            except ConfigError:
                fake = None
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise ShapeError(
                    f"the generator cannot be called: {error}",
                    "latent= its code size or fn(n) -> codes; labels= if it needs them; call={'generator': fn(z, y)}",
                ) from error
            if fake is not None and fake.shape[1:] != x.shape[1:]:
                raise ShapeError(
                    f"the generator makes {tuple(fake.shape[1:])} and real rows are {tuple(x.shape[1:])}",
                    "pass real= in the shape of the discriminator's input",
                )
            try:
                wide = [self.raw(scale * x, y) for scale in (1.0, 1e3, -1e3)]
            except ShapeError:
                raise
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise ShapeError(
                    f"the discriminator cannot be called: {error}",
                    "labels= if it needs them, or call={'discriminator': fn(x, y) -> scores}",
                ) from error
            both = torch.cat(wide if fake is None else [*wide, self.raw(fake, y)])
            last = [m for m in self.discriminator.modules() if not list(m.children())]
            ends = (bool(last) and isinstance(last[-1], nn.Sigmoid)) or self._sigmoid_is_last(x, y)
            inside = bool(((both >= 0) & (both <= 1)).all())
            # A sigmoid that is not visible in the graph saturates far away from the data, at both ends.
            saturated = all(float(end.float().mean()) > 0.02 for end in (both < 1e-3, both > 1 - 1e-3))
            self.probabilities = inside and (ends or saturated)

    def _sigmoid_is_last(self, x: Tensor, y: Tensor | None) -> bool:
        """Whether the last operation of the discriminator, except reshapes and means, is a sigmoid."""
        with torch.enable_grad():
            node = self.raw(x.detach().requires_grad_(), y).grad_fn
        while node is not None and _PASSED_ON.match(node.name()):
            node = node.next_functions[0][0] if node.next_functions else None
        return node is not None and node.name().startswith("SigmoidBackward")

    def measure_latent(self) -> None:
        """Set the size of a code if only a function that makes codes was given."""
        if self.codes is not None and not self.latent:
            with self.undisturbed(0):
                codes = self.codes(64)  # some games need at least as many rows as they have components
            self.latent = codes[0].numel() if codes.is_floating_point() else 0

    @contextmanager
    def undisturbed(self, seed: int) -> Iterator[None]:
        """Restore, on exit, buffers, train flags and the states of random number generators."""
        flags = {id(m): (m, m.training) for net in self.networks.values() for m in net.modules()}
        buffers = [
            (m._buffers, n, b, b.clone()) for m, _ in flags.values() for n, b in m._buffers.items() if b is not None
        ]
        own = (self.generator, self.discriminator, self.codes, self.sampler, *self.calls.values())
        try:
            with (
                preserved_randomness(own, mix(seed, 11)),
                torch.autocast(self.device.type, enabled=False),
                torch.inference_mode(False),
                torch.enable_grad(),
            ):
                yield
        finally:
            with torch.no_grad():
                for held, name, buffer, kept in buffers:
                    buffer.copy_(kept)
                    held[name] = buffer  # a forward pass may have put another tensor in its place
            for module, training in flags.values():
                module.training = training

    def mode(self, training: bool) -> None:
        """Put both networks in train or eval mode; only inside :meth:`undisturbed`."""
        for net in self.networks.values():
            net.train(training)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside a wrapper (data parallel, compiled): the same parameters, called without the wrapper."""
    while isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or hasattr(module, "_orig_mod"):
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module  # type: ignore[assignment]
    return module


def rows_of(real: Any, name: str = "real") -> tuple[Tensor, Tensor | None]:
    """Real rows as one tensor, from a tensor, an array, a list of tensors, or a loader of batches (of tuples).

    Returns:
        The rows, and the labels that a loader of ``(x, y)`` yields with them.

    Raises:
        DataError: there are no rows, or ``real`` is of another type.
    """
    labels: Tensor | None = None
    if isinstance(real, Tensor):
        found = real
    elif isinstance(real, np.ndarray):
        found = torch.from_numpy(real)
    elif isinstance(real, Iterator):
        raise DataError(f"{name}= of type {type(real).__name__}, which can be read only once", "pass the loader itself")
    elif isinstance(real, Iterable):
        found, labels = _gathered(real, name)
    else:
        raise DataError(f"{name}= of type {type(real).__name__}", "pass a tensor (n, …), an array, or a loader")
    if found.dim() < 2 or len(found) < 16:
        raise DataError(f"{name} rows of shape {tuple(found.shape)}", "pass at least 16 rows, (n, d) or (n, c, h, w)")
    if found.dtype == torch.uint8:
        raise DataError(
            f"{name} rows have dtype uint8, which a network cannot take",
            f"pass {name}= in the discriminator's input scale, for example images.float() / 127.5 - 1",
        )
    return found.detach(), labels


def _gathered(loader: Iterable[Any], name: str, most: int = 4096) -> tuple[Tensor, Tensor | None]:
    """The first rows of a loader; with labels if each batch is ``(x, y, …)`` with one ``y`` for each row."""
    parts, labels, count = [], [], 0
    for batch in loader:
        pair = batch if isinstance(batch, (tuple, list)) else (batch,)
        x = pair[0]["x"] if isinstance(pair[0], Mapping) and "x" in pair[0] else pair[0]
        x = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
        if not isinstance(x, Tensor):
            raise DataError(
                f"{name}= with a batch of type {type(x).__name__}", "a tensor (n, …) or a loader of tensors"
            )
        parts.append(x.detach().cpu())
        if len(pair) > 1 and isinstance(pair[1], Tensor) and pair[1].dim() and len(pair[1]) == len(x):
            labels.append(pair[1].detach().cpu())
        count += len(x)
        if count >= most:
            break
    found = torch.cat(parts) if parts else torch.empty(0)
    return found, torch.cat(labels) if parts and len(labels) == len(parts) else None


def copies(module: nn.Module) -> Params:
    """The parameters of a module as detached leaves that take gradients; the module's own are not modified."""
    return {n: p.detach().clone().requires_grad_() for n, p in module.named_parameters() if p.is_floating_point()}


def _fitted(x: Tensor, module: nn.Module) -> Tensor:
    """``x`` in the precision of the module's parameters, if it is in another."""
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), x.dtype)
    return x.to(own) if x.is_floating_point() and x.dtype != own else x


def _called(module: nn.Module, params: Params | None, given: tuple[Any, ...]) -> Any:
    return module(*given) if params is None else functional_call(module, params, given)


def _swapped(module: nn.Module, params: Params | None, call: Callable[[], Any]) -> Any:
    """Call a function that uses the module, with other parameters in the module during the call."""
    if params is None:
        return call()

    class _Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self) -> Any:
            return call()

    return functional_call(_Inside(), {f"inner.{n}": p for n, p in params.items()}, ())


def _first(out: Any, who: str) -> Tensor:
    """The first tensor of what a network returns."""
    if isinstance(out, Tensor):
        return out
    if isinstance(out, Mapping):
        out = tuple(out.values())
    if isinstance(out, (tuple, list)) and out and isinstance(out[0], Tensor):
        return out[0]
    raise ShapeError(f"the {who} returns a {type(out).__name__}", f"call={{'{who}': fn}} that returns one tensor")


def _per_row(out: Tensor, n: int) -> Tensor:
    if out.dim() == 0 or len(out) != n:
        raise ShapeError(
            f"the discriminator returns {tuple(out.shape)} for {n} rows", "one score, or one map, for each row"
        )
    if out.dim() == 2 and out.shape[1] > 1:
        raise ShapeError(
            f"the discriminator returns {out.shape[1]} features for each row instead of a score",
            "call={'discriminator': lambda x, y: score of shape (n,)}",
        )
    return out.flatten(1).mean(1) if out.dim() > 1 else out
