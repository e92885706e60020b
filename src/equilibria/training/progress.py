"""Display of a run while it trains: the progress bar, and experiment trackers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..base.errors import ConfigError, did_you_mean
from ..base.visible import visible
from ..core.game import Loss
from ..core.play import Play
from .hooks import Log

_SECONDS = 10.0  # between two lines at most


class Bar:
    """A progress bar with rate, remaining time and key numbers.

    Without a terminal it is a line per tenth of the run, and one at least every ten seconds.

    Args:
        log: holds the numbers.
        steps: the last round.
        done: finished rounds at the start.
        findings: returns further text to show: the conditions that the doctor has found.
    """

    def __init__(self, log: Log, steps: int, done: int, findings: Callable[[], str] = lambda: "") -> None:
        self.log, self.steps, self.first, self.findings = log, steps, done, findings
        self.started = time.monotonic()
        self.live = sys.stderr.isatty()
        console = Console(stderr=True)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("[red]{task.fields[findings]}"),
        )
        self.bar = Progress(*columns, console=console, disable=not self.live, transient=True)
        self.task = self.bar.add_task("training", total=steps, completed=done, rate="", numbers="", findings="")
        self.bar.start()
        self.shown = self.started
        self.next_line = done

    def due(self, step: int) -> bool:
        if not self.live:
            late = time.monotonic() - self.shown > _SECONDS
            return step >= self.next_line or step == self.steps or late
        return time.monotonic() - self.shown > 0.2 or step == self.steps

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        self.shown = time.monotonic()
        rate = (play.round - self.first) / max(1e-9, self.shown - self.started)
        numbers, found = key_numbers(self.log.latest), self.findings()
        self.bar.update(self.task, completed=play.round, rate=f"{rate:.1f} rounds/s", numbers=numbers, findings=found)
        if not self.live:
            left = (self.steps - play.round) / max(rate, 1e-9)
            line = f"round {play.round}/{self.steps}  {rate:.1f}/s  {left:.0f} s left  {numbers}  {found}"
            print(line.rstrip(), file=sys.stderr)
            self.next_line = play.round + max(1, self.steps // 10)

    def close(self, play: Play) -> None:
        self.bar.stop()


def announce(line: str) -> None:
    """Print a line about a run that starts, beside its progress."""
    print(visible(line, lines=False), file=sys.stderr)


def key_numbers(row: dict[str, Any]) -> str:
    """The losses and, if present, the quality metrics, short enough for one line.

    Examples:
        >>> key_numbers({"step": 3, "loss/generator": 0.69314, "quality/high_quality": 0.5, "score/real": 1.0})
        'generator 0.693  HQ 0.5'
    """
    shown = []
    for key, value in row.items():
        if key.startswith(("loss/", "quality/")) and isinstance(value, (int, float)):
            name = key.split("/", 1)[1].replace("high_quality", "HQ")
            shown.append(f"{name} {value:.3g}")
    return "  ".join(shown)


def trackers_named(names: Sequence[str]) -> dict[str, Any]:
    """The classes of the named accelerate trackers.

    Raises:
        ConfigError: a tracker is unknown, or it or accelerate is not installed.
    """
    if not names:
        return {}
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    except ImportError as error:
        raise ConfigError("trackers need accelerate", "pip install 'equilibria[trackers]'") from error
    known = {str(getattr(key, "value", key)): kind for key, kind in LOGGER_TYPE_TO_CLASS.items()}
    there = {str(getattr(key, "value", key)) for key in get_available_trackers()}
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown tracker '{name}'", did_you_mean(name, known))
        if name not in there:
            raise ConfigError(f"the tracker '{name}' is not installed", f"install {name}, or leave it out")
    return {name: known[name] for name in names}


class Trackers:
    """Sends every logged row to accelerate's trackers (TensorBoard, Weights & Biases, MLflow, …).

    TensorBoard's files are in the run's folder ``tensorboard/``; a resumed run purges the rows of rounds it trains
    again.

    Raises:
        ConfigError: accelerate, or the tracker, is not installed.
    """

    def __init__(self, log: Log, names: Sequence[str], folder: Path, done: int) -> None:
        kinds = trackers_named(names)
        from accelerate import PartialState

        PartialState()  # the trackers read from it whether this is the main process
        self.trackers = [_tracker(kind, name, folder, done) for name, kind in kinds.items()]
        for tracker in self.trackers:
            if hasattr(tracker, "start"):
                tracker.start()
        log.listeners.append(self._send)

    def _send(self, row: dict[str, Any]) -> None:
        values = {k: v for k, v in row.items() if isinstance(v, (int, float)) and k != "step"}
        for tracker in self.trackers:
            tracker.log(values, step=row["step"])

    def due(self, step: int) -> bool:
        return False

    def look(self, play: Play, losses: dict[str, Loss]) -> None: ...

    def close(self, play: Play) -> None:
        for tracker in self.trackers:
            tracker.finish()


def _tracker(kind: Any, name: str, folder: Path, done: int) -> Any:
    if name == "tensorboard":
        return kind(name, logging_dir=str(folder), purge_step=done + 1)
    return kind(folder.name, logging_dir=str(folder)) if kind.requires_logging_directory else kind(folder.name)
