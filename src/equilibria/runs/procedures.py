"""A run of a procedure: its stages are ordinary runs in subfolders.

```
RUN/run.json             as of any run; steps counts the rounds of all stages
RUN/stages/NAME/         an ordinary run of the stage's recipe on the stage's rows
RUN/metrics.jsonl, samples/   one row and one sample per finished stage, of the joined game
RUN/weights/, …          arrays that the procedure computed and stores (:attr:`Task.keep`)
```

Samples come from the procedure's joined game, which has no player. So a run of a procedure is sampled, evaluated and
reported like any run. Its state is in the folder: a killed run continues where its last stage stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError, RunError
from ..base.randomness import mix
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..data.files import stored
from ..doctor import Diagnosis, Finding, State
from ..games.stages import Check, Finished, Procedure, Stage, Task, as_sampled, joined_play
from ..recipes import Recipe
from ..training import disk, hooks, pictures
from .folder import RunFolder
from .snapshots import MOST_BYTES


class Trained(Protocol):
    """What a procedure needs to know of a stage's run."""

    @property
    def play(self) -> Play: ...

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Runs:
    """The functions that start, resume and open a stage's run, from :mod:`equilibria.runs.launch`."""

    train: Callable[..., Trained]
    resume: Callable[..., Trained]
    open_run: Callable[..., Trained]

    def stage(self, site: Site, stage: Stage, t: int, data: Dataset) -> Trained:
        """Train stage ``t`` and return its run, at its end or where it was stopped."""
        folder = site.folder(stage.name)
        if not folder.exists():
            start = None if stage.start is None else site.folder(stage.start)
            return self.train(stage.recipe, data, seed=mix(site.seed, t), out=folder, start=start)
        with suppress(RunError):  # resuming reports the reason
            found = self.open_run(folder, data)
            if found.play.round >= stage.recipe.steps:
                return found
        return self.resume(folder, data, device=str(site.device))


@dataclass(frozen=True)
class Site:
    """The folder, the data and the device of a procedure's run.

    Attributes:
        path: the folder of the whole run.
        row: the recipe with its procedure.
        data: of the whole run.
        seed: of the whole run.
        device: of all games.
    """

    path: Path
    row: Recipe
    data: Dataset
    seed: int
    device: torch.device

    @property
    def procedure(self) -> Procedure:
        """The procedure of the recipe."""
        assert self.row.procedure is not None
        return self.row.procedure

    @property
    def task(self) -> Task:
        """The inputs of the procedure; its arrays and its sources are stored in the run's folder."""
        kept = tuple(replace(s, run=str(self.path / "sources" / s.name)) for s in self.row.sources)
        row = replace(self.row, procedure=None, sources=kept)
        return Task(row, self.data, self.seed, partial(_keep, self.path))

    def folder(self, name: str) -> Path:
        """The folder of a stage."""
        return stage_folder(self.path, name)

    def joined(self, done: tuple[Finished, ...], played: int) -> Play:
        """The play of the joined game after ``played`` rounds."""
        return joined(self.row, self.data.spec, done, self.seed, played, self.device)


