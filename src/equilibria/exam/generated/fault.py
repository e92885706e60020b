"""The record of a fault: what is changed in a loop, where it can be, and which conditions name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

from torch import Tensor, nn, optim

from .kit import Kit, Patch, Setting
from .laws import Law
from .networks import Family
from .recipes import Recipe
from .style import Style

Change = Callable[[Setting], Setting]


@dataclass(frozen=True)
class Variant:
    """One way in which a fault comes about.

    Attributes:
        about: what is done.
        patch: what is replaced in the loop's parts.
        change: what is replaced in the set-up.
        split: the split that uses it.
    """

    about: str
    patch: Patch | None = None
    change: Change | None = None
    split: str = "development"


@dataclass(frozen=True)
class Needs:
    """Where a fault can be: an empty set allows everything.

    Attributes:
        groups: groups of laws, one of which it has to be.
        laws: names of laws, one of which it has to be.
        network: marks that the family must have.
        not_network: marks that the family must not have.
        style: marks that the style must have.
        not_style: marks or names that the style must not have.
        objectives: names of objectives, one of which it has to be.
        penalties: kinds of penalties, one of which the recipe must have.
        clipped: whether the recipe must cut the critic's weights.
        single: whether the discriminator must have one step in each.
    """

    groups: frozenset[str] = frozenset()
    laws: frozenset[str] = frozenset()
    network: frozenset[str] = frozenset()
    not_network: frozenset[str] = frozenset()
    style: frozenset[str] = frozenset()
    not_style: frozenset[str] = frozenset()
    objectives: frozenset[str] = frozenset()
    penalties: frozenset[str] = frozenset()
    clipped: bool = False
    single: bool = False

    def of_law(self, law: Law) -> bool:
        """Whether a law will do."""
        return (not self.groups or law.group in self.groups) and (not self.laws or law.name in self.laws)

    def of_network(self, family: Family) -> bool:
        """Whether a family of networks will do."""
        return self.network <= family.marks and not self.not_network & family.marks

    def of_style(self, style: Style) -> bool:
        """Whether a style will do."""
        return self.style <= style.marks and not self.not_style & (style.marks | {style.name})

    def of_recipe(self, recipe: Recipe) -> bool:
        """Whether a recipe will do."""
        kind = recipe.penalty.kind if recipe.penalty is not None else ""
        return (
            (not self.objectives or recipe.objective in self.objectives)
            and (not self.penalties or kind in self.penalties)
            and (not self.clipped or bool(recipe.clip))
            and (not self.single or recipe.ratio == 1)
        )


def words(given: dict[str, Any]) -> dict[str, Any]:
    """Strings of words as sets."""
    return {k: frozenset(v.split()) if isinstance(v, str) else v for k, v in given.items()}


def needs(**given: Any) -> Needs:
    """Requirements, with sets given as words in a string."""
    return Needs(**words(given))


@dataclass(frozen=True)
class Fault:
    """A fault of a loop.

    Attributes:
        name: the name.
        conditions: the doctor's conditions that name it; the first one names it best.
        family: ``dynamics`` for a fault of training; any other name for a fault of code.
        variants: ways in which it comes about.
        needs: where it can be.
        late: whether it can begin within the run.
        only_late: whether it must.
        steps: length of a run; 0 for that of the networks.
        truth: the measure of its harm: ``distance``, ``evaluation``, ``labels``, ``law`` or ``slopes``.
    """

    name: str
    conditions: tuple[str, ...]
    family: str
    variants: tuple[Variant, ...]
    needs: Needs = field(default_factory=Needs)
    late: bool = False
    only_late: bool = False
    steps: int = 0
    truth: str = "distance"


class After(nn.Module):
    """A network whose output goes through a function."""

    def __init__(self, net: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, *given: Tensor) -> Tensor:
        """The output."""
        return self.function(self.net(*given))


class Before(nn.Module):
    """A network whose input (and class) goes through functions."""

    def __init__(
        self, net: nn.Module, first: Callable[[Tensor], Tensor], then: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.net, self.first, self.then = net, first, then

    def forward(self, x: Tensor, *classes: Tensor) -> Tensor:
        """The output."""
        return self.net(self.first(x), *[y if self.then is None else self.then(y) for y in classes])


def lose_step(opt: optim.Optimizer) -> None:
    """As if the line ``opt.step()`` was missing; a closure is still called."""

    def step(self: optim.Optimizer, closure: Any = None) -> Any:
        return None if closure is None else closure()

    opt.step = MethodType(step, opt)  # type: ignore[method-assign]


def lose_clearing(opt: optim.Optimizer, net: nn.Module) -> None:
    """As if no line cleared the gradients of a player."""

    def zero_grad(self: Any, set_to_none: bool = True) -> None:
        return None

    for holder in (opt, net):
        holder.zero_grad = MethodType(zero_grad, holder)  # type: ignore[method-assign]


def around_step(opt: optim.Optimizer, before: bool) -> None:
    """As if a line that clears the gradients stood directly before, or after, ``opt.step()``."""
    step, clear = opt.step, type(opt).zero_grad

    def wrapped(self: optim.Optimizer, closure: Any = None) -> Any:
        if closure is not None:
            closure()
        if before:
            clear(self)
        step()
        if not before:
            clear(self)

    opt.step = MethodType(wrapped, opt)  # type: ignore[method-assign]


def before_step(opt: optim.Optimizer, act: Callable[[], object]) -> None:
    """As if a line stood directly before ``opt.step()``."""
    step = opt.step

    def wrapped(self: optim.Optimizer, closure: Any = None) -> Any:
        found = None if closure is None else closure()
        act()
        step()
        return found

    opt.step = MethodType(wrapped, opt)  # type: ignore[method-assign]


def clear(k: Kit) -> None:
    """Clear the gradients of both players."""
    for p in [*k.G.parameters(), *k.D.parameters()]:
        p.grad = None


__all__ = [
    "After",
    "Before",
    "Change",
    "Fault",
    "Needs",
    "Variant",
    "around_step",
    "before_step",
    "clear",
    "lose_clearing",
    "lose_step",
    "needs",
    "words",
]
