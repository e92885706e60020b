"""Another project's training script as a side: run unchanged in its own process, paused between measurements."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from equilibria.base.errors import ConfigError, RunError
from equilibria.data import DataOptions, Dataset, load

from .measure import Plan

_DRIVER = Path(__file__).with_name("driver.py")


@dataclass(frozen=True)
class Script:
    """A script of a peer.

    Args:
        project: its folder among the peers.
        path: the script in it; a script next to this file if the peer is a library without scripts.
        steps_a_round: steps of the optimiser that steps first, per round of ours.
        source: a folder of the project to put on the import path.
    """

    project: str
    path: str
    steps_a_round: int = 1
    source: str | None = None

    def found(self, plan: Plan) -> tuple[Path, Path]:
        """The script and its project's folder.

        Raises:
            ConfigError: there is no folder of peers, or the project is not in it.
        """
        if plan.peers is None:
            raise ConfigError(
                f"'{self.project}' is measured from a checkout", "give --peers FOLDER, with a clone in it"
            )
        project = plan.peers / self.project
        script = Path(__file__).with_name(self.path) if self.source is not None else project / self.path
        if not project.is_dir() or not script.is_file():
            raise ConfigError(f"there is no {self.path} of '{self.project}' in {plan.peers}", "clone the project there")
        return script.resolve(), project.resolve()


class Peer:
    """A running script. It trains when called, and is paused in between."""

    def __init__(self, script: Script, plan: Plan, folder: Path, seed: int = 0) -> None:
        self.script, self.plan = script, plan
        path, project = script.found(plan)
        environment = {**os.environ, "OMP_NUM_THREADS": str(plan.threads), "BENCH_SEED": str(seed)}
        if script.source is not None:
            environment["PYTHONPATH"] = str(project / script.source)
        self.log = folder / "stderr.txt"
        with self.log.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [str(plan.python or sys.executable), str(_DRIVER), str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                cwd=folder, env=environment, text=True,
            )  # fmt: skip

    def __call__(self, rounds: int) -> float:
        """Train for this number of our rounds; returns the seconds.

        Raises:
            RunError: the script ended.
        """
        times = self._asked(str(rounds * self.script.steps_a_round))
        return float(times["own" if self.plan.threads == 1 else "wall"])

    def samples(self, n: int, path: Path) -> Tensor:
        """``n`` images of the script's generator in its present state."""
        self._asked(f"sample {n} {path}")
        return torch.from_numpy(np.load(path, allow_pickle=False))

    def _asked(self, line: str) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        answer = ""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            last = (self.log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
            raise RunError(
                f"{self.script.path} of '{self.script.project}' ended: {last}", "run it by hand, see --python"
            )
        times: dict[str, float] = json.loads(answer)
        return times

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextmanager
def running(script: Script, plan: Plan, seed: int = 0, data: Dataset | None = None) -> Iterator[Peer]:
    """The script, started in a folder with 28x28 images where it expects its digits: those of MNIST, or of ``data``."""
    script.found(plan)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "implementations" / "here"
        folder.mkdir(parents=True)
        _write_digits(Path(temporary) / "data" / "mnist" / "MNIST" / "raw", digits() if data is None else data)
        peer = Peer(script, plan, folder, seed)
        try:
            yield peer
        finally:
            peer.close()


@cache
def digits(size: int = 28, channels: int = 1) -> Dataset:
    """MNIST with ``size`` pixels per side and ``channels`` equal channels."""
    data = load("mnist", options=DataOptions(size=size))
    return data if channels == 1 else load(_pixels(data, held_out=False)[0].expand(-1, channels, -1, -1))


def fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images of another size brought to the height and width of the data's, smoothed where they shrink."""
    size = shape[-2:]
    if images.shape[-2:] == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def _pixels(data: Dataset, held_out: bool) -> tuple[Tensor, Tensor]:
    """All training or held-out rows as bytes, and their classes."""
    rows = data.take(int((data.held_out_size if held_out else data.size) or 0), held_out=held_out)
    return ((rows["x"] + 1) * 127.5).round().to(torch.uint8), rows["y"].to(torch.uint8)


def _write_digits(folder: Path, data: Dataset) -> None:
    """Write images as torchvision's files of MNIST: our training rows are its training set, held-out ones its test."""
    folder.mkdir(parents=True)
    for name, held_out in (("train", False), ("t10k", True)):
        x, y = (rows.numpy() for rows in _pixels(data, held_out))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, len(x), 28, 28) + x.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(y)) + y.tobytes())
