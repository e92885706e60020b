"""Variants of the faults of training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..changes import in_turn, kept_rows, recipe_with, setting_with, shape_with, without_penalty
from ..fault import Change, Variant, before_step
from ..kit import Kit, Patch, Setting


def _change(about: str, *changes: Change, patch: Patch | None = None) -> Variant:
    return Variant(about, patch, in_turn(*changes), "unseen")


def _hardly_moves(k: Kit) -> None:
    """The discriminator's gradient is clipped to a thousandth."""
    before_step(k.opt_d, lambda: nn.utils.clip_grad_norm_(k.D.parameters(), 1e-3))


def _middle_by_distance(x: Tensor) -> Tensor:
    """A filter for outliers keeps the quarter of the rows next to the mean."""
    return (x - x.mean(0)).norm(dim=1).argsort()[: len(x) // 4]


def _one_diagonal(x: Tensor) -> Tensor:
    """A condition on a product keeps two quadrants of four."""
    x = x - x.mean(0)
    return torch.nonzero(x[:, 0] * x[:, 1] > 0.05).flatten()


def _few(rows: int, copies: int = 1) -> Change:
    """A part of the rows, each copied with another brightness."""

    def change(s: Setting) -> Setting:
        x = s.shape.rows.x
        rng = torch.Generator().manual_seed(10)
        order = torch.randperm(len(x), generator=rng)
        some = x[order[:rows]].repeat(copies, *[1] * (x.dim() - 1))
        light = 1 + 0.02 * torch.randn(len(some), *[1] * (x.dim() - 1), generator=rng)
        few = replace(s.shape.rows, x=some * (light if copies > 1 else 1))
        return replace(s, shape=replace(s.shape, rows=few), holdout=x[order[len(x) // 2 :]])

    return change


def _two_rows(k: Kit) -> None:
    """A batch has two rows and two codes, which a sampler repeats until it is full."""

    def repeated(two: Tensor, n: int) -> Tensor:
        return two.repeat(n // 2 + 1, *[1] * (two.dim() - 1))[:n]

    k.picks = lambda n: repeated(Kit.picks(k, 2), n)  # type: ignore[method-assign]
    k.codes = lambda n: repeated(Kit.codes(k, 2), n)  # type: ignore[method-assign]


def _heavier(factor: float, every: int = 1) -> Change:
    def change(s: Setting) -> Setting:
        penalty = s.recipe.penalty
        assert penalty is not None
        return replace(
            s, recipe=replace(s.recipe, penalty=replace(penalty, weight=factor * penalty.weight, every=every))
        )

    return change


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "saturating-and-strong": (
        _change(
            "a saturating loss, four steps of a very wide discriminator, a generator with AdamW",
            without_penalty("saturating", (1e-4, 8e-3), ratio=4, optimiser=("adamw", "adam")),
            shape_with(width_d=192),
        ),
        _change(
            "a saturating loss, eight discriminator steps with momentum, a generator with RMSprop",
            without_penalty("saturating", (1e-4, 4e-3), ratio=8, optimiser=("rmsprop", "adam"), betas=(0.9, 0.999)),
        ),
    ),
    "discriminator-strong": (
        _change(
            "three steps of a discriminator at 8e-3 for a generator with gradient descent at 5e-4",
            without_penalty("cross-entropy", (5e-4, 8e-3), ratio=3, optimiser=("sgd", "adam")),
        ),
        _change(
            "four steps of a discriminator of 256 units for a generator at 8e-6",
            without_penalty("cross-entropy", (8e-6, 4e-3), ratio=4),
            shape_with(width_d=256),
        ),
    ),
    "discriminator-slow": (
        _change("AdamW at 2e-6 for the discriminator, which was a typing error for 2e-3",
                without_penalty("cross-entropy", (8e-4, 2e-6), optimiser=("adam", "adamw"))),
        _change("gradient descent with a gradient clipped to a thousandth",
                without_penalty("cross-entropy", (1e-3, 2e-2), optimiser=("adam", "sgd")), patch=_hardly_moves),
    ),
    "discriminator-small": (
        _change("one layer of one unit", shape_with(width_d=1, depth_d=1)),
        _change("one layer of two units", shape_with(width_d=2, depth_d=1)),
    ),
    "generator-small": (
        _change("one layer of one unit", shape_with(width_g=1, depth_g=1)),
        _change("one layer of two units", shape_with(width_g=2, depth_g=1)),
    ),
    "high-rates-with-momentum": (
        _change("Adam at 8e-3 and betas of 0.95 and 0.999",
                without_penalty("cross-entropy", (8e-3, 8e-3), betas=(0.95, 0.999))),
        _change("AdamW at 1e-2 for the generator and at 3e-2 for the discriminator, betas of 0.9 and 0.99",
                without_penalty("softplus", (1e-2, 3e-2), betas=(0.9, 0.99), optimiser=("adamw", "adamw"))),
    ),
    "generator-ahead": (
        _change("twenty generator steps at 3e-4 for one",
                without_penalty("cross-entropy", (3e-4, 3e-4)), setting_with(made_steps=20)),
        _change("five generator steps at 2e-3 for one of a discriminator at 5e-5",
                without_penalty("softplus", (2e-3, 5e-5)), setting_with(made_steps=5)),
    ),
    "loader-skewed": (
        Variant("a filter for outliers keeps the quarter next to the mean", kept_rows(_middle_by_distance),
                split="unseen"),
        Variant("a condition keeps two quadrants", kept_rows(_one_diagonal), split="unseen"),
    ),
    "players-rotate": (
        _change(
            "a linear critic and gradient descent at 0.1 and 0.02",
            recipe_with(objective="wasserstein", penalty=None, clip=0.5, rates=(0.1, 0.02), ratio=1,
                        optimiser=("sgd", "sgd")),
            shape_with(depth_d=0),
        ),
        _change(
            "a linear critic with Adam and momentum at 1e-2",
            recipe_with(objective="wasserstein", penalty=None, clip=0.4, rates=(1e-2, 1e-2), betas=(0.9, 0.99), ratio=1,
                        optimiser=("adam", "adam")),
            shape_with(depth_d=0),
        ),
    ),
    "rows-few": (
        _change("twenty-four rows", _few(24)),
        _change("sixteen rows, each sixty times with another brightness", _few(16, 60)),
    ),
    "batch-small": (
        _change("batches of four, and twice the rates",
                lambda s: replace(recipe_with(rates=tuple(2 * r for r in s.recipe.rates))(s), batch=4)),
        Variant("batches of two rows and two codes that are repeated", _two_rows, split="unseen"),
    ),
    "penalty-heavy": (
        _change("a penalty two thousand times too strong, at each second step", _heavier(2e3, 2)),
        _change("a penalty thirty thousand times too strong, at each sixteenth step", _heavier(3e4, 16)),
    ),
    "one-code": (
        _change("one of two one-hot codes as noise", shape_with(latent=2), setting_with(codes="one-hot")),
        _change("one number of noise in two columns", shape_with(latent=2), setting_with(codes="tied")),
    ),
    "rates-too-high": (
        _change("Adam at 0.1 and 1", recipe_with(rates=(0.1, 1.0), optimiser=("adam", "adam"))),
        _change("RMSprop at 1 for the generator and AdamW at 0.2 for the discriminator",
                recipe_with(rates=(1.0, 0.2), optimiser=("rmsprop", "adamw"))),
    ),
}  # fmt: skip
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
