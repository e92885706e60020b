"""How files are fuzzed: valid ones mutated, arbitrary ones, and what has to come of them.

The property is one: reading a file ends soon, in bounded memory, with a result or with an EquilibriaError that says
what is wrong and what to do. ``FUZZ=5000 pytest tests/test_fuzz_data.py`` is a long session: that many cases a target,
drawn anew each time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from equilibria.base.errors import EquilibriaError

T = TypeVar("T")
MEMORY = 1 << 30
"""Bytes that reading one of the small files of these tests may map beyond what the process has."""
SECONDS = 10
CASES = int(os.environ.get("FUZZ") or 0)

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
NUMBERS = [-1, 0, 1, 2**31, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf")]
WORDS = ["", "type", "../x", "\ud800", "<script>", "\0", "NaN", "x" * 300]
ODD = st.sampled_from([None, True, *NUMBERS, *WORDS, [], {}, [[]], {"type": "Recipe"}, {"type": []}, [1, "a", None]])


def cases(examples: int) -> settings:
    """Settings of a target: so many cases in the quick suite, the same ones each time, or ``$FUZZ`` new ones."""
    return settings(
        max_examples=CASES or examples,
        derandomize=not CASES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def read(work: Callable[[], T], *also: type[Exception]) -> T | None:
    """What a reader returns, or None where it refused with what is wrong and what to do."""
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except EquilibriaError as error:
        assert error.what and error.fix, f"an error that does not say what to do: {error!r}"
        assert len(error.what) < 2000, "an error that nobody reads"
        return None
    except also:
        return None


@contextmanager
def bounded() -> Iterator[None]:
    """Inside, a hang is an error and so is memory beyond the bound."""

    def hangs(*_: object) -> None:
        raise AssertionError(f"it takes more than {SECONDS} s of processor time")

    with open("/proc/self/statm") as told:
        mapped = int(told.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, hangs)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes of a valid file with bytes flipped, cut out, doubled or put in, cut short, or replaced by others."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        length = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["flip", "cut", "double", "insert", "truncate", "fill"]))
        if kind == "flip" and raw:
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del raw[at : at + length]
        elif kind == "double":
            raw[at:at] = raw[at : at + length * 8]
        elif kind == "insert":
            raw[at:at] = draw(st.binary(max_size=length))
        elif kind == "truncate":
            del raw[at:]
        else:
            raw[at : at + length] = bytes([draw(st.sampled_from([0, 0x7F, 0xFF]))]) * length
    return bytes(raw)


def paths(value: Json, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a JSON value can be changed."""
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*here, key))


@st.composite
def changed(draw: st.DrawFn, whole: Json) -> Json:
    """A JSON value with parts left out, renamed, or replaced by odd ones or by each other."""
    value = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 2))):
        places = list(paths(value))
        place = draw(st.sampled_from(places))
        if not place:
            continue
        inside = value
        for key in place[:-1]:
            inside = inside[key]
        kind = draw(st.sampled_from(["odd", "drop", "swap", "rename", "nest", "number"]))
        old = inside[place[-1]]
        if kind == "drop" or (kind == "rename" and isinstance(inside, list)):
            del inside[place[-1]]
        elif kind == "rename":
            inside[draw(st.text(max_size=5))] = inside.pop(place[-1])
        elif kind == "swap":
            other: Any = value
            for key in draw(st.sampled_from(places)):
                other = other[key]
            inside[place[-1]] = json.loads(json.dumps(other))
        elif kind == "nest":
            inside[place[-1]] = [old]
        elif kind == "number" and isinstance(old, (int, float)):
            inside[place[-1]] = draw(st.sampled_from([-old, old + 0.5, str(old), old * 10**6, not old]))
        else:
            inside[place[-1]] = json.loads(json.dumps(draw(ODD)))
    return value


def texts(whole: Json) -> st.SearchStrategy[bytes]:
    """The file of a JSON value: changed in its values or in its bytes, or something else altogether."""
    raw = json.dumps(whole, indent=1).encode()
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'{"step": ' + b"[" * 9999, b"1" * 9999, b"\xff\xfe{"])
    return st.one_of(
        changed(whole).map(lambda value: json.dumps(value).encode()), damaged(raw), st.binary(max_size=80), deep
    )
