"""How a run is opened or continued again, as a command or a call that works when it is pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def call_again(path: Path, info: Mapping[str, Any], function: str) -> str:
    """A call of one of the package's functions with everything that the run was given in Python.

    Data and networks that were made in Python are not kept with a run: they are the variables ``data``, ``generator``,
    ``game``, … of the call.

    Args:
        path: the run's folder.
        info: its ``run.json``, or the ``seeds.json`` of several seeds.
        function: ``open_run``, ``resume`` or ``resume_seeds``.

    Examples:
        >>> call_again(Path("runs/a"), {"own": ["generator"], "data": {"source": None}}, "open_run")
        "equilibria.open_run('runs/a', data, generator=generator)"
    """
    data, own = info.get("data"), info.get("own")
    arguments = [repr(str(path))]
    if isinstance(data, Mapping) and data.get("source") is None:
        arguments.append("data")
    arguments += [f"{name}={name}" for name in own or () if isinstance(name, str) and name.isidentifier()]
    return f"equilibria.{function}({', '.join(arguments)})"


def continue_again(path: Path, info: Mapping[str, Any]) -> str:
    """The command that continues a run, or the call where the run was given data or networks in Python.

    Examples:
        >>> continue_again(Path("runs/a b"), {"own": [], "data": {"source": "digits"}})
        "equilibria train --resume 'runs/a b'"
        >>> continue_again(Path("runs/a"), {"own": ["game"], "data": {"source": "digits"}})
        "equilibria.resume('runs/a', game=game)"
    """
    data, files = info.get("data"), info.get("with")
    if info.get("own") or (isinstance(data, Mapping) and data.get("source") is None):
        return call_again(path, info, "resume")
    words = ["equilibria", "train", "--resume", str(path)]
    for entry in files if isinstance(files, list) else ():
        if isinstance(entry, Mapping):
            words += ["--with", str(entry.get("path") or entry.get("file"))]
    return shlex.join(words)
