"""A run that a signal has ended before its last round."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Trained(Protocol):
    """A run, or the runs of several seeds."""

    @property
    def path(self) -> Path: ...

    @property
    def finished(self) -> bool: ...


T = TypeVar("T", bound=Trained)


class RunStopped(KeyboardInterrupt):
    """A signal (Ctrl-C, SIGTERM, SIGHUP) ended the training; a checkpoint of the last round was written.

    It is a ``KeyboardInterrupt``, so a script does not go on with a half-trained run unless it asks to.

    Attributes:
        run: the run as it is, or the runs of several seeds: it can be sampled, evaluated and resumed.

    Examples:
        >>> issubclass(RunStopped, KeyboardInterrupt)
        True
    """

    def __init__(self, run: Any) -> None:
        super().__init__(f"training was stopped. Continue: equilibria train --resume {shlex.quote(str(run.path))}")
        self.run = run


def to_the_end(run: T) -> T:
    """A finished run.

    Raises:
        RunStopped: it is not finished.
    """
    if not run.finished:
        raise RunStopped(run)
    return run
