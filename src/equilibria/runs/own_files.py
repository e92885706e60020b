"""User files in runs: registers what they define; a run records the files that it was made with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import own_files
from ..base.arguments import place
from ..base.errors import EquilibriaError, RunError
from ..base.own_files import OwnFile
from ..recipes import Recipe, cite_also, register


def _needs_file(path: Path, entries: list[Mapping[str, Any]]) -> RunError:
    """The error for a run that was made with user files and is opened without them."""
    named = ", ".join(str(entry.get("file")) for entry in entries)
    files = tuple(str(entry.get("path") or entry.get("file")) for entry in entries)
    calls = "; ".join(f"equilibria.use_file({file!r})" for file in files)
    gone = [file for file in files if not Path(file).is_file()]
    moved = f"; {gone[0]} does not exist any more: use its new path" if gone else ""
    error = RunError(f"{path} was made with {named}, and files are not run automatically", f"{calls}{moved}")
    error.files = files
    return error


def use_file(path: str | Path) -> OwnFile:
    """Run a user file and register what it defines (``--with FILE.py`` on the command line).

    Its records are read back from run.json, its recipes can be named, and the BibTeX in its ``REFERENCES`` can be
    cited. Runs that are made afterwards record the file.

    Args:
        path: a Python file. It is run like any program: name only files that you trust.

    Raises:
        ConfigError: there is no such file, it raises, or one of its recipes has the name of another.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "own.py"
        >>> _ = file.write_text("from equilibria import record")
        >>> use_file(file).to_dict()["file"]
        'own.py'
        >>> own_files.forget()
    """
    own = own_files.load(place("path", path))
    for value in vars(own.module).values():
        for row in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(row, Recipe):
                register(row, own.module.__name__)
    references = getattr(own.module, "REFERENCES", "")
    if isinstance(references, str):
        cite_also(references)
    return own


def warn_of_changes(info: Mapping[str, Any]) -> None:
    """Warn of files in use that have changed since the run was made with them."""
    for entry in _entries(info):
        same = _same(entry)
        if same is not None and same.sha256 != entry.get("sha256"):
            warnings.warn(
                f"{same.path.name} has changed since the run was made with it "
                f"(sha256 {str(entry.get('sha256'))[:12]} then, {same.sha256[:12]} now)",
                stacklevel=3,
            )


def _entries(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = info.get("with")
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


def _same(entry: Mapping[str, Any]) -> OwnFile | None:
    """The file in use that an entry of run.json is about: of the same bytes, or else of the same name."""
    named = own_files.in_use()
    by_bytes = next((own for own in named if own.sha256 == entry.get("sha256")), None)
    return by_bytes or next((own for own in named if own.path.name == entry.get("file")), None)


@contextmanager
def explained(path: Path, info: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error inside into one that names the missing user files of a run.

    Raises:
        RunError: there was an error inside, and a file that the run was made with is not in use.
    """
    absent = [entry for entry in _entries(info) if _same(entry) is None]
    try:
        yield
    except EquilibriaError as error:
        if not absent or error.files:
            raise
        raise _needs_file(path, absent) from error
