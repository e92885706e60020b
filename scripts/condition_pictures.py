"""Pictures for the pages of the conditions: samples and a number of a loop that has it, beside its repaired twin.

The pictures of the planted diseases are drawn by `equilibria exam --pictures`; this is for conditions without one, from
loops of the field exam, or from the loop of the page. `python scripts/condition_pages.py --draw [NAME ...]` calls it.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from equilibria.doctor.evidence import Expectation, about, context
from equilibria.exam.field import CASES
from equilibria.exam.field.case import FieldCase, Recorder
from equilibria.exam.field.truth import Attached
from equilibria.exam.pictures import FieldSeen, field_picture
from equilibria.figures.panels import rendered

STEPS = 300


@dataclass(frozen=True)
class Shown:
    """What the picture of a condition shows.

    Attributes:
        case: the loop of the field exam; empty for the loop of the page.
        read: the vitals that a user sees change, where the finding is read and has no evidence; the distance of
            samples to the data if there are none.
        steps: of the run; those of the case if 0.
        columns: of the rows that are drawn.
    """

    case: str = ""
    read: tuple[Expectation, ...] = ()
    steps: int = 0
    columns: tuple[int, ...] = (0, 1)


_SLOPE = about("slopes/between", 1.0, "what the penalty asks for")
_CLASS = context("label/agreement", "samples of the class that was asked for")
SHOWN: dict[str, Shown] = {
    "adversarial-term-missing": Shown(
        "fine-images-scored-without-grad", (context("scores/auc", "real rows rank above samples"),)
    ),
    "average-without-buffers": Shown("average-of-parameters-only"),
    "batchnorm-in-eval": Shown("eval-for-a-plot"),
    "discrete-column": Shown("rare-flag-as-a-number", steps=460, columns=(3,)),
    "few-rows-used": Shown(steps=1500),
    "flat-generator-loss": Shown("hinge-for-the-generator-too"),
    "identity-of-wrong-side": Shown("identity-of-the-source"),
    "labels-disagree": Shown("labels-drawn-again", (_CLASS,)),
    "learning-rate-jump": Shown("generator-rate-jumps"),
    "missing-sigmoid": Shown("raw-scores-clamped", (context("slopes/fake", "slope of the discriminator at samples"),)),
    "no-gradient-path": Shown("pixels-rounded", (context("motion/generator", "how far its parameters move"),)),
    "noise-reused": Shown("fixed-noise-in-training"),
    "norm-before-output": Shown("batchnorm-before-tanh"),
    "other-players-gradient": Shown("fakes-not-detached"),
    "penalty-of-wrong-norm": Shown("norm-at-every-time-step", (_SLOPE,)),
    "penalty-without-effect": Shown(
        "zero-centred-penalty-detached", (context("slopes/real", "slope at real rows, which is penalised"),)
    ),
    "same-target-for-both": Shown(
        "label-not-refilled", (context("scores/fake", "scores of both kinds rise"), context("scores/real", ""))
    ),
    "sigmoid-on-critic": Shown(
        "wasserstein-on-probabilities", (context("cells/covered", "cells of the data that have samples"),)
    ),
    "softmax-twice": Shown("auxiliary-classes-softmaxed", (_CLASS,)),
    "step-below-rounding": Shown(
        "decay-at-every-iteration", (context("motion/generator", "how far its parameters move"),)
    ),
}

NO_PICTURE = {
    "objective-disagrees": (
        "There is no picture: networks and samples are those of a sound loop. What is read is the loss at each score, "
        "and it is compared with `objective=`."
    ),
    "penalty-off-the-segment": (
        "There is no picture: over the 300 steps of the exam's loop, slopes and samples are those of its repaired "
        "twin. What is read is the weight of the real row at each point of the penalty, which should lie in [0, 1]."
    ),
    "unbounded-logarithm": (
        "There is no picture: until the first probability is rounded to 0, losses and samples are those of the loop "
        "with a floor. What is read is the formula and the smallest probability in it; what follows is the picture of "
        "[not-a-number](not-a-number.md)."
    ),
}
"""Conditions that cannot be seen, and what their pages say in place of a picture."""


def draw(folder: Path, only: list[str]) -> None:
    """Draw the named conditions, or all that have neither a picture nor a reason for having none.

    Raises:
        ValueError: the loop that is to show a condition does not have it.
    """
    first = {case.condition: Shown(case.name, steps=min(case.steps, STEPS)) for case in reversed(CASES.values())}
    for condition, shown in {**first, **SHOWN}.items():
        path = folder / f"{condition}.png"
        if not condition or (condition not in only if only else path.exists() or condition in NO_PICTURE):
            continue
        faulty, repaired = (_seen(condition, shown, kind) for kind in (True, False))
        found = [one for one in faulty[1].diagnose(deep=False).active if one.condition == condition]
        if not found:
            raise ValueError(f"{condition}: not found in {shown.case or 'the loop of its page'}")
        drawn = field_picture(found[0], faulty, repaired, shown.read, shown.columns)
        path.write_bytes(rendered(drawn, colors=64))
        print(f"{condition}: {shown.case or 'the loop of its page'}", flush=True)


def _seen(condition: str, shown: Shown, faulty: bool) -> FieldSeen:
    return _of_case(CASES[shown.case], shown, faulty) if shown.case else _of_page(condition, shown, faulty)


def _of_case(case: FieldCase, shown: Shown, faulty: bool) -> FieldSeen:
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        doctor = case.run(faulty, 0, shown.steps or case.steps, recorder)
    return recorder.attached[0], doctor


def _of_page(condition: str, shown: Shown, faulty: bool) -> FieldSeen:
    """The loop of a page, whose names are G, D, x and doctor, with another number of steps."""
    from condition_pages import PAGES, loop_of, names_after, repaired

    loop = loop_of((PAGES / f"{condition}.md").read_text(encoding="utf-8"))
    loop = re.sub(r"range\(1, \d+\)", f"range(1, {shown.steps + 1})", loop)
    names = names_after(loop if faulty else repaired(loop))
    return Attached(names["G"], names["D"], names["x"], {"latent": 8}), names["doctor"]
