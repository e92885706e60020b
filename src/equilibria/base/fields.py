"""The declared types of a record's fields: whether a value fits one, and how text and names are read as one.

Where a field is declared as a record (an objective, a penalty, an optimiser, a schedule), a name stands for one:
``"hinge"``, ``"r1"``, ``"adamw"``. Settings follow in brackets: ``"r1(gamma=2)"``. Names are looked up in the
:mod:`registry <equilibria.base.registry>` of the declared class, then among the classes of records that fit.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import ConfigError, Unread, did_you_mean, nearest
from .registry import Registry, registries, registry_of, spelled

KNOWN: dict[str, type] = {}
"""Every class of records by its name (filled by :func:`equilibria.base.records.record`)."""
_HINTS: dict[type, dict[str, Any]] = {}
_CALL = re.compile(r"\s*([A-Za-z][\w .-]*?)\s*(?:\((.*)\))?\s*", re.DOTALL)


def unread(what: str, piece: str, instead: str, known: Sequence[str] = ()) -> ConfigError:
    """The error for a text that stands for no record (see :class:`~equilibria.base.errors.Unread`)."""
    error = ConfigError(what, f"did you mean '{instead}'?" if instead else did_you_mean("", known) if known else "")
    error.unread = Unread(piece, instead, tuple(known))
    return error


def is_record(value: object) -> bool:
    """Whether ``value`` is an instance of a registered record."""
    return KNOWN.get(type(value).__name__) is type(value)


def hints_of(cls: type) -> Mapping[str, Any]:
    """The declared types of a record's fields, by name."""
    if cls not in _HINTS:
        hints = typing.get_type_hints(cls)
        _HINTS[cls] = {own.name: hints[own.name] for own in dataclasses.fields(cls)}
    return _HINTS[cls]


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


# Names ---------------------------------------------------------------------------------------------------------------


def named(value: Any, hint: Any) -> Any:
    """A value with records in place of names, where the field is declared as a record or as a tuple of records.

    Raises:
        ConfigError: a name that stands for no record that fits, or settings in brackets that it does not have.
    """
    if isinstance(value, str) and not fits(value, hint):
        for part in _parts(hint):
            if typing.get_origin(part) is tuple and is_expected(_entry(part)):
                return tuple(_record_of(text, _entry(part)) for text in _split(_unbracketed(value)))
        return _record_of(value, hint) if is_expected(hint) else value
    if isinstance(value, (tuple, list)) and any(isinstance(one, str) for one in value):
        for part in _parts(hint):
            if typing.get_origin(part) is tuple and is_expected(_entry(part)):
                return tuple(_record_of(one, _entry(part)) if isinstance(one, str) else one for one in value)
    return value


def is_expected(hint: Any) -> bool:
    """Whether a record may stand at a field of this type: a class of records, or a base or protocol of some."""
    return any(_takes_records(part) for part in _parts(hint))


def choices(hint: Any) -> list[str]:
    """The names that may stand at a field of this type, or for an entry of a tuple, in the registry's order."""
    found: list[str] = []
    for part in _parts(hint):
        if typing.get_origin(part) is tuple:
            found += choices(_entry(part))
        registry = registry_of(part) if isinstance(part, type) else None
        if registry is not None:
            found += [name for name, entry in registry.items() if isinstance(entry, type) or fits(entry, hint)]
        elif isinstance(part, type) and _takes_records(part):
            found += [_hyphenated(cls) for cls in _classes(part)]
    return list(dict.fromkeys(found))


def _takes_records(part: Any) -> bool:
    if not isinstance(part, type):
        return False
    own = KNOWN.get(part.__name__) is part
    return own or registry_of(part) is not None or inspect.isabstract(part) or getattr(part, "_is_protocol", False)


