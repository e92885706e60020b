"""The record of a style: one way to write a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .kit import Kit

Play = Callable[[Kit], None]


@dataclass(frozen=True)
class Style:
    """A way to write a training loop.

    Attributes:
        name: the name.
        play: the loop.
        about: what is particular in it.
        split: the split of the cases that use it; held-out cases use those of ``development`` as well.
        marks: facts that faults and recipes ask for: ``paired`` (it can train a relativistic loss), ``targets`` (its
            losses are criteria with targets), ``many`` (several discriminator steps for one generator step), ``turns``
            (several generator steps), ``fresh`` (each player has generated rows of its own graph), ``leaves`` (a
            player's backward pass leaves gradient in the other), ``both`` (the two batches are scored by
            :meth:`Kit.both`), ``sampler`` (samples come from an averaged copy), ``labelled``, ``logits`` (no sigmoid),
            ``simultaneous`` (both players step at once), ``clears-by-hand`` (gradients are set to None without
            ``zero_grad``), ``scaler`` (steps go through a gradient scaler, which needs gradients that are finite),
            ``sums`` (losses are sums over rows).
    """

    name: str
    play: Play
    about: str
    split: str
    marks: frozenset[str]


STYLES: dict[str, Style] = {}
"""Every style by its name."""


def style(marks: str, *, split: str = "development") -> Callable[[Play], Play]:
    """A decorator that adds a loop to :data:`STYLES` under its name in kebab case."""

    def add(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        STYLES[name] = Style(name, play, (play.__doc__ or "").strip(), split, frozenset(marks.split()))
        return play

    return add


__all__ = ["STYLES", "Style", "style"]
