"""The bibliography: every entry complete, every key that the source names in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "equilibria"
BIBLIOGRAPHY = PACKAGE / "recipes" / "references.bib"


def bib_entries(text: str) -> dict[str, dict[str, str]]:
    """Fields by key; a key that is used twice, or an entry that does not close, is an error."""
    found: dict[str, dict[str, str]] = {}
    for block in re.split(r"^@", text, flags=re.M)[1:]:
        head = re.match(r"\w+\{([^,\s]+),", block)
        assert head is not None, f"no key in {block[:40]!r}"
        assert head[1] not in found, f"{head[1]} is there twice"
        entry = block.split("\n}")[0] + "\n}"
        assert entry.count("{") == entry.count("}"), f"{head[1]}: braces do not match"
        found[head[1]] = dict(re.findall(r"^\s*(\w+) = \{(.*)\},$", entry, flags=re.M))
    return found


def test_every_entry_is_complete() -> None:
    entries = bib_entries(BIBLIOGRAPHY.read_text(encoding="utf-8"))
    lacking = [k for k, f in entries.items() if not {"title", "author", "year"} <= f.keys()]
    homeless = [k for k, f in entries.items() if not {"booktitle", "journal", "eprint"} & f.keys()]
    assert not lacking + homeless


def test_every_key_in_the_source_is_known() -> None:
    entries = bib_entries(BIBLIOGRAPHY.read_text(encoding="utf-8"))
    named = {
        (key, p.name)
        for p in PACKAGE.rglob("*.py")
        for key in re.findall(r"\b[a-z]{2,}(?:19|20)\d\d[a-z0-9]*\b", p.read_text(encoding="utf-8"))
    }
    unknown = sorted(f"{key} in {where}" for key, where in named if key not in entries)
    assert not unknown, "not in references.bib: " + ", ".join(unknown)


@pytest.mark.parametrize(
    "text",
    ["@misc{a,\n  title = {T},\n}\n\n@misc{a,\n  title = {T},\n}\n", "@misc{a,\n  title = {{T},\n}\n", "@misc\n"],
)
def test_a_planted_mistake_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        bib_entries(text)
