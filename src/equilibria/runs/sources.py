"""Runs that a run starts from: their weights are copied into it, so that it opens when the other folder is gone.

```
RUN/sources/NAME/   a run as far as opening it needs: run.json, the newest whole checkpoint without optimisers, stages
```

A recipe names the runs that it needs (:class:`~equilibria.recipes.Source`). A source gives a frozen game, which is a
module of the new game under the source's name. The source ``"start"`` gives the parameters, buffers and averages that
training begins with (fine-tuning).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, RunError
from ..base.processes import temporary_folder
from ..base.records import written
from ..core.play import Play
from ..games.stages import as_sampled
from ..networks import Frozen
from ..recipes import START, Recipe, Source
from ..training import checkpoint, disk
from . import own_files
from .folder import RunFolder, part

Start = str | Path | Mapping[str, "str | Path"]
_SHOWN = 8


class Opened(Protocol):
    """What is read of a run that another one starts from."""

    @property
    def play(self) -> Play: ...


OpenRun = Callable[[Path], Opened]


def named(row: Recipe, start: Start | None) -> Recipe:
    """The recipe with the runs that it starts from filled in.

    Args:
        row: the recipe.
        start: the folder of a run, for the first source of the recipe that has none; for fine-tuning, where the recipe
            needs none. Or folders by the names of sources.

    Raises:
        ConfigError: a source of the recipe is left without a run, or the recipe has no source of a name.
    """
    slots = [source.name for source in row.sources if not source.run]
    if start is None:
        given: dict[str, str] = {}
    elif isinstance(start, Mapping):
        given = {name: str(path) for name, path in start.items()}
    else:
        given = {slots[0] if slots else START: str(start)}
    known = {source.name for source in row.sources} | {START}
    for name in given:
        if name not in known:
            raise ConfigError(f"'{row.name}' has no source '{name}'", f"name one of: {', '.join(sorted(known))}")
    filled = [replace(s, run=given[s.name], sha256="") if s.name in given else s for s in row.sources]
    if START in given and all(source.name != START for source in filled):
        filled.append(Source(name=START, run=given[START]))
    for source in filled:
        if not source.run:
            raise ConfigError(
                f"'{row.name}' starts from a finished run, its source '{source.name}', and none was named",
                "add --from RUN, the folder of that run (start= in Python)",
            )
    return replace(row, sources=tuple(filled))


def recipe_of(path: Path, info: dict[str, Any]) -> Recipe:
    """The recipe of a run that is to be fine-tuned; what it started from itself is taken from its own copies."""
    with own_files.explained(path, info):
        row = part(path / "run.json", info["recipe"], Recipe)
    kept = [replace(s, run=str(path / "sources" / s.name)) for s in row.sources if s.name != START]
    return replace(row, sources=tuple(kept))


@dataclass(frozen=True)
class Taken:
    """The runs that a new run starts from, copied as they are at one moment.

    Attributes:
        row: the recipe, with the digest of each source's weights.
        folder: where the copies are until the run's folder is made.
    """

    row: Recipe
    folder: Path

    def write(self, path: Path) -> None:
        """Put the copies into the folder of a run."""
        if self.row.sources:
            shutil.copytree(self.folder, path / "sources")
            for file in sorted((path / "sources").rglob("*")):
                disk.sync(file)


@contextmanager
def taken(row: Recipe) -> Iterator[Taken]:
    """Copies of the runs that a recipe starts from; they go when the block ends.

    Raises:
        RunError: one is no run, has no whole checkpoint, or is not the run whose digest the recipe holds.
    """
    with temporary_folder() as folder:
        found = []
        for source in row.sources:
            _refuse_stages(source)
            _copy(Path(source.run), folder / source.name)
            digest = digest_of(folder / source.name)
            if source.sha256 and source.sha256 != digest:
                raise RunError(
                    f"the weights of {source.run} are not those of the source '{source.name}' "
                    f"(sha256 {digest[:12]}, not {source.sha256[:12]})",
                    "name the run that is meant, or leave sha256 out",
                )
            found.append(replace(source, run=str(Path(source.run).resolve()), sha256=digest))
        yield Taken(replace(row, sources=tuple(found)), folder)


def modules(row: Recipe, folder: Path, open_run: OpenRun) -> dict[str, nn.Module]:
    """The frozen games of a recipe's sources by name, from the copies in a folder.

    Raises:
        RunError: a copy is missing or damaged, or cannot be opened.
    """
    made: dict[str, nn.Module] = {}
    for source in row.sources:
        if source.name != START:
            _check(source, folder)
            made[source.name] = Frozen(as_sampled(open_run(folder / source.name).play))
    return made


def begin(play: Play, row: Recipe, folder: Path) -> None:
    """Take over what training starts from, where the recipe has a source ``"start"``.

    Raises:
        RunError: the copy is missing or damaged.
        ConfigError: parameters or buffers do not fit; the message lists them.
    """
    for place, source in enumerate(row.sources):
        if source.name == START:
            _check(source, folder)
            saved = checkpoint.newest(folder / START / "checkpoints")
            if saved is None:
                raise RunError(f"{folder / START} has no whole checkpoint", "restore it from a copy")
            take_over(play, saved.tensors, source, place)


@torch.no_grad()
def take_over(play: Play, tensors: Mapping[str, Tensor], source: Source, place: int = 0) -> None:
    """Copy parameters, buffers and averages by name into a play; an average that the other run lacks is its parameter.

    Args:
        play: at round 0, prepared.
        tensors: of the other run's checkpoint.
        source: what the recipe says of it.
        place: the number of the source in the recipe.

    Raises:
        ConfigError: names or shapes do not fit and ``source.partial`` is False, or nothing fits at all.
    """
    game: dict[str, Tensor] = {f"game/{n}": t for n, t in play.game.named_parameters()}
    game.update({f"game/{n}": t for n, t in play.game.named_buffers()})
    fitting = {name for name, t in game.items() if name in tensors and _same_kind(t, tensors[name])}
    wrong = [f"{name[5:]} {_kind(tensors.get(name))} -> {_kind(t)}" for name, t in game.items() if name not in fitting]
    wrong += [f"{n[5:]} {_kind(t)} -> nothing" for n, t in tensors.items() if n.startswith("game/") and n not in game]
    if not fitting or (wrong and not source.partial):
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ConfigError(
            f"{len(wrong)} of {len(wrong) + len(fitting)} tensors of {source.run} do not fit: "
            f"{'; '.join(wrong[:_SHOWN])}{more}",
            f"use the recipe, networks and kind of data of that run, or take over what fits: "
            f"add --set sources.{place}.partial=true",
        )
    for name in fitting:
        game[name].copy_(tensors[name])
    for who, own in play.averaged.items():
        for name, average in own.items():
            kept = tensors.get(f"ema/{who}/{name}")
            if f"game/{name}" in fitting:
                average.copy_(kept if kept is not None else tensors[f"game/{name}"])


def _same_kind(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and one.dtype == two.dtype


def _kind(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tuple(tensor.shape)}"


def _refuse_stages(source: Source) -> None:
    stages = sorted((Path(source.run) / "stages").glob("*/run.json"))
    if source.name == START and stages:
        raise ConfigError(
            f"{source.run} is a run in stages, whose weights are those of several games",
            f"start from one of them: --from {stages[-1].parent}",
        )


def digest_of(folder: Path) -> str:
    """The SHA-256 of the weights in a copy: of the names and the bytes of all its tensors' files."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("state.safetensors")):
        found.update(str(file.relative_to(folder)).encode())
        try:
            found.update(file.read_bytes())
        except OSError as error:
            raise disk.read_error(error, file) from error
    return found.hexdigest()


def _check(source: Source, folder: Path) -> None:
    """Make sure that a run's own copy of a source is there and is what it was."""
    restore = f"restore {folder / source.name} from a copy of the run"
    if not (folder / source.name / "run.json").is_file():
        raise RunError(f"{folder / source.name}, the copy of what the run started from, is missing", restore)
    if source.sha256 and digest_of(folder / source.name) != source.sha256:
        raise RunError(f"the weights in {folder / source.name} are not those that the run started from", restore)


def _copy(run: Path, target: Path) -> None:
    """Copy what opening a run needs: run.json, the weights of the newest whole checkpoint, stages and sources."""
    info = RunFolder.open(run).info
    disk.make_folder(target)
    inner = [stage for kind in ("stages", "sources") for stage in sorted((run / kind).glob("*"))]
    for stage in inner:
        if (stage / "run.json").is_file():
            _copy(stage, target / stage.relative_to(run))
    saved = checkpoint.newest(run / "checkpoints")
    if saved is not None:
        checkpoint.write_weights(saved, target / "checkpoints")
    elif not any((run / "stages").glob("*")):
        raise RunError(f"{run} has no whole checkpoint to start from", f"train it: equilibria train --resume {run}")
    disk.write_atomically(target / "run.json", written(info, indent=1))
