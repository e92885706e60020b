"""Settings by dotted path, as ``--set key=value`` gives them: ``optimizer.lr=1e-3``, ``game.objective=hinge``.

A name stands for a record with the settings that the registry lists for it; what the old record was set to is gone.
Settings are applied in the order in which they are given, so ``optimizer=adamw`` comes before ``optimizer.lr=1e-3``.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import ConfigError, EquilibriaError, Unread, nearest
from .fields import choices, hints_of, is_expected, is_record, read, spell

_DEEPEST = 4
_SHORT, _LISTED = 8, 12  # names: as many are listed beside the nearest one, and where none is near


def replace_at(value: Any, path: str, text: str, place: str = "") -> Any:
    """A copy of a record with the field at a dotted ``path`` set from ``text``.

    A step of the path is a field name, or an index into a tuple. The text is read as the type of the field
    (:func:`~equilibria.base.fields.read`): a number, a word, a list, or the name of a record.

    Args:
        value: the record; it is not touched.
        path: of the setting.
        text: the value.
        place: what stands before the path on the command line (``"run."``), for messages.

    Raises:
        ConfigError: no such field, or the text does not fit the field's type.

    Examples:
        >>> from .records import record
        >>> @record
        ... class Dial:
        ...     rate: float = 0.1
        >>> replace_at(Dial(), "rate", "1e-3")
        Dial(rate=0.001)
    """
    text = text if isinstance(text, str) else spell(tuple(text) if isinstance(text, list) else text)
    return _Change(value, path, text, place).made(value, path.split("."), ())


def option(settings: Mapping[str, object]) -> str:
    """Settings as options of the command line, quoted for a shell.

    Examples:
        >>> option({"batch": 32, "game.penalties": "r1(gamma=2)"})
        "--set batch=32 --set 'game.penalties=r1(gamma=2)'"
    """
    words = (f"{path}={value if isinstance(value, str) else spell(value)}" for path, value in settings.items())
    return " ".join(f"--set {shlex.quote(word)}" for word in words)


def placed(error: EquilibriaError, prefix: str) -> EquilibriaError:
    """The error with its settings as options, each under a prefix; an error without settings as it is."""
    if not error.settings:
        return error
    settings = {f"{prefix}{name}": value for name, value in error.settings.items()}
    return type(error)(error.what, option(settings), settings)


def paths_to(value: Any, name: str, deepest: int = _DEEPEST) -> list[str]:
    """Where a record, or one inside it, has a setting of this name, the shallowest first.

    Examples:
        >>> from .records import record
        >>> @record
        ... class Inner:
        ...     width: int = 1
        >>> @record
        ... class Outer:
        ...     left: Inner = Inner()
        ...     right: Inner = Inner()
        >>> paths_to(Outer(), "width")
        ['left.width', 'right.width']
    """
    found = [path for path in _paths(value, deepest) if path.rpartition(".")[2] == name]
    return sorted(found, key=lambda path: path.count("."))


def _paths(value: Any, deepest: int) -> Iterator[str]:
    entries = (
        {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        if is_record(value)
        else {str(i): one for i, one in enumerate(value) if is_record(one)}
        if isinstance(value, tuple)
        else {}
    )
    for name, inner in entries.items():
        yield name
        if deepest > 1:
            yield from (f"{name}.{path}" for path in _paths(inner, deepest - 1))


@dataclasses.dataclass(frozen=True)
class _Change:
    """One setting: the record it is made in, its path and its text, for the messages of what goes wrong."""

    root: Any
    path: str
    text: str
    place: str

    def made(self, value: Any, steps: list[str], before: tuple[str, ...]) -> Any:
        """``value``, which stands behind the steps ``before``, with the change at the remaining ``steps``."""
        head, rest = steps[0], steps[1:]
        if isinstance(value, tuple):
            return self._in_tuple(value, steps, before)
        if not is_record(value):
            raise self._too_deep(before)
        if head not in {f.name for f in dataclasses.fields(value)}:
            raise self._unknown(value, head, before)
        old, hint = getattr(value, head), hints_of(type(value))[head]
        new = self.made(old, rest, (*before, head)) if rest else self._read(old, hint)
        try:
            return dataclasses.replace(value, **{head: new})
        except ConfigError as error:
            raise placed(error, self.place + "".join(f"{step}." for step in before)) from error

    def _in_tuple(self, value: tuple[Any, ...], steps: list[str], before: tuple[str, ...]) -> Any:
        head, rest = steps[0], steps[1:]
        if not head.isdigit() or int(head) >= len(value):
            raise self._no_entry(value, steps, before)
        items = list(value)
        old = items[int(head)]
        items[int(head)] = self.made(old, rest, (*before, head)) if rest else self._read(old, self._entry(before, old))
        return tuple(items)

    def _no_entry(self, value: tuple[Any, ...], steps: list[str], before: tuple[str, ...]) -> ConfigError:
        here, rest = ".".join(before), steps[1:]
        if value:
            what = f"'{self.path}': {steps[0]} is no index into {len(value)} entries (0 to {len(value) - 1})"
            return ConfigError(what, option({self.place + ".".join((here, "0", *rest)): self.text}))
        what = f"'{self.path}': '{here}' has no entries"
        hint = self._hint(before)
        for name in choices(hint) if hint is not None else ():
            word = f"{name}({rest[0]}={self.text})" if len(rest) == 1 else name
            if self._works(here, word):
                return ConfigError(what, option({self.place + here: word}))
        return ConfigError(what, option({self.place + here: self._at(before)}))

    def _entry(self, before: tuple[str, ...], old: Any) -> Any:
        """The declared type of a tuple's entries; None where it is read as the old one's type."""
        hint = self._hint(before)
        return hint if is_record(old) else None

    def _hint(self, before: tuple[str, ...]) -> Any:
        """The declared type of the field behind these steps; of the entries, where it is a tuple."""
        owner: Any = self.root
        for step in before[:-1]:
            owner = owner[int(step)] if isinstance(owner, tuple) else getattr(owner, step)
        if not is_record(owner):  # an entry of a tuple inside a tuple
            return None
        hint = hints_of(type(owner))[before[-1]]
        inside = typing.get_args(hint)
        return inside[0] if typing.get_origin(hint) is tuple and inside else hint

    def _read(self, old: Any, hint: Any) -> Any:
        try:
            return read(self.text, hint, old, self.path)
        except ConfigError as error:
            known = error.unread
            raise (
                placed(error, self.place) if known is None else self._with_a_name(error, known, old, hint)
            ) from error

    def _with_a_name(self, error: ConfigError, unread: Unread, old: Any, hint: Any) -> ConfigError:
        """The error with what can be given: the nearest name in place of the unknown one, and a short list."""
        if unread.instead:
            text = self.text.replace(unread.piece, unread.instead, 1)
        else:
            text = spell(old) if is_record(old) else next(iter(choices(hint)), "none")
        listed = len(unread.known) <= _SHORT or not unread.instead
        shown = ", ".join(unread.known[:_LISTED]) + (", …" if len(unread.known) > _LISTED else "")
        fix = option({self.place + self.path: text}) + (f" (known: {shown})" if listed and unread.known else "")
        return ConfigError(error.what, fix)

    def _unknown(self, value: Any, head: str, before: tuple[str, ...]) -> ConfigError:
        """No such setting: the nearest one here, or the same name deeper down or elsewhere, with the value given."""
        names = [f.name for f in dataclasses.fields(value)]
        what = f"{type(value).__name__} has no setting '{head}' (in '{self.place}{self.path}')"
        rest = self.path.split(".")[len(before) + 1 :]
        deeper = [".".join((*before, path, *rest)) for path in paths_to(value, head)]
        elsewhere = [".".join((path, *rest)) for path in paths_to(self.root, head)]
        near = nearest(head, names)
        for paths in ([".".join((*before, near, *rest))] if near else [], deeper, elsewhere):
            working = [path for path in paths if self._works(path, self.text)]
            if working:
                return ConfigError(what, " or ".join(option({self.place + path: self.text}) for path in working[:3]))
        return ConfigError(what, f"known: {', '.join(names)}")

    def _works(self, path: str, text: str) -> bool:
        try:
            replace_at(self.root, path, text)
        except ConfigError:
            return False
        return True

    def _too_deep(self, before: tuple[str, ...]) -> ConfigError:
        """The error for a path that continues after a value without settings; the fix may make it a record first."""
        here, last = ".".join(before), self.path.split(".")[len(before)]
        hint = self._hint(before)
        for name in choices(hint) if is_expected(hint) else ():
            word = f"{name}({last}={self.text})"
            if self._works(here, word):
                what = f"'{self.place}{here}' is {spell(self._at(before))}, which has no settings"
                return ConfigError(what, option({self.place + here: word}))
        what = f"'{self.place}{self.path}' goes further than there are settings"
        return ConfigError(what, option({self.place + here: self._at(before)}))

    def _at(self, steps: tuple[str, ...]) -> Any:
        value: Any = self.root
        for step in steps:
            value = value[int(step)] if isinstance(value, tuple) else getattr(value, step)
        return value
