"""The core: a game, its players, and the draw that makes every loss a number.

A GAN is a game. Each :class:`Player` moves some parameters and has one loss. A :class:`Draw` is everything random in
one turn (real batch, labels, latent codes, noise) and the time. Given parameters, buffers and a draw, every loss is a
number, so the game has a vector field :math:`v(\\theta) = (-\\partial \\ell_i / \\partial \\theta_i)_i`.

The rules a game keeps (docs/architecture.md says what breaks without each):

1. ``loss`` reads parameters, buffers and the draw, and writes nothing; it never detaches in order to freeze a player.
2. State is the game's buffers; ``after`` is their only writer, ``prepare`` fills what depends on the data.
3. All randomness is in the draw.
4. The time is in the draw.
5. ``contests`` name the discrimination tasks: real inputs, fake inputs, and the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..base import distributed
from ..base.errors import ConfigError, EquilibriaError, did_you_mean
from ..base.randomness import mix, reseed
from ..base.schedules import Schedule
from ..theory.slopes import input_slopes
from .classes import classes_by_quota
from .doctor_view import Examined
from .maps import Choice, Map

Batch = dict[str, Tensor]
Tensors = dict[str, Tensor]
Batches = Callable[[int, int], Batch]
"""Real rows as a function of (seed, turn)."""
Method = TypeVar("Method", bound=Callable[..., Any])


def default(method: Method) -> Method:
    """Mark what a method of an abstract class does where a subclass says nothing: such a method may be replaced."""
    return method


@dataclass(frozen=True)
class Draw:
    """Everything random in one turn, and the time. It serves as the clock of schedules.

    Attributes:
        tensors: named tensors, one row per example unless the game lists the name in ``whole``.
        step: rounds played, a 0-dim tensor.
        time: share of the run played, in [0, 1], a 0-dim tensor.
        seed: seeds the modules' own noise (dropout) and the optimisers'.
    """

    tensors: Tensors
    step: Tensor
    time: Tensor
    seed: int

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise ConfigError(f"the draw has no '{name}'", did_you_mean(name, self.tensors)) from None

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def part(self, i: int, k: int, whole: tuple[str, ...] = ()) -> Draw:
        """The ``i``-th of ``k`` equal parts by rows: a micro-batch, or the rows of one process.

        Raises:
            ConfigError: a tensor's rows do not divide by ``k``.
        """
        if k == 1:
            return self
        cut: Tensors = {}
        for name, tensor in self.tensors.items():
            if name in whole:
                cut[name] = tensor
                continue
            if len(tensor) % k:
                raise ConfigError(
                    f"{len(tensor)} rows of '{name}' do not divide by {k}", f"use a batch divisible by {k}"
                )
            rows = len(tensor) // k
            cut[name] = tensor[i * rows : (i + 1) * rows]
        return Draw(cut, self.step, self.time, self.seed)


class Loss(NamedTuple):
    """A player's loss: ``total`` is differentiated, ``parts`` are logged, ``carry`` is handed to ``after``."""

    total: Tensor
    parts: Tensors = {}  # noqa: RUF012 (a default of a tuple's field, never mutated)
    carry: Tensors = {}  # noqa: RUF012


