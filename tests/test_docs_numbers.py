"""Numbers in the docs are those of committed results: the exam's counts, the laws that its halves share, the links."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from equilibria.exam.cases import CASES, FIRST_SEED, HEALTHY
from equilibria.exam.remedied import apply_remedy

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "theory").glob("*.md"))]
EXAM = (ROOT / "docs" / "exam.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([\w./-]+\.json)(?:#[\w-]*)?\)")


def linked() -> list[tuple[Path, Path]]:
    """Every page and each JSON file that it links."""
    return [(page, (page.parent / name).resolve()) for page in PAGES for name in LINK.findall(page.read_text("utf-8"))]


def commits(value: Any) -> list[str]:
    """All that a result says about the commit that made it."""
    if not isinstance(value, dict):
        return []
    own = [str(v) for k, v in value.items() if k in ("commit", "commits") and v]
    return own + [found for v in value.values() for found in commits(v)]


def counts() -> dict[str, tuple[int, int]]:
    """The exam's counts from its single runs, without the exam's own summary."""
    told = json.loads((ROOT / "docs" / "results" / "exam_held-out.json").read_text(encoding="utf-8"))
    cases = {case.name: case for case in CASES["held-out"]}
    sick, healthy = told["sittings"]["sick"], told["sittings"]["healthy"]
    places = [[name in cases[s["name"]].conditions for name, _ in s["said"][:2]] for s in sick]
    tried = [(s, s["cured"] >= 0.9 * s["control"]) for s in sick if s["cured"] is not None]
    undone = [
        bool(s["remedy"]) and apply_remedy(cases[s["name"]].sick, s["remedy"]) == cases[s["name"]].healthy
        for s, _ in tried
    ]
    cured = [well for _, well in tried]
    return {
        "two": (sum(map(any, places)), len(sick)),
        "first": (sum(place[:1] == [True] for place in places), len(sick)),
        "alarms": (sum(bool(s["said"]) for s in healthy), len(healthy)),
        "cured": (sum(cured), len(tried)),
        "definition": (sum(c and u for c, u in zip(cured, undone, strict=True)), sum(undone)),
        "other": (sum(c and not u for c, u in zip(cured, undone, strict=True)), len(tried) - sum(undone)),
    }


def test_the_exam_s_page_counts_what_the_result_holds() -> None:
    table = EXAM.split("## What it shows")[1].split("In brackets")[0]
    for name, (hits, of) in counts().items():
        assert f"| {hits} of {of} (" in table or f"| {hits} of {of} |" in table, f"{name}: {hits} of {of}"


@pytest.mark.parametrize("page", ["README.md", "docs/measurements.md"])
def test_other_pages_say_the_same(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = counts()
    for name in ("first", "two", "alarms", "cured", "definition", "other"):
        assert re.search(rf"\b{found[name][0]}\b", text), name


def test_the_laws_and_loops_that_halves_share() -> None:
    planted = {half: {case.sick: case.name for case in cases} for half, cases in CASES.items()}
    sound = {half: {case.healthy for case in CASES[half]} | set(HEALTHY[half].values()) for half in CASES}
    table = re.search(r"<!-- laws -->\n(.*?)<!-- /laws -->", EXAM, re.DOTALL)
    assert table is not None and len(set(FIRST_SEED.values())) == 3
    for one, other in combinations(("developed", "seen", "held-out"), 2):
        laws = ({loop.data for loop in {*planted[half], *sound[half]}} for half in (one, other))
        assert f"| {one}, {other} | {', '.join(sorted(set.intersection(*laws)))} |" in table[1]
        assert not sound[one] & sound[other]
        for loop in planted[one].keys() & planted[other].keys():
            assert f"`{planted[one][loop]}` in `{one}` and `{other}`" in EXAM


def test_linked_results_are_there_and_name_their_commit() -> None:
    assert linked()
    missing = [f"{page.name}: {file.name}" for page, file in linked() if not file.is_file()]
    assert missing == []
    nameless = [file.name for _, file in linked() if not commits(json.loads(file.read_text(encoding="utf-8")))]
    assert nameless == []


def test_every_result_is_cited() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    unused = [f.name for f in sorted((ROOT / "docs" / "results").glob("*.json")) if f"results/{f.name}" not in text]
    assert unused == []
