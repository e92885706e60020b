"""Frozen records: configuration as plain values that go to JSON and back without pickle.

Everything a recipe is made of (objective, penalty, schedule, network, optimiser, update rule) is a
record. A record is a frozen keyword-only dataclass whose fields are numbers, strings, booleans, ``None``, records, or
tuples of those. In JSON it is ``{"type": <class name>, <field>: <value>, …}``.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

from .errors import ConfigError, did_you_mean

T = TypeVar("T")
_KNOWN: dict[str, type] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass and register it by name for :func:`decode`.

    Raises:
        TypeError: another record has the same class name.

    Examples:
        >>> @record
        ... class Knob:
        ...     weight: float = 1.0
        >>> decode(encode(Knob(weight=2.0)))
        Knob(weight=2.0)
    """
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    known = _KNOWN.get(cls.__name__)
    if known is not None and known.__module__ != cls.__module__:
        raise TypeError(f"two records are called {cls.__name__}: {known.__module__} and {cls.__module__}")
    _KNOWN[cls.__name__] = made
    return made


def is_record(value: object) -> bool:
    """Whether ``value`` is an instance of a registered record."""
    return _KNOWN.get(type(value).__name__) is type(value)


def encode(value: Any) -> Any:
    """The JSON form of a record, or of a plain value.

    Raises:
        ConfigError: a field holds something that has no plain form (a closure, a module, a tensor).
    """
    if is_record(value):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(
        f"{value!r} of type {type(value).__name__} cannot be written to run.json",
        "build it from records (equilibria.base.records.record) with plain fields",
    )


def decode(value: Any) -> Any:
    """The record that :func:`encode` wrote. Lists become tuples.

    Raises:
        ConfigError: an unknown record type or field, or a value of another kind than the field's.
    """
    if isinstance(value, list):
        return tuple(decode(v) for v in value)
    if isinstance(value, dict) and "type" in value:
        kind = str(value["type"])
        if kind not in _KNOWN:
            raise ConfigError(f"unknown record type '{kind}'", did_you_mean(kind, _KNOWN))
        given = {k: decode(v) for k, v in value.items() if k != "type"}
        return build(_KNOWN[kind], given)
    if isinstance(value, dict):
        return {k: decode(v) for k, v in value.items()}
    return value


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """``cls(**given)`` with an error that names the field which is unknown, missing, or of another kind."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for name, value in given.items():
        if name not in fields:
            raise ConfigError(f"{cls.__name__} has no setting '{name}'", did_you_mean(name, fields))
        if not fits(value, hints[name]):
            kind = getattr(hints[name], "__name__", hints[name])
            raise ConfigError(f"{cls.__name__}.{name} is {_short(value)}", f"give a value of type {kind}")
    for name, own in fields.items():
        if name not in given and own.default is own.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{cls.__name__} lacks its setting '{name}'", "give it a value")
    return cls(**given)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value or a record is of a field's declared type; a whole number is a ``float`` as well.

    Examples:
        >>> fits(1, float | None), fits("1", float | None), fits((1, 2), tuple[int, ...]), fits(True, int)
        (True, False, True, False)
    """
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if origin is typing.Literal:
        return value in inside
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inside[:1] * len(value) if inside[1:] == (...,) else inside
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    try:
        return isinstance(value, origin or hint)
    except TypeError:
        return True  # a type that can only be checked before the program runs


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 80 else f"{told[:77]}…"


def parsed(raw: bytes) -> Any:
    """The value of a JSON text, in Python's dialect (NaN and infinities are numbers).

    Raises:
        ValueError: it is none, or it is nested too deeply.

    Examples:
        >>> parsed(b'{"a": [1, NaN]}')
        {'a': [1, nan]}
    """
    try:
        return json.loads(raw.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def replace_at(value: Any, path: str, text: str) -> Any:
    """A copy of a record with the field at a dotted ``path`` set from ``text`` (``--set key=value``).

    A step of the path is a field name, or an index into a tuple. The text is read as the type of the field.

    Raises:
        ConfigError: no such field, or the text does not fit the field's type.

    Examples:
        >>> @record
        ... class Dial:
        ...     rate: float = 0.1
        >>> replace_at(Dial(), "rate", "1e-3")
        Dial(rate=0.001)
    """
    return _replaced(value, path.split("."), text, path)


def _replaced(value: Any, steps: list[str], text: str, path: str) -> Any:
    head, rest = steps[0], steps[1:]
    if isinstance(value, tuple):
        if not head.lstrip("-").isdigit() or int(head) >= len(value):
            raise ConfigError(f"'{path}': {head} is no index into {len(value)} entries", f"use 0 to {len(value) - 1}")
        items = list(value)
        items[int(head)] = (
            _replaced(items[int(head)], rest, text, path) if rest else _read(text, items[int(head)], None, path)
        )
        return tuple(items)
    if not is_record(value):
        raise ConfigError(f"'{path}' goes further than there are settings", "shorten the path")
    names = [f.name for f in dataclasses.fields(value)]
    if head not in names:
        raise ConfigError(f"{type(value).__name__} has no setting '{head}' (in '{path}')", did_you_mean(head, names))
    old = getattr(value, head)
    hint = typing.get_type_hints(type(value)).get(head)
    new = _replaced(old, rest, text, path) if rest else _read(text, old, hint, path)
    return dataclasses.replace(value, **{head: new})


def _read(text: str, old: Any, hint: Any, path: str) -> Any:
    """``text`` as the type that the field declares, or, where it declares none, as the type of ``old``."""
    kinds = _plain_types(hint) or ({type(old)} if old is not None else {str})
    if text.lower() in {"none", "null"} and type(None) in kinds:
        return None
    if bool in kinds and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    if tuple in kinds:
        inside = text.strip("()[] ").split(",")
        entry = next(iter(typing.get_args(hint)), None)
        sample = old[0] if isinstance(old, tuple) and old else "" if entry is str else 0.0
        return tuple(_read(t.strip(), sample, None, path) for t in inside if t.strip())
    if str in kinds:
        return text
    wanted = " or ".join(sorted(k.__name__ for k in kinds))
    raise ConfigError(f"'{path}={text}': a value of type {wanted} is needed", f"for example {path}={old}")


def _plain_types(hint: Any) -> set[type]:
    if hint is None:
        return set()
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set().union(*(_plain_types(h) for h in typing.get_args(hint)))
    origin = typing.get_origin(hint) or hint
    return {origin} if isinstance(origin, type) else set()