class Contest:
    """A discrimination task: real points, fake points, and a score that is higher for more real.

    ``real`` and ``fake`` are tuples of tensors that ``score`` takes as its arguments; slopes are with respect to the
    first. Each score and each slope is computed once, on demand; a slope leaves its score behind.

    ``describe``, where there is one, takes the same arguments as ``score`` and gives the features ``(n, k)`` that the
    score is made from. ``classify``, where there is one, gives the score and the outputs ``(n, K)`` of a classifier
    with the same features, in one pass.
    """

    def __init__(
        self,
        real: tuple[Tensor, ...],
        fake: tuple[Tensor, ...],
        score: Callable[..., Tensor],
        describe: Callable[..., Tensor] | None = None,
        classify: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.real, self.fake, self.score, self.describe, self.classify = real, fake, score, describe, classify
        self._scores: Tensors = {}
        self._slopes: Tensors = {}
        self._features: Tensors = {}
        self._classes: Tensors = {}

    def points(self, side: str) -> tuple[Tensor, ...]:
        """The points of a side, ``"real"`` or ``"fake"``."""
        return self.real if side == "real" else self.fake

    def scores(self, side: str) -> Tensor:
        """The score of each point of a side, shape ``(n,)`` or ``(n, …)`` for patches."""
        if side not in self._scores:
            if self.classify is None:
                self._scores[side] = self.score(*self.points(side))
            else:
                self.classes(side)  # leaves its scores behind
        return self._scores[side]

    def classes(self, side: str) -> Tensor:
        """The unnormalised log-probabilities of the classes for each point of a side, ``(n, K)``.

        Raises:
            ConfigError: the contest has none.
        """
        if self.classify is None:
            raise ConfigError("this contest has no classifier", "give it classify=, from points to scores and outputs")
        if side not in self._classes:
            scores, self._classes[side] = self.classify(*self.points(side))
            self._scores.setdefault(side, scores)
        return self._classes[side]

    def features(self, side: str) -> Tensor:
        """The features of each point of a side, ``(n, k)``.

        Raises:
            ConfigError: the contest has none.
        """
        if self.describe is None:
            raise ConfigError("this contest has no features", "give it describe=, from points to features (n, k)")
        if side not in self._features:
            self._features[side] = self.describe(*self.points(side))
        return self._features[side]

    def slopes(self, side: str) -> Tensor:
        """The gradient of the score with respect to the first entry of each point, of that entry's shape."""
        if side not in self._slopes:
            self._scores[side], self._slopes[side] = self._both(self.points(side)[0], side)
        return self._slopes[side]

    def together(self, slopes: bool = False) -> None:
        """Score both sides (and take both slopes) in one pass instead of two, for a score that treats rows alone."""
        count = len(self.real[0])
        x, *rest = (torch.cat(pair) for pair in zip(self.real, self.fake, strict=True))
        if slopes:
            scores, found = input_slopes(lambda point: self.score(point, *rest), x)
            self._slopes = {"real": found[:count], "fake": found[count:]}
        elif self.classify is not None:
            scores, classes = self.classify(x, *rest)
            self._classes = {"real": classes[:count], "fake": classes[count:]}
        else:
            scores = self.score(x, *rest)
        self._scores = {"real": scores[:count], "fake": scores[count:]}

    def slopes_at(self, x: Tensor, side: str = "real") -> Tensor:
        """The slopes at other points ``x``, with the remaining entries (labels, codes) of ``side``."""
        return self._both(x, side)[1]

    def _both(self, x: Tensor, side: str) -> tuple[Tensor, Tensor]:
        rest = self.points(side)[1:]
        return input_slopes(lambda point: self.score(point, *rest), x)


@dataclass(frozen=True)
class Player:
    """One who moves: a name, the modules or parameters it moves, and its turns in a round.

    Attributes:
        name: ``"generator"``, ``"discriminator"``, ``"encoder"``, …
        moves: names of submodules or parameters of the game; may overlap with other players'.
        turns: turns in a round, a number or a schedule of the round.
        constraint: the strategy set as a pure map ``(name, tensor) -> tensor`` (weight clipping).
    """

    name: str
    moves: tuple[str, ...]
    turns: int | Schedule = 1
    constraint: Callable[[str, Tensor], Tensor] | None = None


class Game(nn.Module):
    """Abstract. A concrete game is final: it gives ``players``, ``draw``, ``contests``, ``loss`` and ``sample``.

    Attributes:
        players: in the order in which an alternating round moves them.
        whole: entries of the draw that are not one row per example.
        exact: False where a loss uses a gradient estimator, so that the game's Jacobian is not that of its field.
        seeds: of the members where the game is an ensemble; empty otherwise: such a game takes the seed of its run.
        class_shares: the share of each class in the data, by which samples have their classes where none are asked
            for; empty for even shares.
        prepared_on: rows that ``prepare`` is given; 0 for those of one batch.
        classes: classes of the data that samples can be asked for; 0 where they cannot. Codes that a game finds
            without labels are no classes but ``choices``.
        needs: columns of real rows that ``sample`` reads (the image that is translated, the caption); where the user
            gives none, they come from held-out rows.
        sizes: further shapes that given rows of a column may have, besides that of the data, by the column's name.
        shows: further columns that ``views`` shows beside (the target of a translation), if they are available.
        choices: codes that a user may fix, by name.
        maps: trained functions of rows, by name.
        judged: each view that is compared with the data, and the column that it is compared with.
    """

    players: tuple[Player, ...] = ()
    whole: tuple[str, ...] = ()
    exact: bool = True
    seeds: tuple[int, ...] = ()
    classes: int = 0
    class_shares: tuple[float, ...] = ()
    prepared_on: int = 0
    needs: tuple[str, ...] = ()
    sizes: Mapping[str, tuple[tuple[int, ...], ...]] = {}
    shows: tuple[str, ...] = ()
    choices: Mapping[str, Choice] = {}
    maps: Mapping[str, Map] = {}
    judged: Mapping[str, str] = {"samples": "x"}

    def prepare(self, batch: Batch) -> None:
        """Fill, in place, the buffers that depend on the data, once, before round 0; uses no parameters."""

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        """The random tensors that ``sample`` needs for ``n`` samples (and the labels asked for), with no real data."""
        raise NotImplementedError

    @default
    def given(self, rows: Batch) -> Batch:
        """Entries of the draw from the columns in ``needs``, and those in ``shows`` that are there, ``(n, …)`` each.

        With :meth:`codes` they make the draw of a sample: ``{**codes(n, labels), **given(rows), **chosen(…)}``.
        """
        shown = (name for name in self.shows if name in rows)
        return {name: rows[name] for name in (*self.needs, *shown)}

    def usual_classes(self, n: int) -> Tensor:
        """The classes of ``n`` samples for which none are asked, ``(n,)``: those of the data, in its shares."""
        return classes_by_quota(n, self.class_shares or (1.0,) * self.classes)

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        """Entries of the draw of ``n`` samples in which codes of ``choices`` are fixed at ``values``."""
        raise NotImplementedError

    def draw(self, batch: Batch) -> Batch:
        """A turn's tensors from a real batch. May use ``torch.randn`` and buffers freely, never parameters."""
        raise NotImplementedError

    def contests(self, draw: Draw) -> dict[str, Contest]:
        """The game's discrimination tasks, by name."""
        raise NotImplementedError

    def loss(self, player: str, draw: Draw) -> Loss:
        """The loss of a player. Reads parameters, buffers and the draw; writes nothing."""
        raise NotImplementedError

    def losses(self, draw: Draw) -> dict[str, Loss]:
        """Every player's loss at one point, what they share computed once; left out, each is computed by itself."""
        raise NotImplementedError

    def sample(self, draw: Draw) -> Tensor:
        """Generated examples for the codes in the draw, ``(n, …)``."""
        raise NotImplementedError

    @default
    def views(self, draw: Draw) -> Tensors:
        """What the game shows, by name, ``(n, …)`` each, in the order of a row of pictures (input, output, back).

        ``judged`` says which of them metrics compare with which column. The draw is that of :meth:`sample`.
        """
        return {"samples": self.sample(draw)}

    @default
    def mapped(self, name: str, rows: Batch) -> Tensor:
        """The result of the map of that name in ``maps`` for the rows."""
        made: Tensor = getattr(self, self.maps[name].method)(rows)
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        """Write the game's state, once per turn, in place, under ``no_grad``, by tensor operations only."""

    def examined(self, clock: Callable[[], Any]) -> Examined:
        """What a doctor looks at; left out, it is the game's first contest. ``clock`` gives the time of the run."""
        raise NotImplementedError

    def forward(self, method: str, *args: Any) -> Any:
        """Call a method by name: ``torch.func.functional_call`` reaches every method through it."""
        return getattr(self, method)(*args)

    def member_view(self, i: int) -> Game:
        """Member ``i`` of an ensemble, to prepare and to draw with: its buffers are live, its parameters are not."""
        raise NotImplementedError

    def begin(self, batches: Batches, seed: int) -> None:
        """Prepare the game with the first ``prepared_on`` rows of a run's seed; an ensemble's members with their own.

        Raises:
            ConfigError: ``prepare`` replaced a buffer, which then neither an ensemble nor a checkpoint would find.
        """
        for game, own in self._seeded(seed):
            before = dict(game.named_buffers())
            rows, turn = batches(own, 0), 1
            while rows and len(next(iter(rows.values()))) < game.prepared_on:  # a game without data has no rows
                more, turn = batches(own, turn), turn + 1
                rows = {name: torch.cat([column, more[name]]) for name, column in rows.items()}
            if game.prepared_on:
                rows = {name: column[: game.prepared_on] for name, column in rows.items()}
            reseed(mix(own, 0, 2))
            game.prepare(rows)
            for name, buffer in game.named_buffers():
                if before.get(name) is not buffer:
                    raise ConfigError(f"prepare replaced the buffer '{name}'", "register it before, fill it with copy_")

    def deal(self, batches: Batches, seed: int, turn: int, rows: int) -> Tensors:
        """The tensors of a turn, a function of (seed, turn), stacked over members; real rows are of turn ``rows``."""
        draws = []
        for game, own in self._seeded(seed):
            batch = batches(own, rows)
            reseed(mix(own, turn, 1))
            draws.append(game.draw(batch))
        return {name: torch.stack([d[name] for d in draws]) for name in draws[0]} if self.seeds else draws[0]

    def _seeded(self, seed: int) -> Iterator[tuple[Game, int]]:
        if not self.seeds:
            yield self, seed
        for i, own in enumerate(self.seeds):
            yield self.member_view(i), own

    def player(self, name: str) -> Player:
        """The player of that name.

        Raises:
            ConfigError: there is none.
        """
        for player in self.players:
            if player.name == name:
                return player
        raise ConfigError(f"no player '{name}'", did_you_mean(name, [p.name for p in self.players]))

    def moved(self, name: str) -> dict[str, nn.Parameter]:
        """The parameters a player moves, by their names in the game (found by identity; cached)."""
        cache: dict[str, dict[str, nn.Parameter]] = self.__dict__.setdefault("_moved", {})
        if name not in cache:
            cache[name] = _resolve(self, self.player(name))
        return cache[name]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in {"_moved", "_unmoved", "_derivatives_checked"}}


