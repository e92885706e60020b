"""Values of a run as text for reading: numbers, names, and nested configuration as rows of a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NOWRAP_SPACE = "\u202f"
_ACRONYMS = {"kl", "js", "tv", "w1", "w2", "mmd", "fid", "kid", "r1", "r2", "ema"}
_DEEPEST, _INDENTED = 40, 8  # levels of a configuration that are shown, and those that are indented further


def number(value: object) -> str:
    """A value for reading: four significant digits, thousands apart, a true minus sign.

    Examples:
        >>> [number(v) for v in (0.98765, -2.0, 1e-7, None, float("nan"), "n/a")]
        ['0.9877', '−2', '1e−07', '–', 'not finite', 'n/a']
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if not abs(value) <= sys.float_info.max:  # a whole number may be larger than any of these
        return "not finite"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", NOWRAP_SPACE).replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def counted(n: object, what: str) -> str:
    """A number of things.

    Examples:
        >>> counted(1, "check-up"), counted(3, "check-up")
        ('1 check-up', '3 check-ups')
    """
    return f"{number(n)} {what}{'' if n == 1 else 's'}"


def words(key: str) -> str:
    """The name of a logged number as words.

    Examples:
        >>> words("penalty/r1_fake"), words("reverse_kl")
        ('penalty · R1 fake', 'reverse KL')
    """
    parts = key.replace("/", " · ").replace("_", " ").split(" ")
    return " ".join(word.upper() if word in _ACRONYMS else word for word in parts)


def heading(key: str) -> str:
    """The same with a capital letter first.

    Examples:
        >>> heading("reverse_kl")
        'Reverse KL'
    """
    return words(key)[:1].upper() + words(key)[1:]


def sentence(text: str) -> str:
    """The text with a capital letter first and a full stop at its end.

    Examples:
        >>> sentence("too early"), sentence("Why? Noise!")
        ('Too early.', 'Why? Noise!')
    """
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


@dataclass(frozen=True)
class TreeRow:
    """One line of a configuration.

    Attributes:
        path: the dotted path of the field.
        name: the last step of it.
        text: its value; of a part, the kind of record.
        depth: how far it is indented.
        part: whether it holds the lines below it.
        place: classes for the rules between groups: ``top``, ``end``.
    """

    path: str
    name: str
    text: str
    depth: int
    part: bool
    place: str


def tree(value: Mapping[str, Any]) -> list[TreeRow]:
    """Nested configuration as lines, each field below the part that it belongs to.

    Examples:
        >>> [(row.path, row.text, row.depth) for row in tree({"optimizer": {"type": "Adam", "eps": 1e-8}})]
        [('optimizer', 'Adam', 0), ('optimizer.eps', '1e-08', 1)]
    """
    leaves = list(_leaves(value, ()))
    rows = []
    for i, (path, name, text, part) in enumerate(leaves):
        ends = i + 1 == len(leaves) or len(leaves[i + 1][0]) == 1
        place = " ".join(["top"] * (len(path) == 1) + ["end"] * ends)
        rows.append(TreeRow(".".join(path), name, text, min(len(path) - 1, _INDENTED), part, place))
    return rows


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str, bool]]:
    for key, item in value.items():
        if key == "type":
            continue
        here, name = (*path, str(key)), str(key)
        deeper = len(here) < _DEEPEST
        if isinstance(item, Mapping):
            yield here, name, plain(item.get("type", "")), True
            yield from _leaves(item, here) if deeper else ()
        elif isinstance(item, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in item):
            yield here, name, f"{len(item)} parts" if len(item) > 1 else "", True
            yield from _leaves({str(i): part for i, part in enumerate(item)}, here) if deeper else ()
        else:
            yield here, name, _leaf(item), False


def _leaf(item: object) -> str:
    if item is None or item == [] or item == ():
        return "none"
    if isinstance(item, (list, tuple)):
        return ", ".join(_leaf(part) for part in item)
    if isinstance(item, bool):
        return "yes" if item else "no"
    return f"{item:g}" if isinstance(item, float) and float(f"{item:g}") == item else plain(item)


def plain(item: object) -> str:
    """A value as Python writes it.

    Examples:
        >>> plain("a"), plain([1, "b"])
        ('a', "[1, 'b']")
    """
    try:
        return str(item)
    except (RecursionError, ValueError):  # nested too deeply, or a whole number of thousands of digits
        return "a value that is too large to be shown"
