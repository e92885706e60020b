"""K + 1 classes: with 100 labels of MNIST fewer errors than the same discriminator trained on those 100 alone.

MNIST at 16 x 16 pixels and hidden layers of 500, 250 and 250 units, the recipe ``improved-gan`` otherwise. The control
is the same discriminator from the same initial weights, with the same noise and weight norms, trained by the cross
entropy of the labelled rows alone; it is credited with its best moment. Errors are those of averaged parameters on the
10,000 test rows. The paper trains 180,000 rounds at full size.
"""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, legend, panels
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least, at_most

CLAIM = Claim(
    paper="salimans2016",
    figure="section 5, Table 1 (100 labels of MNIST)",
    statement="Unlabelled rows, as the K classes against a class of generated rows, make a few labels go further.",
    printed="93 +/- 6.5 errors of 10,000 with 100 labels, by larger networks trained far longer",
    tolerance="in every seed fewer errors than the supervised control at its best moment; on average at least 3 "
    "percentage points fewer. 5 seeds, 6,000 rounds, 16 x 16 pixels; quick: 1 seed, 900 rounds",
    budget=(100, 1500),
)
LABELS, SIZE, LOOKS, CONTROL_ROUNDS = 100, 16, 6, 300
SETTINGS = {"networks.hidden": "[500,250,250]", "networks.width": "250", "averages.1.decay": "0.995"}


class Trained(NamedTuple):
    """One seed: test errors by round, with unlabelled rows and without."""

    both: dict[int, float]
    control: dict[int, float]


def run(quick: bool) -> Outcome:
    data = load(f"few:mnist,{LABELS}", size=SIZE)
    seeds, rounds = (range(1), 900) if quick else (range(5), 6000)
    test = data.take(10_000, held_out=True)
    found = [
        Trained(_errors(data, test, seed, rounds, False), _errors(data, test, seed, CONTROL_ROUNDS, True))
        for seed in seeds
    ]
    numbers: dict[str, Any] = {
        f"seed {seed}": {"with unlabelled rows": _rounded(one.both), "labelled rows alone": _rounded(one.control)}
        for seed, one in zip(seeds, found, strict=True)
    }
    return Outcome(_draw(found), _checks(found), numbers)


def _checks(found: list[Trained]) -> tuple[Check, ...]:
    ends = [one.both[max(one.both)] for one in found]
    gaps = [min(one.control.values()) - end for one, end in zip(found, ends, strict=True)]
    return (
        at_least("least gap to the control's best moment over seeds, in error", min(gaps), 1e-4),
        at_least("mean gap to the control's best moment, in error", statistics.mean(gaps), 0.03),
        at_most("greatest error with unlabelled rows", max(ends), 0.25),
        at_most("greatest error of a control at its best", max(min(one.control.values()) for one in found), 0.4),
    )


def _errors(data: Dataset, test: dict[str, Any], seed: int, rounds: int, control: bool) -> dict[int, float]:
    """Test errors by round."""
    play, found = _play(data, seed, rounds, control), {}
    for _ in range(LOOKS):
        play.advance(rounds // LOOKS)
        found[play.round] = float((play.apply("classify", test) != test["y"]).float().mean())
    return found


def _play(data: Dataset, seed: int, rounds: int, control: bool) -> Play:
    settings = {**SETTINGS, **({"game.adversarial_weight": "0"} if control else {})}
    row = recipe("improved-gan").with_settings(settings)
    play = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    return play


def _rounded(errors: dict[int, float]) -> dict[int, float]:
    return {round_: round(error, 4) for round_, error in errors.items()}


def _draw(found: list[Trained]) -> Figure:
    figure, axes = panels(columns=1, width=4.4, height=3.2)
    for i, one in enumerate(found):
        for errors, colour, name in (
            (one.both, PALETTE[0], "100 labels and 60,000 unlabelled rows"),
            (one.control, PALETTE[1], "100 labels alone"),
        ):
            axes[0].plot(
                list(errors), [100 * error for error in errors.values()], color=colour, linewidth=1.2, marker="o",
                markersize=3, label=name if i == 0 else None,
            )  # fmt: skip
    axes[0].set(ylim=(0, 45), xlim=(0, None))
    ends = statistics.mean(100 * list(one.both.values())[-1] for one in found)
    best = statistics.mean(100 * min(one.control.values()) for one in found)
    label(axes[0], "round", "test errors, %", f"Mean at the end: {ends:.1f} %, the control at best {best:.1f} %")
    legend(axes[0], "upper right")
    return figure
