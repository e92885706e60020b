"""What a generated loop is made of: networks, optimisers, batches and losses, each of which a fault can replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...doctor import Doctor
from ..field.case import Attach
from .networks import Family, Shape
from .objectives import OBJECTIVES, Objective, Penalty, clip_weights
from .recipes import Recipe, optimiser


@dataclass(frozen=True)
class Setting:
    """Everything that is decided before a loop begins; a fault of the set-up replaces fields of it.

    Attributes:
        shape: sizes of the networks, and the rows.
        family: family of the networks.
        recipe: losses, penalty, optimisers and rates.
        batch: rows in a batch.
        steps: steps of the run.
        made_steps: steps of the generator in each step.
        holdout: rows that are not trained on.
        codes: ``normal`` codes, ``binary`` ones, ``integers`` from 0 to 4, one number for all columns (``tied``), or
            a single 1 among zeros (``one-hot``).
    """

    shape: Shape
    family: Family
    recipe: Recipe
    batch: int = 64
    steps: int = 600
    made_steps: int = 1
    holdout: Tensor | None = None
    codes: str = "normal"


Patch = Callable[["Kit"], None]


@dataclass
class Kit:
    """The parts of one loop, used by its style.

    Attributes:
        setting: what the loop was built from.
        attach: attaches the doctor.
        onset: the step from which :attr:`patch` holds; 0 for the whole run.
        patch: a fault that replaces parts.
    """

    setting: Setting
    attach: Attach
    onset: int = 0
    patch: Patch | None = None
    log: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        recipe, shape = self.setting.recipe, self.setting.shape
        self.G, self.D = self.setting.family.build(shape)
        (name_g, name_d), (rate_g, rate_d) = recipe.optimiser, recipe.rates
        self.opt_g = optimiser(name_g, self.G.parameters(), rate_g, recipe.betas)
        self.opt_d = optimiser(name_d, self.D.parameters(), rate_d, recipe.betas)
        self.objective: Objective = OBJECTIVES[recipe.objective]
        self.slopes: Penalty | None = recipe.penalty
        self.n, self.ratio, self.made_steps = self.setting.batch, recipe.ratio, self.setting.made_steps
        self.x, self.y = shape.rows.x, shape.rows.y
        self.bound = recipe.clip
        self.turns = 0
        self.added = True
        self.shuffled, self.kept = True, torch.arange(len(self.x))
        self.buffers_left: frozenset[str] = frozenset()
        self.sampler: Callable[[int], Tensor] | None = None
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self.doctor: Doctor | None = None
        if self.patch is not None and not self.onset:
            self.patch(self)

    def rounds(self) -> Iterator[int]:
        """The steps: attaches the doctor, lets a late fault begin, and makes the check-up after each."""
        options: dict[str, Any] = {"latent": self.latent}
        if self.sampler is not None:
            options["sampler"] = self.sampler
        if self.y is not None:
            options["labels"] = self.y
        if self.setting.holdout is not None:
            options["holdout"] = self.setting.holdout
        self.doctor = self.attach(self.G, self.D, real=self.x, **options)
        for i in range(1, self.setting.steps + 1):
            if self.patch is not None and self.onset and i == self.onset:
                self.patch(self)
            for act in self.before:
                act()
            yield i
            for act in self.after:
                act()
            self.doctor.check(i)

    @property
    def latent(self) -> Any:
        """The size of the codes, or a function that deals them."""
        if self.setting.codes == "normal" and self.setting.shape.rows.source is None:
            return self.setting.shape.latent
        return self.fresh

    def fresh(self, n: int) -> Tensor:
        """``n`` codes as they should be drawn: rows of the source in a translation."""
        source = self.setting.shape.rows.source
        if source is not None:
            return source[torch.randint(len(source), (n,))]
        if self.setting.codes == "binary":
            return (torch.rand(n, self.setting.shape.latent) < 0.5).float()
        if self.setting.codes == "integers":
            return torch.randint(5, (n, self.setting.shape.latent)).float()
        if self.setting.codes == "one-hot":
            return torch.eye(self.setting.shape.latent)[torch.randint(self.setting.shape.latent, (n,))]
        if self.setting.codes == "tied":
            return torch.randn(n, 1).expand(n, self.setting.shape.latent)
        return torch.randn(n, self.setting.shape.latent)

    def codes(self, n: int) -> Tensor:
        """``n`` codes for training."""
        return self.fresh(n)

    def picks(self, n: int) -> Tensor:
        """Numbers of the real rows of a batch."""
        return self.kept[torch.randint(len(self.kept), (n,))]

    def seen(self, x: Tensor) -> Tensor:
        """A batch that a loader yields, as it goes to the discriminator."""
        return x

    def real(self, n: int | None = None) -> Tensor:
        """A batch of real rows."""
        return self.x[self.picks(n or self.n)]

    def labelled(self) -> tuple[Tensor, Tensor]:
        """A batch of real rows with their classes."""
        assert self.y is not None
        at = self.picks(self.n)
        return self.x[at], self.y[at]

    def given(self, y: Tensor) -> Tensor:
        """The classes that the generator is given."""
        return y

    def judged(self, y: Tensor) -> Tensor:
        """The classes that the discriminator gets with generated rows."""
        return y

    def hide(self, fake: Tensor) -> Tensor:
        """Generated rows for the discriminator's loss."""
        return fake.detach()

    def show(self, fake: Tensor) -> Tensor:
        """Generated rows for the generator's loss."""
        return fake

    def both(self, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of real and of generated rows."""
        return self.D(x), self.D(fake)

    def d_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss of two batches of scores."""
        if self.objective.paired:
            return self.objective.on_real(real - fake)
        return self.objective.on_real(real) + self.objective.on_fake(fake)

    def g_loss(self, fake: Tensor, x: Tensor) -> Tensor:
        """The generator's loss of scores; a relativistic one scores the real rows ``x`` as well."""
        if self.objective.paired:
            return self.objective.on_made(fake - self.D(x).detach())
        return self.objective.on_made(fake)

    def penalty(self, x: Tensor, fake: Tensor, score: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The penalty for a batch, 0 if there is none at this step."""
        self.turns += 1
        if self.slopes is None or self.turns % self.slopes.every:
            return torch.zeros(())
        found = self.slopes(score or self.D, x, fake)
        if not self.added:
            self.log.append(float(found))
            return torch.zeros(())
        return found

    def cut(self) -> None:
        """Cut the discriminator's weights, if the recipe does."""
        if self.bound:
            clip_weights(self.D, self.bound)


def freeze(net: nn.Module, frozen: bool) -> None:
    """Switch ``requires_grad`` of all parameters."""
    for p in net.parameters():
        p.requires_grad_(not frozen)


__all__ = ["Kit", "Patch", "Setting", "freeze"]
