"""The whole exam: every planted disease and every healthy run, over seeds, on both cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch

from ..base.errors import ConfigError, did_you_mean
from .cases import CASES, FIRST_SEED, HEALTHY
from .matrix import summary
from .sitting import Sitting, sit_healthy, sit_sick


@dataclass(frozen=True)
class Plan:
    """Which part of the exam is sat.

    Attributes:
        half: ``developed`` or ``seen`` (thresholds were set on them), or ``held-out`` (run only for the report).
        seeds: of each planted disease.
        healthy_seeds: of each healthy run; more, since a false-alarm rate needs many.
        only: names of cases; empty for all.
        cures: seeds of each disease on which the first remedy is tried.
        processes: at once, one thread each.
    """

    half: str = "held-out"
    seeds: int = 5
    healthy_seeds: int = 7
    only: tuple[str, ...] = ()
    cures: int = 5
    processes: int = 2

    def __post_init__(self) -> None:
        if self.half not in CASES:
            raise ConfigError(f"half '{self.half}' of the exam", did_you_mean(self.half, CASES))
        for name in ("seeds", "processes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}", "use at least 1")
        known = {c.name for c in CASES[self.half]} | set(HEALTHY[self.half])
        for name in self.only:
            if name not in known:
                raise ConfigError(f"no case '{name}' in the {self.half} half", did_you_mean(name, known))

    @property
    def first_seed(self) -> int:
        """The first seed of this half."""
        return FIRST_SEED[self.half]


Heard = Callable[[str, Sitting], None]


def sit(plan: Plan, heard: Heard | None = None) -> dict[str, Any]:
    """Sit the exam and return its report as plain JSON.

    Args:
        plan: which part.
        heard: called with ``"sick"`` or ``"healthy"`` and each sitting as it ends.
    """
    sick: list[Sitting] = []
    healthy: list[Sitting] = []
    for kind, sitting in _sittings(plan):
        (sick if kind == "sick" else healthy).append(sitting)
        if heard is not None:
            heard(kind, sitting)
    cases = [c for c in CASES[plan.half] if not plan.only or c.name in plan.only]
    sick.sort(key=lambda s: (s.name, s.seed))
    healthy.sort(key=lambda s: (s.name, s.seed))
    told = {"half": plan.half, "seeds": plan.seeds, "healthy_seeds": plan.healthy_seeds, "torch": torch.__version__}
    rows = {"sick": [s.to_dict() for s in sick], "healthy": [s.to_dict() for s in healthy]}
    return told | summary(cases, sick, healthy) | {"sittings": rows}


def _sittings(plan: Plan) -> Iterator[tuple[str, Sitting]]:
    jobs: list[tuple[str, str, int]] = []
    for name in HEALTHY[plan.half]:
        if not plan.only or name in plan.only:
            jobs += [("healthy", name, plan.first_seed + s) for s in range(plan.healthy_seeds)]
    for case in CASES[plan.half]:
        if not plan.only or case.name in plan.only:
            jobs += [("sick", case.name, plan.first_seed + s) for s in range(plan.seeds)]
    # Workers even where one is asked for: each has one thread, whatever the caller's process has.
    with ProcessPoolExecutor(plan.processes, get_context("spawn"), _alone) as pool:
        futures = [(job[0], pool.submit(_one, plan, job)) for job in jobs]
        for kind, future in futures:
            yield kind, future.result()


def _alone() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


_CONTROLS: dict[str, float] = {}


def _one(plan: Plan, job: tuple[str, str, int]) -> Sitting:
    kind, name, seed = job
    if kind == "healthy":
        return sit_healthy(name, HEALTHY[plan.half][name], seed)
    case = next(c for c in CASES[plan.half] if c.name == name)
    return sit_sick(case, seed, _CONTROLS, seed - plan.first_seed < plan.cures)
