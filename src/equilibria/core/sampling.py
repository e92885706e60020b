"""What a play gives to its user: samples, views and maps, with averaged parameters and calibrated norms in place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from ..base.errors import ConfigError, DataError, EquilibriaError, ShapeError, did_you_mean
from ..base.randomness import mix, own_randomness, reseed
from ..base.schedules import Clock
from . import calibration
from .classes import drawn_classes
from .ensemble import Ensemble
from .game import Batch, Batches, Draw, Game, Tensors, make_draw

PIECE = 500
"""Rows of one call of a map: what is asked for may be more than the memory holds at once."""


class Live(Protocol):
    """What sampling reads of a play."""

    game: Game
    seed: int
    round: int
    turn: int
    averaged: dict[str, Tensors]

    @property
    def batches(self) -> Batches: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def clock(self) -> Clock: ...


class Sampler:
    """Calls a play's game in evaluation mode, as a function of a seed, and changes nothing of the play.

    Statistics of batch norms are measured once per function and state of the play, and kept.

    Args:
        play: whose game is called.
    """

    def __init__(self, play: Live) -> None:
        self.play = play
        self._kept: dict[tuple[str, bool], tuple[tuple[int, ...], Tensors]] = {}

    def codes(
        self,
        n: int,
        seed: int,
        labels: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        choices: Mapping[str, float] | None = None,
    ) -> Draw:
        """The draw of ``n`` samples (see :meth:`Play.codes`)."""
        game = self.play.game
        check_choices(game, choices or {})
        if labels is None and game.classes:
            labels = self.classes(n, seed)
        rows = self._rows(n, seed, given) if game.needs else {}
        if given is not None and not game.needs:
            raise ConfigError("rows were given, and this game samples from codes alone", "leave them out")
        with own_randomness(), torch.no_grad():
            reseed(mix(seed, 3))
            with torch.device(self.play.device):
                tensors = dict(game.codes(n, labels))
                if rows:
                    tensors |= game.given(rows)
                if choices:
                    tensors |= game.chosen(n, dict(choices))
                return make_draw(tensors, mix(seed, 4), *self.play.clock)

    def classes(self, n: int, seed: int) -> Tensor:
        """The classes of ``n`` samples for which none are asked: those of the data, in its shares, in random order."""
        game = self.play.game
        return drawn_classes(n, game.class_shares or (1.0,) * game.classes, seed).to(self.play.device)

    def shown(self, method: str, draw: Draw, averaged: bool = True) -> Any:
        """The result of ``sample`` or ``views`` for a draw."""
        game = self.play.game
        values = self._values(averaged)
        statistics = self.statistics(method, averaged, draw)
        with self._evaluating():
            reseed(draw.seed)
            return functional_call(game, {**values, **statistics}, (method, draw))

    def apply(self, name: str, rows: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        """What a map makes of rows (see :meth:`Play.apply`)."""
        game, device = self.play.game, self.play.device
        check_map(game, name)
        n, rows = needed_rows(rows, game.maps[name].takes, f"the map '{name}'")
        rows = {column: values.to(device) for column, values in rows.items()}
        statistics = self.statistics(name, True, rows)
        values, made = {**self._values(True), **statistics}, []
        with self._evaluating():
            for i, start in enumerate(range(0, n, PIECE)):
                piece = {column: tensor[start : start + PIECE] for column, tensor in rows.items()}
                reseed(mix(seed, 10, i))
                made.append(functional_call(game, values, ("mapped", name, piece)).detach())
        return calibration.joined(made, game)

    def statistics(self, function: str, averaged: bool = True, example: Draw | Batch | None = None) -> Tensors:
        """Buffers of the game's batch norms for a function: ``"sample"``, ``"views"`` or a map (by its ``norms``).

        They are measured on fresh codes and the first training rows, from seeds of their own, so that they depend on
        nothing that a user asks for. If the training rows are not available, ``example`` is used instead.
        """
        game = self.play.game
        if not calibration.normed(game):
            return {}
        if function in game.maps:
            function = game.maps[function].norms or function
        state = (self.play.round, self.play.turn, self._version())
        kept = self._kept.get((function, averaged))
        if kept is None or kept[0] != state:
            method = "mapped" if function in game.maps else function
            with self._evaluating():
                reseed(mix(self.play.seed, 11))
                inputs = self._inputs(function, example)
                kept = (state, calibration.statistics(game, self._values(averaged), method, inputs))
            self._kept[function, averaged] = kept
        return kept[1]

    def _inputs(self, function: str, example: Draw | Batch | None) -> list[tuple[Any, ...]]:
        rows, game = calibration.ROWS, self.play.game
        try:
            if function not in game.maps:
                return [(self._code_batch(rows, i),) for i in range(calibration.BATCHES)]
            takes = game.maps[function].takes
            dealt = self._real(rows * calibration.BATCHES, 0)
            dealt = {name: dealt[name] for name in takes}
        except (EquilibriaError, KeyError) as error:
            if example is None or (function not in game.maps and not game.needs):
                raise
            why = error.what if isinstance(error, EquilibriaError) else f"{error} is not in the training rows"
            warnings.warn(
                f"batch norms take their statistics from the {_count(example, game)} rows given ({why})", stacklevel=2
            )
            return [(example,)] if isinstance(example, Draw) else [(function, example)]
        starts = range(0, rows * calibration.BATCHES, rows)
        return [(function, {name: dealt[name][start : start + rows] for name in takes}) for start in starts]

    def _code_batch(self, rows: int, i: int) -> Draw:
        return self.codes(rows, mix(self.play.seed, 12, i))

    def _rows(self, n: int, seed: int, given: Mapping[str, Tensor] | None) -> Batch:
        game, device = self.play.game, self.play.device
        if given is None:
            dealt = self._real(n, seed)
            given = {name: column[:n] for name, column in dealt.items()}
        shown = tuple(name for name in game.shows if name in given)
        count, rows = needed_rows(given, (*game.needs, *shown), "a sample")
        if count != n:
            raise ConfigError(f"{n} samples from {count} rows", f"give {n} rows")
        return {name: column.to(device) for name, column in rows.items()}

    def _real(self, n: int, seed: int) -> Batch:
        """``n`` training rows as batches deal them, a function of the seed."""
        own, count = mix(self.play.seed, seed, 13), 0
        dealt: list[Batch] = []
        while count < n:
            batch = self.play.batches(own, len(dealt))
            if not batch:
                raise DataError("this play deals no rows", "give them")
            dealt.append(batch)
            count += len(next(iter(batch.values())))
        return {name: torch.cat([batch[name] for batch in dealt])[:n].to(self.play.device) for name in dealt[0]}

    def _values(self, averaged: bool) -> Tensors:
        return {k: v for own in self.play.averaged.values() for k, v in own.items()} if averaged else {}

    def _version(self) -> int:
        """Changes whenever a parameter, an average or a buffer is written in place."""
        tensors = [*self.play.game.parameters(), *self.play.game.buffers(), *self._values(True).values()]
        return sum(tensor._version for tensor in tensors)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        game = self.play.game
        was_training = game.training
        game.eval()
        try:
            with own_randomness(), torch.no_grad():
                yield
        finally:
            game.train(was_training)


def needed_rows(rows: Mapping[str, Tensor], needed: tuple[str, ...], who: str) -> tuple[int, Batch]:
    """The columns that are needed, and how many rows they have.

    Raises:
        DataError: a column is missing.
        ShapeError: no rows, or columns of different lengths.
    """
    for name in needed:
        if name not in rows:
            raise DataError(f"{who} needs a column '{name}'", f"give it; there are: {', '.join(rows) or 'none'}")
    counts = {name: len(rows[name]) for name in needed}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ShapeError(f"{who} from columns of {counts} rows", "give columns of one length, at least one row")
    return next(iter(counts.values())), {name: rows[name] for name in needed}


def check_map(game: Game, name: str) -> None:
    """Hold the name of a map to those that the game has.

    Raises:
        ConfigError: it has no such map.
    """
    if name not in game.maps:
        known = did_you_mean(name, game.maps) if game.maps else "this game has no maps; sample it"
        raise ConfigError(f"no map '{name}'", known)


def check_choices(game: Game, values: Mapping[str, float]) -> None:
    """Hold values of codes to what the game offers.

    Raises:
        ConfigError: a code that the game does not have, or a value outside its range.
    """
    for name, value in values.items():
        if name not in game.choices:
            known = did_you_mean(name, game.choices) if game.choices else "this game has none to choose; leave it out"
            raise ConfigError(f"no code '{name}' to choose", known)
        choice = game.choices[name]
        if choice.classes and not (float(value).is_integer() and 0 <= value < choice.classes):
            raise ConfigError(f"code.{name}={value}", f"use a whole number from 0 to {choice.classes - 1}")
        if not choice.classes and not choice.low <= value <= choice.high:
            raise ConfigError(f"code.{name}={value}", f"use a number from {choice.low:g} to {choice.high:g}")


def _count(example: Draw | Batch, game: Game) -> int:
    tensors = example.tensors if isinstance(example, Draw) else example
    place = 1 if isinstance(example, Draw) and isinstance(game, Ensemble) else 0
    return int(next(iter(tensors.values())).shape[place])
