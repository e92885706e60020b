"""Loops of the exam after a remedy: the change that the remedy's text asks for, independent of the planted fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .loop import Loop

_REPAIRS = {
    "update-generator": ("generator-not-stepped", "generator-detached"),
    "update-discriminator": ("discriminator-not-stepped",),
    "optimise-all-parameters": ("half-optimised",),
    "own-parameters-only": ("shared-optimizer",),
    "zero-gradients": ("no-zero-grad",),
    "one-sigmoid": ("double-sigmoid",),
    "real-is-one": ("swapped-labels",),
    "both-sides": ("real-twice", "fake-twice"),
    "use-labels": ("label-hidden",),
    "fix-normalisation": ("frozen-statistics",),
    "shuffle-data": ("one-class-loader",),
    "clean-data": ("bad-row",),
    "lower-learning-rates": ("overflow",),
}
"""The faults in the code that each remedy repairs."""


def apply_remedy(loop: Loop, remedy: str) -> Loop:
    """The loop after a remedy; the same loop if the remedy changes nothing in it."""
    mended = tuple(f for f in loop.faults if f not in _REPAIRS.get(remedy, ()))
    loop = replace(loop, faults=mended)
    change = _CHANGES.get(remedy)
    return change(loop) if change is not None else loop


def _nets(loop: Loop, **fields: object) -> Loop:
    return replace(loop, nets=replace(loop.nets, **fields))  # type: ignore[arg-type]


def _slower(loop: Loop) -> Loop:
    return replace(loop, rate=min(loop.rate / 3, 1e-3), rate_d=min(loop.rate_d / 3, 1e-3), optimizer="adam")


def _penalised(loop: Loop) -> Loop:
    return replace(loop, r1=max(loop.r1, 1.0 if loop.data == "digits" else 0.1))


def _known_good(loop: Loop) -> Loop:
    rate = min(max(loop.rate, loop.rate_d), 1e-3)
    nets = replace(
        loop.nets, width_d=max(loop.nets.width, loop.nets.width_d), depth_d=max(loop.nets.depth, loop.nets.depth_d)
    )
    loop = replace(loop, rate=rate, rate_d=rate, momentum=0.0, optimizer="adam", turns=1, turns_d=1)
    return _penalised(replace(loop, nets=nets, objective="nonsaturating", clip=0.0, penalty=0.0))


def _ranged(loop: Loop) -> Loop:
    return replace(_nets(loop, output="tanh" if loop.data == "digits" else "linear"), scale=1.0)


_CHANGES: dict[str, Callable[[Loop], Loop]] = {
    "non-saturating-loss": lambda loop: replace(loop, objective="nonsaturating"),
    "known-good-base": _known_good,
    "slope-penalty": _penalised,
    "relativistic-with-penalties": _penalised,
    "gradient-penalty": lambda loop: replace(loop, penalty=10.0, clip=0.0),
    "loosen-clipping": lambda loop: replace(loop, penalty=10.0, clip=0.0),
    "lower-learning-rates": _slower,
    "clip-gradients": _slower,
    "balance-turns": lambda loop: replace(loop, turns=1, turns_d=max(loop.turns_d, 2)),
    "slow-discriminator": lambda loop: _penalised(replace(loop, rate_d=loop.rate_d / 10, turns_d=1)),
    "faster-discriminator": lambda loop: replace(loop, rate_d=max(loop.rate_d, loop.rate), turns=1),
    "larger-discriminator": lambda loop: _nets(loop, width_d=128, depth_d=3),
    "seeing-discriminator": lambda loop: _nets(loop, activation="leaky", bias_d=0.0, ignore_input=False),
    "larger-generator": lambda loop: _nets(
        loop, width=max(loop.nets.width, loop.nets.width_d), depth=max(loop.nets.depth, loop.nets.depth_d)
    ),
    "larger-latent": lambda loop: _nets(loop, latent=16),
    "use-latent": lambda loop: _nets(loop, ignore_code=False),
    "larger-batch": lambda loop: replace(loop, batch=128, rate=min(loop.rate, 1e-3), rate_d=min(loop.rate_d, 1e-3)),
    "more-data": lambda loop: replace(loop, points=0),
    "match-data-range": _ranged,
    "smaller-output-weights": lambda loop: _nets(loop, gain=1.0),
    "norm-without-batch": lambda loop: _nets(loop, norm_d="none"),
}
