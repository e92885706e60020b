"""A session of a run: training from the present round on, with the hooks that log, sample, check up and save."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ..core.play import Play
from ..data import Dataset
from ..training import Hook, Settings, checkpoint, fit, hooks, pictures, progress
from ..training.best import Best, judge_of
from ..training.checkups import Alarm, Checkups, Site
from .extras import Extras, OwnMetrics
from .folder import RunFolder


class Live(Protocol):
    """What a session needs of a run."""

    path: Path
    info: dict[str, Any]
    play: Play
    seconds: float
    extras: Extras

    @property
    def data(self) -> Dataset: ...


class Session:
    """One session.

    Args:
        run: the run to train; its training time in seconds is updated.
        settings: the intervals of the hooks, and what is shown.
        resumed: the checkpoint from which the play was continued.
        alarm: called with each diagnosis of the doctor; an exception that it raises ends the session.
    """

    def __init__(
        self, run: Live, settings: Settings, resumed: checkpoint.Saved | None, alarm: Alarm | None = None
    ) -> None:
        self.run, self.settings, self.alarm = run, settings, alarm
        self.steps, planned = int(run.info["steps"]), run.play.horizon
        self.log = hooks.Log(run.path / "metrics.jsonl", settings.log_every or max(1, planned // 200))
        every = settings.checkpoint_every or max(1, planned // 10)
        self.saves = hooks.Checkpoints(run.path / "checkpoints", every, settings.keep, self.log, resumed)
        self.saves.before = run.seconds
        self.shown = pictures.sample_hook(run.path, run.data, settings.sample_every or max(1, planned // 12), self.log)
        self.best: Best | None = None
        if settings.best != "none" and not run.play.game.seeds:
            each = max(1, planned // 20)
            self.best = Best(run.path, each, self.steps, settings.best, judge_of(settings.best, run.data))
            self.saves.first.append(self.best.prune)
        self.checkups: Checkups | None = None
        if settings.doctor:
            past = RunFolder.open(run.path, strict=False).history() if run.play.round else ()
            site = Site(run.path, run.data, self.steps, self.log, resumed.path if resumed else None, past)
            self.checkups = Checkups(site, run.play, alarm)
            self.saves.first.append(self.checkups.sync)
            self.saves.beside.append(self.checkups.beside)

    def play(self) -> None:
        """Train to the last round and write a checkpoint."""
        play, watching = self.run.play, self._watching()
        try:
            self.saves.look(play, {})
            fit(play, self.steps, watching)
            self.saves.look(play, {})
        finally:
            self.run.seconds = self.saves.seconds

    @property
    def hooks(self) -> list[Hook]:
        """The hooks that write into the run's folder, in the order of their calls: checkpoints come last."""
        every = max(1, self.run.play.horizon // 20)
        found: list[Hook] = [self.log, self.shown]
        found += [hook for hook in (self.checkups, self.best) if hook is not None]
        found += [OwnMetrics(self.log, every, self.run.extras.metrics, self.run.data), *self.run.extras.hooks]
        return [*found, self.saves]

    def _watching(self) -> list[Hook]:
        """All hooks: those that write, and those that show the progress."""
        log, done, watching = self.log, self.run.play.round, self.hooks
        if self.settings.progress:
            findings = self.checkups.text if self.checkups is not None else str
            watching.append(progress.Bar(log, self.steps, done, findings))
        if self.settings.trackers:
            watching.append(progress.Trackers(log, self.settings.trackers, self.run.path, done))
        return watching