@dataclass(frozen=True)
class StageDiagnoses:
    """The diagnoses of a run in stages, one for each.

    Attributes:
        stages: by name, in their order.
        missing: stages that could not be examined, and why.
    """

    stages: dict[str, Diagnosis]
    missing: dict[str, str]

    @property
    def state(self) -> State | None:
        """The worst state of a stage; None if no stage could be examined."""
        order = (State.SICK, State.ON_THE_WAY, State.NEAR, State.ARRIVED)
        states = [one.state for one in self.stages.values()]
        return min(states, key=order.index, default=None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all stages, in their order."""
        return tuple(finding for one in self.stages.values() for finding in one.findings)

    @property
    def active(self) -> tuple[Finding, ...]:
        """The active findings that need attention or a change."""
        return tuple(finding for one in self.stages.values() for finding in one.active)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        stages = {name: one.to_dict() for name, one in self.stages.items()}
        return {"state": self.state.value if self.state else None, "stages": stages, "not_assessed": self.missing}

    def __str__(self) -> str:
        parts = [f"stage {name}\n\n{one}" for name, one in self.stages.items()]
        parts += [f"stage {name}\n\nnot assessed: {why}" for name, why in self.missing.items()]
        return "\n\n\n".join(parts)


def diagnosed(site: Site, open_run: Callable[..., Any]) -> StageDiagnoses:
    """A diagnosis of each stage that has begun.

    Raises:
        RunError: no stage can be examined.
    """
    found: dict[str, Diagnosis] = {}
    missing: dict[str, str] = {}
    for stage in begun(site, open_run):
        try:
            found[stage.name] = open_run(site.folder(stage.name), viewed(site.data, stage)).diagnose()
        except RunError as error:
            missing[stage.name] = error.what
    if not found:
        why = next(iter(missing.values()), "no stage has a checkpoint yet")
        raise RunError(
            f"the doctor cannot examine {site.path}: {why}", f"continue it: equilibria train --resume {site.path}"
        )
    return StageDiagnoses(found, missing)


def stage_folder(path: Path, name: str) -> Path:
    """The folder of a stage of a run."""
    return path / "stages" / name


def stages_of(path: Path, row: Recipe, spec: DataSpec) -> dict[str, Path]:
    """The folders of the stages that have begun, by name, in their order; empty for a run without a procedure."""
    names = row.procedure.plan(row, spec) if row.procedure is not None else {}
    found = {name: stage_folder(path, name) for name in names}
    return {name: folder for name, folder in found.items() if (folder / "run.json").is_file()}


def settled(
    row: Recipe, rounds: int, data: Dataset, seed: int, modules: dict[str, nn.Module], frozen: dict[str, nn.Module]
) -> tuple[Recipe, int]:
    """The recipe with all values that follow from it set, and the number of rounds of all stages.

    The first stage's game is built and prepared as a trial, so that errors are raised before anything is written.

    Raises:
        EquilibriaError: the user passed modules, or the data does not fit the procedure.
    """
    assert row.procedure is not None
    if modules:
        raise ConfigError(
            f"{min(modules)}= for {row.name}, which trains several games with networks of their own",
            f"leave {min(modules)}= out; networks= of the recipe sets the architecture",
        )
    row = replace(row, steps=rounds)
    assert row.procedure is not None
    row = replace(row, procedure=row.procedure.settled(row, data))
    assert row.procedure is not None
    total = sum(row.procedure.plan(row, data.spec).values())
    stage = row.procedure.stages((), Task(replace(row, procedure=None), data, seed))
    if stage is None:
        raise ConfigError(f"the procedure of {row.name} has no stage for '{data.name}'", "use other data")
    own = data if stage.view is None else stage.view(data)
    stage.recipe.play(stage.recipe.build(own.spec, seed, frozen), own.batches(stage.recipe.batch), seed=seed).prepare()
    return row, total


def joined(
    row: Recipe, spec: DataSpec, done: tuple[Finished, ...], seed: int, played: int, device: torch.device
) -> Play:
    """The play of the joined game of the finished stages ``done``."""
    assert row.procedure is not None
    return joined_play(row.procedure.joined(done, spec).to(device), seed, played)


def reopened(
    path: Path, row: Recipe, spec: DataSpec, seed: int, device: torch.device, opened: Callable[..., Trained]
) -> Play:
    """The joined game of a run's finished stages, in order, up to the first that is not finished."""
    assert row.procedure is not None
    done: tuple[Finished, ...] = ()
    played = 0
    for name, rounds in row.procedure.plan(row, spec).items():
        found = None
        if stage_folder(path, name).is_dir():
            with suppress(RunError):  # an unreadable stage is not finished; resuming reports the reason
                found = opened(stage_folder(path, name))
        if found is None or found.play.round < rounds:
            break
        done = (*done, Finished(name, as_sampled(found.play)))
        played += rounds
    return joined(row, spec, done, seed, played, device)


def carry_out(site: Site, runs: Runs) -> tuple[Play, float]:
    """Train the stages one after another, from the first that is not finished.

    Args:
        site: the folder, the data and the procedure.
        runs: the functions that start and continue the stages' runs.

    Returns:
        The joined game and the seconds of its stages; of fewer stages if it was stopped (Ctrl-C or SIGTERM).
    """
    log = hooks.Log(site.path / "metrics.jsonl", 1)
    shown = pictures.sample_hook(site.path, site.data, 1, log)
    names = [*site.procedure.plan(site.row, site.data.spec)]
    done: tuple[Finished, ...] = ()
    seconds, played = 0.0, 0
    while True:
        try:
            stage = site.procedure.stages(done, site.task)
        except KeyboardInterrupt:  # while the procedure computes the next stage, which is repeated at the next start
            break
        if stage is None:
            break
        run = runs.stage(site, stage, len(done) + 1, viewed(site.data, stage))
        seconds += run.seconds
        if run.play.round < stage.recipe.steps:
            stopped = site.joined(done, played)
            stopped.round += run.play.round
            return stopped, seconds
        done = (*done, Finished(stage.name, as_sampled(run.play).to(site.device)))
        before, played = played, played + stage.recipe.steps
        follows = names[len(done)] if len(done) < len(names) else None
        if not _looked(site.path, played, None if follows is None else site.folder(follows)):
            hooks.cut_rows(log.path, before)
            log.write({"step": played, **stage.numbers})
            shown.look(site.joined(done, played), {})
            log.sync()
    return site.joined(done, played), seconds


def viewed(data: Dataset, stage: Stage) -> Dataset:
    """The rows of a stage."""
    return data if stage.view is None else stage.view(data)


def begun(site: Site, open_run: Callable[..., Trained]) -> Iterator[Stage]:
    """The stages that have begun, in order."""
    done: tuple[Finished, ...] = ()
    while (stage := site.procedure.stages(done, site.task)) is not None and site.folder(stage.name).is_dir():
        yield stage
        try:
            play = open_run(site.folder(stage.name)).play
        except RunError:
            return  # it has no whole checkpoint
        if play.round < stage.recipe.steps:
            return
        done = (*done, Finished(stage.name, as_sampled(play).to(site.device)))


def rows_of_stage(site: Site, name: str, open_run: Callable[..., Trained]) -> Dataset:
    """The rows of a stage that has begun.

    Raises:
        RunError: the run has no such stage.
    """
    for stage in begun(site, open_run):
        if stage.name == name:
            return viewed(site.data, stage)
    raise RunError(f"{site.path} has no stage '{name}'", f"continue it: equilibria train --resume {site.path}")


def _looked(path: Path, played: int, follows: Path | None) -> bool:
    """Whether samples of the joined game were stored after so many rounds: then the next stage has begun."""
    if follows is None or not follows.exists():
        return False
    return any(row["step"] == played for row in RunFolder.open(path, strict=False).rows)


def _keep(path: Path, name: str, find: Callable[[], Tensor], valid: Check) -> Tensor:
    """The array ``path/NAME.npz``, or the one that is found and put there."""
    file = path / f"{name}.npz"
    if file.exists():
        kept = _kept(file)
        if kept is not None and valid(kept):
            return kept
        warnings.warn(f"{file} is damaged; it is computed again", stacklevel=2)
    found = find()
    disk.make_folder(file.parent)
    disk.write_atomically(file, hooks.packed(found.cpu().numpy()))
    return found


def _kept(file: Path) -> Tensor | None:
    try:
        # Read whole: np.load leaves the file of a damaged archive open.
        file.open("rb").close()
    except OSError as error:
        raise disk.read_error(error, file) from error
    try:
        return torch.from_numpy(stored(file, MOST_BYTES)["x"])
    except (DataError, KeyError, TypeError):
        return None
