"""The record of a case: a training loop with a fault, and its repaired twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...doctor import Doctor
from .truth import Attached, distance

Attach = Callable[..., Doctor]
Play = Callable[[bool, int, Attach], Doctor | Sequence[Doctor]]
Truth = Callable[[Attached], float]


@dataclass(frozen=True)
class FieldCase:
    """A training loop in plain PyTorch that can be run with a fault and without it.

    Attributes:
        name: name of the case.
        condition: the condition of the doctor that names the fault; empty for a loop that is healthy in both forms.
        play: the loop, ``play(faulty, steps, attach)``.
        family: kind of the fault: ``healthy``, ``dynamics`` for faults of training, any other name for faults of code.
        steps: length of a run.
        truth: an independent measure of the trained networks; lower is healthier.
        onset: share of the run after which the fault begins.
        about: what the loop is and which mistake it has.
        also: other conditions that name the fault as well.
        axes: names of the parts of a generated case, as pairs.

    Examples:
        >>> from equilibria.doctor import Doctor
        >>> from equilibria.exam.field import CASES
        >>> doctor = CASES["token-argmax"].run(True, 0, 12, Doctor)
        >>> doctor.chart.last.step
        10
    """

    name: str
    condition: str
    play: Play
    family: str
    steps: int = 600
    truth: Truth = distance
    onset: float = 0.0
    about: str = ""
    also: tuple[str, ...] = ()
    axes: tuple[tuple[str, str], ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether the loop has no fault in either form."""
        return not self.condition

    def run(self, faulty: bool, seed: int, steps: int, attach: Attach) -> Doctor:
        """Train with the doctor that ``attach(generator, discriminator, real=…, …)`` returns, and return it.

        A loop with several pairs of networks attaches several doctors; the first one is returned. The state of the
        global random generator is restored.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            doctors = self.play(faulty, steps, attach)
        return doctors[0] if isinstance(doctors, Sequence) else doctors


@dataclass
class Recorder:
    """Attaches a doctor and keeps what the loop gave it, for the measure of the truth."""

    attached: list[Attached] = field(default_factory=list)

    def __call__(self, generator: nn.Module, discriminator: nn.Module, *, real: Any, **options: Any) -> Doctor:
        self.attached.append(Attached(generator, discriminator, real, options))
        return Doctor(generator, discriminator, real=real, **options)


def case(
    condition: str, family: str, *, steps: int = 600, truth: Truth = distance, onset: float = 0.0
) -> Callable[[Play], FieldCase]:
    """A decorator that makes a case of a loop; its name is the function's name in kebab case."""

    def made(play: Play) -> FieldCase:
        name = play.__name__.replace("_", "-")
        about = (play.__doc__ or "").strip()
        return FieldCase(name, condition, play, family, steps, truth, onset, about)

    return made


def healthy(*, steps: int = 600, truth: Truth = distance) -> Callable[[Play], FieldCase]:
    """A decorator that makes a case without a fault."""
    return case("", "healthy", steps=steps, truth=truth)


__all__ = ["Attach", "Doctor", "FieldCase", "Recorder", "case", "healthy"]
