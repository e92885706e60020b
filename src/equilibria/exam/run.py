"""The whole exam: every planted disease and every healthy run, over seeds, in several processes."""

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
from .results import CaseResult, run_healthy, run_planted


@dataclass(frozen=True)
class Plan:
    """The part of the exam to run.

    Attributes:
        half: ``developed`` or ``seen`` (thresholds were set on them), or ``held-out`` (run only for the report).
        seeds: number of seeds of each planted disease.
        healthy_seeds: number of seeds of each healthy run; larger, because a false-alarm rate needs many runs.
        only: names of cases; empty for all.
        cures: number of seeds of each disease on which the first remedy is tried.
        processes: number of parallel processes, one thread each.
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


OnResult = Callable[[str, CaseResult], None]


def run_exam(plan: Plan, on_result: OnResult | None = None) -> dict[str, Any]:
    """Run the exam and return its report as plain JSON.

    Args:
        plan: the part of the exam.
        on_result: called with ``"sick"`` or ``"healthy"`` and each result as soon as it is there.
    """
    sick: list[CaseResult] = []
    healthy: list[CaseResult] = []
    for kind, result in _results(plan):
        (sick if kind == "sick" else healthy).append(result)
        if on_result is not None:
            on_result(kind, result)
    cases = [c for c in CASES[plan.half] if not plan.only or c.name in plan.only]
    sick.sort(key=lambda s: (s.name, s.seed))
    healthy.sort(key=lambda s: (s.name, s.seed))
    setting = {"half": plan.half, "seeds": plan.seeds, "healthy_seeds": plan.healthy_seeds, "torch": torch.__version__}
    rows = {"sick": [s.to_dict() for s in sick], "healthy": [s.to_dict() for s in healthy]}
    return setting | summary(cases, sick, healthy) | {"sittings": rows}


def _results(plan: Plan) -> Iterator[tuple[str, CaseResult]]:
    jobs: list[tuple[str, str, int]] = []
    for name in HEALTHY[plan.half]:
        if not plan.only or name in plan.only:
            jobs += [("healthy", name, plan.first_seed + s) for s in range(plan.healthy_seeds)]
    for case in CASES[plan.half]:
        if not plan.only or case.name in plan.only:
            jobs += [("sick", case.name, plan.first_seed + s) for s in range(plan.seeds)]
    # Workers even for one process: each has one thread, independent of the caller's number of threads.
    with ProcessPoolExecutor(plan.processes, get_context("spawn"), _one_thread) as pool:
        futures = [(job[0], pool.submit(_one, plan, job)) for job in jobs]
        for kind, future in futures:
            yield kind, future.result()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


_CONTROLS: dict[str, float] = {}


def _one(plan: Plan, job: tuple[str, str, int]) -> CaseResult:
    kind, name, seed = job
    if kind == "healthy":
        return run_healthy(name, HEALTHY[plan.half][name], seed)
    case = next(c for c in CASES[plan.half] if c.name == name)
    return run_planted(case, seed, _CONTROLS, seed - plan.first_seed < plan.cures)