def _resolve(game: Game, player: Player) -> dict[str, nn.Parameter]:
    wanted: set[int] = set()
    for path in player.moves:
        target: Any = game
        for step in path.split("."):
            if not hasattr(target, step):
                raise ConfigError(
                    f"player '{player.name}' moves '{path}', which the game does not have",
                    did_you_mean(path, [n for n, _ in game.named_modules()] + [n for n, _ in game.named_parameters()]),
                )
            target = getattr(target, step)
        found = [target] if isinstance(target, nn.Parameter) else list(target.parameters())
        wanted.update(id(p) for p in found)
    moved = {n: p for n, p in game.named_parameters() if id(p) in wanted}
    if not moved:
        raise ConfigError(f"player '{player.name}' moves no parameter ({', '.join(player.moves)})", "name its modules")
    return moved


def state_of(game: Game) -> Tensors:
    """The game's buffers by name."""
    return dict(game.named_buffers())


def make_draw(tensors: Tensors, seed: int, step: int = 0, time: float = 0.0) -> Draw:
    """A draw from tensors and the time; the time takes their device and floating type."""
    like = next((t for t in tensors.values() if t.is_floating_point()), None)
    device, dtype = (like.device, like.dtype) if like is not None else (None, None)
    return Draw(
        tensors,
        torch.scalar_tensor(step, device=device, dtype=dtype),
        torch.scalar_tensor(time, device=device, dtype=dtype),
        seed,
    )