def _record_of(text: str, hint: Any) -> Any:
    """The record that ``name`` or ``name(setting=value, …)`` stands for."""
    match = _CALL.fullmatch(text)
    if match is None:
        raise unread(f"'{text}' is not the name of a record", text, "", choices(hint))
    name, inside = match[1], match[2]
    made = _found(name, hint)
    if inside is None and not isinstance(made, type):
        return made
    cls = made if isinstance(made, type) else type(made)
    own = {} if isinstance(made, type) else {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    given = {key: read(word, hints_of(cls)[key], own.get(key), key) for key, word in _pairs(inside or "", name, cls)}
    missing = [f.name for f in required(cls) if f.name not in own | given]
    if missing:
        example = {n: _example(hints_of(cls)[n]) for n in missing} | {
            n: spell(v, inside=True) for n, v in given.items()
        }
        what = f"'{text}' lacks its setting{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise unread(what, text, _call(name, {n: example[n] for n in hints_of(cls) if n in example}))
    try:
        return cls(**own | given)
    except ConfigError as error:
        if not error.settings:
            raise
        mended = {n: spell(v, inside=True) for n, v in (given | error.settings).items()}
        raise unread(error.what, text, _call(name, mended)) from error


def _pairs(inside: str, name: str, cls: type) -> Iterator[tuple[str, str]]:
    """The settings in brackets: name and text of each."""
    for pair in _split(inside):
        key, equals, word = (part.strip() for part in pair.partition("="))
        hints = hints_of(cls)
        if not equals:
            first = next(iter(hints), "")
            raise unread(f"'{pair}' after '{name}' is not setting=value", pair, f"{first}={pair}", list(hints))
        if key not in hints:
            near = nearest(key, hints)
            raise unread(f"'{name}' has no setting '{key}'", key, near or "", list(hints))
        yield key, word


def _call(name: str, settings: Mapping[str, str]) -> str:
    return f"{name}({','.join(f'{key}={text}' for key, text in settings.items())})"


def required(cls: type) -> list[dataclasses.Field[Any]]:
    """The fields of a record without a default."""
    none = dataclasses.MISSING
    return [f for f in dataclasses.fields(cls) if f.default is none and f.default_factory is none]


def _example(hint: Any) -> str:
    """Text that can be read as a value of a type."""
    parts = list(_parts(hint))
    if float in parts or int in parts:
        return "1"
    names = choices(hint)
    return names[0] if names else "true" if bool in parts else "generator" if str in parts else "none"


def _found(name: str, hint: Any) -> Any:
    """The entry of a registry, or the class of records, of that name, that may stand at a field of this type."""
    for part in _parts(hint):
        registry = registry_of(part) if isinstance(part, type) else None
        if registry is not None and name in registry:
            entry = registry[name]
            if isinstance(entry, type) or fits(entry, hint):
                return entry
    for part in _parts(hint):
        for cls in _classes(part) if isinstance(part, type) else ():
            if cls.__name__.lower() == spelled(name).replace("-", ""):
                return cls if required(cls) else cls()
    raise _unknown(name, hint)


def _unknown(name: str, hint: Any) -> ConfigError:
    found = [r for part in _parts(hint) if isinstance(part, type) and (r := registry_of(part)) is not None]
    aliases = [alias for registry in found for alias in registry.aliases]
    known = choices(hint)
    near = nearest(spelled(name), [*known, *aliases])
    return unread(f"no {found[0].noun if found else 'record'} '{name}'", name, near or "", known)


def _classes(part: type) -> Iterator[type]:
    """The classes of records that fit a declared class, for a protocol those that a registry names."""
    registry: Registry[Any] | None = registry_of(part)
    entries = [] if registry is None else [e if isinstance(e, type) else type(e) for e in registry.values()]
    if getattr(part, "_is_protocol", False) and registry is not None:
        yield from dict.fromkeys(entries)
        return
    for cls in KNOWN.values():
        try:
            if issubclass(cls, part):
                yield cls
        except TypeError:  # a protocol with attributes: only an instance can be tried
            if not required(cls) and fits(cls(), part):
                yield cls


# Text ----------------------------------------------------------------------------------------------------------------


def read(text: str, hint: Any, old: Any, path: str) -> Any:
    """``text`` as the declared type of a field, or, where none is declared, as the type of ``old``.

    Args:
        text: as after ``--set path=``.
        hint: the declared type; None where there is none.
        old: the value that it replaces.
        path: of the setting, for messages.

    Raises:
        ConfigError: it is no value of that type.

    Examples:
        >>> read("1e-3", float, 0.1, "lr"), read("none", int | None, 3, "n")
        (0.001, None)
        >>> read("(0, 0.9)", tuple[float, ...], (), "betas")
        (0.0, 0.9)
    """
    kinds = _plain_types(hint) or ({type(old)} if old is not None else {str})
    text = text.strip() if str not in kinds else text
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
        return _read_tuple(text, hint, old, path)
    if hint is not None and is_expected(hint):
        try:
            return _record_of(text, hint)
        except ConfigError as error:
            if error.unread is None or error.unread.instead or not kinds & {int, float}:
                raise
            what = f"'{path}={text}': a number is needed, or one of {', '.join(error.unread.known)}"
            raise ConfigError(what, settings={path: old}) from error
    if str in kinds:
        return text
    wanted = " or ".join(sorted(k.__name__ for k in kinds))
    raise ConfigError(f"'{path}={text}': a value of type {wanted} is needed", settings={path: old})


def _read_tuple(text: str, hint: Any, old: Any, path: str) -> tuple[Any, ...]:
    text = _unbracketed(text)
    part = next((p for p in _parts(hint) if typing.get_origin(p) is tuple), None)
    if text.lower() in {"", "none"}:
        return ()
    pieces = _split(text)
    if part is None:
        sample = old[0] if isinstance(old, tuple) and old else 0.0
        return tuple(read(piece, None, sample, path) for piece in pieces)
    inside = typing.get_args(part)
    if inside[1:] != (...,) and len(pieces) != len(inside):
        raise ConfigError(f"'{path}={text}': {len(inside)} values are needed", settings={path: old})
    entries = inside[:1] * len(pieces) if inside[1:] == (...,) else inside
    try:
        return tuple(read(piece, entry, None, path) for piece, entry in zip(pieces, entries, strict=True))
    except ConfigError as error:
        raise ConfigError(error.what, settings={path: old}) if path in error.settings else error from None


def spell(value: Any, inside: bool = False) -> str:
    """The text that :func:`read` reads as this value.

    Args:
        value: a plain value or a record.
        inside: whether the text stands in the brackets of another.

    Examples:
        >>> spell((0.0, 0.9)), spell(None), spell(True)
        ('0.0,0.9', 'none', 'true')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        text = ",".join(spell(one, inside=True) for one in value)
        return f"({text})" if inside or not value else text
    if not is_record(value):
        return str(value)
    name, base = _nearest_entry(value)
    changed = {
        n: getattr(value, n) for n in hints_of(type(value)) if base is None or getattr(base, n) != getattr(value, n)
    }
    return _call(name, {n: spell(v, inside=True) for n, v in changed.items()}) if changed else name


def _nearest_entry(value: Any) -> tuple[str, Any]:
    """The name to begin from, and the record that it stands for (None for a class with settings to give)."""
    cls = type(value)
    found = [registry_of(cls), *(r for base, r in registries().items() if getattr(base, "_is_protocol", False))]
    entries = [(n, e) for r in found if r is not None for n, e in r.items() if cls in (e, type(e))]
    entries = [(n, (None if required(cls) else cls()) if isinstance(e, type) else e) for n, e in entries]
    if not entries:
        return _hyphenated(cls), None if required(cls) else cls()
    return min(entries, key=lambda one: sum(getattr(one[1], n, None) != getattr(value, n) for n in hints_of(cls)))


def _parts(hint: Any) -> Iterator[Any]:
    """The alternatives of a declared type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _entry(part: Any) -> Any:
    return next(iter(typing.get_args(part)), None)


def _plain_types(hint: Any) -> set[type]:
    if hint is None:
        return set()
    if typing.get_origin(hint) is typing.Literal:
        return {type(one) for one in typing.get_args(hint)}
    found = (typing.get_origin(part) or part for part in _parts(hint))
    return {kind for kind in found if isinstance(kind, type)}


def _hyphenated(cls: type) -> str:
    """A class name in the spelling of names: ``InstanceNoise`` is ``instance-noise``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()


def _unbracketed(text: str) -> str:
    """The text without brackets that enclose all of it."""
    text = text.strip()
    if text[:1] in {"(", "["} and text[-1:] in {")", "]"} and len(_split(text)) == 1:
        return text[1:-1].strip()
    return text


def _split(text: str) -> list[str]:
    """The pieces between the commas that stand in no brackets; empty ones are left out.

    Examples:
        >>> _split("r1(gamma=2), adam(betas=(0, 0.9)),")
        ['r1(gamma=2)', 'adam(betas=(0, 0.9))']
    """
    pieces, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    return [piece.strip() for piece in (*pieces, text[start:]) if piece.strip()]
