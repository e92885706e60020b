"""Boosting as a run: components trained one after another, each a run of its own in the folder of the whole.

```
RUN/run.json                 as of any run; steps counts the rounds of all components
RUN/weights/component-01.npz the weights of the data rows for that component (key x)
RUN/stages/component-01/     an ordinary run, of the recipe without its procedure, on the reweighted rows
RUN/metrics.jsonl, samples/  one look per finished component, at the mixture of those finished
```

What is live is a :class:`Mixture`, a game that nobody moves. So a run of a procedure is sampled, judged and reported
on as any run is. Everything follows from the folder: a killed run continues where its last stage stopped.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, RunError
from ..base.randomness import mix
from ..core.game import Batch, Batches, Draw, Game
from ..core.play import Play
from ..core.updates import Alternating
from ..data import Dataset
from ..data.store import Store
from ..games.boosting import Boosting, rows_at, weighted_batches
from ..recipes import Recipe
from ..training import disk, hooks, pictures

LAW_ROWS = 10_000
"""Rows that are drawn from a law once and for all: weights belong to rows, and a law has none of its own."""


class Trained(Protocol):
    """What a procedure needs to know of a component's run."""

    @property
    def play(self) -> Play: ...

    @property
    def seconds(self) -> float: ...


class Mixture(Game):
    r"""The mixture of finished games in equal parts, :math:`Q_t = \frac1t \sum_{i \le t} G_i` (:math:`\beta_t = 1/t`).

    A game without players: it is sampled and not played. Each sample is of a component drawn at random, so samples are
    independent and in no order.

    Args:
        games: the components, on one device.

    Raises:
        RunError: from ``codes``, when there is no component.
    """

    def __init__(self, games: tuple[Game, ...] = ()) -> None:
        super().__init__()
        self.games = nn.ModuleList(games)
        self.classes: int = getattr(games[0], "classes", 0) if games else 0
        self.whole = games[0].whole if games else ()
        # A play asks a parameter where the game is; a mixture of nothing is somewhere as well.
        self.anchor = nn.Parameter(torch.zeros(0), requires_grad=False)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        if not len(self.games):
            raise RunError("no component is finished yet", "continue the run, then sample")
        chosen = torch.randint(len(self.games), (n,))
        rows: Batch = {}
        for i, game in enumerate(self._components()):
            own = chosen == i
            for name, tensor in game.codes(n, labels).items():
                if name not in rows:
                    rows[name] = tensor
                elif name not in self.whole:
                    rows[name][own] = tensor[own]
        return {**rows, "component": chosen}

    def sample(self, draw: Draw) -> Tensor:
        parts, places = [], []
        for i, game in enumerate(self._components()):
            own = (draw["component"] == i).nonzero().squeeze(1)
            if len(own):
                parts.append(game.sample(rows_at(draw, own, self.whole)))
                places.append(own)
        made = torch.cat(parts)
        return torch.empty_like(made).index_copy_(0, torch.cat(places), made)

    def _components(self) -> tuple[Game, ...]:
        return tuple(game for game in self.games if isinstance(game, Game))


class Reweighted(Store):
    """Rows dealt with replacement by weight, a function of (seed, turn); held-out rows are those of the data.

    Args:
        rows: named tensors of ``n`` rows, as the data deals them.
        weights: ``(n,)`` non-negative.
        data: what the rows are from.
    """

    size: int

    def __init__(self, rows: Batch, weights: Tensor, data: Dataset) -> None:
        self.columns, self.weights, self.data = rows, weights.double().cpu(), data
        self.size, self.held_size = len(weights), data.held_out_size
        self._deals: dict[int, Batches] = {}

    def batch(self, n: int, seed: int, turn: int) -> Batch:
        if n not in self._deals:
            self._deals[n] = weighted_batches(torch.arange(self.size), self.weights, n)
        chosen = self._deals[n](seed, turn)["x"]
        return {name: column[chosen.to(column.device)] for name, column in self.columns.items()}

    def take(self, n: int, seed: int, held_out: bool) -> Batch:
        return self.data.take(n, seed, held_out=True) if held_out else self.batch(n, mix(seed, 8), 0)

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.weights.numpy().data).hexdigest()
        return {"kind": "reweighted", "of": self.data.fingerprint(), "sha256": digest}

    def to(self, device: torch.device) -> Reweighted:
        columns = {name: column.to(device) for name, column in self.columns.items()}
        return Reweighted(columns, self.weights, self.data.to(device))


@dataclass(frozen=True)
class Runs:
    """How a component's run is begun, continued, and opened (:mod:`equilibria.runs`, which is above this file)."""

    train: Callable[..., Trained]
    resume: Callable[..., Trained]
    open_run: Callable[..., Trained]

    def component(self, folder: Path, data: Dataset, rounds: int, seed: int, device: torch.device) -> Trained:
        """The run of a component as far as it comes: at its end, or where it was stopped."""
        if not folder.exists():
            return self.train(data, seed=seed, out=folder)
        with suppress(RunError):  # whatever is the matter, continuing says it
            found = self.open_run(folder, data)
            if found.play.round >= rounds:
                return found
        return self.resume(folder, data, device=str(device))


@dataclass(frozen=True)
class Site:
    """Where a procedure is carried out, and on what."""

    path: Path
    plan: Boosting
    data: Dataset
    seed: int
    device: torch.device

    def weights_file(self, t: int) -> Path:
        """The file of the weights of component ``t``, from 1."""
        return self.path / "weights" / f"component-{t:02d}.npz"


