"""Draws combinations of the axes and makes cases of the field exam of them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from ...base.errors import ConfigError
from ..field import truth as measures
from ..field.case import Attach, Doctor, FieldCase, Play, Truth
from ..field.truth import Attached
from . import faults_dynamics, faults_losses, faults_networks, faults_wiring, second, styles, styles_more, third, unseen
from .axes import SPLITS, Axes, network_fits, recipe_fits, setting_of, style_fits
from .fault import Change, Fault, Needs, Variant
from .kit import Kit, Setting
from .laws import LAWS, Law, rows_of
from .networks import FAMILIES, Family
from .recipes import RECIPES
from .style import STYLES, Style

_MODULES = (faults_wiring, faults_losses, faults_networks, faults_dynamics)
FAULTS: dict[str, Fault] = {
    fault.name: replace(
        fault,
        variants=fault.variants + sum((part.VARIANTS.get(fault.name, ()) for part in (second, third, unseen)), ()),
    )
    for module in _MODULES
    for fault in module.FAULTS
}
"""Every fault by its name."""

LOOPS = (styles.__name__, styles_more.__name__, second.LOOPS, *third.LOOPS, *unseen.LOOPS)
"""The modules that hold the styles."""

Open = tuple[Law, Family, Style, list[str]]
"""A law, a family of networks and a style that go together, and the recipes that fit."""

_ONSETS = (0.5, 0.6, 0.7)


def variants(split: str, fault: Fault) -> list[int]:
    """The numbers of the variants of a fault that a split uses: its own, or those of ``development`` if it has none."""
    own = [i for i, variant in enumerate(fault.variants) if variant.split == split]
    return own or [i for i, variant in enumerate(fault.variants) if variant.split == SPLITS[0]]


@cache
def triples(split: str, need: Needs) -> list[Open]:
    """The combinations of law, network and style that a split may use, each with the recipes that fit.

    A combination has no part of a third split, and as many parts of its own split as fit the laws of its group.
    """
    found = []
    for law, family, style, recipes in _fitting():
        if not {law.split, family.split, style.split} <= {SPLITS[0], split}:
            continue
        if need.of_law(law) and need.of_network(family) and need.of_style(style):
            names = [name for name in recipes if need.of_recipe(RECIPES[name])]
            found += [(law, family, style, names)] if names else []
    most: dict[str, int] = {}
    for law, family, style, _ in found:
        most[law.group] = max(most.get(law.group, 0), _own(split, law, family, style))
    return [t for t in found if _own(split, *t[:3]) == most[t[0].group]]


def _own(split: str, law: Law, family: Family, style: Style) -> int:
    return sum(part.split == split for part in (law, family, style))


@cache
def _fitting() -> list[Open]:
    return [
        (law, family, style, names)
        for law in LAWS.values()
        for family in FAMILIES.values()
        if network_fits(law, family)
        for style in STYLES.values()
        if style_fits(law, family, style)
        and (names := [r.name for r in RECIPES.values() if recipe_fits(law, family, style, r)])
    ]


def cases(split: str, faulty: int, healthy: int, seed: int = 0) -> list[FieldCase]:
    """Cases of a split, drawn at random: the faults in turn, and healthy loops in turn over groups of laws.

    Raises:
        ConfigError: if there is no such split.

    Examples:
        >>> [case.condition for case in cases("development", 2, 0)]
        ['generator-never-updated', 'discriminator-never-updated']
    """
    return [case_of(axes, f"{i:04d}") for i, axes in enumerate(draw(split, faulty, healthy, seed))]


def draw(split: str, faulty: int, healthy: int, seed: int = 0) -> list[Axes]:
    """The combinations of :func:`cases`."""
    if split not in SPLITS:
        raise ConfigError(f"no split '{split}'", f"one of {', '.join(SPLITS)}")
    rng = random.Random(f"{split} {seed}")
    names = list(FAULTS)
    open_triples = {name: triples(split, FAULTS[name].needs) for name in names}
    turns: dict[str, int] = {}
    drawn = []
    for i in range(faulty):
        fault = FAULTS[names[i % len(names)]]
        turn = turns[fault.name] = turns.get(fault.name, rng.randrange(12)) + 1
        law, family, style, recipes = _balanced(rng, open_triples[fault.name])
        number = variants(split, fault)[turn % len(variants(split, fault))]
        late = fault.only_late or (fault.late and turn % 3 == 0)
        onset = rng.choice(_ONSETS) if late else 0.0
        drawn.append(Axes(law.name, family.name, style.name, rng.choice(recipes), fault.name, number, onset))
    everything = triples(split, Needs())
    left: list[Open] = []
    for _ in range(healthy):
        left = left or list(everything)  # no combination twice before all were drawn
        law, family, style, recipes = _balanced(rng, left)
        left = [t for t in left if t[:3] != (law, family, style)]
        drawn.append(Axes(law.name, family.name, style.name, rng.choice(recipes)))
    return drawn


def _balanced(rng: random.Random, found: list[Open]) -> Open:
    """A law, then a style that fits it, then a network: rare laws and styles come as often as common ones."""
    law = rng.choice(sorted({law.name for law, *_ in found}))
    of_law = [t for t in found if t[0].name == law]
    style = rng.choice(sorted({t[2].name for t in of_law}))
    return rng.choice([t for t in of_law if t[2].name == style])


def case_of(axes: Axes, number: str = "", change: Change | None = None) -> FieldCase:
    """The case of a combination; its twin is the same loop without the fault.

    Args:
        axes: the combination.
        number: a prefix of its name.
        change: what is changed in the set-up of the sick loop, as a remedy.
    """
    base = setting_of(axes)
    name = "-".join(filter(None, (number, axes.name())))
    parts = tuple(
        (axis, str(getattr(axes, axis))) for axis in ("law", "network", "style", "recipe", "fault", "variant")
    )
    if not axes.fault:
        about = f"{axes.style} on {axes.law}"
        return FieldCase(name, "", _play(axes, base, None, None), "healthy", base.steps, about=about, axes=parts)
    fault = FAULTS[axes.fault]
    variant = fault.variants[axes.variant]
    return FieldCase(
        name,
        fault.conditions[0],
        _play(axes, base, variant, change),
        fault.family,
        fault.steps or base.steps,
        _truth(fault.truth, axes, base),
        axes.onset,
        f"{axes.style} on {axes.law}: {variant.about}",
        fault.conditions[1:],
        parts,
    )


def _play(axes: Axes, base: Setting, variant: Variant | None, change: Change | None) -> Play:
    def play(faulty: bool, steps: int, attach: Attach) -> Doctor:
        setting = replace(base, steps=steps)
        sick = faulty and variant is not None
        if sick and variant is not None and variant.change is not None:
            setting = variant.change(setting)
        if sick and change is not None:
            setting = change(setting)
        patch = variant.patch if sick and variant is not None else None
        kit = Kit(setting, attach, round(axes.onset * steps), patch)
        STYLES[axes.style].play(kit)
        assert kit.doctor is not None
        return kit.doctor

    return play


def _truth(kind: str, axes: Axes, base: Setting) -> Truth:
    if kind == "labels":
        return measures.wrong_label
    if kind == "evaluation":
        return measures.distance_in_evaluation
    if kind == "slopes":
        penalty = base.recipe.penalty
        return measures.slope_on_data if penalty is not None and penalty.kind == "r1" else measures.steepness
    if kind == "law":
        x = rows_of(axes.law).x

        def from_law(run: Attached) -> float:
            return measures.sliced(run.samples(1000)[0], x)

        return from_law
    return measures.distance


__all__ = ["FAULTS", "LOOPS", "case_of", "cases", "draw", "triples", "variants"]
