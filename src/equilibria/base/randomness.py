"""Counter-based randomness: every random number of a run is a function of (seed, counter)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MASK = (1 << 64) - 1
count = 0
"""How often :func:`reseed` was called."""


def mix(*numbers: int) -> int:
    """A well-mixed 32-bit integer from integers, by SplitMix64's finaliser over each of them.

    The CPU generator of torch keeps only the low 32 bits of a seed, so 32 bits are returned. Neighbouring counters
    give unrelated streams of random numbers.

    Examples:
        >>> mix(0, 1) != mix(1, 0)
        True
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state + (number & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return (state ^ (state >> 32)) & 0xFFFFFFFF


def _cuda_runs() -> bool:
    # Not is_available(): that queries the driver at each call, and an initialised device is available.
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def reseed(seed: int) -> None:
    """Seed torch's global generators of the CPU and of every initialised accelerator.

    ``torch.manual_seed`` costs a hundred times as much on the CPU; a turn is seeded twice.
    """
    global count
    count += 1
    torch.default_generator.manual_seed(seed)
    if _cuda_runs():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Restore the state of torch's global random generators at exit, whatever is seeded or drawn inside."""
    state = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if _cuda_runs() else None
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
