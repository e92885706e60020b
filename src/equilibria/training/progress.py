"""What a person sees of a run: samples and their pictures, the progress bar, trackers."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ..data import Dataset
from ..errors import ConfigError
from ..figures import bounds_of, image_grid, plane_of, scatter, write_png
from ..game import Loss
from ..metrics.modes import modes
from ..play import Play
from .hooks import Log, Samples

_ROWS = {"vector": 2500, "image": 64}


def sample_hook(folder: Path, data: Dataset, every: int, log: Log) -> Samples:
    """The hook that keeps samples and their pictures, and logs the modes that a law's samples capture."""
    n = 100 if data.spec.kind == "image" and data.spec.classes == 10 else _ROWS[data.spec.kind]
    law = data.law

    def draw(play: Play) -> Tensor:
        classes = getattr(play.game, "classes", 0)
        labels = torch.arange(n, device=play.device) % classes if classes else None
        samples = play.sample(n, 0, labels).cpu()
        if law is not None and law.modes is not None and samples.shape[1:] == data.spec.shape:
            found = modes(samples, law)
            row = {"quality/modes": found.captured, "quality/high_quality": found.high_quality}
            log.write({"step": play.round, **row})
            log.latest.update(row)
        return samples

    return Samples(folder / "samples", every, draw, _painter(data, n))


def _painter(data: Dataset, n: int) -> Any:
    if data.spec.kind == "image":
        columns = 10 if n == 100 else 8
        return lambda samples, path: write_png(image_grid(samples.flatten(0, -4), columns), path)
    real = data.take(_ROWS["vector"])["x"].cpu()
    plane = plane_of(real) if real.shape[1] > 2 else None
    window = bounds_of(plane.project(real.numpy())) if plane else bounds_of(real.expand(-1, 2))

    def paint(samples: Tensor, path: Path) -> None:
        # A coupled game's samples are pairs side by side, an ensemble's have one more axis: both are rows of the law.
        write_png(scatter(samples.reshape(-1, real.shape[1]), real, window, plane=plane), path)

    return paint


class Bar:
    """A progress bar with rate, time left and the latest key numbers; a line now and then where there is no terminal."""

    def __init__(self, log: Log, steps: int, done: int) -> None:
        self.log, self.steps, self.first = log, steps, done
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
        )
        self.bar = Progress(*columns, console=console, disable=not self.live, transient=True)
        self.task = self.bar.add_task("training", total=steps, completed=done, rate="", numbers="")
        self.bar.start()
        self.shown = 0.0
        self.next_line = done

    def due(self, step: int) -> bool:
        if not self.live:
            return step >= self.next_line or step == self.steps
        return time.monotonic() - self.shown > 0.2 or step == self.steps

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        self.shown = time.monotonic()
        rate = (play.round - self.first) / max(1e-9, self.shown - self.started)
        numbers = key_numbers(self.log.latest)
        self.bar.update(self.task, completed=play.round, rate=f"{rate:.1f} rounds/s", numbers=numbers)
        if not self.live:
            left = (self.steps - play.round) / max(rate, 1e-9)
            print(f"round {play.round}/{self.steps}  {rate:.1f}/s  {left:.0f} s left  {numbers}", file=sys.stderr)
            self.next_line = play.round + max(1, self.steps // 10)

    def close(self, play: Play) -> None:
        self.bar.stop()


def key_numbers(row: dict[str, Any]) -> str:
    """The losses and, where known, the quality, short enough for a line."""
    shown = []
    for key, value in row.items():
        if key.startswith(("loss/", "quality/")) and isinstance(value, (int, float)):
            name = key.split("/")[1].replace("high_quality", "HQ")
            shown.append(f"{name} {value:.3g}")
    return "  ".join(shown)


class Trackers:
    """Sends every logged row to accelerate's trackers (TensorBoard, Weights & Biases, MLflow, …).

    Raises:
        ConfigError: accelerate, or the tracker, is not installed.
    """

    def __init__(self, log: Log, names: Sequence[str], folder: Path) -> None:
        try:
            from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers
        except ImportError as error:
            raise ConfigError("trackers need accelerate", "pip install 'equilibria[trackers]'") from error
        known = {str(getattr(k, "value", k)): v for k, v in LOGGER_TYPE_TO_CLASS.items()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"unknown tracker '{unknown[0]}'", f"known: {', '.join(sorted(known))}")
        ready = [str(getattr(n, "value", n)) for n in filter_trackers(list(names), str(folder))]
        absent = [name for name in names if name not in ready]
        if absent:
            raise ConfigError(f"the tracker '{absent[0]}' is not installed", f"pip install {absent[0]}")
        self.trackers = [
            known[n](folder.name, logging_dir=str(folder)) if known[n].requires_logging_directory else known[n](folder.name)
            for n in ready
        ]
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
