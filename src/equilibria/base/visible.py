"""Text that may come from a file or a folder's name, as it is shown: a terminal obeys none of it."""

from __future__ import annotations

import re

# C0 and C1 controls, lone surrogates, line separators, and the marks that reorder text on a line
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str, lines: bool = True) -> str:
    r"""The text with an escape in place of each character that a terminal would obey.

    These are control characters other than tabs and line breaks, marks that reorder text, and parts of characters.

    Args:
        text: anything.
        lines: whether line breaks stay; otherwise the text becomes a single line.

    Examples:
        >>> print(visible("run\x1b[2J\u202e7"))
        run\x1b[2J\u202e7
        >>> print(visible("two\nlines", lines=False))
        two\nlines
    """
    shown = _OBEYED.sub(_escape, text)
    return shown if lines else shown.replace("\n", r"\n")


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("ascii", "backslashreplace").decode() if ord(found[0]) > 0x7F else f"\\x{ord(found[0]):02x}"
