"""The doctor: attach it to any pair of networks in two lines of code, and it reports what is wrong."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, did_you_mean
from .answering import always_answers
from .attaching import missing, module_of, optimizers_of, subject_of
from .auditing import audit_of, take_in
from .chart import Chart, Checkup, Memory, flat_gradients, flat_parameters
from .conclude import conclude, read_cause
from .conditions import View
from .evidence import NotAssessed
from .findings import Diagnosis
from .objective import Declared, declared, expects_logits
from .randomness import preserved_randomness
from .schedule import Schedule
from .space import space_of
from .vitals import examine, examine_deeply, facts_of
from .watch import Watch

Latent = int | Callable[[int], Any]
Networks = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]
Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]
Fed = Tensor | tuple[Tensor, Tensor]


class DoctorOptions(TypedDict, total=False):
    """Optional arguments of the doctor; each allows it to assess more."""

    latent: Latent
    objective: Any
    holdout: Any
    labels: Any
    sampler: Callable[[int], Tensor]
    optimizers: Mapping[str, Optimizers]
    call: Mapping[str, Callable[..., Any]]
    seed: int


class Doctor:
    """Reports whether a GAN's training is healthy, and if not, why, since when, on what evidence and what to change.

    It changes nothing: a training with the doctor is bit for bit the training without it.

    Args:
        generator: called ``generator(z)``, or ``generator(z, y)`` with ``labels``; or a list of modules with ``call``.
        discriminator: called ``discriminator(x)``, or ``discriminator(x, y)`` with ``labels``; or a list of modules
            with ``call``.
        real: what the discriminator is fed: a tensor ``(n, …)``, an array, or a loader of batches.
        options: see below.

    Keyword Arguments:
        latent: the size of standard normal codes, or ``fn(n) -> codes``; of a tuple ``generator(*codes)`` is called,
            of a dict ``generator(**codes)``. Without it, codes of the shape that the generator's first layer takes,
            normal or uniform as the loop's own.
        objective: a name of :data:`~equilibria.losses.OBJECTIVES` (``"nonsaturating"``, ``"minimax"``,
            ``"wasserstein"``, ``"hinge"``, ``"least-squares"``, ``"relativistic"``, …), or two callables
            ``(loss_d(real, fake), loss_g(fake))`` on the discriminator's outputs.
        holdout: real rows that no network is trained on.
        labels: of the real rows, ``(n,)`` or one-hot ``(n, k)``, or any other condition ``(n, …)``; both networks are
            then called with labels.
        sampler: ``fn(n) -> samples`` where samples are not ``generator(codes)`` (an averaged copy, a transform).
        optimizers: ``{"generator": …, "discriminator": …}``, each an optimiser or a list of them.
        call: other calling conventions, ``{"generator": fn(z, y), "discriminator": fn(x, y)}``.
        seed: of the random numbers of the check-ups.

    Raises:
        ShapeError: a network cannot be called as these arguments say; the message says which argument is needed.
        DataError: no real rows, or another number of labels than rows.
        ConfigError: an unknown argument or objective.

    Examples:
        >>> G, D = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> doctor = Doctor(G, D, real=torch.randn(200, 2), latent=4, objective="nonsaturating")
        >>> for step in range(1, 31):
        ...     pass  # your own training step
        ...     checkup = doctor.check(step)
        >>> [finding.condition for finding in doctor.diagnose().findings][:2]
        ['generator-never-updated', 'discriminator-never-updated']
    """

    def __init__(
        self, generator: Networks, discriminator: Networks, *, real: Any, **options: Unpack[DoctorOptions]
    ) -> None:
        for name in options:
            if name not in DoctorOptions.__annotations__:
                raise ConfigError(f"the doctor takes no '{name}'", did_you_mean(name, DoctorOptions.__annotations__))
        given = {"generator": generator, "discriminator": discriminator}
        generator, discriminator = module_of("generator", generator), module_of("discriminator", discriminator)
        called = (options.get("latent"), options.get("sampler"), *(options.get("call") or {}).values())
        with preserved_randomness(
            (generator, discriminator, *called, *_users(real), *_users(options.get("objective")))
        ):
            self._set_up(generator, discriminator, real, options)
        self.audit = audit_of(given, self.subject, self.chart)

    def _set_up(self, generator: nn.Module, discriminator: nn.Module, real: Any, options: DoctorOptions) -> None:
        self.subject = subject_of(generator, discriminator, real, options)
        self.optimizers = optimizers_of(options.get("optimizers"))
        self.seed = options.get("seed", 0)
        self.subject.inspect()
        self.subject.measure_latent()
        space = space_of(self.subject.some_real[0], self.seed)
        self.chart = Chart(space, _declared(options.get("objective")))
        self.chart.facts |= facts_of(self.subject, space)
        own = self.chart.objective.own
        if own is not None:
            self.chart.facts["loss/expects-logits"] = float(expects_logits(own[0]))
        self.chart.not_assessed += missing(self.subject, options)
        self._memory = Memory.of(self.subject.networks)
        self._schedule, self._watch = Schedule(), Watch()
        self._disabled = False
        self._last_call = 0

    def check(self, step: int, real: Fed | None = None) -> Checkup | None:
        """Call once after each of your training steps; returns at once unless a check-up is due.

        A check-up that fails does not stop your training: there is one warning, and no further check-up is tried.

        Args:
            step: steps done so far; may skip.
            real: the batch that the discriminator was fed, if ``real=`` is not what it is fed; ``(x, y)`` with labels.

        Raises:
            ConfigError: a batch without labels for a pair that was given labels, or of rows of another shape than
                ``real=`` has.
        """
        if self._disabled:
            return None
        try:
            return self.follow(step, real)
        except ConfigError:
            raise
        except Exception as error:
            self._disabled = True
            reason = f"{type(error).__name__}: {error}"
            self.chart.not_assessed.append(
                NotAssessed("everything after this check-up", reason=f"the check-up at step {step} failed ({reason})")
            )
            warnings.warn(
                f"the doctor's check-up at step {step} failed, so the doctor is disabled ({reason})", stacklevel=2
            )
            return None

    def follow(self, step: int, real: Fed | None = None) -> Checkup | None:
        """As :meth:`check`, but an error in a check-up is raised."""
        stride, self._last_call = max(step - self._last_call, 1), step
        if self._watch.due(step) and self._watch.jumped(step, self.subject):
            self._schedule.hurry(step)
        if self._schedule.due(step):
            self._schedule.record(step)
            return self.look(step, real)
        if self._schedule.due(step + 1):
            self._note(step)
        audit = self.audit
        if audit is not None and not audit.recording and self._schedule.due(step + max(audit.span(step), stride)):
            audit.arm(step)
        return None

    def look(self, step: int, real: Fed | None = None) -> Checkup:
        """Make a check-up now, independent of the schedule."""
        fed = real if isinstance(real, tuple) or real is None else (real, None)
        if fed is not None and self.subject.labels is not None and fed[1] is None:
            raise ConfigError("a batch without labels for a conditional pair", "pass check(step, real=(x, y))")
        own = tuple(self.subject.real.shape[1:])
        if fed is not None and (shape := tuple(self.subject.rows.kept(fed[0]).shape[1:])) != own:
            what = f"a batch of rows of shape {shape}, and the rows of real= have {own}"
            raise ConfigError(what, "pass what the discriminator is fed, in the shape of real=, or check(step) alone")
        begun = time.perf_counter()
        readings = take_in(self.audit, self.subject, self.chart) if self.audit is not None else {}
        spent = time.perf_counter() - begun
        found = examine(self.subject, self.chart, self._memory, step, self.optimizers, fed, readings)
        found = replace(found, seconds=found.seconds + spent)
        self._memory.before.clear()
        self.chart.checkups.append(found)
        return found

    def join(self, schedule: Schedule, watch: Watch) -> None:
        """Follow this schedule and watch, and record no training step: for a loop that is known and asks when to call.

        Args:
            schedule: of the check-ups; the loop calls :meth:`follow` when one is due, and in the step before.
            watch: of the pulses; the loop calls :meth:`follow` when one is due.
        """
        self.audit, self._schedule, self._watch = None, schedule, watch

    def restore(self, checkups: Sequence[Checkup], memory: Memory) -> None:
        """Continue an earlier session of the run: its check-ups, and the memory for the next comparisons."""
        self.chart.checkups[:] = checkups
        self._memory = memory

    @always_answers
    def diagnose(self, deep: bool = True) -> Diagnosis:
        """What is wrong, root causes first; and what could not be examined.

        Args:
            deep: whether to test, if samples are far from the data, what each player could still learn and how the
                players rotate; this costs as much as several check-ups.
        """
        with preserved_randomness(self.chart.objective.own or ()):
            plain = conclude(self.chart, self.subject.probabilities)
            if not deep or not self._doubtful() or read_cause(plain.active):
                return plain
            found, missing = examine_deeply(self.subject, self.chart, self.chart.last.step)
            return conclude(self.chart, self.subject.probabilities, found, missing)

    def _doubtful(self) -> bool:
        """Whether the costlier tests are useful: samples are far from the data, and all numbers are finite."""
        if not self.chart.checkups or self.chart.last["numbers/outputs"] + self.chart.last["numbers/parameters"] > 0:
            return False
        return View(self.chart, len(self.chart.checkups) - 1).far

    def _note(self, step: int) -> None:
        """Keep the parameters and gradients that a check-up one step later compares with."""
        self._memory.before_step = step
        self._memory.before = {"discriminator": flat_parameters(self.subject.discriminator)}
        self._memory.gradients = {"generator": flat_gradients(self.subject.generator)}


def _declared(objective: Any) -> Declared:
    try:
        return declared(objective)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        what = f"the losses cannot be called with scores of shape (n,): {error}"
        raise ConfigError(what, "objective=(loss_d(real, fake), loss_g(fake)), for scores of any shape") from error


def _users(given: Any) -> list[Any]:
    """The user's objects that may draw random numbers: noisy losses; a loader, its sampler and its data."""
    if isinstance(given, (tuple, list)):
        return [part for part in given if callable(part)]
    parts = [getattr(given, name, None) for name in ("sampler", "batch_sampler", "dataset")]
    return [given, *(part for part in parts if part is not None)] if hasattr(given, "__dict__") else []


__all__ = ["Doctor", "DoctorOptions"]
