"""The axes of a generated case, and the table of what goes with what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .kit import Setting
from .laws import COLOURED, LAWS, Law, Rows, rows_of
from .networks import FAMILIES, Family, Shape
from .objectives import OBJECTIVES
from .recipes import RECIPES, Recipe
from .style import STYLES, Style

SPLITS = ("development", "held-out", "unseen")
"""The parts of the first serve the others as well; ``unseen`` judges the doctor and takes no part in its making."""


@dataclass(frozen=True)
class Axes:
    """One combination.

    Attributes:
        law: name of a law.
        network: name of a family of networks.
        style: name of a style.
        recipe: name of a recipe.
        fault: name of a fault; empty for a healthy loop.
        variant: number of the fault's variant.
        onset: share of the run after which the fault begins.
    """

    law: str
    network: str
    style: str
    recipe: str
    fault: str = ""
    variant: int = 0
    onset: float = 0.0

    @property
    def kind(self) -> tuple[str, str, str]:
        """Law, network and style."""
        return self.law, self.network, self.style

    def name(self) -> str:
        """A name in kebab case."""
        fault = (
            f"{self.fault}-{'abcdefghijkl'[self.variant]}{'-late' if self.onset else ''}" if self.fault else "healthy"
        )
        return "-".join((fault, self.law, self.network, self.style, self.recipe))


def network_fits(law: Law, family: Family) -> bool:
    """Whether a family can be built for a law: by its group; a tanh cannot reach far tails, colours need channels."""
    colours = law.group != "images" or law.name not in COLOURED or "colour" in family.marks
    return law.group in family.groups and colours and not ("bounded" in family.marks and law.name == "heavytail")


def style_fits(law: Law, family: Family, style: Style) -> bool:
    """Whether a style can train a law: classes need a conditional style; one-hot heads run in full precision."""
    if (law.group == "labelled") != ("labelled" in style.marks):
        return False
    return not ("logits" in style.marks and law.group == "table")


def recipe_fits(law: Law, family: Family, style: Style, recipe: Recipe) -> bool:
    """Whether a recipe trains with these networks, written in this style."""
    objective = OBJECTIVES[recipe.objective]
    rules = (
        law.group in recipe.groups,
        recipe.ratio == 1 or "many" in style.marks,
        not objective.paired or "paired" in style.marks,
        "targets" not in style.marks or objective.criterion is not None,
        not objective.sigmoid or "logits" not in style.marks,
        # bounded slopes make the other losses train too slowly for some hundred steps
        "spectral" not in family.marks or (recipe.objective == "hinge" and recipe.penalty is None),
        # slopes around real rows, which pass the norms of other batches, do not hold such a game
        recipe.penalty is None or recipe.penalty.kind != "dragan" or "batchnorm" not in family.marks,
        # a critic with LayerNorm changes its scores less than its weights when these are cut
        not recipe.clip or not family.marks & {"layernorm", "spectral"},
        "conv" not in family.marks or recipe.ratio <= 2,
        "conv1d" not in family.marks or recipe.ratio <= 2,
        # one-hot columns train slowly if both players step at once
        "simultaneous" not in style.marks or law.group != "table" or recipe.penalty is not None,
        # augmented rows are blurred, and a steep penalty on them blurs them twice
        "augmented" not in style.marks or recipe.objective != "wasserstein",
        # a sum over rows is as much longer a step for gradient descent, and none for the others
        "sums" not in style.marks or "sgd" not in recipe.optimiser,
    )
    return all(rules)


def fits(axes: Axes) -> bool:
    """Whether the four parts go together, by the declared rules."""
    law, family, style = LAWS[axes.law], FAMILIES[axes.network], STYLES[axes.style]
    return (
        network_fits(law, family)
        and style_fits(law, family, style)
        and recipe_fits(law, family, style, RECIPES[axes.recipe])
    )


def setting_of(axes: Axes) -> Setting:
    """The set-up of a loop before any fault."""
    law, family, recipe = LAWS[axes.law], FAMILIES[axes.network], RECIPES[axes.recipe]
    rows = _scaled(rows_of(law.name)) if "bounded" in family.marks else rows_of(law.name)
    latent = law.latent if rows.source is None else rows.source.shape[1]
    wide = law.group == "images" or (law.group in ("labelled", "pairs") and rows.x[0].numel() > 8)
    width = 48 if "conv" in family.marks else 96 if wide else 64
    shape = Shape(rows, latent, width, width, sigmoid=OBJECTIVES[recipe.objective].sigmoid)
    conv = "conv" in family.marks
    return Setting(shape, family, recipe, batch=32 if conv else 64, steps=450 if conv else 600)


def _scaled(rows: Rows) -> Rows:
    """Columns within [-0.9, 0.9], for a generator that ends in tanh."""
    low, high = rows.x.min(0).values, rows.x.max(0).values
    return replace(rows, x=1.8 * (rows.x - low) / (high - low) - 0.9)


__all__ = ["SPLITS", "Axes", "fits", "network_fits", "recipe_fits", "setting_of", "style_fits"]
