"""From a play to a patient: which two networks of a game a doctor looks at, and how it may call them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.randomness import mix, own_randomness, reseed
from ..core.doctor_view import Examined
from ..core.ensemble import Ensemble
from ..core.game import Batch, Contest, Draw, Game, make_draw
from ..core.play import Play
from ..data import Dataset
from ..doctor import Doctor, NotAssessed
from ..doctor.chart import Memory
from ..losses import Objective

_ROWS, _NUMBERS = 4096, 1 << 24  # real rows that a doctor is shown, and the most numbers that they may hold
_FEWEST = 16  # rows below which nothing is told apart
_TRIED = 32


@dataclass(frozen=True)
class Ward:
    """A play as a doctor sees it.

    Attributes:
        pair: who is looked at.
        play: whose they are.
        data: what they are trained on.
        refresh: brings the pair up to date where it is a copy of what is trained (a member of an ensemble).
    """

    pair: Examined
    play: Play
    data: Dataset
    refresh: Callable[[], None] = field(default=lambda: None)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by player."""
        return {"generator": self.pair.generator, "discriminator": self.pair.discriminator}

    def memory(self) -> Memory:
        """What a doctor keeps of the networks as they are."""
        self.refresh()
        return Memory.of(self.networks)

    def admit(self) -> Doctor:
        """A doctor for the pair.

        Raises:
            EquilibriaError: the pair cannot be examined; the message says why.
        """
        self.refresh()
        real, labels = self._rows(held_out=False)
        told: dict[str, Any] = {"latent": self.pair.codes, "seed": self.play.seed}
        if labels is not None:
            told["labels"] = labels
        held = self.data.held_out_size
        if held is None or held >= _FEWEST:
            told["holdout"] = self._rows(held_out=True)[0]
        if self.pair.objective is not None:
            told["objective"] = self.pair.objective
        if self.pair.call:
            told["call"] = self.pair.call
        if optimizers := self._optimizers():
            told["optimizers"] = optimizers
        doctor = Doctor(self.pair.generator, self.pair.discriminator, real=real, **told)
        if self.pair.latent:
            doctor.subject.latent = self.pair.latent
            doctor.chart.facts["latent/size"] = float(self.pair.latent)
        own = [NotAssessed(what, reason=why) for what, why in self.pair.unseen.items()]
        doctor.chart.not_assessed = [*_of_a_run(doctor.chart.not_assessed), *own]
        return doctor

    def _rows(self, held_out: bool) -> tuple[Tensor, Tensor | None]:
        size = self.data.held_out_size if held_out else self.data.size
        wide = max(1, self.data.take(1)["x"].numel())
        count = min(size or _ROWS, _ROWS, max(256, _NUMBERS // wide))
        with torch.no_grad():
            return self.pair.real(self.data.take(count, held_out=held_out))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Each network's optimiser: that of the player who moves all of it and the least besides."""
        found = {}
        for role, net in self.networks.items():
            own = {id(p) for p in net.parameters()}
            moved = {who: {id(p) for p in self.play.game.moved(who).values()} for who in self.play.optimizers}
            holders = sorted((len(ids), who) for who, ids in moved.items() if own <= ids)
            if holders:
                found[role] = self.play.optimizers[holders[0][1]]
        return found


# Why a run could not give an argument of the doctor; a loop of one's own would be asked to pass it.
_WHY = {
    "objective": "the losses of this game are no pair that the doctor knows",
    "holdout": "no rows of the data are held out: train with --set data.held_out=0.1",
    "optimizers": "the networks looked at have no optimiser of their own",
}


def _of_a_run(missing: Iterable[NotAssessed]) -> list[NotAssessed]:
    """What a doctor could not look at, with a run's reasons in place of arguments to pass."""
    kept = [one for one in missing if one.argument != "labels"]  # a game without labels has none to obey
    return [replace(one, argument="", reason=_WHY[one.argument]) if one.argument in _WHY else one for one in kept]


def ward_of(play: Play, data: Dataset) -> Ward:
    """Where a doctor finds what it may look at in a play.

    A game says it itself (:meth:`~equilibria.core.game.Game.examined`), or it is its first contest; of an
    ensemble it is the first member.

    Raises:
        EquilibriaError: there is nothing that a doctor could look at; the message says why.
    """
    game = play.game
    if not isinstance(game, Ensemble):
        return Ward(_examined(game, play, data), play, data)
    member = game.member(0)

    def refresh() -> None:
        member.load_state_dict(game.member(0).state_dict())

    rest = {f"members 1 to {len(game.seeds) - 1} of the ensemble": "only member 0 is looked at"}
    pair = _examined(member, play, data)
    return Ward(replace(pair, unseen={**pair.unseen, **(rest if len(game.seeds) > 1 else {})}), play, data, refresh)


def _examined(game: Game, play: Play, data: Dataset) -> Examined:
    def clock() -> Any:
        return play.clock

    if type(game).examined is not Game.examined:
        return game.examined(clock)
    with own_randomness():
        reseed(mix(play.seed, 9))
        return first_contest(game, data, clock)


def first_contest(game: Game, data: Dataset, clock: Callable[[], Any]) -> Examined:
    """The pair of a game's first contest: whoever makes its fakes, and whoever scores it.

    The codes are the entries of the draw that the fakes depend on, side by side.

    Raises:
        ConfigError: the contest is no contest of one network against another over single points.
    """
    size = _TRIED if data.size is None else min(_TRIED, data.size)
    dealt = _Dealt(game, data.take(min(data.size or _ROWS, _ROWS)), clock)
    tensors = {n: t.detach().clone() for n, t in dealt(size).tensors.items()}
    inside = {n: t.requires_grad_() for n, t in tensors.items() if t.is_floating_point() and n not in game.whole}
    draw = dealt.drawn(tensors)
    name, contest, others = _first(game, draw)
    fake, real = contest.fake[0], contest.real[0]
    if len(fake) != size:
        raise ConfigError(f"the contest '{name}' has {len(fake)} generated rows for a batch of {size}")
    makers = _names(game, fake)
    judges = _names(game, contest.score(fake.detach()))
    if makers & judges:
        raise ConfigError(f"both sides of the contest '{name}' share parameters ({min(makers & judges)})")
    used = _used(fake, inside) + [n for n, t in tensors.items() if not t.is_floating_point() and n not in game.whole]
    if not used:
        raise ConfigError(f"what the contest '{name}' judges depends on nothing random")
    dealt.contest, dealt.codes = name, {n: (tuple(tensors[n].shape[1:]), tensors[n].dtype) for n in used}
    spec = getattr(game, "spec", None)
    objective = getattr(spec, "objective", None)
    unseen = {f"the contest '{o}'": f"only the first, '{name}', is looked at" for o in others}
    if tuple(real.shape[1:]) != data.spec.shape:
        unseen["the samples"] = f"what the contest '{name}' judges is something else"
    return Examined(
        _cover(game, makers),
        _cover(game, judges),
        dealt.pack,
        dealt.real,
        objective if isinstance(objective, Objective) else None,
        {"generator": dealt.make, "discriminator": dealt.score},
        unseen=unseen,
    )


@dataclass
class _Dealt:
    """Draws of a game from real rows, with the entries that its fakes depend on packed as codes."""

    game: Game
    rows: Batch
    clock: Callable[[], Any]
    contest: str = ""
    codes: Mapping[str, tuple[tuple[int, ...], torch.dtype]] = field(default_factory=dict)

    def __call__(self, n: int) -> Draw:
        x = self.rows["x"]
        chosen = torch.randint(len(x), (n,)).to(x.device)
        return self.of({name: column[chosen] for name, column in self.rows.items()})

    def of(self, batch: Batch) -> Draw:
        """The draw of these rows."""
        with torch.no_grad():
            tensors = dict(self.game.draw(batch))
            try:
                with torch.device(batch["x"].device):
                    tensors |= self.game.codes(len(batch["x"]))
            except NotImplementedError:
                pass  # what a batch deals is enough to look at a contest
        return self.drawn(tensors)

    def drawn(self, tensors: Mapping[str, Tensor]) -> Draw:
        return make_draw(dict(tensors), 0, *self.clock())

    def pack(self, n: int) -> Tensor:
        draw = self(n)
        return torch.cat([draw[name].reshape(n, -1).float() for name in self.codes], 1)

    def make(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        draw, start = self(max(len(z), _TRIED)), 0  # what the codes do not replace may need more rows than one
        tensors = dict(draw.tensors)
        for name, (shape, kind) in self.codes.items():
            width = int(torch.Size(shape).numel())
            tensors[name] = z[:, start : start + width].reshape(len(z), *shape).to(kind)
            start += width
        made: Tensor = self._contest(self.drawn(tensors)).fake[0]
        return made

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            contest = self._contest(self(_TRIED))
        return contest.score(x)

    def real(self, batch: Batch) -> tuple[Tensor, None]:
        return self._contest(self.of(batch)).real[0], None

    def _contest(self, draw: Draw) -> Contest:
        return self.game.contests(draw)[self.contest]


def _first(game: Game, draw: Draw) -> tuple[str, Contest, list[str]]:
    try:
        contests = game.contests(draw)
    except NotImplementedError:
        contests = {}
    if not contests:
        raise ConfigError(f"a {type(game).__name__} has no contest of real with generated points")
    name, *others = contests
    if len(contests[name].real) != 1:
        raise ConfigError(f"the contest '{name}' judges several things together")
    return name, contests[name], others


def _names(game: Game, out: Tensor) -> set[str]:
    """The parameters that ``out`` depends on."""
    named = {n: p for n, p in game.named_parameters() if p.requires_grad}
    if not out.requires_grad:
        return set()
    found = torch.autograd.grad(out.sum(), list(named.values()), retain_graph=True, allow_unused=True)
    return {n for n, g in zip(named, found, strict=True) if g is not None}


def _used(out: Tensor, inside: Mapping[str, Tensor]) -> list[str]:
    found = torch.autograd.grad(out.sum(), list(inside.values()), allow_unused=True)
    return [n for n, g in zip(inside, found, strict=True) if g is not None]


def _cover(game: Game, names: set[str]) -> nn.Module:
    """A module whose parameters are just these."""
    if not names:
        raise ConfigError("one side of the contest has no parameters")
    found = _parts(game, {id(p) for n, p in game.named_parameters() if n in names})
    return found[0] if len(found) == 1 else nn.ModuleList(found)


def _parts(module: nn.Module, wanted: set[int]) -> Sequence[nn.Module]:
    own = {id(p) for p in module.parameters()}
    if own and own <= wanted:
        return [module]
    if any(id(p) in wanted for p in module.parameters(recurse=False)):
        raise ConfigError("the parameters of one side of the contest are not those of modules of its own")
    return [part for child in module.children() for part in _parts(child, wanted)]
