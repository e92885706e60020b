"""Generated faults of training after the doctor's first remedy: the change of the set-up that its text asks for.

A remedy is applied to the sick set-up as it is, whatever the fault was, and the run is repeated. Faults of code are not
here: where the cause is named, its remedy is to write the line right, which is the repaired twin by definition.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...base.provenance import commit
from ..field.case import Recorder
from ..field.run import share
from .axes import Axes
from .cases import FAULTS, case_of, draw
from .fault import Change
from .kit import Setting
from .objectives import Penalty

GONE = 0.75
"""The share of the harm that must be gone."""


def _recipe(s: Setting, **changes: Any) -> Setting:
    return replace(s, recipe=replace(s.recipe, **changes))


def _slow_discriminator(s: Setting) -> Setting:
    g, d = s.recipe.rates
    return _recipe(s, rates=(g, d / 10), ratio=1)


def _faster_discriminator(s: Setting) -> Setting:
    g, d = s.recipe.rates
    return replace(_recipe(s, rates=(g, max(g, d))), made_steps=1)


def _lower_rates(s: Setting) -> Setting:
    g, d = s.recipe.rates
    return _recipe(s, rates=(min(g / 3, 1e-3), min(d / 3, 1e-3)))


def _r1(s: Setting) -> Penalty:
    return Penalty("r1", 1.0 if s.shape.rows.x[0].numel() > 32 else 0.1)


def _known_good(s: Setting) -> Setting:
    rate = min(max(s.recipe.rates), 1e-3)
    base = {"objective": "softplus", "penalty": _r1(s), "rates": (rate, rate), "betas": (0.0, 0.99), "ratio": 1}
    s = _recipe(s, optimiser=("adam", "adam"), clip=0.0, **base)
    wide, deep = max(s.shape.width_g, s.shape.width_d), max(s.shape.depth_g, s.shape.depth_d)
    return replace(s, made_steps=1, shape=replace(s.shape, sigmoid=False, width_d=wide, depth_d=deep))


def _penalised(s: Setting) -> Setting:
    return _recipe(s, penalty=_r1(s))


REMEDIES: dict[str, Change] = {
    "known-good-base": _known_good,
    "slope-penalty": _penalised,
    "weaker-penalty": _penalised,
    "slow-discriminator": _slow_discriminator,
    "faster-discriminator": _faster_discriminator,
    "lower-learning-rates": _lower_rates,
    "larger-discriminator": lambda s: replace(s, shape=replace(s.shape, width_d=128, depth_d=3)),
    "larger-generator": lambda s: replace(s, shape=replace(s.shape, width_g=128, depth_g=3)),
    "larger-latent": lambda s: replace(s, shape=replace(s.shape, latent=64), codes="normal"),
    "larger-batch": lambda s: replace(_recipe(s, rates=_halved(s)), batch=128),
    "balance-turns": lambda s: replace(_recipe(s, ratio=max(s.recipe.ratio, 2)), made_steps=1),
    "non-saturating-loss": lambda s: _recipe(s, objective="softplus"),
}
"""What the remedies change; those that are not here change code or data."""


def _halved(s: Setting) -> tuple[float, float]:
    g, d = s.recipe.rates
    return g / 2, d / 2


def cure(axes: Axes, seed: int = 0) -> dict[str, Any]:
    """Run a sick loop, apply the first remedy of its first finding, run it again, and run the repaired loop."""
    sick, names = _run(axes, True, None, seed)
    sound, _ = _run(axes, False, None, seed)
    condition, remedy = names
    change = REMEDIES.get(remedy)
    after = math.nan if change is None else _run(axes, True, change, seed)[0]
    return {
        "case": axes.name(),
        "right": condition in FAULTS[axes.fault].conditions,
        "condition": condition,
        "remedy": remedy,
        "applied": change is not None,
        "sick": _plain(sick),
        "sound": _plain(sound),
        "after": _plain(after),
        "worse": not sick < 1.25 * sound,
        "cured": bool(after <= sound + (1 - GONE) * ((sick if math.isfinite(sick) else 10.0) - sound)),
    }


def _plain(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _run(axes: Axes, faulty: bool, change: Change | None, seed: int) -> tuple[float, tuple[str, str]]:
    """The measure of harm of a run; and its first finding with its first remedy."""
    case, recorder = case_of(axes, change=change), Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        doctor = case.run(faulty, seed, case.steps, recorder)
        active = doctor.diagnose().active
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        truth = case.truth(recorder.attached[0])
    named = (active[0].condition, active[0].remedies[0].name) if active else ("", "")
    return truth, named


def cures_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Cured among the sick runs whose first remedy changes a setting; the others by what kept them from it.

    Examples:
        >>> cures_summary([])["cured"]["of"]
        0
    """
    sick = [row for row in rows if row["worse"]]
    tried = [row for row in sick if row["applied"]]
    named = [row for row in tried if row["right"]]
    return {
        "cured": share(sum(row["cured"] for row in tried), len(tried)),
        "cured_where_the_cause_was_first": share(sum(row["cured"] for row in named), len(named)),
        "without_a_finding": sum(not row["condition"] for row in sick),
        "code_or_data": sum(bool(row["condition"]) and not row["applied"] for row in sick),
        "by_remedy": {
            name: share(sum(r["cured"] for r in own), len(own))
            for name in sorted({row["remedy"] for row in tried})
            if (own := [row for row in tried if row["remedy"] == name])
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """``python -m equilibria.exam.generated.cures SPLIT SEED ROUNDS FILE``: all faults of training, some rounds."""
    split, seed, rounds, out = sys.argv[1:] if arguments is None else arguments
    drawn = [a for a in draw(split, len(FAULTS) * int(rounds), 0, int(seed)) if FAULTS[a.fault].family == "dynamics"]
    rows: list[dict[str, Any]] = []
    for axes in drawn:
        rows.append(cure(axes, int(seed)))
        print(rows[-1], flush=True)
        told = {"commit": commit(), "command": f"python -m {__spec__.name} {split} {seed} {rounds} FILE"}
        content = {**told, "summary": cures_summary(rows), "rows": rows}
        Path(out).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 0


__all__ = ["GONE", "REMEDIES", "cure", "cures_summary"]

if __name__ == "__main__":
    sys.exit(main())
