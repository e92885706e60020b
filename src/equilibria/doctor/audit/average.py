"""Whether samples are drawn from an averaged copy whose buffers were never copied."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from .reading import Reading

_STATISTICS = ("means", "variances")


def average_reading(sampler: Callable[[int], Tensor], generator: nn.Module) -> Reading | None:
    """The reading, from one call of the sampler; None where no copy of the generator is called, or it has no counts.

    A copy has parameters of the same names and shapes. It holds if some of its batch norms have the statistics that
    they were made with, and the generator's have others.
    """
    names = {name: p.shape for name, p in generator.named_parameters()}
    own = _counts(generator)
    if not own or not any(own.values()):
        return None
    found: list[set[tuple[str, str]]] = []

    def look(net: nn.Module, *_: Any) -> None:
        # within the call: functional_call puts other buffers in their place for its duration
        if net is not generator and {name: p.shape for name, p in net.named_parameters()} == names:
            found.append(_at_start(net))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handle = modules.register_module_forward_hook(look)
    try:
        with torch.no_grad():
            sampler(8)
    except Exception:  # the check-up itself says what is wrong with a sampler
        return None
    finally:
        handle.remove()
    if not found:
        return None
    # The number of batches that a norm has counted plays no part in its output: a copy may do without it.
    stale = found[-1] - _at_start(generator)
    kinds = " and ".join(kind for kind in _STATISTICS if any(kind == own for _, own in stale))
    norms = len({name for name, _ in stale})
    text = f"{norms} of its batch norms still have the {kinds} that they were made with, unlike the generator's"
    return Reading("average-without-buffers", bool(stale), text if stale else "")


def _at_start(net: nn.Module) -> set[tuple[str, str]]:
    """The batch norms whose running means are all 0, or whose variances are all 1, by name and kind."""
    norms = {name: m for name, m in net.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    stored = {
        (name, kind): m.running_mean if kind == "means" else m.running_var
        for name, m in norms.items()
        for kind in _STATISTICS
    }
    return {
        (name, kind)
        for (name, kind), held in stored.items()
        if held is None or not bool((held != (kind == "variances")).any())
    }


def _counts(net: nn.Module) -> dict[str, int]:
    return {name: int(b) for name, b in net.named_buffers() if name.endswith("num_batches_tracked")}