def settled(
    row: Recipe, plan: Boosting, rounds: int, data: Dataset, modules: dict[str, nn.Module]
) -> tuple[Recipe, Boosting]:
    """The row and its procedure with rounds and batch written out: those of each component.

    Raises:
        ConfigError: modules of the user's, data in pairs, or a judge that cannot be built for the data.
    """
    if modules:
        raise ConfigError(
            f"{min(modules)}= beside {row.name}, each of whose components has networks of its own",
            "set them by networks=, which is an architecture and no module",
        )
    if data.spec.paired:
        raise ConfigError(f"{row.name} weighs rows, and those of '{data.name}' come in pairs", "name one domain")
    plan.judge.discriminator(data.spec.shape)
    plan = replace(plan, rounds=rounds, batch=row.batch)
    return replace(row, steps=rounds, procedure=plan), plan


def stage_of(path: Path, t: int) -> Path:
    """The folder of component ``t`` of a run, from 1."""
    return path / "stages" / f"component-{t:02d}"


def as_sampled(play: Play) -> Game:
    """The game of a play with its averages in place, in evaluation mode: what its samples are from."""
    with torch.no_grad():
        parameters = dict(play.game.named_parameters())
        for own in play.averaged.values():
            for name, tensor in own.items():
                parameters[name].copy_(tensor)
    return play.game.eval()


def mixture(games: tuple[Game, ...], plan: Boosting, seed: int, device: torch.device) -> Play:
    """The live state of a procedure whose components ``games`` are finished."""
    played = len(games) * plan.rounds
    # Its components have come to their ends, whatever is still to be added: the time is 1.
    play = Play(Mixture(games).to(device).eval(), Alternating(), {}, _no_rows, seed, horizon=max(1, played))
    play.round = played
    return play


def _no_rows(seed: int, turn: int) -> Batch:
    return {}


def reopened(path: Path, plan: Boosting, seed: int, device: torch.device, opened: Callable[..., Trained]) -> Play:
    """The mixture of the components of a run that are finished, in order, up to the first that is not."""
    games: tuple[Game, ...] = ()
    for t in range(1, plan.components + 1):
        if not stage_of(path, t).is_dir():
            break
        with suppress(RunError):  # one that cannot be read is not finished; continuing the run says what it lacks
            found = opened(stage_of(path, t))
            if found.play.round >= plan.rounds:
                games = (*games, as_sampled(found.play))
        if len(games) < t:
            break
    return mixture(games, plan, seed, device)


def grow(site: Site, runs: Runs) -> tuple[Play, float]:
    """Train the components one after another, from wherever the folder says that the run is.

    Args:
        site: where, and on what.
        runs: what makes and continues the components' runs.

    Returns:
        The mixture and the seconds of its components; a mixture of fewer if it was stopped (Ctrl-C or SIGTERM).
    """
    rows = site.data.batch(site.data.size or LAW_ROWS, site.seed, 0)
    log = hooks.Log(site.path / "metrics.jsonl", 1)
    shown = pictures.sample_hook(site.path, site.data, 1, log)
    games: tuple[Game, ...] = ()
    seconds = 0.0
    for t in range(1, site.plan.components + 1):
        try:
            weights = _weights(site, games, rows["x"], t)
        except KeyboardInterrupt:  # in the judge's training, which is done again
            break
        data = _reweighted(site.data, rows, weights)
        component = runs.component(stage_of(site.path, t), data, site.plan.rounds, mix(site.seed, t), site.device)
        seconds += component.seconds
        if component.play.round < site.plan.rounds:
            stopped = mixture(games, site.plan, site.seed, site.device)
            stopped.round += component.play.round
            return stopped, seconds
        games = (*games, as_sampled(component.play).to(site.device))
        if not _looked(site, t, log.path):
            hooks.cut_rows(log.path, (t - 1) * site.plan.rounds)
            log.write({"step": t * site.plan.rounds, "weights/effective_share": _effective(weights)})
            shown.look(mixture(games, site.plan, site.seed, site.device), {})
            log.sync()
    return mixture(games, site.plan, site.seed, site.device), seconds


def _looked(site: Site, t: int, log: Path) -> bool:
    """Whether the mixture of ``t`` components was looked at to the end: then the next stage has begun."""
    logged = any(row["step"] == t * site.plan.rounds for row in hooks.read_rows(log))
    return logged and t < site.plan.components and site.weights_file(t + 1).exists()


def _reweighted(data: Dataset, rows: Batch, weights: Tensor) -> Dataset:
    store = Reweighted(rows, weights, data)
    return Dataset(data.name, store, data.spec, options=data.options, class_names=data.class_names)


def _effective(weights: Tensor) -> float:
    r"""The share of the rows that count, :math:`1 / (n \sum_i w_i^2)`: 1 for equal weights."""
    return float(1 / (len(weights) * weights.square().sum()))


def _weights(site: Site, games: tuple[Game, ...], rows: Tensor, t: int) -> Tensor:
    """The weights for component ``t``: those on disk, or found and put there.

    They are kept because another machine's judge rounds otherwise, and the component is to continue on the same rows.
    """
    file = site.weights_file(t)
    if file.exists():
        kept = _kept(file, len(rows))
        if kept is not None:
            return kept
        warnings.warn(f"{file} is damaged; the weights are found again", stacklevel=2)
    weights = site.plan.weights(games, rows, site.seed).cpu()
    disk.make_folder(file.parent)
    disk.write_atomically(file, hooks.packed(weights.numpy()))
    return weights


def _kept(file: Path, n: int) -> Tensor | None:
    try:
        # Read whole: np.load leaves the file of a damaged archive open.
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
            weights = torch.from_numpy(stored["x"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError):
        return None
    sound = weights.shape == (n,) and weights.dtype == torch.float64 and abs(float(weights.sum()) - 1) < 1e-6
    return weights if sound and bool((weights >= 0).all()) else None
