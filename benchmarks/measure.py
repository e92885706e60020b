"""Alternating time measurements of several sides, and their ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from equilibria import __version__
from equilibria.base.errors import ConfigError
from equilibria.base.provenance import commit

Rounds = Callable[[int], object]
WARM_UP = 3


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Args:
        seconds: measuring time of the other side, per pair.
        pairs: number of alternations.
        threads: threads of torch, on both sides.
        peers: the folder of the peers' checkouts; None to measure floors only.
        python: the interpreter that runs peers; None for this one.

    Raises:
        ConfigError: a number that is not allowed.
    """

    seconds: float = 5.0
    pairs: int = 5
    threads: int = 1
    peers: Path | None = None
    python: Path | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"--seconds {self.seconds:g}", "use a positive number")
        for name in ("pairs", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} {getattr(self, name)}", "use at least 1")


class Side(Protocol):
    """One side of a comparison: trains for a number of rounds and returns the seconds that they took."""

    def __call__(self, rounds: int) -> float: ...


def clock(threads: int) -> Callable[[], float]:
    """Processor time for one thread, which other load affects little; wall-clock time for several threads."""
    return time.process_time if threads == 1 else time.perf_counter


@dataclass(frozen=True)
class Here:
    """A side in this process."""

    play: Rounds
    threads: int

    def __call__(self, rounds: int) -> float:
        now = clock(self.threads)
        begun = now()
        self.play(rounds)
        return now() - begun


@dataclass(frozen=True)
class Figures:
    """The measurements of one setting of ours.

    Attributes:
        setting: name of the setting.
        ratios: rounds per second, ours / other, pair by pair.
        rate: our rounds per second, the median.
        other_rate: rounds per second of the other side, the median.
        target: the target ratio; None if there is none.
    """

    setting: str
    ratios: tuple[float, ...]
    rate: float
    other_rate: float
    target: float | None = None

    @property
    def ratio(self) -> float:
        """The median over pairs."""
        return statistics.median(self.ratios)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Examples:
            >>> Figures("float32", (1.0, 3.0, 2.0), 10.0, 5.0, 1.6).to_dict()["ratio"]
            2.0
        """
        met = None if self.target is None else self.ratio >= self.target
        spread = {"least": min(self.ratios), "most": max(self.ratios), "ratios": list(self.ratios)}
        rates = {"rounds_per_second": self.rate, "other_rounds_per_second": self.other_rate}
        return {"setting": self.setting, "ratio": self.ratio, **spread, **rates, "target": self.target, "met": met}


def measured(ours: Mapping[str, Side], other: Side, plan: Plan, targets: Mapping[str, float]) -> list[Figures]:
    """Let the sides alternate, the other first in every second pair, and compare each of ours with the other.

    Every side runs for about ``plan.seconds`` of its own time per pair, so both times of a ratio are about equal.

    Examples:
        >>> slow, fast = (lambda n: 0.2 * n), (lambda n: 0.1 * n)
        >>> [found] = measured({"float32": fast}, slow, Plan(seconds=1.0, pairs=3), {})
        >>> round(found.ratio, 6)
        2.0
    """
    sides = {**ours, "": other}
    counts = {}
    for name, side in sides.items():
        side(WARM_UP)
        counts[name] = max(1, round(plan.seconds / max(side(WARM_UP) / WARM_UP, 1e-9)))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(plan.pairs):
        for name in sorted(sides, reverse=bool(pair % 2)):
            rates[name].append(counts[name] / sides[name](counts[name]))
    return [
        Figures(
            name,
            tuple(mine / theirs for mine, theirs in zip(rates[name], rates[""], strict=True)),
            statistics.median(rates[name]),
            statistics.median(rates[""]),
            targets.get(name),
        )
        for name in ours
    ]


def surroundings(threads: int) -> dict[str, Any]:
    """The machine and the versions of a measurement."""
    flags = [name for name in ("avx512_bf16", "amx_bf16", "avx512f", "avx2") if name in _processor().get("flags", "")]
    return {
        "processor": _processor().get("model name", platform.processor() or platform.machine()),
        "bfloat16": flags,
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": commit(),
        "versions": {"equilibria": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _processor() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
