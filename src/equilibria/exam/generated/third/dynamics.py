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


def _until_sure(most: int) -> Patch:
    """The discriminator is trained alone before the loop, until it tells the batches apart."""

    def patch(k: Kit) -> None:
        for _ in range(most):
            k.opt_d.zero_grad()
            loss = k.d_loss(k.D(k.real()), k.D(k.G(k.codes(k.n)).detach()))
            loss.backward()
            k.opt_d.step()
            if float(loss.detach()) < 1e-3:
                return

    return patch


def _slowly_warmed(k: Kit) -> None:
    """The discriminator's rate rises in a line over 200,000 rounds, as if these were small batches of a long run."""
    start, count = [group["lr"] for group in k.opt_d.param_groups], [0]

    def warm() -> None:
        count[0] += 1
        for group, rate in zip(k.opt_d.param_groups, start, strict=True):
            group["lr"] = rate * count[0] / 200_000

    k.before.append(warm)


def _near_the_first(x: Tensor) -> Tensor:
    """Rows that look like the first one: a third of them."""
    return (x - x[0]).norm(dim=1).argsort()[: len(x) // 3]


def _without_outliers(x: Tensor) -> Tensor:
    """Rows whose columns are all within the middle half, or the middle three quarters if few are left."""
    for share in (0.2, 0.12, 0.05):
        inside = ((x > x.quantile(share, 0)) & (x < x.quantile(1 - share, 0))).all(1)
        if int(inside.sum()) >= 100:
            return torch.nonzero(inside).flatten()
    return torch.arange(len(x) // 4)


def _few(rows: int, copies: int = 1, noise: float = 0.0) -> Change:
    """A part of the rows, copied with a little noise."""

    def change(s: Setting) -> Setting:
        x = s.shape.rows.x
        rng = torch.Generator().manual_seed(9)
        order = torch.randperm(len(x), generator=rng)
        some = x[order[:rows]].repeat_interleave(copies, 0)
        few = replace(s.shape.rows, x=some + noise * torch.randn(some.shape, generator=rng))
        return replace(s, shape=replace(s.shape, rows=few), holdout=x[order[len(x) // 2 :]])

    return change


def _repeated(k: Kit) -> None:
    """A batch is made of one row, and of one code, that are repeated."""
    k.picks = lambda n: Kit.picks(k, 1).repeat(n)  # type: ignore[method-assign]
    k.codes = lambda n: Kit.codes(k, 1).repeat(n, 1)  # type: ignore[method-assign]


def _heavier(factor: float, every: int = 1, by_columns: bool = False) -> Change:
    def change(s: Setting) -> Setting:
        assert s.recipe.penalty is not None
        weight = factor * s.recipe.penalty.weight * (s.shape.features * s.batch if by_columns else 1)
        return replace(s, recipe=replace(s.recipe, penalty=replace(s.recipe.penalty, weight=weight, every=every)))

    return change


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "saturating-and-strong": (
        _change(
            "a saturating loss, and a discriminator that is trained until it is sure, then three steps for one",
            without_penalty("saturating", (2e-4, 4e-3), ratio=3),
            patch=_until_sure(400),
        ),
        _change(
            "a saturating loss, and a deep discriminator with RMSprop",
            without_penalty("saturating", (2e-4, 5e-3), optimiser=("adam", "rmsprop")),
            shape_with(width_d=128, depth_d=3),
        ),
    ),
    "discriminator-strong": (
        _change(
            "a discriminator that is trained until it is sure, and a generator at 2e-5",
            without_penalty("cross-entropy", (2e-5, 5e-3), ratio=2),
            patch=_until_sure(500),
        ),
        _change(
            "a wide and deep discriminator with AdamW, six steps for one",
            without_penalty("softplus", (1e-5, 4e-3), ratio=6, optimiser=("adam", "adamw")),
            shape_with(width_d=160, depth_d=3),
        ),
    ),
    "discriminator-slow": (
        _change("RMSprop at 2e-6 for the discriminator alone",
                without_penalty("cross-entropy", (1e-3, 2e-6), optimiser=("adam", "rmsprop"))),
        _change("the discriminator's rate warms up over a hundred times the run",
                without_penalty("softplus", (1e-3, 1e-3)), patch=_slowly_warmed),
    ),
    "discriminator-small": (
        _change("two layers of one unit", shape_with(width_d=1, depth_d=2)),
        _change("four layers of two units", shape_with(width_d=2, depth_d=4)),
    ),
    "generator-small": (
        _change("two layers of one unit", shape_with(width_g=1, depth_g=2)),
        _change("four layers of two units", shape_with(width_g=2, depth_g=4)),
    ),
    "high-rates-with-momentum": (
        _change("Adam at 1.5e-2 and betas of 0.9 and 0.99, with two discriminator steps",
                without_penalty("cross-entropy", (1.5e-2, 1.5e-2), betas=(0.9, 0.99))),
        _change("the generator with AdamW at 2e-2, a discriminator at 4e-3, betas of 0.9 and 0.999",
                without_penalty("softplus", (2e-2, 4e-3), betas=(0.9, 0.999), optimiser=("adamw", "adam"))),
    ),
    "generator-ahead": (
        _change("eight generator steps for one of a discriminator at 1e-4",
                without_penalty("softplus", (1e-3, 1e-4)), setting_with(made_steps=8)),
        _change("twelve generator steps at 1e-3 for one",
                without_penalty("cross-entropy", (1e-3, 2e-4)), setting_with(made_steps=12)),
    ),
    "loader-skewed": (
        Variant("a search keeps the rows that look like the first", kept_rows(_near_the_first), split="held-out"),
        Variant("a rule for outliers cuts each column at its quarters", kept_rows(_without_outliers), split="held-out"),
    ),
    "players-rotate": (
        _change(
            "a linear critic and gradient descent with momentum at 5e-2",
            recipe_with(objective="wasserstein", penalty=None, clip=0.4, rates=(5e-2, 5e-2), ratio=1,
                    optimiser=("sgd", "sgd")),
            shape_with(depth_d=0),
        ),
        _change(
            "a linear hinge discriminator, and Adam with momentum at 2e-2 and 2e-3",
            without_penalty("hinge", (2e-3, 2e-2), betas=(0.9, 0.999), ratio=1),
            shape_with(depth_d=0),
        ),
    ),
    "rows-few": (
        _change("twelve rows, each copied eighty times with a little noise", _few(12, 80, 0.01)),
        _change("sixteen rows", _few(16)),
    ),
    "batch-small": (
        _change("batches of two, for rates that are six times as high",
                lambda s: replace(recipe_with(rates=tuple(6 * r for r in s.recipe.rates))(s), batch=2)),
        Variant("batches of one row and one code that are repeated", _repeated, split="held-out"),
    ),
    "penalty-heavy": (
        _change("a penalty five thousand times too strong, at each eighth step", _heavier(5e3, 8)),
        _change("a penalty summed over rows and columns, and a hundred times too strong", _heavier(1e2, 1, True)),
    ),
    "one-code": (
        _change("one of three one-hot codes as noise", shape_with(latent=3), setting_with(codes="one-hot")),
        _change("one bit of noise", shape_with(latent=1), setting_with(codes="binary")),
    ),
    "rates-too-high": (
        _change("AdamW at 0.5 and 0.2", recipe_with(rates=(0.5, 0.2), optimiser=("adamw", "adamw"))),
        _change("both rates are multiplied by the batch twice, with momentum",
                lambda s: recipe_with(rates=tuple(r * s.batch * 8 for r in s.recipe.rates), betas=(0.9, 0.999),
                                  optimiser=_ADAM)(s)),
    ),
}  # fmt: skip
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