def _others(game: Game, players: tuple[str, ...]) -> list[nn.Parameter]:
    """The parameters that none of these players moves. Cached: walking the modules costs as much as a small layer."""
    cache: dict[tuple[str, ...], list[nn.Parameter]] = game.__dict__.setdefault("_unmoved", {})
    if players not in cache:
        mine = {id(p) for name in players for p in game.moved(name).values()}
        cache[players] = [p for p in game.parameters() if id(p) not in mine]
    return cache[players]


@contextmanager
def live(game: Game, *players: str) -> Iterator[None]:
    """Only the parameters of these players need gradients inside; afterwards all do again.

    Setting ``requires_grad`` costs microseconds and saves the memory of the others' graphs.
    """
    others = [p for p in _others(game, players) if p.requires_grad]
    for p in others:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in others:
            p.requires_grad_(True)


def refuse_incomplete(game: Game) -> None:
    """Refuse a game that cannot be trained, because it has no players or does not define what a turn needs.

    Raises:
        ConfigError: says what is missing.
    """
    kind = type(game).__name__
    if not game.players:
        example = 'players = (Player("generator", ("generator",)),)'
        raise ConfigError(f"the game {kind} has no players", f"name them in the class: {example}")
    # An ensemble draws and computes its losses member by member.
    needed = ("codes", "sample") if game.seeds else ("draw", "loss", "codes", "sample")
    missing = [name for name in needed if getattr(type(game), name) is getattr(Game, name)]
    if missing:
        what = f"the game {kind} does not define {', '.join(missing)}"
        raise ConfigError(what, f"define {missing[0]}, as docs/architecture.md says, or train a recipe")


