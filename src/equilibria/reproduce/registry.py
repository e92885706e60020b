"""The list of reproductions, found by file name, and their execution: run, check, and write to a folder."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, EquilibriaError, did_you_mean
from ..base.provenance import commit
from ..base.randomness import own_randomness, reseed
from ..training.disk import make_folder, write_atomically
from .claim import Claim, Outcome

_NAMED = re.compile(r"[a-z]+\d{4}[a-z0-9]*_[a-z0-9_]+")


@dataclass(frozen=True)
class Verdict:
    """The result of a run of a reproduction.

    Attributes:
        key: the reproduction's name.
        word: ``"holds"``, ``"fails"``, or ``"error"`` if it raised an error.
        seconds: duration.
        record: the content of its JSON file.
    """

    key: str
    word: str
    seconds: float
    record: dict[str, Any]


def keys() -> list[str]:
    """The names of all reproductions, ``<bibkey>_<what>``, in alphabetical order."""
    package = importlib.import_module(__package__ or "equilibria.reproduce")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if _NAMED.fullmatch(m.name))


def claim_of(key: str) -> Claim:
    """The header of a reproduction."""
    claim: Claim = importlib.import_module(f".{key}", __package__).CLAIM
    return claim


def matching(word: str) -> list[str]:
    """The reproductions of a paper (``arjovsky2017principled``, or any prefix of it), or the one with that name.

    Raises:
        ConfigError: there is none.

    Examples:
        >>> matching("goodfellow2014_saturation")
        ['goodfellow2014_saturation']
    """
    known = keys()
    if word in known:
        return [word]
    found = [key for key in known if key.startswith(word)] if word else []
    if not found:
        raise ConfigError(f"no reproduction '{word}'", did_you_mean(word, known) + " `equilibria reproduce --list`")
    return found


def reproduce(chosen: Sequence[str], out: Path, quick: bool) -> Iterator[Verdict]:
    """Run reproductions one after another; each leaves ``<key>.png`` and ``<key>.json`` in ``out``.

    One that raises gets the verdict ``"error"`` and does not stop the others.

    Raises:
        RunError: the folder cannot be written.
    """
    make_folder(out)
    for key in chosen:
        yield _one(key, out, quick)


def _one(key: str, out: Path, quick: bool) -> Verdict:
    from ..figures.panels import rendered

    module = importlib.import_module(f".{key}", __package__)
    claim: Claim = module.CLAIM
    run: Callable[[bool], Outcome] = module.run
    begun = time.perf_counter()
    record: dict[str, Any] = {"key": key, **asdict(claim), "quick": quick}
    try:
        with own_randomness():
            reseed(0)
            outcome = run(quick)
    except (EquilibriaError, ValueError, RuntimeError, ArithmeticError) as error:
        record |= {"verdict": "error", "error": f"{type(error).__name__}: {error}"}
    else:
        record |= {"verdict": "holds" if outcome.holds else "fails", "checks": [asdict(c) for c in outcome.checks]}
        record["numbers"] = outcome.numbers
        write_atomically(out / f"{key}.png", rendered(outcome.figure, colors=128))
    seconds = time.perf_counter() - begun
    record |= {"seconds": round(seconds, 1), "versions": _versions()}
    text = json.dumps(_plain(record), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / f"{key}.json", text + "\n")
    return Verdict(key, record["verdict"], seconds, record)


def _versions() -> dict[str, str | None]:
    import torch

    from .. import __version__

    threads = str(torch.get_num_threads())
    return {"equilibria": __version__, "commit": commit(), "torch": torch.__version__, "threads": threads}


def _plain(value: Any) -> Any:
    """Plain values for JSON, which has no non-finite numbers: these become their names."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
