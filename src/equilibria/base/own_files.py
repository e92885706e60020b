"""User files: Python code outside the package that a user names, and that is never searched for.

``equilibria train --with FILE.py`` runs the file once, so that the records it defines (games, networks, objectives) can
be named and read back. Its name and the SHA-256 of its bytes go into run.json. The file is run like any program:
name only files that you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .errors import ConfigError

__all__ = ["OwnFile", "forget", "in_use", "load"]


@dataclass(frozen=True)
class OwnFile:
    """A user file that was run.

    Attributes:
        path: absolute.
        sha256: of its bytes.
        module: the module with its definitions.
    """

    path: Path
    sha256: str
    module: ModuleType

    def to_dict(self) -> dict[str, str]:
        """Plain values for run.json."""
        return {"file": self.path.name, "path": str(self.path), "sha256": self.sha256}


_RUN: dict[Path, OwnFile] = {}
_NAMED: list[Path] = []


def load(path: str | Path) -> OwnFile:
    """Run a file and remember it; one that was run before and has not changed is not run again.

    Args:
        path: a Python file.

    Raises:
        ConfigError: there is no such file, or it raises; the message has the line.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "own.py"
        >>> _ = file.write_text("ANSWER = 42")
        >>> load(file).module.ANSWER, in_use()[-1].path.name
        (42, 'own.py')
        >>> forget()
    """
    given = Path(path).expanduser()
    if given.suffix != ".py" or not given.is_file():
        what = "is not a Python file" if given.is_file() else "does not exist"
        raise ConfigError(f"--with {given}, which {what}", "name a .py file that defines records")
    file = given.resolve()
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if file not in _RUN or _RUN[file].sha256 != digest:
        _RUN[file] = OwnFile(file, digest, _executed(file, content))
    if file not in _NAMED:
        _NAMED.append(file)
    return _RUN[file]


def in_use() -> tuple[OwnFile, ...]:
    """The files named so far, in their order."""
    return tuple(_RUN[file] for file in _NAMED)


def forget() -> None:
    """Clear the list of files in use; their definitions remain."""
    _NAMED.clear()


def _executed(file: Path, content: bytes) -> ModuleType:
    name = f"own_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # annotations of its records are looked up there
    try:
        exec(compile(content, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise ConfigError(
            f"{file} raises {_said(error, file)}", f"correct it until this runs: python {file}"
        ) from error
    return module


def _said(error: BaseException, file: Path) -> str:
    """The error in a line, with the last line of the file that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = "" if line is None else f" at line {line}"
    return f"{type(error).__name__}{where}: {' '.join(str(error).split()) or 'no message'}"
