"""A check-up: measures every vital that can be measured at the present point of training."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from ...base.errors import EquilibriaError
from ...base.randomness import mix
from ...metrics.neighbours import neighbours
from ...theory.supports import two_nn_dimension
from ..chart import Chart, Checkup, Memory
from ..evidence import NotAssessed
from ..space import Space
from ..subject import Subject
from . import dynamics, latent, players, samples, wiring

_ROWS, _IMAGE_ROWS = 512, 256


def rows_for(subject: Subject) -> int:
    """How many rows a check-up uses."""
    wide = subject.real[0].numel() > 256
    return min(_IMAGE_ROWS if wide else _ROWS, max(len(subject.real), 64))


def facts_of(subject: Subject, space: Space) -> dict[str, float]:
    """Facts that are measured once: floors, and properties of the data."""
    z = space(subject.real)
    n = min(rows_for(subject), len(z) // 2)
    a, b = z[:n], z[n : 2 * n]
    facts = {"real/rows": float(len(subject.real)), "latent/size": float(subject.latent)}
    facts["real/not-finite"] = subject.non_finite
    facts["probe/rows"] = float(max(rows_for(subject) // 2, 1))
    gaps = torch.cdist(a, a) + 1e9 * torch.eye(len(a))
    facts["real/nearest"] = float(gaps.min(1).values.median())
    facts["real/spread"] = samples.spread(a)
    facts["real/spread-within"] = samples.spread_within(z, subject.classes)
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
) -> Checkup:
    """Measure all vitals of a check-up; the networks and random number generators are restored afterwards."""
    begun = time.perf_counter()
    values: dict[str, float] = {}
    arrays: dict[str, tuple[float, ...]] = {}
    with subject.undisturbed(mix(step, 1)):
        n = rows_for(subject)
        x, y = subject.batch(n) if fed is None else _rows(subject, fed, n)
        with torch.no_grad(), wiring.watched_units(subject) as units:
            fake, label = _made(subject, n)
            h = torch.cat([subject.score(x, y), subject.score(fake, label)])
        found, notes = wiring.numbers(subject, fake, h)
        values |= found
        values |= units
        found, arrays = samples.distances(x, fake, chart, mix(step, 2))
        values |= found | samples.ranges(x, fake)
        if values["numbers/outputs"] + values["numbers/parameters"] == 0:
            values |= _detailed(subject, chart, (x, y), (fake, label))
            values |= wiring.left_gradients(subject, memory, values.get("gradient/declared", math.nan), step)
            values |= wiring.step_noise(subject, optimizers, values.get("gradient/declared", math.nan))
            values |= wiring.descent(subject, chart, memory, optimizers, (x, fake))
            values |= wiring.auc_gain(subject, memory, (x, y), (fake, label))
        values |= wiring.motion(subject, memory, chart, step)
        found, words = wiring.optimizer_parameters(subject, optimizers)
        values |= found
    return Checkup(step, values, arrays, notes | words, time.perf_counter() - begun)


def _rows(subject: Subject, fed: wiring.Fed, n: int) -> wiring.Fed:
    x, y = fed
    return x[:n].detach().to(subject.device).float(), None if y is None else y[:n].to(subject.device)


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
            except (EquilibriaError, RuntimeError, ValueError):  # a network that cannot be trained as a copy
                continue
        try:
            found |= dynamics.jacobian_rotation(subject, chart)
        except (EquilibriaError, RuntimeError, ValueError) as error:
            missing.append(
                NotAssessed(
                    "rotation against contraction",
                    "latent" if subject.codes is None else "",
                    _one_line(error),
                )
            )
    with subject.undisturbed(mix(step, 6)):
        for look in (latent.inseparable, latent.stretch):
            try:
                found |= look(subject, chart)
            except (EquilibriaError, RuntimeError, ValueError):  # codes are not vectors, or have too many dimensions
                continue
    return found, missing


def _one_line(error: Exception) -> str:
    text = (error.what if isinstance(error, EquilibriaError) else str(error)).partition("\n")[0]
    return f"the networks cannot be differentiated twice ({text[:160]})" if isinstance(error, RuntimeError) else text


def _made(subject: Subject, n: int) -> tuple[Tensor, Tensor | None]:
    if subject.sampler is not None:
        return subject.sample(n), None if subject.labels is None else subject.draw_codes(n)[1]
    codes = subject.draw_codes(n)
    return subject.make(codes), codes[1]


def _detailed(
    subject: Subject, chart: Chart, real: tuple[Tensor, Tensor | None], fake: tuple[Tensor, Tensor | None]
) -> dict[str, float]:
    labels = (real[1], fake[1])
    values = samples.diversity(fake[0], chart) | samples.memorised(subject, fake[0], chart.space)
    values |= samples.dependence(subject, chart.space, chart.facts["real/spread-within"])
    values |= players.scores(subject, real[0], fake[0], labels)
    values |= players.slopes(subject, real[0], fake[0], labels)
    values |= players.generator_gradients(subject, chart, real[0], real[1])
    with subject.undisturbed(7):  # its draws do not change those of the vitals after it
        values |= dynamics.gradient_tail(subject, chart, real, fake)
    if chart.objective.probabilistic:
        values |= players.gradient_bound(subject, fake[0])
    if subject.stateful and subject.codes is not None:
        for training in (True, False):
            subject.mode(training)
            with torch.no_grad():
                made, _ = _made(subject, len(fake[0]))
            word = "train" if training else "eval"
            values[f"samples/{word}-distance"] = chart.space.sliced(chart.space(real[0]), chart.space(made))
    return values
