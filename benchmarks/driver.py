"""Runs another project's training script unchanged, and pauses it after a requested number of steps.

    python driver.py SCRIPT [ARGUMENT ...]

It imports nothing of this project: it runs under the peer's interpreter. It reads from standard input a number of
optimiser steps (of the optimiser that steps first); after these steps it prints a line of JSON and waits. A line
``sample N PATH`` requests N examples of the script's ``generator``, of its classes in turn if it has any. It ends at
the end of the input.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


class Meter:
    """Counts the steps of one optimiser, and pauses the script at the end of each measurement."""

    def __init__(self, answers: TextIO, names: dict[str, Any]) -> None:
        self.answers, self.names = answers, names
        self.counted: Any = None
        self.left, self.asked = 0, 0
        self.begun = (0.0, 0.0)

    def __call__(self, optimizer: Any, *_: Any) -> None:
        """After a step of any optimiser."""
        if self.counted is None:
            self.counted = optimizer
        if optimizer is not self.counted:
            return
        self.left -= 1
        if self.left <= 0:
            if self.asked:
                wall, own = time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]
                self._say({"steps": self.asked, "wall": wall, "own": own})
            self._wait()

    def _wait(self) -> None:
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "sample":
                self._sample(int(rest[0]), rest[1])
                continue
            self.asked = self.left = int(word)
            self.begun = (time.perf_counter(), time.process_time())
            return
        os._exit(0)

    def _sample(self, count: int, path: str) -> None:
        options, made = self.names["opt"], []
        classes = getattr(options, "n_classes", 0)
        with torch.no_grad():
            for start in range(0, count, 64):
                labels = [torch.arange(start, start + 64) % classes] if classes else []
                made.append(self.names["generator"](torch.randn(64, options.latent_dim), *labels))
        np.save(path, torch.cat(made).numpy())
        self._say({"samples": path})

    def _say(self, answer: dict[str, Any]) -> None:
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()


def _without_extension() -> None:
    """Make torchvision's Python part importable if its compiled part does not fit this torch.

    Its import registers two detection operators, which must be declared for that; no script here calls them.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    _KEPT.append(library)


_KEPT: list[Any] = []


def main() -> None:
    """Run the script that the command line names."""
    script = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(int(os.environ.get("BENCH_SEED", "0")))
    np.random.seed(int(os.environ.get("BENCH_SEED", "0")))
    _without_extension()
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    register_optimizer_step_post_hook(Meter(answers, names))
    sys.argv = [str(script), *sys.argv[2:]]
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)


if __name__ == "__main__":
    main()
