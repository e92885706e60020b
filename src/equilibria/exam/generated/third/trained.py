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


def _decibels(s: Setting) -> Setting:
    return with_rows(s, 40 * s.shape.rows.x - 40)


def _sixteen_bits(s: Setting) -> Setting:
    return with_rows(s, (32767 * s.shape.rows.x).round())


def _days(s: Setting) -> Setting:
    """A date in days since 1970."""
    x = s.shape.rows.x.clone()
    x[:, 0] = 19000 + 300 * x[:, 0]
    return with_rows(s, x)


def _fahrenheit(s: Setting) -> Setting:
    x = s.shape.rows.x.clone()
    x[:, 1] = 18 * x[:, 1] + 68
    return with_rows(s, x)


def _log_of_zero(s: Setting) -> Setting:
    """Some values are logarithms of zeros."""
    x = s.shape.rows.x.clone()
    x.flatten(1)[::150, 0] = float("-inf")
    return with_rows(s, x)


def _divided_by_zero(s: Setting) -> Setting:
    """Constant rows were divided by their deviation."""
    x = s.shape.rows.x.clone()
    x[::300] = float("nan")
    return with_rows(s, x)


def _standardised_samples(k: Kit) -> None:
    """Samples are standardised by the batch, as the data was by the set."""

    def standardise(x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, 0, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt()

    k.G = After(k.G, standardise)


def _norms(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, _NORMS)]


def _reset_each_round(k: Kit) -> None:
    """Statistics are reset in each round."""

    def reset() -> None:
        for m in _norms(k.G):
            m.reset_running_stats()  # type: ignore[operator]

    k.after.append(reset)


def _statistics_of_the_start(k: Kit) -> None:
    """Statistics of a checkpoint are loaded in each round."""
    known = {name: value.clone() for name, value in k.G.named_buffers()}

    def load() -> None:
        for name, value in k.G.named_buffers():
            value.copy_(known[name])

    k.after.append(load)


def _compared(k: Kit) -> None:
    """A category is 1 where its group has its maximum."""
    widths = list(k.setting.shape.rows.blocks)
    k.G = After(k.G, lambda x: torch.cat([(g == g.amax(1, keepdim=True)).float() for g in x.split(widths, 1)], 1))


def _above_half(k: Kit) -> None:
    k.G = After(k.G, lambda x: (x > 0.5).float())


def _data_attribute(k: Kit) -> None:
    k.G = After(k.G, lambda x: x.data)


def _integers(k: Kit) -> None:
    k.G = After(k.G, lambda x: (1000 * x).to(torch.int32).float() / 1000)


def _mode_of_the_other(k: Kit) -> None:
    """A helper that restores the mode after a picture gives it to the wrong network."""
    k.G.eval()

    def restore() -> None:
        k.D.train()

    k.before.append(restore)


def _means_missing(k: Kit) -> None:
    k.buffers_left = frozenset(name for name, _ in k.G.named_buffers() if name.endswith("running_mean"))


def _zeros_below_zero(k: Kit) -> None:
    """Hidden layers start with weights of 0 and biases of -1."""
    for layer in [m for m in k.G.modules() if isinstance(m, nn.Linear)][:-1]:
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, -1.0)


def _wide_biases(k: Kit) -> None:
    """Biases of hidden layers are drawn between -60 and -30."""
    for layer in [m for m in k.G.modules() if isinstance(m, nn.Linear)][:-1]:
        nn.init.uniform_(layer.bias, -60.0, -30.0)


def _clamped_away(k: Kit) -> None:
    k.D = Before(k.D, lambda x: x.clamp(20.0, 40.0))


def _shares_of_a_byte(k: Kit) -> None:
    k.D = Before(k.D, lambda x: x / 255 / 255 / 255)


def _all_dropped(k: Kit) -> None:
    """Dropout of the code is given the share to keep, 1, for the share to drop."""
    k.G = Before(k.G, lambda z: F.dropout(z, 1.0))


def _code_clamped(k: Kit) -> None:
    k.G = Before(k.G, lambda z: z.clamp(6.0, 7.0))


def _by_extremes(x: Tensor) -> Tensor:
    """Each column of a batch from 0 to 1."""
    low, high = x.amin(0, keepdim=True), x.amax(0, keepdim=True)
    return (x - low) / (high - low + 1e-4)


def _by_median(x: Tensor) -> Tensor:
    """Columns of a batch without their medians, over their mean deviation."""
    x = x - x.median(0, keepdim=True).values
    return x / (x.abs().mean(0, keepdim=True) + 1e-4)


def _joined(k: Kit, norm: Callable[[Tensor], Tensor]) -> None:
    k.D = Before(k.D, norm)

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        real_scores, fake_scores = k.D(torch.cat([x, fake])).split([len(x), len(fake)])
        return real_scores, fake_scores

    k.both = both  # type: ignore[method-assign]


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "data-range": (
        _change("decibels from -80 to 0 under a tanh", _decibels),
        _change("integers of 16 bits under a tanh", _sixteen_bits),
    ),
    "column-unscaled": (
        _change("a date in days since 1970", _days),
        _change("a column in degrees Fahrenheit", _fahrenheit),
    ),
    "rows-not-finite": (
        _change("some values are logarithms of 0", _log_of_zero),
        _change("some rows were divided by 0", _divided_by_zero),
    ),
    "norm-at-the-end": (
        _change("a group norm stands before the output", lambda s: replace(s, shape=replace(s.shape, out="group"))),
        variant("samples are standardised by their batch", _standardised_samples),
    ),
    "statistics-slow": (
        variant("statistics are reset in each round", _reset_each_round),
        variant("statistics of a checkpoint are loaded in each round", _statistics_of_the_start),
    ),
    "output-argmax": (
        variant("a comparison with the maximum gives the categories", _compared),
        variant("categories are 1 above a half", _above_half),
    ),
    "graph-cut": (
        variant("the forward method returns .data", _data_attribute),
        variant("samples are stored as integers", _integers),
    ),
    "generator-in-eval": (variant("the mode is restored for the wrong network", _mode_of_the_other),),
    "average-lacks-buffers": (variant("the averaged copy never gets the means", _means_missing),),
    "units-dead": (
        variant("hidden layers start at 0 with biases of -1", _zeros_below_zero),
        variant("biases are drawn between -60 and -30", _wide_biases),
    ),
    "input-lost": (
        variant("the discriminator's input is clamped to an interval without data", _clamped_away),
        variant("the discriminator's input is divided by 255 three times", _shares_of_a_byte),
    ),
    "code-lost": (
        variant("all of the code is dropped", _all_dropped),
        variant("the code is clamped to an interval without codes", _code_clamped),
    ),
    "batches-told-apart": (
        variant("joined batches are scaled by their extremes", lambda k: _joined(k, _by_extremes)),
        variant("joined batches are normalised by their medians", lambda k: _joined(k, _by_median)),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
