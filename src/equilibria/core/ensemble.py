"""Many copies of one game, trained side by side as one game with stacked parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ..base.errors import ConfigError
from ..base.randomness import own_randomness
from ..networks import Frozen
from .game import Batch, Draw, Game, Loss, Tensors


class Ensemble(Game):
    """``n`` games of the same structure with stacked parameters. It is itself a game: every update rule can train it.

    A parameter of the ensemble has the member's name and shape ``(n, …)``. The total loss is the sum of the members'
    losses, so the gradient of each member depends on that member only, and an elementwise optimiser (Adam, SGD,
    RMSprop) moves each member as it would in a separate run. Each member has its own seed and gets the draws of a
    separate run with that seed, so its trajectory equals that run's up to rounding. Exception: dropout, whose masks
    differ from those of the separate run (they are still repeatable).

    On a CPU it is faster for small MLPs, and not for convolutions.

    Args:
        make: builds one member; called once per member, with the member's seed.
        seeds: one per member.

    Raises:
        ConfigError: no seed, or a module that is registered twice (``functional_call`` cannot call it).

    Examples:
        >>> from equilibria.data import DataSpec
        >>> from equilibria.games.two_player import TwoPlayer
        >>> from equilibria.networks import MLPPair
        >>> plane = DataSpec(kind="vector", shape=(2,))
        >>> three = Ensemble(lambda seed: TwoPlayer().build(MLPPair(width=8), plane), seeds=(0, 1, 2))
        >>> three.stack.generator.body[0].weight.shape, three.member(1).generator.body[0].weight.shape
        (torch.Size([3, 8, 64]), torch.Size([8, 64]))
    """

    def __init__(self, make: Callable[[int], Game], seeds: Sequence[int]) -> None:
        super().__init__()
        if isinstance(seeds, int):
            raise ConfigError(f"seeds={seeds} is a number, and a sequence is needed", f"seeds=range({seeds})")
        if not seeds:
            raise ConfigError("an Ensemble of no members", "give one seed per member")
        members = [make(seed) for seed in seeds]
        refuse_shared_modules(members[0])
        self.seeds = tuple(int(s) for s in seeds)
        self.players = tuple(replace(p, moves=tuple(f"stack.{m}" for m in p.moves)) for p in members[0].players)
        for name in (
            "whole",
            "exact",
            "needs",
            "shows",
            "choices",
            "maps",
            "judged",
            "classes",
            "class_shares",
            "prepared_on",
        ):
            setattr(self, name, getattr(members[0], name))
        self.stack = copy.deepcopy(members[0])
        self._shared = frozen_names(members[0])
        params, buffers = stack_module_state(list(members))
        for name, value in (params | buffers).items():
            if name not in self._shared:
                kind = nn.Parameter if name in params else Tensor.clone
                _set(self.stack, name, kind(value.detach().clone()))
        # Not a registered submodule: its own tensors are never read, every call replaces them by the stacked ones.
        self.__dict__["_skeleton"] = members[0]

    def member(self, i: int) -> Game:
        """A copy of the ``i``-th game in its present state."""
        game = copy.deepcopy(self.stack)
        for name, value in list(self.stack.named_parameters()):
            _set(game, name, nn.Parameter(value.detach()[i].clone()))
        for name, buffer in list(self.stack.named_buffers()):
            _set(game, name, buffer.clone() if name in self._shared else buffer[i].clone())
        return game

    def member_view(self, i: int) -> Game:
        skeleton: Game = self.__dict__["_skeleton"]
        for name, value in self.stack.named_buffers():
            _set(skeleton, name, value if name in self._shared else value[i])
        return skeleton

    def member_tensors(self, tensors: Tensors, i: int) -> Tensors:
        """The ``i``-th member's part of named tensors of a play or of this game, under its own names."""
        return {
            name.removeprefix("stack.").replace("/stack.", "/", 1): tensor if self._common(name) else tensor[i]
            for name, tensor in tensors.items()
        }

    def stacked_tensors(self, parts: Sequence[Tensors]) -> Tensors:
        """The named tensors of a play of this ensemble from those of its members' plays: the inverse of
        :meth:`member_tensors`.
        """
        whole: Tensors = {}
        for name in parts[0]:
            words = name.split("/")
            place = 1 if words[0] == "game" else 2
            stacked = "/".join([*words[:place], f"stack.{words[place]}", *words[place + 1 :]])
            common = self._common(stacked)
            whole[stacked] = parts[0][name] if common else torch.stack([part[name] for part in parts])
        return whole

    def _common(self, name: str) -> bool:
        """Whether all members share one tensor of a play: a frozen network's, or what an optimiser counts."""
        shared = name.removeprefix("game/").removeprefix("stack.") in self._shared
        return shared or (name.startswith("opt/") and name.endswith(("/step", "/mu_product")))

    def own(self, draw: Draw, i: int) -> Draw:
        """The ``i``-th member's part of a draw of this ensemble."""
        return replace(draw, tensors={name: tensor[i] for name, tensor in draw.tensors.items()})

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return self._stacked(lambda game: game.codes(n, labels))

    def given(self, rows: Batch) -> Batch:
        return self._stacked(lambda game: game.given(rows))

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return self._stacked(lambda game: game.chosen(n, values))

    def _stacked(self, entries: Callable[[Game], Batch]) -> Batch:
        each = []
        for i in range(len(self.seeds)):
            with own_randomness():  # the same codes for every member
                each.append(entries(self.member_view(i)))
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def loss(self, player: str, draw: Draw) -> Loss:
        each: Loss = self._each(lambda game, own: game("loss", player, own), draw)
        return Loss(each.total.sum(), {"each": each.total, **each.parts}, each.carry)

    def sample(self, draw: Draw) -> Tensor:
        """Samples of all members, ``(members, n, …)``."""
        sampled: Tensor = self._each(lambda game, own: game("sample", own), draw)
        return sampled

    def views(self, draw: Draw) -> Tensors:
        """Views of all members, ``(members, n, …)`` each."""
        shown: Tensors = self._each(lambda game, own: game("views", own), draw)
        return shown

    def mapped(self, name: str, rows: Batch) -> Tensor:
        """The results of all members, ``(members, n, …)``; one after another, since a map may take gradients."""
        skeleton: Game = self.__dict__["_skeleton"].train(self.training)
        made = []
        for i in range(len(self.seeds)):
            tensors = {**dict(self.stack.named_parameters()), **dict(self.stack.named_buffers())}
            own = {n: t if n in self._shared else t[i] for n, t in tensors.items()}
            with own_randomness():  # the same noise for every member
                made.append(functional_call(skeleton, own, ("mapped", name, rows)))
        return torch.stack(made)

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if next(self.stack.buffers(), None) is None:
            return

        def settle(game: Callable[..., Any], own: Draw, handed: Tensors) -> Tensor:
            game("after", player, own, handed)
            return own.step

        self._each(settle, draw, carry)

    def _each(self, call: Callable[..., Any], draw: Draw, *extra: Any) -> Any:
        skeleton: Game = self.__dict__["_skeleton"].train(self.training)
        params: Tensors = dict(self.stack.named_parameters())
        buffers = dict(self.stack.named_buffers())

        def one(p: Tensors, b: Tensors, tensors: Tensors, *rest: Any) -> Any:
            own = Draw(tensors, draw.step, draw.time, draw.seed)
            return call(lambda *args: functional_call(skeleton, {**p, **b}, args), own, *rest)

        per_buffer = {name: None if name in self._shared else 0 for name in buffers}
        in_dims = (0, per_buffer, 0, *(0 for _ in extra))
        return vmap(one, in_dims=in_dims, randomness="different")(params, buffers, draw.tensors, *extra)


def refuse_shared_modules(game: Game) -> None:
    """Refuse a module object that is registered under two names: ``functional_call`` would corrupt it.

    Raises:
        ConfigError: names the two places.
    """
    seen: dict[int, str] = {}
    for name, module in game.named_modules(remove_duplicate=False):
        if id(module) in seen:
            raise ConfigError(
                f"the module '{name}' is registered a second time (first as '{seen[id(module)]}')",
                "register it once and refer to it, or share its Parameters instead",
            )
        seen[id(module)] = name


def frozen_names(game: nn.Module) -> set[str]:
    """The names of the buffers that belong to a :class:`Frozen` network in a game."""
    return {
        f"{prefix}.{name}"
        for prefix, module in game.named_modules()
        if isinstance(module, Frozen)
        for name, _ in module.named_buffers()
    }


def _set(game: nn.Module, name: str, value: Tensor) -> None:
    *path, last = name.split(".")
    owner = game.get_submodule(".".join(path))
    if isinstance(value, nn.Parameter):
        owner._parameters[last] = value
    else:
        owner._buffers[last] = value
    for cache in ("_moved", "_unmoved"):
        game.__dict__.pop(cache, None)
