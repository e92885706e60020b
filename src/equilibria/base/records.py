"""Frozen records: configuration as plain values that go to JSON and back without pickle.

Everything a recipe is made of (objective, penalty, schedule, network, optimiser, update rule) is a
record. A record is a frozen keyword-only dataclass whose fields are numbers, strings, booleans, ``None``, records, or
tuples of those. In JSON it is ``{"type": <class name>, <field>: <value>, …}``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, dataclass_transform

from . import bounds
from .errors import ConfigError, did_you_mean
from .fields import KNOWN, choices, fits, hints_of, is_record, named, required

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass and register it by name for :func:`decode`.

    Where a field is declared as a record, a name may be given: ``TwoPlayer(objective="hinge")``
    (:mod:`~equilibria.base.fields`). Type checkers do not know that; they know ``OBJECTIVES.find("hinge")``. Numbers
    are held to their bounds (:mod:`~equilibria.base.bounds`).

    Raises:
        TypeError: another record has the same class name.

    Examples:
        >>> @record
        ... class Knob:
        ...     weight: float = 1.0
        >>> decode(encode(Knob(weight=2.0)))
        Knob(weight=2.0)
    """
    check = getattr(cls, "__post_init__", None)

    def complete(self: Any) -> None:
        _name_records(self)
        _check_kinds(self)
        if check is not None:
            check(self)
        bounds.check(self)

    cls.__post_init__ = complete  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    _explain_calls(made)
    known = KNOWN.get(cls.__name__)
    if known is not None and known.__module__ != cls.__module__:
        raise TypeError(f"two records are called {cls.__name__}: {known.__module__} and {cls.__module__}")
    KNOWN[cls.__name__] = made
    return made


def _explain_calls(made: type) -> None:
    """Let the constructor name the setting that is missing or unknown, in an error of ours."""
    init: Any = vars(made)["__init__"]

    @functools.wraps(init)
    def explained(self: Any, *given: Any, **settings: Any) -> None:
        names = [own.name for own in dataclasses.fields(made)]
        if given:
            what = f"{made.__name__} was called with {_short(given[0])}, and takes its settings by name"
            raise ConfigError(what, f"{made.__name__}({names[0]}=…)" if names else f"{made.__name__}()")
        if unknown := [name for name in settings if name not in names]:
            raise ConfigError(f"{made.__name__} has no setting '{unknown[0]}'", did_you_mean(unknown[0], names))
        if missing := [own.name for own in required(made) if own.name not in settings]:
            what = f"{made.__name__} lacks its setting{'s' * (len(missing) > 1)} {', '.join(missing)}"
            raise ConfigError(what, f"{made.__name__}({', '.join(f'{name}=…' for name in missing)})")
        init(self, **settings)

    setattr(made, "__init__", explained)  # noqa: B010


def _check_kinds(made: Any) -> None:
    """Hold the values of a record to the declared types of its fields.

    Raises:
        ConfigError: names the field, what it was given, and what may stand there.
    """
    try:
        hints = hints_of(type(made))
    except NameError:  # a module that is still being imported
        return
    for own in dataclasses.fields(made):
        value = getattr(made, own.name)
        if fits(value, hints[own.name]) or isinstance(value, list):
            continue
        what = f"{type(made).__name__}.{own.name} is {_given(value)}"
        raise ConfigError(what, _instead(own.name, value, hints[own.name]))


def _given(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"{_short(value)}, a {type(value).__name__}"


def _instead(name: str, value: Any, hint: Any) -> str:
    """What may stand in a field in place of a value that does not fit."""
    if isinstance(value, type) and is_dataclass(value) and not required(value) and fits(value(), hint):
        return f"{name}={value.__name__}()"
    if fits((value,), hint):
        return f"{name}=({_short(value)},)"
    if names := choices(hint):
        listed = ", ".join(repr(one) for one in names[:6])
        return f"give a record or its name, for example {name}={names[0]!r} (known: {listed})"
    if typing.get_origin(hint) is typing.Literal:
        return f"{name}={typing.get_args(hint)[0]!r}; known: {', '.join(sorted(map(str, typing.get_args(hint))))}"
    return f"give {name} a value of type {getattr(hint, '__name__', hint)}"


def _name_records(made: Any) -> None:
    """Put records in the place of their names, in the fields of a record that is being made."""
    for own in dataclasses.fields(made):
        value = getattr(made, own.name)
        if isinstance(value, (str, tuple, list)):
            try:
                hint = hints_of(type(made))[own.name]
            except NameError:  # a module that is still being imported: its own rows hold no names
                return
            object.__setattr__(made, own.name, named(value, hint))


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
        if kind not in KNOWN:
            raise ConfigError(f"unknown record type '{kind}'", did_you_mean(kind, KNOWN))
        given = {k: decode(v) for k, v in value.items() if k != "type"}
        return build(KNOWN[kind], given)
    if isinstance(value, dict):
        return {k: decode(v) for k, v in value.items()}
    return value


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """``cls(**given)`` with an error that names the field which is unknown, missing, or of another kind."""
    fields = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    hints, found = hints_of(cls), dict(given)
    for name, value in given.items():
        if name not in fields:
            raise ConfigError(f"{cls.__name__} has no setting '{name}'", did_you_mean(name, fields))
        found[name] = named(value, hints[name])
        if not fits(found[name], hints[name]):
            kind = getattr(hints[name], "__name__", hints[name])
            raise ConfigError(f"{cls.__name__}.{name} is {_short(value)}", f"give a value of type {kind}")
    for own in required(cls):
        if own.name not in given:
            kind = getattr(hints[own.name], "__name__", hints[own.name])
            raise ConfigError(f"{cls.__name__} lacks its setting '{own.name}'", f"give it a value of type {kind}")
    return cls(**found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def parsed(raw: bytes) -> Any:
    """The value of a JSON text; NaN and infinities, which earlier versions wrote, are read as numbers.

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


def written(value: Any, indent: int | None = None) -> str:
    """The JSON text of a value (RFC 8259, which has no NaN): a number that is not finite becomes a text.

    Every file and every output of ours is written by it, so that any parser reads it.

    Args:
        value: plain values.
        indent: spaces a level; None for a single line.

    Raises:
        TypeError: a value is not plain.

    Examples:
        >>> written({"loss": [0.5, float("nan"), float("-inf")]})
        '{"loss": [0.5, "nan", "-inf"]}'
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {(str(float(k)) if isinstance(k, float) else k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


__all__ = ["build", "decode", "encode", "fits", "is_record", "parsed", "record", "written"]