def evaluate(game: Game, player: str, draw: Draw) -> Loss:
    """The loss of a player under a draw: the same draw gives the same loss, bit for bit.

    Raises:
        EquilibriaError: the loss is no ``Loss``, or its total is not a 0-dim tensor.
    """
    reseed(draw.seed)
    loss: Any = game.loss(player, draw)
    if not isinstance(loss, Loss) or not isinstance(loss.total, Tensor):
        found = loss.total if isinstance(loss, Loss) else loss
        what = f"the loss of '{player}' is a {type(found).__name__}, and a Loss with a tensor is needed"
        raise ConfigError(what, "return equilibria.Loss(total), with the mean over the batch as total")
    if loss.total.dim() != 0:
        raise EquilibriaError(
            f"the loss of '{player}' has shape {tuple(loss.total.shape)}", "a player's total is one number: take a mean"
        )
    return loss


def gradients(game: Game, player: str, draw: Draw) -> tuple[Tensors, Loss]:
    """The gradient of a player's loss in its own parameters, by name, and the loss, detached (see :func:`shared`)."""
    own = game.moved(player)
    with live(game, player):
        loss = evaluate(game, player, draw)
        if not loss.total.requires_grad:
            what = f"the loss of '{player}' depends on none of the parameters that it moves"
            raise ConfigError(what, "compute it from the modules in the player's moves, without detach or no_grad")
        grads = torch.autograd.grad(loss.total, list(own.values()), materialize_grads=True)
    return shared(dict(zip(own, grads, strict=True)), detached(loss))


def shared(grads: Tensors, loss: Loss) -> tuple[Tensors, Loss]:
    """Gradients, loss and parts as means over the processes that play together, in one differentiable reduction."""
    if distributed.playing().count == 1:
        return grads, loss
    means = iter(distributed.mean(*grads.values(), loss.total, *loss.parts.values()))
    found = {name: next(means) for name in grads}
    return found, detached(Loss(next(means), {name: next(means) for name in loss.parts}, loss.carry))


def detached(loss: Loss) -> Loss:
    """The loss without its graph."""
    return Loss(
        loss.total.detach(),
        {k: v.detach() for k, v in loss.parts.items()},
        {k: v.detach() for k, v in loss.carry.items()},
    )


def pure(game: Game, params: Tensors, state: Tensors, player: str, draw: Draw) -> Loss:
    """The loss of a player at given parameters, with a copy of the given buffers: a pure function."""
    copies = {name: tensor.clone() for name, tensor in state.items()}
    reseed(draw.seed)
    loss: Loss = functional_call(game, {**params, **copies}, ("loss", player, draw))
    return loss


def field_of(game: Game, params: Mapping[str, Tensor], state: Tensors, draw: Draw) -> dict[str, Tensors]:
    r"""The game's vector field at given parameters: one block :math:`-\partial\ell_i/\partial\theta_i` per player.

    Differentiable in ``params``. Parameters that several players move appear in several blocks.
    """
    blocks: dict[str, Tensors] = {}
    for player in game.players:
        names = list(game.moved(player.name))

        def own(values: Tensors, who: str = player.name) -> Tensor:
            return pure(game, {**params, **values}, state, who, draw).total

        grads = torch.func.grad(own)({n: params[n] for n in names})
        blocks[player.name] = {n: -grads[n] for n in names}
    return blocks


def parameters_of(game: Game) -> Tensors:
    """The game's parameters by name, detached."""
    return {n: p.detach() for n, p in game.named_parameters()}
