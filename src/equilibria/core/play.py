"""A run's live state: game, rule, optimisers, averages and three integers. It is what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..base import distributed
from ..base.errors import ConfigError, RunError
from ..base.randomness import mix, own_randomness
from ..base.records import record
from ..base.schedules import Clock, Schedule, value_at
from .cuda_graphs import Eager, Launch, Turn
from .game import Batches, Draw, Game, Loss, gradients, make_draw
from .optimizers import OptimizerSpec
from .sampling import Sampler

Tensors = dict[str, Tensor]


@runtime_checkable
class Rule(Protocol):
    """An update rule: a frozen record that plays one round. Its memory lives in the play."""

    def round(self, play: Play) -> dict[str, Loss]: ...


@record
class Average:
    r"""Exponential moving average of a player's parameters, from which samples are taken.

    .. math:: \bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta, \quad d = \min(\text{decay}, (1+t)/(10+t))

    once per round :math:`t` (Yazici et al. 2019; the warm-up lets short runs forget their start).
    """

    player: str = "generator"
    decay: float | Schedule = 0.999


@dataclass
class Play:
    """The live state of a run.

    Attributes:
        game: the game, whose parameters and buffers are part of the state.
        rule: the update rule.
        specs: each player's optimiser, as a record.
        batches: real rows as a function of (seed, turn).
        seed: the run's seed; all randomness is a function of it and the turn.
        horizon: the round at which schedules end.
        schedules_from: the round at which they begin.
        averages: which players are averaged, and how.
        launch: how turns reach the device.
    """

    game: Game
    rule: Rule
    specs: Mapping[str, OptimizerSpec]
    batches: Batches
    seed: int = 0
    horizon: int = 10_000
    averages: tuple[Average, ...] = ()
    precision: str = "float32"
    round: int = 0
    turn: int = 0
    memory: Tensors = field(default_factory=dict)
    launch: Launch = field(default_factory=Eager)
    schedules_from: int = 0

    def __post_init__(self) -> None:
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for player in self.game.players:
            if player.name not in self.specs:
                raise ConfigError(f"player '{player.name}' has no optimiser", "give one for each player")
            self.optimizers[player.name] = self.specs[player.name].build(list(self.game.moved(player.name).values()))
        self._set_rates()
        self.averaged: dict[str, Tensors] = {
            a.player: {n: p.detach().clone() for n, p in self.game.moved(a.player).items()} for a in self.averages
        }
        self._sampler = Sampler(self)

    def prepare(self) -> None:
        """Let the game fill the buffers that depend on the data. Once, before round 0."""
        with own_randomness(), torch.no_grad():
            self.game.begin(self.batches, self.seed)

    def rehearse(self) -> None:
        """Compute every player's gradient once and change nothing, so that an error in a game is found at the start.

        Raises:
            EquilibriaError: a loss is not of the form that is needed.
        """
        turn = self.turn
        with own_randomness():
            draw = self.deal()
            for player in self.game.players:
                gradients(self.game, player.name, draw)
        self.turn = turn

    @property
    def device(self) -> torch.device:
        """Where the game lives."""
        return next(self.game.parameters()).device

    @property
    def clock(self) -> Clock:
        """The time as numbers."""
        played = self.round - self.schedules_from
        return Clock(played, min(1.0, played / max(1, self.horizon - self.schedules_from)))

    def deal(self, rows: int | None = None) -> Draw:
        """The next turn's draw; ``rows`` is an earlier turn whose real rows are to be used again.

        Processes that play together all make the whole draw, and each gets its part of the rows.
        """
        with torch.no_grad():
            tensors = self.game.deal(self.batches, self.seed, self.turn, self.turn if rows is None else rows)
        here, seed = distributed.playing(), mix(self.seed, self.turn, 4)
        if not here.is_first:
            seed = mix(seed, here.rank)  # one mask of dropout for the rows of all would not be that of independent rows
        self.turn += 1
        return make_draw(tensors, seed, *self.clock).part(here.rank, here.count, self.game.whole)

    def take(self, name: str, turn: Turn, draw: Draw) -> dict[str, Loss]:
        """Take a turn on a draw; ``name`` stands for the same turn in every round."""
        return self.launch(name, turn, draw, self.tensors)

    def move(self, player: str, grads: Tensors) -> None:
        """One step of a player's optimiser along minus these gradients, then its constraint."""
        own = self.game.moved(player)
        for name, parameter in own.items():
            # Fused optimisers on the CPU read a gradient of other strides as if it had the parameter's, silently.
            grad = grads[name]
            same = grad.stride() == parameter.stride()
            parameter.grad = grad if same else torch.empty_like(parameter.detach()).copy_(grad)
        self.optimizers[player].step()
        for parameter in own.values():
            parameter.grad = None
        constraint = self.game.player(player).constraint
        if constraint is not None:
            with torch.no_grad():
                for name, parameter in own.items():
                    parameter.copy_(constraint(name, parameter))

    def settle(self, player: str, draw: Draw, loss: Loss) -> None:
        """Let the game write its state after a turn."""
        with torch.no_grad():
            self.game.after(player, draw, loss.carry)

    def advance(self, rounds: int = 1) -> dict[str, Loss]:
        """Play rounds and return the last losses. The global generators are given back as they were."""
        losses: dict[str, Loss] = {}
        with own_randomness(), self._cast(), distributed.together():
            for _ in range(rounds):
                self._set_rates()
                losses = self.rule.round(self)
                self.round += 1
                self._average()
        return losses

    def _cast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False
        )

    def _set_rates(self) -> None:
        clock = self.clock
        for name, optimizer in self.optimizers.items():
            rate = self.specs[name].rate(clock)
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def rate(self, player: str) -> float | Tensor:
        """A player's learning rate in this round; a tensor where the optimiser holds one."""
        rate: float | Tensor = self.optimizers[player].param_groups[0]["lr"]
        return rate

    @torch.no_grad()
    def remember(self, who: str, block: Tensors) -> None:
        """Keep tensors in ``memory`` as ``who/name``, in place of what is kept there."""
        for name, value in block.items():
            kept = self.memory.setdefault(f"{who}/{name}", torch.empty_like(value))
            kept.copy_(value)

    @torch.no_grad()
    def _average(self) -> None:
        for average in self.averages:
            decay = min(float(value_at(average.decay, self.clock)), (1 + self.round) / (10 + self.round))
            kept = list(self.averaged[average.player].values())
            now = list(self.game.moved(average.player).values())
            torch._foreach_lerp_(kept, now, 1.0 - decay)  # type: ignore[arg-type]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Whatever is moved inside, players and optimisers are put back: for looking ahead."""
        with torch.no_grad():
            kept = {name: tensor.clone() for name, tensor in self._living().items()}
        known = {name: {p: set(o.state.get(p, {})) for p in _owned(o)} for name, o in self.optimizers.items()}
        try:
            yield
        finally:
            for name, optimizer in self.optimizers.items():
                for parameter, entries in known[name].items():
                    if not entries:
                        optimizer.state.pop(parameter, None)
            with torch.no_grad():
                for name, tensor in self._living().items():
                    tensor.copy_(kept[name])

    def classes(self, n: int, seed: int = 0) -> Tensor:
        """The classes ``(n,)`` that samples of a seed have where none are asked: each by its share in the data.

        Raises:
            ConfigError: the game has no classes.
        """
        if not self.game.classes:
            raise ConfigError(f"classes of a {type(self.game).__name__}, which has none", "leave them out")
        return self._sampler.classes(n, seed)

    def codes(
        self,
        n: int,
        seed: int = 0,
        labels: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        choices: Mapping[str, float] | None = None,
    ) -> Draw:
        """The draw of ``n`` samples, a function of the seed.

        Args:
            n: how many.
            seed: of everything random.
            labels: ``(n,)`` classes of the data, for a game that has ``classes``; None for those of the data in its
                shares (:meth:`classes`).
            given: ``n`` rows of the columns that the game ``needs``; None for training rows.
            choices: values of codes that the game lists in ``choices``.

        Raises:
            ConfigError: rows for a game that needs none or not ``n``, an unknown code, or a value outside its range.
            DataError: a column that the game needs is missing.
        """
        return self._sampler.codes(n, seed, labels, given, choices)

    def sample(
        self,
        n: int,
        seed: int = 0,
        labels: Tensor | None = None,
        averaged: bool = True,
        given: Mapping[str, Tensor] | None = None,
        choices: Mapping[str, float] | None = None,
    ) -> Tensor:
        """``n`` samples from the averaged players (or the players as they are), a function of the seed alone.

        Batch norms use statistics measured on codes of their own (:mod:`~equilibria.core.calibration`), so that no
        sample depends on the others. The further arguments are those of :meth:`codes`.
        """
        return self.sample_of(self.codes(n, seed, labels, given, choices), averaged)

    def views(
        self,
        n: int,
        seed: int = 0,
        labels: Tensor | None = None,
        averaged: bool = True,
        given: Mapping[str, Tensor] | None = None,
        choices: Mapping[str, float] | None = None,
    ) -> Tensors:
        """What the game shows of the samples that :meth:`sample` draws with the same arguments, by name."""
        return self.views_of(self.codes(n, seed, labels, given, choices), averaged)

    def sample_of(self, draw: Draw, averaged: bool = True) -> Tensor:
        """The samples of a draw that :meth:`codes` gave, or of one with other codes in its place."""
        made: Tensor = self._sampler.shown("sample", draw, averaged)
        return made.float()

    def views_of(self, draw: Draw, averaged: bool = True) -> Tensors:
        """What the game shows of the samples of a draw, by name."""
        shown: Tensors = self._sampler.shown("views", draw, averaged)
        return {name: view.float() if view.is_floating_point() else view for name, view in shown.items()}

    def apply(self, name: str, rows: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        """What the game's map of that name makes of rows, ``(n, …)``, with averaged players and calibrated norms.

        Args:
            name: one of the game's ``maps``.
            rows: the columns that the map takes, ``(n, …)`` each; they are mapped in pieces of 500.
            seed: of what is random in the map.

        Raises:
            ConfigError: the game has no such map.
            DataError: a column is missing.
            ShapeError: no rows, or columns of different lengths.
        """
        return self._sampler.apply(name, rows, seed)

    def statistics(self, function: str = "sample") -> Tensors:
        """The batch norms' statistics with which ``sample``, ``views`` or a map is called, by the buffers' names.

        Empty for a game without batch norms. The buffers of the game itself are never written.
        """
        return self._sampler.statistics(function)

    def _living(self) -> Tensors:
        """Parameters, buffers and optimiser entries, by name; the tensors themselves."""
        living: Tensors = {f"game/{n}": p for n, p in self.game.named_parameters()}
        living.update({f"game/{n}": b for n, b in self.game.named_buffers()})
        for who, optimizer in self.optimizers.items():
            for name, parameter in self.game.moved(who).items():
                for entry, value in optimizer.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        living[f"opt/{who}/{name}/{entry}"] = value
        return living

    def tensors(self) -> Tensors:
        """Everything that must be saved, as named tensors (not copies): ``game/``, ``opt/``, ``ema/``, ``rule/``."""
        saved = self._living()
        saved.update({f"ema/{who}/{n}": t for who, own in self.averaged.items() for n, t in own.items()})
        saved.update({f"rule/{name}": tensor for name, tensor in self.memory.items()})
        return {name: tensor.detach() for name, tensor in saved.items()}

    @torch.no_grad()
    def load(self, saved: Mapping[str, Tensor], round: int, turn: int) -> None:
        """Take the state that :meth:`tensors` gave. Nothing is changed if a name, a shape or a type does not fit.

        Raises:
            RunError: the tensors are not those of this game.
        """
        targets: Tensors = {f"game/{n}": p for n, p in self.game.named_parameters()}
        targets.update({f"game/{n}": b for n, b in self.game.named_buffers()})
        targets.update({f"ema/{who}/{n}": t for who, own in self.averaged.items() for n, t in own.items()})
        named = {k for k in saved if not k.startswith(("opt/", "rule/"))}
        for name in sorted(named ^ set(targets)):
            where = "is missing from the checkpoint" if name in targets else "is not part of this game"
            raise RunError(f"'{name}' {where}", "resume with the recipe, networks and data shape the run was made with")
        for name, target in targets.items():
            given, here = saved[name], f"{tuple(target.shape)} {target.dtype}"
            if f"{tuple(given.shape)} {given.dtype}" != here:
                raise RunError(
                    f"'{name}' is {tuple(given.shape)} {given.dtype} in the checkpoint and {here} here",
                    "resume with the networks the run was made with",
                )
        entries = {who: self._entries(saved, who) for who in self.optimizers}
        placed = sum(len(own) for blocks in entries.values() for own in blocks.values())
        if placed != sum(name.startswith("opt/") for name in saved):
            raise RunError(
                "the checkpoint has optimiser state of other players", "resume with the game it was made with"
            )
        for name, target in targets.items():
            target.copy_(saved[name])
        for who, optimizer in self.optimizers.items():
            optimizer.state.clear()
            for parameter, own in zip(self.game.moved(who).values(), entries[who].values(), strict=True):
                if own:
                    optimizer.state[parameter] = {k: _like(v, parameter) for k, v in own.items()}
        self.memory = {k[5:]: v.clone().to(self.device) for k, v in saved.items() if k.startswith("rule/")}
        self.round, self.turn = round, turn
        self.launch.forget()

    def _entries(self, saved: Mapping[str, Tensor], who: str) -> dict[str, Tensors]:
        """The optimiser's saved entries, by parameter."""
        own: dict[str, Tensors] = {name: {} for name in self.game.moved(who)}
        for key, value in saved.items():
            if key.startswith(f"opt/{who}/"):
                name, _, entry = key.removeprefix(f"opt/{who}/").rpartition("/")
                own.setdefault(name, {})[entry] = value
        if unknown := own.keys() - self.game.moved(who).keys():
            raise RunError(
                f"'{min(unknown)}' is not moved by '{who}' here", "resume with the game the run was made with"
            )
        kinds = {frozenset(entries) for entries in own.values() if entries}
        for name, parameter in self.game.moved(who).items():
            shapes, types = {(), parameter.shape}, {torch.float32, parameter.dtype}
            fits = all(v.shape in shapes and v.dtype in types for v in own[name].values())
            if not fits or len(kinds) > 1:
                raise RunError(
                    f"the optimiser state of '{name}' does not fit it, or that of '{who}' has gaps",
                    "resume with the optimisers the run was made with",
                )
        return own


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy where the parameter is, with its strides if it has its shape: fused optimisers walk memory."""
    if value.shape != parameter.shape:
        return value.clone().to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _owned(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
