"""Adapts a running game to the pair of networks that the doctor examines, and to how it may call them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, EquilibriaError
from ..base.randomness import mix, own_randomness, reseed
from ..core.doctor_view import Examined
from ..core.ensemble import Ensemble
from ..core.game import Batch, Contest, Draw, Game, make_draw
from ..core.play import Play
from ..data import Dataset
from ..doctor import Doctor, NotAssessed
from ..doctor.chart import Memory
from ..losses import Objective

_ROWS, _NUMBERS = 4096, 1 << 24  # real rows for the doctor, and the largest number of their entries
_FEWEST = 16  # with fewer rows no distance between samples and data is measured
_TRIED = 32


@dataclass(frozen=True)
class DoctorAdapter:
    """The parts of a play that the doctor examines.

    Attributes:
        pair: the two networks that are examined.
        play: the play that trains them.
        data: the training data.
        refresh: updates the pair if it is a copy of trained networks (a member of an ensemble).
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
        """A doctor's memory of the present networks."""
        self.refresh()
        return Memory.of(self.networks)

    def doctor(self) -> Doctor:
        """A doctor for the pair.

        Raises:
            EquilibriaError: the pair cannot be examined; the message says why.
        """
        self.refresh()
        real, labels = self._rows(held_out=False)
        options: dict[str, Any] = {"latent": self.pair.codes, "seed": self.play.seed}
        if labels is not None:
            options["labels"] = labels
        held = self.data.held_out_size
        if held is None or held >= _FEWEST:
            options["holdout"] = self._rows(held_out=True)[0]
        if self.pair.objective is not None:
            options["objective"] = self.pair.objective
        if self.pair.call:
            options["call"] = self.pair.call
        if optimizers := self._optimizers():
            options["optimizers"] = optimizers
        doctor = Doctor(self.pair.generator, self.pair.discriminator, real=real, **options)
        subject, facts = doctor.subject, doctor.chart.facts
        if self.pair.latent or self.pair.from_rows:
            subject.latent = self.pair.latent
            facts["latent/size"] = float(self.pair.latent)
        subject.codes_are_rows = bool(self.pair.from_rows)
        doctor.chart.not_assessed = [*_of_a_run(doctor.chart.not_assessed), *self._not_assessed()]
        return doctor

    def _not_assessed(self) -> list[NotAssessed]:
        found = [NotAssessed(what, reason=why) for what, why in self.pair.unseen.items()]
        if self.pair.from_rows:
            rows = ", ".join(self.pair.from_rows)
            why = f"generated rows are made from real ones ({rows}), which serve as codes"
            found.append(NotAssessed("the latent space: its use, its rank and its size", reason=why))
        return found

    def _rows(self, held_out: bool) -> tuple[Tensor, Tensor | None]:
        size = self.data.held_out_size if held_out else self.data.size
        wide = max(1, self.data.take(1)["x"].numel())
        count = min(size or _ROWS, _ROWS, max(256, _NUMBERS // wide))
        with torch.no_grad():
            return self.pair.real(self.data.take(count, held_out=held_out))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Each network's optimiser: that of the player that trains all of it and the fewest other parameters."""
        found = {}
        for role, net in self.networks.items():
            own = {id(p) for p in net.parameters()}
            moved = {who: {id(p) for p in self.play.game.moved(who).values()} for who in self.play.optimizers}
            holders = sorted((len(ids), who) for who, ids in moved.items() if own <= ids)
            if holders:
                found[role] = self.play.optimizers[holders[0][1]]
        return found


# Why a run could not pass an argument to the doctor; in your own loop the text asks you to pass it.
_WHY = {
    "objective": "the losses of this game are not one of the doctor's objectives",
    "holdout": "no rows of the data are held out: train with --set data.held_out=0.1",
    "optimizers": "the networks examined have no optimiser of their own",
}


def _of_a_run(missing: Iterable[NotAssessed]) -> list[NotAssessed]:
    """What a doctor could not examine, with a run's reasons in place of arguments to pass."""
    kept = [one for one in missing if one.argument != "labels"]  # a game without labels needs no test of them
    return [replace(one, argument="", reason=_WHY[one.argument]) if one.argument in _WHY else one for one in kept]


def adapter_of(play: Play, data: Dataset) -> DoctorAdapter:
    """The pair of networks of a play that the doctor examines.

    A game defines it (:meth:`~equilibria.core.game.Game.examined`), or it is the first contest; of an
    ensemble it is that of the first member.

    Raises:
        EquilibriaError: there is no such pair; the message says why.
    """
    game = play.game
    if not isinstance(game, Ensemble):
        return DoctorAdapter(_examined(game, play, data), play, data)
    member = game.member(0)

    def refresh() -> None:
        member.load_state_dict(game.member(0).state_dict())

    rest = {f"members 1 to {len(game.seeds) - 1} of the ensemble": "only member 0 is examined"}
    pair = _examined(member, play, data)
    pair = replace(pair, unseen={**pair.unseen, **(rest if len(game.seeds) > 1 else {})})
    return DoctorAdapter(pair, play, data, refresh)


def _examined(game: Game, play: Play, data: Dataset) -> Examined:
    def clock() -> Any:
        return play.clock

    if type(game).examined is not Game.examined:
        return game.examined(clock)
    with own_randomness():
        reseed(mix(play.seed, 9))
        return first_contest(game, data, clock)


def first_contest(game: Game, data: Dataset, clock: Callable[[], Any]) -> Examined:
    """The pair of a game's first contest: the network that makes the fake points, and the one that scores them.

    Points may be tuples. Entries that real and fake points share (a label, the image that is translated) are conditions
    and take the place of labels. The codes are the other entries of the draw on which the fake points depend,
    concatenated; if fake points are made from real rows, real rows serve as codes.

    Raises:
        ConfigError: the contest is not one network against another over points of one kind.
    """
    size = _TRIED if data.size is None else min(_TRIED, data.size)
    view = _ContestView(game, data.take(min(data.size or _ROWS, _ROWS)), clock)
    tensors = {n: t.detach().clone() for n, t in view(size).tensors.items()}
    inside = {n: t.requires_grad_() for n, t in tensors.items() if t.is_floating_point() and n not in game.whole}
    name, contest, others = _first(game, view.drawn(tensors))
    fake = contest.fake[0]
    if len(fake) != size:
        raise ConfigError(f"the contest '{name}' has {len(fake)} generated rows for a batch of {size}")
    view.contest, conditions = name, _conditions(name, contest, tensors)
    makers = _names(game, fake)
    scorers = _names(game, contest.score(fake.detach(), *contest.fake[1:]))
    if makers & scorers:
        raise ConfigError(f"both sides of the contest '{name}' share parameters ({min(makers & scorers)})")
    used = [n for n in _used(fake, inside) if n not in conditions]
    used += [n for n in view.changing(tensors) if n not in conditions]
    if not used and not conditions:
        raise ConfigError(f"the fake points of the contest '{name}' depend on nothing random")
    view.codes, view.conditions = _Packed.of(tensors, used), _Packed.of(tensors, conditions)
    view.entry = next((n for n, t in tensors.items() if t is contest.real[0]), None)
    view.shortcut = view.cheapest(tensors)
    view.fewest = view.fewest_rows()
    from_rows = [n for n in view.from_rows(size) if n in used] or list(game.needs)
    unseen = {f"the contest '{o}'": f"only the first, '{name}', is examined" for o in others}
    if tuple(contest.real[0].shape[1:]) != data.spec.shape:
        unseen["the samples"] = f"the points of the contest '{name}' do not have the data's shape"
    objective = getattr(getattr(game, "spec", None), "objective", None)
    return Examined(
        _cover(game, makers),
        _cover(game, scorers),
        view.pack,
        view.real,
        objective if isinstance(objective, Objective) else None,
        {"generator": view.make, "discriminator": view.score},
        unseen=unseen,
        from_rows=tuple(from_rows),
    )


@dataclass(frozen=True)
class _Packed:
    """Entries of a draw as one tensor: a single entry unchanged, several concatenated as rows of floats."""

    entries: Mapping[str, tuple[tuple[int, ...], torch.dtype]] = field(default_factory=dict)

    @staticmethod
    def of(tensors: Mapping[str, Tensor], names: Sequence[str]) -> _Packed:
        return _Packed({n: (tuple(tensors[n].shape[1:]), tensors[n].dtype) for n in names})

    def pack(self, tensors: Mapping[str, Tensor], n: int, flat: bool) -> Tensor:
        if len(self.entries) == 1 and not flat:
            return tensors[next(iter(self.entries))]
        like = next(iter(tensors.values()))
        rows = [tensors[name].reshape(n, -1).float() for name in self.entries]
        return torch.cat(rows, 1) if rows else torch.zeros(n, 0, device=like.device)

    def unpack(self, packed: Tensor) -> dict[str, Tensor]:
        if len(self.entries) == 1:
            ((name, (shape, kind)),) = self.entries.items()
            return {name: packed.reshape(len(packed), *shape).to(kind)}
        found, start = {}, 0
        for name, (shape, kind) in self.entries.items():
            width = int(torch.Size(shape).numel())
            found[name] = packed[:, start : start + width].reshape(len(packed), *shape).to(kind)
            start += width
        return found


@dataclass
class _ContestView:
    """A game's contest as two networks: codes in, points out; points and conditions in, scores out."""

    game: Game
    rows: Batch
    clock: Callable[[], Any]
    contest: str = ""
    codes: _Packed = field(default_factory=_Packed)
    conditions: _Packed = field(default_factory=_Packed)
    entry: str | None = None  # the entry of the draw that is the contest's real input, if there is one
    shortcut: str = ""  # "sample", or the map that makes the contest's fake points; empty if only the contest does
    fewest: int = _TRIED  # rows of a draw if only the score of its contest is needed

    def __call__(self, n: int) -> Draw:
        x = self.rows["x"]
        chosen = torch.randint(len(x), (n,)).to(x.device)
        return self.of({name: column[chosen % len(column)] for name, column in self.rows.items()})

    def of(self, batch: Batch) -> Draw:
        """The draw of these rows."""
        with torch.no_grad():
            tensors = dict(self.game.draw(batch))
            try:
                with torch.device(batch["x"].device):
                    tensors |= self.game.codes(len(batch["x"]))
            except NotImplementedError:
                pass  # the entries of a batch suffice for a contest
        return self.drawn(tensors)

    def drawn(self, tensors: Mapping[str, Tensor]) -> Draw:
        return make_draw(dict(tensors), 0, *self.clock())

    def pack(self, n: int) -> Tensor:
        return self.codes.pack(self(n).tensors, n, flat=True)

    def make(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        tensors = dict(self(max(len(z), _TRIED)).tensors)  # other entries than codes may need more than one row
        tensors |= self.codes.unpack(z)
        if y is not None:
            tensors |= self.conditions.unpack(y)
        return self._made(tensors)

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            contest = self._contest(self(self.fewest))
        return contest.score(x, *([] if y is None else self.conditions.unpack(y).values()))

    def real(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        draw = self.of(batch)
        real = self._contest(draw).real[0] if self.entry is None else draw[self.entry]
        return real, self.conditions.pack(draw.tensors, len(real), flat=False) if self.conditions.entries else None

    def changing(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """The integer entries on which the fake points depend (they change if the rows are permuted)."""
        kinds = {n: t for n, t in tensors.items() if not t.is_floating_point() and n not in self.game.whole}

        def made(changes: Mapping[str, Tensor]) -> Tensor:
            reseed(0)  # the networks' own noise is the same in each call
            with torch.no_grad():
                return self._made({**tensors, **changes})

        first, found = made({}), []
        for name, values in kinds.items():
            others = [values.roll(shift, 0) for shift in (1, 2, 3)]
            if any(not torch.equal(made({name: other}), first) for other in others):
                found.append(name)
        return found

    def fewest_rows(self) -> int:
        """Two rows if the game accepts so few, which costs less."""
        try:
            with torch.no_grad():
                self._contest(self(2))
        except (EquilibriaError, RuntimeError, ValueError, IndexError):
            return _TRIED
        return 2

    def cheapest(self, tensors: Mapping[str, Tensor]) -> str:
        """What makes the fake points without evaluating all contests: the game's samples, or a map of the draw."""
        maps = [name for name, own in self.game.maps.items() if set(own.takes) <= tensors.keys()]
        with torch.no_grad():
            reseed(0)
            fake = self._made(tensors)
            for name in ("sample", *maps):
                reseed(0)
                try:
                    if torch.equal(self._made(tensors, name), fake):
                        return name
                except (NotImplementedError, EquilibriaError, RuntimeError):
                    continue
        return ""

    def from_rows(self, n: int) -> list[str]:
        """The entries of the draw that come from real rows: those that differ for other rows and the same noise."""
        draws = []
        for shift in (0, 1):
            batch = {name: column.roll(shift, 0)[torch.arange(n) % len(column)] for name, column in self.rows.items()}
            reseed(0)
            draws.append(self.of(batch))
        return [name for name, tensor in draws[0].tensors.items() if not torch.equal(tensor, draws[1][name])]

    def _made(self, tensors: Mapping[str, Tensor], by: str | None = None) -> Tensor:
        by = self.shortcut if by is None else by
        if by in self.game.maps:
            return self.game.mapped(by, dict(tensors))
        draw = self.drawn(tensors)
        made: Tensor = self.game.sample(draw) if by else self._contest(draw).fake[0]
        return made

    def _contest(self, draw: Draw) -> Contest:
        return self.game.contests(draw)[self.contest]


def _first(game: Game, draw: Draw) -> tuple[str, Contest, list[str]]:
    try:
        contests = game.contests(draw)
    except NotImplementedError:
        contests = {}
    if not contests:
        raise ConfigError(f"{type(game).__name__} has no contest of real and fake points")
    name, *others = contests
    return name, contests[name], others


def _conditions(name: str, contest: Contest, tensors: Mapping[str, Tensor]) -> list[str]:
    """The entries of the draw with which real and fake are scored, in the order of the score's arguments."""
    found = []
    for real, fake in zip(contest.real[1:], contest.fake[1:], strict=True):
        if real is not fake and (real.shape != fake.shape or not torch.equal(real, fake)):
            raise ConfigError(f"the contest '{name}' scores tuples of several points")
        same = [n for n, t in tensors.items() if t is real]
        same += [n for n, t in tensors.items() if t.shape == real.shape and torch.equal(t, real)]
        if not same:
            raise ConfigError(f"a condition of the contest '{name}' is not an entry of the draw")
        found.append(same[0])
    return found


def _names(game: Game, out: Tensor) -> set[str]:
    """The parameters that ``out`` depends on."""
    named = {n: p for n, p in game.named_parameters() if p.requires_grad}
    if not out.requires_grad:
        return set()
    found = torch.autograd.grad(out.sum(), list(named.values()), retain_graph=True, allow_unused=True)
    return {n for n, g in zip(named, found, strict=True) if g is not None}


def _used(out: Tensor, inside: Mapping[str, Tensor]) -> list[str]:
    if not inside or not out.requires_grad:
        return []
    found = torch.autograd.grad(out.sum(), list(inside.values()), allow_unused=True)
    return [n for n, g in zip(inside, found, strict=True) if g is not None]


def _cover(game: Game, names: set[str]) -> nn.Module:
    """A module with exactly these parameters."""
    if not names:
        raise ConfigError("one side of the contest has no parameters")
    found = _parts(game, {id(p) for n, p in game.named_parameters() if n in names})
    return found[0] if len(found) == 1 else nn.ModuleList(found)


def _parts(module: nn.Module, wanted: set[int]) -> Sequence[nn.Module]:
    own = {id(p) for p in module.parameters()}
    if own and own <= wanted:
        return [module]
    if any(id(p) in wanted for p in module.parameters(recurse=False)):
        raise ConfigError("the parameters of one side of the contest are not all the parameters of some modules")
    return [part for child in module.children() for part in _parts(child, wanted)]
