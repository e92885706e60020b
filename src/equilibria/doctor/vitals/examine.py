"""A check-up: measures every vital that can be measured at the present point of training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ...base.errors import EquilibriaError
from ...base.randomness import mix
from ...metrics.neighbours import neighbours
from ...theory.supports import two_nn_dimension
from ..audit.reading import Reading
from ..chart import Chart, Checkup, Memory
from ..evidence import NotAssessed
from ..space import Space
from ..subject import Subject
from . import dynamics, latent, players, samples, wiring

Tried = Callable[[str, Callable[[], samples.Values]], samples.Values]
_ROWS, _IMAGE_ROWS = 512, 256
_STEPS = "direction of the discriminator's steps"
_DIRECTION = {"swapped-labels", "same-batch-twice"}  # what the direction of the discriminator's steps would show


def rows_for(subject: Subject) -> int:
    """How many rows a check-up uses."""
    return min(_IMAGE_ROWS if subject.wide else _ROWS, max(len(subject.real), 64))


def facts_of(subject: Subject, space: Space) -> dict[str, float]:
    """Facts that are measured once: floors, and properties of the data."""
    rows, classes = subject.some_real
    z = space(rows)
    n = min(rows_for(subject), len(z) // 2)
    a, b = z[:n], z[n : 2 * n]
    facts = {"real/rows": float(len(subject.real)), "latent/size": float(subject.latent)}
    facts["real/not-finite"] = subject.non_finite
    facts["probe/rows"] = float(max(rows_for(subject) // 2, 1))
    gaps = torch.cdist(a, a) + 1e9 * torch.eye(len(a))
    facts["real/nearest"] = float(gaps.min(1).values.median())
    facts["real/spread"] = samples.spread(a)
    facts["real/spread-within"] = samples.spread_within(z, classes)
    facts["floor/distance"] = space.sliced(a, b)
    if len(b) > 8:
        perfect = neighbours(b, a, 5)
        facts |= {f"real/{name}": getattr(perfect, name) for name in ("precision", "recall", "density")}
        facts |= samples.perfect(z, n, space, facts)
    try:
        facts["real/dimension"] = two_nn_dimension(z[:1000].double())
    except ValueError:
        facts["real/dimension"] = math.nan
    return facts


def examine(
    subject: Subject,
    chart: Chart,
    memory: Memory,
    step: int,
    optimizers: wiring.Optimizers,
    fed: wiring.Fed | None = None,
    readings: Mapping[str, Reading] | None = None,
) -> Checkup:
    """Measure all vitals of a check-up; the networks and random number generators are restored afterwards.

    What was read in the training step, ``readings``, is not measured again.
    """
    begun = time.perf_counter()
    arrays: dict[str, tuple[float, ...]] = {}
    tried = partial(chart.groups.measured, step)
    with subject.undisturbed(mix(step, 1)):
        n = rows_for(subject)
        x, y = subject.batch(n) if fed is None else _rows(subject, fed, n)
        with torch.no_grad(), wiring.watched_units(subject) as units:
            fake, label = subject.sample_with_labels(n)
            h = torch.cat([subject.score(x, y), subject.score(fake, label)])
        values, notes = wiring.numbers(subject, fake, h)
        values |= units

        def distances() -> samples.Values:
            found, own = samples.distances(x, fake, chart, mix(step, 2))
            arrays.update(own)
            return found

        values |= tried("distances of samples to real rows", distances)
        values |= tried("ranges of samples", lambda: samples.ranges(x, fake) | samples.values_lost(x, fake))
        if values["numbers/outputs"] + values["numbers/parameters"] == 0:
            values |= _detailed(subject, chart, (x, y), (fake, label), tried)
            gradient = values.get("gradient/declared", math.nan)
            values |= tried("gradients in .grad", lambda: wiring.left_gradients(subject, memory, gradient, step))
            values |= tried("noise of the steps", lambda: wiring.step_noise(subject, optimizers, gradient))
            if not _DIRECTION.issubset(readings or ()):
                values |= tried(_STEPS, lambda: wiring.descent(subject, chart, memory, optimizers, (x, fake)))
            values |= tried(
                "gain of the discriminator", lambda: wiring.auc_gain(subject, memory, (x, y), (fake, label))
            )
        values |= tried("movement of the players", lambda: wiring.motion(subject, memory, chart, step))

        def held() -> samples.Values:
            found, words = wiring.optimizer_parameters(subject, optimizers)
            notes.update(words)
            return found

        values |= tried("parameters of the optimisers", held)
    chart.groups.list_in(chart.not_assessed)
    return Checkup(step, values, arrays, notes, time.perf_counter() - begun, readings=dict(readings or {}))


def _rows(subject: Subject, fed: wiring.Fed, n: int) -> wiring.Fed:
    x, y = subject.rows.kept(fed[0].detach()), fed[1]
    return x[:n].to(subject.device).float(), None if y is None else y[:n].to(subject.device)


def examine_deeply(subject: Subject, chart: Chart, step: int) -> tuple[dict[str, float], list[NotAssessed]]:
    """The vitals of tier 3: what each player could still learn alone, and how both rotate.

    Returns:
        The vitals; and what could not be measured, with the reason in one line.
    """
    found: dict[str, float] = {}
    missing: list[NotAssessed] = []
    with subject.undisturbed(mix(step, 5)):
        for test in (players.trained_discriminator, players.fitted_generator):
            try:
                found |= test(subject, chart)
            except Exception:  # a network that cannot be trained as a copy
                continue
        try:
            found |= dynamics.jacobian_rotation(subject, chart)
        except Exception as error:
            missing.append(
                NotAssessed(
                    "rotation against contraction",
                    "latent" if subject.codes is None else "",
                    _one_line(error),
                )
            )
    with subject.undisturbed(mix(step, 6)):
        for look in (latent.inseparable, latent.stretch, dynamics.gradient_tail, players.gradient_bound):
            try:
                found |= look(subject, chart)
            except Exception:  # codes are not vectors, or have too many dimensions
                continue
    return found, missing


def _one_line(error: Exception) -> str:
    text = (error.what if isinstance(error, EquilibriaError) else str(error)).partition("\n")[0]
    return f"the networks cannot be differentiated twice ({text[:160]})" if isinstance(error, RuntimeError) else text


def _detailed(subject: Subject, chart: Chart, real: wiring.Fed, fake: wiring.Fed, tried: Tried) -> samples.Values:
    """The vitals of finite networks, group by group."""
    labels = (real[1], fake[1])
    within = chart.facts["real/spread-within"]
    values: samples.Values = {}
    if subject.stateful and subject.codes is not None:
        values |= tried("train against eval mode", lambda: _modes(subject, chart, real[0], fake[0]))
    values |= tried("diversity of samples", lambda: samples.diversity(fake[0], chart))
    values |= tried("memorisation", lambda: samples.memorised(subject, fake[0], chart.space))
    values |= tried("use of codes and labels", lambda: samples.dependence(subject, chart.space, within))
    values |= tried("scores", lambda: players.scores(subject, real[0], fake[0], labels))
    values |= tried("slopes of the score", lambda: players.slopes(subject, real[0], fake[0], labels))
    values |= tried("the generator's gradient", lambda: players.generator_gradients(subject, chart, real[0], real[1]))
    if subject.stateful and subject.codes is not None:
        subject.mode(False)  # the vitals after these score the same rows twice, and a batch must not change the second
    return values


def _modes(subject: Subject, chart: Chart, real: Tensor, fake: Tensor) -> samples.Values:
    """The distance of samples to the data in both modes, before other passes change what a norm has counted."""
    values: samples.Values = {}
    present = {module.training for module in subject.generator.modules()}
    for training in (False, True):
        made = fake
        if present != {training}:
            with subject.undisturbed(8), torch.no_grad():
                subject.mode(training)
                made, _ = subject.sample_with_labels(len(fake))
        word = "train" if training else "eval"
        values[f"samples/{word}-distance"] = chart.space.sliced(chart.space(real), chart.space(made))
    return values
