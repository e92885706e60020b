"""Runs: a recipe trained on data, in a folder of its own.

The functions of this package are looked up on first use, so that reading a folder does not import the trainer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "train": "launch",
    "resume": "launch",
    "Run": "run",
    "RunStopped": "stopped",
    "open_run": "run",
    "opened": "run",
    "data_again": "run",
    "write_report": "run",
    "cite": "run",
    "train_seeds": "seeds",
    "resume_seeds": "seeds",
    "use_file": "own_files",
}
__all__ = [
    "Run",
    "RunStopped",
    "cite",
    "data_again",
    "open_run",
    "opened",
    "resume",
    "resume_seeds",
    "train",
    "train_seeds",
    "use_file",
    "write_report",
]

if TYPE_CHECKING:
    from .launch import resume, train
    from .own_files import use_file
    from .run import Run, cite, data_again, open_run, opened, write_report
    from .seeds import resume_seeds, train_seeds
    from .stopped import RunStopped


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'equilibria.runs' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
