"""The code and the docs keep to plain technical English: phrases and names that were replaced do not come back.

Each row is a pattern that was removed, with its replacement. ``docs/glossary.md`` defines the words that are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = {
    "src": "*.py",
    "examples": "*.py",
    "benchmarks": "*.py",
    "docs": "*.md",
}
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

REPLACED = {
    # phrases
    r"who tells what": "a discrimination task: real inputs, fake inputs, the score",
    r"recording is believed": "a captured graph is used only after one replay matched the eager turn",
    r"kernel by kernel": "eagerly",
    r"numbers that are none": "non-finite values",
    r"what the (network|layer) says": "forward pass, output",
    r"\bdeaf (to|for)\b": "ignores",
    r"\blone (run|game|play|round)s?\b": "separate run, single game",
    r"\b(astray|blown up)\b": "very far, update exploded",
    r"\binhabitants?\b": "systems, recipes",
    r"\bdear for\b": "expensive, high cost",
    r"\bsent away\b": "doctor disabled at round N: reason",
    r"tells? the sides apart": "separates real from generated rows",
    r"\bof one's own\b": "your own, a user's",
    r"\bcries? wolf\b": "false alarm",
    # names
    r"\bclass Kernels\b": "Eager",
    r"\bclocked\(": "make_draw",
    r"\bdef lone\b|\.lone\(": "member_view",
    r"\bdef fool\(|(?<!\.)\bjudge\(contest": "discriminator_loss, generator_loss",
    r"\bdistributed\.(told|led|ask|anyone|copied|announced)\(": "broadcast_text, run_on_first, any_process, …",
    r"\bclass (Told|Judge|Step)\b|\bgiven_back\(": "DoctorOptions, Labeller, Stage, preserved_randomness",
    # documents that are not in the repository
    r"\b(PEERS|EDGES)\b|\bSPEC (appendix|[A-Z]\d)|\(CORE:": "the paper, with its section",
    r"\brow \d+ of the list\b|\bthe specification('s| prints|\b that| does not)": "the paper, with its section",
}


def found(text: str) -> list[str]:
    """The replaced patterns that a text contains, in any line or across a line break."""
    flat = re.sub(r"\s+", " ", text)
    return [pattern for pattern in REPLACED if re.search(pattern, flat)]


def texts() -> Iterator[Path]:
    for folder, kind in TREES.items():
        yield from sorted((ROOT / folder).rglob(kind))
    yield from (ROOT / page for page in PAGES)


def test_replaced_words_do_not_come_back() -> None:
    hits = {
        str(path.relative_to(ROOT)): [f"{pattern!r}: write {REPLACED[pattern]!r}" for pattern in patterns]
        for path in texts()
        if (patterns := found(path.read_text(encoding="utf-8")))
    }
    assert not hits


def test_there_are_texts_of_every_kind() -> None:
    names = {path.suffix for path in texts()}
    assert names == {".py", ".md"} and sum(1 for _ in texts()) > 200


@pytest.mark.parametrize(
    "planted",
    [
        "5. contests say who tells what\nfrom what.",
        "a recording is believed once it has moved the state",
        "draw = clocked(tensors, seed)",
        "each follows the lone\n    run with its seed",
        "as in SPEC appendix B",
        "found here, row 30 of the list",
        "the doctor was sent\n    away",
    ],
)
def test_a_planted_phrase_is_found(planted: str) -> None:
    assert found(planted)


def test_every_word_of_the_glossary_is_defined_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!term \|)([^|]+) \| [^|]+ \|$", page, flags=re.MULTILINE)
    terms = [term.strip() for row in rows for term in row.split(",") if not row.startswith("---")]
    assert len(terms) == len(set(terms))
    needed = "game player draw contest round turn step play recipe run seed real fake critic discriminator objective"
    needed += " penalty vital check-up condition finding remedy diagnosis view map measure column stream source"
    needed += " procedure stage"
    assert {*needed.split(), "latent code", "update rule"} <= set(terms)
