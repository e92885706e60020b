"""Variants of the faults of training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..changes import in_turn, kept_rows, recipe_with, setting_with, shape_with, without_penalty
from ..fault import Change, Variant
from ..kit import Kit, Patch, Setting

_ADAM = ("adam", "adam")


def _change(about: str, *changes: Change, patch: Patch | None = None) -> Variant:
    return Variant(about, patch, in_turn(*changes), "held-out")


def _ahead(steps: int) -> Patch:
    """The discriminator is trained alone before the loop."""

    def patch(k: Kit) -> None:
        for _ in range(steps):
            k.opt_d.zero_grad()
            k.d_loss(k.D(k.real()), k.D(k.G(k.codes(k.n)).detach())).backward()
            k.opt_d.step()

    return patch


def _sector(x: Tensor) -> Tensor:
    """Rows in a sector of the plane."""
    x = x - x.mean(0)
    angle = torch.atan2(x[:, 1], x[:, 0])
    return torch.nonzero((angle > -0.4) & (angle < 1.6)).flatten()


def _weighted(x: Tensor) -> Tensor:
    """Rows drawn with weights that should have been inverse."""
    return torch.multinomial((-3.0 * x[:, 1]).exp(), len(x), True, generator=torch.Generator().manual_seed(7))


def _few(rows: int, times: int = 1) -> Change:
    """A part of the rows, each of them several times."""

    def change(s: Setting) -> Setting:
        x = s.shape.rows.x
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(8))
        few = replace(s.shape.rows, x=x[order[:rows]].repeat_interleave(times, 0))
        return replace(s, shape=replace(s.shape, rows=few), holdout=x[order[len(x) // 2 :]])

    return change


def _heavier(factor: float, by_batch: bool = False) -> Change:
    def change(s: Setting) -> Setting:
        assert s.recipe.penalty is not None
        weight = factor * s.recipe.penalty.weight * (s.batch if by_batch else 1)
        return replace(s, recipe=replace(s.recipe, penalty=replace(s.recipe.penalty, weight=weight)))

    return change


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "saturating-and-strong": (
        _change(
            "a saturating loss, and a discriminator trained alone before the loop",
            without_penalty("saturating", (1e-4, 4e-3)),
            patch=_ahead(300),
        ),
        _change(
            "a saturating loss, a wide discriminator, and a generator trained by gradient descent",
            without_penalty("saturating", (1e-3, 4e-3), optimiser=("sgd", "adam")),
            shape_with(width_d=128),
        ),
    ),
    "discriminator-strong": (
        _change(
            "ten steps of a wide discriminator for one of the generator",
            without_penalty("cross-entropy", (1e-4, 5e-3), ratio=10),
            shape_with(width_d=128),
        ),
        _change(
            "a deep discriminator with Adam, a generator with gradient descent",
            without_penalty("softplus", (1e-3, 8e-3), optimiser=("sgd", "adam"), betas=(0.9, 0.999)),
            shape_with(depth_d=3),
        ),
    ),
    "discriminator-slow": (
        _change(
            "gradient descent at 1e-4 for the discriminator alone",
            without_penalty("cross-entropy", (1e-3, 1e-4), optimiser=("adam", "sgd")),
        ),
        _change(
            "the discriminator's rate is 4e-6, with momentum",
            without_penalty("softplus", (6e-4, 4e-6), betas=(0.9, 0.999)),
        ),
    ),
    "discriminator-small": (
        _change("three layers of two units", shape_with(width_d=2, depth_d=3)),
        _change("one layer of three units", shape_with(width_d=3, depth_d=1)),
    ),
    "generator-small": (
        _change("three layers of two units", shape_with(width_g=2, depth_g=3)),
        _change("one layer of three units", shape_with(width_g=3, depth_g=1)),
    ),
    "high-rates-with-momentum": (
        _change(
            "AdamW at 2e-2 with betas of 0.95 and 0.99",
            without_penalty("softplus", (2e-2, 2e-2), betas=(0.95, 0.99), optimiser=("adamw", "adamw")),
        ),
        _change(
            "least squares, the generator at 2e-2", without_penalty("least-squares", (2e-2, 2e-3), betas=(0.9, 0.999))
        ),
    ),
    "generator-ahead": (
        _change(
            "fifteen generator steps for one", without_penalty("softplus", (5e-4, 4e-4)), setting_with(made_steps=15)
        ),
        _change(
            "four generator steps at a high rate for one of a slow hinge discriminator",
            without_penalty("hinge", (3e-3, 1e-4)),
            setting_with(made_steps=4),
        ),
    ),
    "loader-skewed": (
        Variant("a filter keeps a sector of the plane", kept_rows(_sector), split="held-out"),
        Variant("a sampler's weights are not inverted", kept_rows(_weighted), split="held-out"),
    ),
    "players-rotate": (
        _change(
            "RMSprop at 1e-2 with a linear critic whose weights are cut",
            recipe_with(
                objective="wasserstein",
                penalty=None,
                clip=0.5,
                rates=(1e-2, 1e-2),
                ratio=1,
                optimiser=("rmsprop", "rmsprop"),
            ),
            shape_with(depth_d=0),
        ),
        _change(
            "a linear discriminator and Adam with momentum",
            without_penalty("softplus", (3e-3, 3e-2), betas=(0.9, 0.99), ratio=1),
            shape_with(depth_d=0),
        ),
    ),
    "rows-few": (
        _change("thirty-five rows", _few(35)),
        _change("forty rows, each copied twenty times", _few(40, 20)),
    ),
    "batch-small": (
        _change("batches of three", setting_with(batch=3)),
        _change("batches of one", setting_with(batch=1)),
    ),
    "penalty-heavy": (
        _change("a penalty summed over the batch, for a scale of hundreds of units", _heavier(300.0, True)),
        _change("a penalty a hundred thousand times too strong", _heavier(1e5)),
    ),
    "one-code": (
        _change("one number of noise is repeated in all columns", setting_with(codes="tied")),
        _change("one integer from 0 to 4 as noise", shape_with(latent=1), setting_with(codes="integers")),
    ),
    "rates-too-high": (
        _change("RMSprop at 0.2 and 0.5", recipe_with(rates=(0.2, 0.5), optimiser=("rmsprop", "rmsprop"))),
        _change(
            "the discriminator at 2 by gradient descent, the generator at 0.05",
            recipe_with(rates=(0.05, 2.0), optimiser=("adam", "sgd")),
        ),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
