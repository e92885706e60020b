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

    A copy has parameters of the same names and shapes. It holds if its batch norms have the statistics that they were
    made with, and the generator's have others.
    """
    names = {name: p.shape for name, p in generator.named_parameters()}
    own = _counts(generator)
    if not own or not any(own.values()):
        return None
    found: list[list[str]] = []

    def look(net: nn.Module, *_: Any) -> None:
        # within the call: functional_call puts other buffers in their place for its duration
        if net is not generator and {name: p.shape for name, p in net.named_parameters()} == names:
            found.append([kind for kind in _STATISTICS if _at_start(net, kind)])

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
    stale = [kind for kind in found[-1] if not _at_start(generator, kind)]
    text = f"still have the {' and '.join(stale)} that they were made with" if stale else ""
    return Reading(
        "average-without-buffers", bool(text), f"its batch norms {text}, unlike the generator's" if text else ""
    )


def _at_start(net: nn.Module, kind: str) -> bool:
    """Whether every running mean is 0, or every running variance 1."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    stored = [m.running_mean if kind == "means" else m.running_var for m in norms]
    return all(held is None or not bool((held != (kind == "variances")).any()) for held in stored)


def _counts(net: nn.Module) -> dict[str, int]:
    return {name: int(b) for name, b in net.named_buffers() if name.endswith("num_batches_tracked")}
