"""Settings that train: rows of objective, penalty, optimisers and rates, for each kind of networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, optim

from .objectives import Penalty


@dataclass(frozen=True)
class Recipe:
    """Losses, penalty, optimisers and rates of one loop.

    Attributes:
        name: the name.
        objective: a name of the objectives.
        penalty: the penalty, if there is one.
        optimiser: of the generator and of the discriminator: ``adam``, ``adamw``, ``rmsprop`` or ``sgd``.
        rates: their learning rates.
        betas: of Adam.
        ratio: steps of the discriminator for one of the generator.
        clip: bound of the discriminator's weights; 0 for none.
        groups: the groups of laws for which it is sound.
    """

    name: str
    objective: str
    penalty: Penalty | None = None
    optimiser: tuple[str, str] = ("adam", "adam")
    rates: tuple[float, float] = (5e-4, 1e-3)
    betas: tuple[float, float] = (0.5, 0.999)
    ratio: int = 1
    clip: float = 0.0
    groups: frozenset[str] = frozenset()


def optimiser(name: str, params: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> optim.Optimizer:
    """An optimiser of parameters."""
    if name == "adam":
        return optim.Adam(params, lr=rate, betas=betas)
    if name == "adamw":
        return optim.AdamW(params, lr=rate, betas=betas, weight_decay=1e-3)
    if name == "rmsprop":
        return optim.RMSprop(params, lr=rate, alpha=0.99)
    return optim.SGD(params, lr=rate, momentum=0.5)


_SMALL = frozenset({"points", "labelled", "pairs", "waves", "table"})
_VECTORS = frozenset({"points", "labelled", "pairs"})
_IMAGES = frozenset({"images"})
_ZERO = (0.0, 0.99)
_HALF = (0.5, 0.99)
_R1 = Penalty("r1", 0.1)
_R1_PIXELS = Penalty("r1", 1.0)
_LAZY = Penalty("r1", 0.1, every=4)


def _pixels(name: str, objective: str, penalty: Penalty = _R1_PIXELS, **more: Any) -> Recipe:
    """Settings for images, which need a penalty to train within some hundred steps."""
    given: dict[str, Any] = {"rates": (1e-3, 1e-3), "betas": _HALF, "groups": _IMAGES, **more}
    return Recipe(name, objective, penalty, **given)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("logits", "cross-entropy", groups=_SMALL),
        Recipe("logits-r1", "cross-entropy", _R1, rates=(1e-3, 1e-3), betas=_ZERO, groups=_SMALL),
        Recipe("logits-dragan", "cross-entropy", Penalty("dragan", 0.5), rates=(5e-4, 1e-3), groups=_SMALL),
        Recipe("probabilities", "probabilities", groups=_SMALL),
        Recipe("probabilities-r1-lazy", "probabilities", _LAZY, betas=_ZERO, groups=_SMALL),
        Recipe("squares", "least-squares", groups=_SMALL),
        Recipe("squares-rmsprop", "least-squares", None, ("rmsprop", "rmsprop"), (3e-4, 5e-4), groups=_SMALL),
        Recipe("softplus-r1", "softplus", _R1, rates=(1e-3, 1e-3), betas=_ZERO, groups=_SMALL),
        Recipe("softplus-r1-lazy", "softplus", _LAZY, betas=_ZERO, groups=_SMALL),
        Recipe("softplus-adamw", "softplus", None, ("adamw", "adamw"), groups=_SMALL),
        Recipe("softplus-sgd", "softplus", None, ("adam", "sgd"), (5e-4, 5e-2), groups=frozenset({"points"})),
        Recipe("hinge-two", "hinge", rates=(5e-4, 1e-3), betas=_ZERO, ratio=2, groups=_SMALL),
        Recipe("hinge-r1", "hinge", _R1, rates=(1e-3, 1e-3), betas=_ZERO, groups=_SMALL),
        Recipe(
            "critic-penalty",
            "wasserstein",
            Penalty("gp", 1.0),
            ("adam", "adam"),
            (1e-3, 1e-3),
            (0.0, 0.9),
            2,
            groups=_SMALL,
        ),
        Recipe(
            "critic-penalty-three",
            "wasserstein",
            Penalty("gp", 2.0),
            ("adam", "adam"),
            (5e-4, 5e-4),
            (0.5, 0.9),
            3,
            groups=_VECTORS,
        ),
        Recipe(
            "critic-clipped",
            "wasserstein",
            None,
            ("rmsprop", "rmsprop"),
            (5e-4, 1e-3),
            ratio=4,
            clip=0.1,
            groups=_VECTORS,
        ),
        Recipe("relativistic-r1", "relativistic", Penalty("r1", 0.2), rates=(1e-3, 1e-3), betas=_ZERO, groups=_SMALL),
        _pixels("pixels-logits", "cross-entropy"),
        _pixels("pixels-probabilities", "probabilities"),
        _pixels("pixels-squares", "least-squares"),
        _pixels("pixels-softplus", "softplus"),
        _pixels("pixels-softplus-lazy", "softplus", Penalty("r1", 1.0, every=2)),
        _pixels("pixels-rmsprop", "softplus", optimiser=("adamw", "rmsprop")),
        _pixels("pixels-critic-penalty", "wasserstein", Penalty("gp", 1.0), betas=(0.0, 0.9), ratio=2),
        _pixels("pixels-relativistic", "relativistic"),
    )
}
"""Sound settings by name."""

__all__ = ["RECIPES", "Recipe", "optimiser"]
