"""Variants of the faults in networks, in the scale of the data, and in what a copy of the generator lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..changes import with_rows
from ..fault import After, Before, Change, Variant
from ..kit import Kit, Setting
from .wiring import variant

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _change(about: str, change: Change) -> Variant:
    return Variant(about, None, change, "unseen")


def _ten_bits(s: Setting) -> Setting:
    return with_rows(s, (511.5 * (s.shape.rows.x + 1)).round())


def _by_pixel(s: Setting) -> Setting:
    """Each pixel was standardised over the set and then multiplied by four by a second layer of the loader."""
    x = s.shape.rows.x
    return with_rows(s, 4 * (x - x.mean(0)) / (x.std(0) + 1e-3))


def _grams(s: Setting) -> Setting:
    """A weight in grams."""
    x = s.shape.rows.x.clone()
    x[:, 1] = 12_000 * x[:, 1] + 70_000
    return with_rows(s, x)


def _not_logarithmic(s: Setting) -> Setting:
    """A price that was to be a logarithm."""
    x = s.shape.rows.x.clone()
    x[:, 0] = (5 * x[:, 0] + 4).exp()
    return with_rows(s, x)


def _overflowed(s: Setting) -> Setting:
    """Some values were stored in half precision, where a wrong unit made them infinite."""
    x = s.shape.rows.x.clone()
    x.flatten(1)[5::250, -1] = x.flatten(1)[5::250, -1].mul(1e9).half().float()
    return with_rows(s, x)


def _one_missing(s: Setting) -> Setting:
    """A line of the file was damaged: one row has no numbers."""
    x = s.shape.rows.x.clone()
    x[1234:1236] = float("nan")
    return with_rows(s, x)


def _per_sample(k: Kit) -> None:
    """Each sample is standardised as a picture of its own, as the data was not."""

    def standardise(x: Tensor) -> Tensor:
        rows = x.flatten(1)
        rows = (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-5)
        return rows.view_as(x)

    k.G = After(k.G, standardise)


class NormedOutput(nn.Module):
    """A generator and a batch norm of its rows."""

    def __init__(self, net: nn.Module, features: int) -> None:
        super().__init__()
        self.net, self.norm = net, nn.BatchNorm1d(features, affine=False)

    def forward(self, *given: Tensor) -> Tensor:
        """Rows."""
        x = self.net(*given)
        return self.norm(x.flatten(1)).view_as(x)


def _norm_appended(k: Kit) -> None:
    k.G = NormedOutput(k.G, k.setting.shape.features)


def _norms(net: nn.Module) -> list[Any]:
    return [m for m in net.modules() if isinstance(m, _NORMS)]


def _calibrated_early(k: Kit) -> None:
    """Statistics are counted in the first rounds and then left as they are."""
    left = [8]

    def stop() -> None:
        left[0] -= 1
        if not left[0]:
            for m in _norms(k.G):
                m.momentum = 0.0

    k.after.append(stop)


def _unit_variances(k: Kit) -> None:
    """Only the means of the statistics are kept from round to round; variances are set to 1 as at the start."""

    def reset() -> None:
        for m in _norms(k.G):
            m.running_var.fill_(1.0)

    k.after.append(reset)


def _by_blocks(k: Kit, one: Callable[[Tensor], Tensor]) -> None:
    widths = list(k.setting.shape.rows.blocks)
    k.G = After(k.G, lambda x: torch.cat([one(g) for g in x.split(widths, 1)], 1))


def _scattered(k: Kit) -> None:
    """A 1 is written at the index of the largest probability."""
    _by_blocks(k, lambda g: torch.zeros_like(g).scatter_(1, g.topk(1, 1).indices, 1.0))


def _sampled(k: Kit) -> None:
    """Categories are samples of a distribution."""

    def one(g: Tensor) -> Tensor:
        shares = g.clamp_min(1e-5)
        return torch.distributions.OneHotCategorical(shares / shares.sum(1, keepdim=True)).sample()

    _by_blocks(k, one)


class _Cut(torch.autograd.Function):
    """An operation of an extension whose backward pass was never written."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The input, cut at ±50."""
        return x.clamp(-50.0, 50.0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Nothing."""
        return None


def _extension(k: Kit) -> None:
    k.G = After(k.G, lambda x: _Cut.apply(x))


def _preallocated(k: Kit) -> None:
    """The output is written into the storage of a new tensor."""

    def stored(x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out.data[:] = x.data
        return out

    k.G = After(k.G, stored)


def _children_in_eval(k: Kit) -> None:
    """The children are put into eval mode for pictures; the network itself, which is asked later, is in train mode."""

    def picture() -> None:
        for child in k.G.children():
            child.eval()

    picture()
    k.before.append(picture)


def _last_norm_missing(k: Kit) -> None:
    """The statistics of the last norm are under another name in the copy."""
    names = [name for name, _ in k.G.named_buffers() if name.endswith(("running_mean", "running_var"))]
    k.buffers_left = frozenset(names[-2:])


def _variances_without_means(k: Kit) -> None:
    """A filter for the names of buffers knows the counters only."""
    k.buffers_left = frozenset(name for name, _ in k.G.named_buffers() if "num_batches" not in name)


def _hidden(net: nn.Module) -> list[nn.Linear]:
    return [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]


def _byte_biases(k: Kit) -> None:
    """Biases of the first layer were stored in bytes with a sign and come back as -128."""
    for layer in _hidden(k.G)[:1]:
        nn.init.constant_(layer.bias, -128.0)


def _shifted_far(k: Kit) -> None:
    """Hidden biases are drawn around -30 with a deviation of 5, where 0 was meant."""
    for layer in _hidden(k.G):
        nn.init.normal_(layer.bias, -30.0, 5.0)


def _centred_by_itself(k: Kit) -> None:
    k.D = Before(k.D, lambda x: x - x.detach())


def _filtered(k: Kit) -> None:
    """A filter against small noise is set a hundred times too high."""
    k.D = Before(k.D, lambda x: F.hardshrink(x, 100.0))


def _rounded_code(k: Kit) -> None:
    k.G = Before(k.G, lambda z: (z / 100).round())


def _faint_by_tanh(k: Kit) -> None:
    k.G = Before(k.G, lambda z: (1e-6 * z).tanh())


def _together(k: Kit, norm: Callable[[Tensor], Tensor]) -> None:
    """Both batches are joined, and columns are normalised over all rows before the discriminator."""
    k.D = Before(k.D, norm)

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        n = x.size(0)
        scores = k.D(torch.vstack([fake, x]))
        return scores[n:], scores[:n]

    k.both = both  # type: ignore[method-assign]


def _functional_norm(x: Tensor) -> Tensor:
    rows = x.flatten(1)
    return F.batch_norm(rows, None, None, training=True).view_as(x) if len(rows) > 1 else x


def _largest_of_batch(x: Tensor) -> Tensor:
    """Without the mean row, over the largest absolute value of each column."""
    x = x - x.mean(0, keepdim=True)
    return 2 * x / (x.abs().amax(0, keepdim=True) + 1e-3)


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "data-range": (
        _change("integers of ten bits under a tanh", _ten_bits),
        _change("pixels with a deviation of four under a tanh", _by_pixel),
    ),
    "column-unscaled": (
        _change("a weight in grams", _grams),
        _change("a price that is not a logarithm", _not_logarithmic),
    ),
    "rows-not-finite": (
        _change("half precision made some values infinite", _overflowed),
        _change("two rows are damaged", _one_missing),
    ),
    "norm-at-the-end": (
        variant("each sample is standardised by itself", _per_sample),
        variant("a batch norm is put after the generator", _norm_appended),
    ),
    "statistics-slow": (
        variant("statistics stop after eight rounds", _calibrated_early),
        variant("variances are set to 1 in each round", _unit_variances),
    ),
    "output-argmax": (
        variant("a 1 is scattered to the largest probability", _scattered),
        variant("categories are sampled", _sampled),
    ),
    "graph-cut": (
        variant("an extension has no backward pass", _extension),
        variant("the output is written into new storage", _preallocated),
    ),
    "generator-in-eval": (variant("the children are put into eval mode", _children_in_eval),),
    "average-lacks-buffers": (
        variant("the averaged copy never gets the last norm's statistics", _last_norm_missing),
        variant("the averaged copy gets counters only", _variances_without_means),
    ),
    "units-dead": (
        variant("biases of the first layer are -128", _byte_biases),
        variant("hidden biases are drawn around -30", _shifted_far),
    ),
    "input-lost": (
        variant("the discriminator's input is centred by itself", _centred_by_itself),
        variant("a filter removes the discriminator's input", _filtered),
    ),
    "code-lost": (
        variant("the code is rounded after a division by 100", _rounded_code),
        variant("the code goes through a tanh of a millionth", _faint_by_tanh),
    ),
    "batches-told-apart": (
        variant("joined batches go through a functional batch norm", lambda k: _together(k, _functional_norm)),
        variant("joined batches are centred and divided by the largest", lambda k: _together(k, _largest_of_batch)),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
