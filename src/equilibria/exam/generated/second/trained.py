"""Variants of the faults in networks, in the scale of the data, and in what a copy of the generator lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..changes import with_rows
from ..fault import After, Before, Change, Variant
from ..kit import Kit, Patch, Setting
from .wiring import variant

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _change(about: str, change: Change, patch: Patch | None = None) -> Variant:
    return Variant(about, patch, change, "held-out")


def _as_photographs(s: Setting) -> Setting:
    return with_rows(s, ((s.shape.rows.x + 1) / 2 - 0.485) / 0.229)


def _in_cents(s: Setting) -> Setting:
    x = s.shape.rows.x.clone()
    x[:, 1] = 100 * x[:, 1]
    return with_rows(s, x)


def _missing(s: Setting) -> Setting:
    """One row in two hundred lacks its last value."""
    x = s.shape.rows.x.clone()
    x.flatten(1)[::200, -1] = float("nan")
    return with_rows(s, x)


def _norms(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, _NORMS)]


def _momenta(k: Kit, momentum: float | None) -> None:
    for m in _norms(k.G):
        m.momentum = momentum  # type: ignore[assignment]


def _drawn(k: Kit) -> None:
    """Categories are drawn from the probabilities that the generator returns."""
    widths = list(k.setting.shape.rows.blocks)

    def draw(x: Tensor) -> Tensor:
        groups = [g / g.sum(1, keepdim=True) for g in x.clamp_min(1e-6).split(widths, 1)]
        return torch.cat([F.one_hot(g.multinomial(1).squeeze(1), g.shape[1]).float() for g in groups], 1)

    k.G = After(k.G, draw)


def _two_decimals(k: Kit) -> None:
    k.G = After(k.G, lambda x: torch.floor(100 * x) / 100)


def _by_list(k: Kit) -> None:
    k.G = After(k.G, lambda x: torch.tensor(x.tolist()))


def _norms_frozen(k: Kit) -> None:
    def freeze() -> None:
        for m in _norms(k.G):
            m.eval()

    freeze()
    k.before.append(freeze)


def _statistics_of_the_start(k: Kit) -> None:
    """The copy gets the generator's statistics in the first fifteen rounds only."""
    left = [15]

    def leave() -> None:
        left[0] -= 1
        if not left[0]:
            k.buffers_left = frozenset(name for name, _ in k.G.named_buffers())

    k.after.append(leave)


def _negative_layers(k: Kit) -> None:
    """Hidden layers after the first get weights below 0, which rectified inputs do not bring above 0."""
    layers = [m for m in k.G.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for layer in layers[1:-1]:
            for p in layer.parameters():
                if p.dim() > 1 and p.shape[1] > 1:
                    p.copy_(-p.abs())
            nn.init.constant_(layer.bias, -0.1)
        if len(layers) < 3:
            nn.init.constant_(layers[0].bias, -30.0)


def _narrow_norm(x: Tensor) -> Tensor:
    """A layer norm over an axis of one number."""
    return F.layer_norm(x.unsqueeze(-1), (1,)).squeeze(-1)


def _blind(k: Kit) -> None:
    k.D = Before(k.D, _narrow_norm)


def _uniform_codes(k: Kit) -> None:
    k.G = Before(k.G, lambda z: z.unsqueeze(1).softmax(1).squeeze(1))


def _by_batch(norm: Callable[[Tensor], Tensor]) -> Patch:
    """Both batches are joined and normalised by their own mean and deviation."""

    def patch(k: Kit) -> None:
        k.D = Before(k.D, norm)

        def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
            scores = k.D(torch.cat([x, fake]))
            return scores[: len(x)], scores[len(x) :]

        k.both = both  # type: ignore[method-assign]

    return patch


def _whitened(x: Tensor) -> Tensor:
    var, mean = torch.var_mean(x, 0, keepdim=True)
    return (x - mean) / (var + 1e-4).sqrt()


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "data-range": (_change("images normalised like photographs, under a tanh", _as_photographs),),
    "column-unscaled": (_change("a column in cents", _in_cents),),
    "rows-not-finite": (_change("some rows lack a value", _missing),),
    "norm-at-the-end": (
        _change("an RMS norm stands before the output", lambda s: replace(s, shape=replace(s.shape, out="rms"))),
    ),
    "statistics-slow": (
        variant("the momentum of the batch norms is 0.002", lambda k: _momenta(k, 0.002)),
        variant("batch norms average over the whole run", lambda k: _momenta(k, None)),
    ),
    "output-argmax": (variant("categories are drawn from probabilities", _drawn),),
    "graph-cut": (
        variant("samples are cut to two decimals", _two_decimals),
        variant("samples go through a list of numbers", _by_list),
    ),
    "generator-in-eval": (variant("a helper puts the batch norms alone into eval mode", _norms_frozen),),
    "average-lacks-buffers": (variant("statistics are copied in the first rounds only", _statistics_of_the_start),),
    "units-dead": (variant("hidden layers get weights below 0", _negative_layers),),
    "input-lost": (variant("a layer norm over an axis of one number", _blind),),
    "code-lost": (variant("a softmax of codes over an axis of one number", _uniform_codes),),
    "batches-told-apart": (variant("joined batches are normalised by their mean and deviation", _by_batch(_whitened)),),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
