"""The theory chapters: every statement and every erratum is there once, and what they link to exists."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

from equilibria import reproduce

DOCS = Path(__file__).resolve().parents[1] / "docs" / "theory"
CHAPTERS = (
    "review-goodfellow",
    "slides-ghojogh",
    "lecture-notes-arjovsky-bottou",
    "talk-notes-arjovsky-bottou",
    "six-assumptions-nie-patel",
)
PARTS = ("**Statement.**", "**Proof.**", "**What it does not say.**", "**Function**", "**Test**", "**Figure**")
SEVERE = {1, 2, 3, 4, 5, 8, 9, 14, 17, 19, 20, 22, 25, 26, 29, 30, 31, 33, 41, 45, 46, 49, 50, 52}
CODE = re.compile(r"\[`([\w.]+)`\]\(\.\./\.\./((?:src|tests)/[\w/]+\.py)\)")


def text(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def sections() -> list[tuple[int, str]]:
    """Number and body of every statement, chapter by chapter."""
    pattern = re.compile(r"^## T(\d+)\. .+ \{#t\1\}\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    return [(int(m[1]), m[2]) for chapter in CHAPTERS for m in pattern.finditer(text(chapter))]


def errata() -> list[tuple[int, str, list[str]]]:
    """Number, severity and cells of every row."""
    lines = [line for line in text("errata").splitlines() if line.startswith("| E")]
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]
    return [(int(cells[0].split()[0][1:]), cells[0].split()[1], cells[1:]) for cells in rows]


@functools.cache
def defined_in(path: Path) -> set[str]:
    return {n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}


def complaints(markdown: str) -> list[str]:
    """Links to code that do not lead to what their text names."""
    found = []
    for name, file in CODE.findall(markdown):
        path = DOCS.parents[1] / file
        if not path.is_file():
            found.append(f"{file} is not there")
        elif file.startswith("tests/"):
            found += [] if name in defined_in(path) else [f"no {name} in {file}"]
        else:
            module = "equilibria." + name.rpartition(".")[0]
            wanted = file.removeprefix("src/").removesuffix(".py").replace("/", ".")
            there = module == wanted and hasattr(importlib.import_module(module), name.rpartition(".")[2])
            found += [] if there else [f"no {name} in {file}"]
    return found


def test_every_statement_is_there_once() -> None:
    assert sorted(number for number, _ in sections()) == list(range(1, 31))


@pytest.mark.parametrize(("number", "body"), sections(), ids=[f"T{n}" for n, _ in sections()])
def test_a_statement_is_whole_and_its_links_resolve(number: int, body: str) -> None:
    assert [part for part in PARTS if part not in body] == []
    assert "$$" in body, "no equation"
    functions, tests = (re.search(rf"\*\*{word}\*\* (.*?)<br>", body, re.DOTALL) for word in ("Function", "Test"))
    assert functions is not None and CODE.search(functions[1]) and "/tests/" not in functions[1]
    assert tests is not None and CODE.search(tests[1]) and "/src/" not in tests[1]
    assert complaints(body) == []
    assert re.search(r"\*\*Figure\*\* `equilibria reproduce \w+`", body), "no figure"


@pytest.mark.parametrize("page", [*CHAPTERS, "errata", "index"])
def test_pages_name_only_what_there_is(page: str) -> None:
    markdown = text(page)
    assert complaints(markdown) == []
    named = set(re.findall(r"equilibria reproduce ([a-z]+\d{4}\w*)", markdown)) | set(
        re.findall(r"figures/(\w+)\.png", markdown)
    )
    assert sorted(named - set(reproduce.keys())) == []
    for target, anchor in re.findall(r"\]\(([\w-]*(?:\.md)?)#([\w-]+)\)", markdown):
        there = text(target.removesuffix(".md")) if target else markdown
        assert f"{{#{anchor}}}" in there, f"{target}#{anchor}"
    missing = [f for f in re.findall(r"\((figures/\w+\.png)\)", markdown) if not (DOCS / f).is_file()]
    assert missing == [], "draw them: equilibria reproduce --all --quick --out docs/theory/figures"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_example_of_a_chapter_runs_and_prints_its_output(chapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    markdown = text(chapter)
    example = re.search(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    assert example is not None and example.start() < markdown.index("\n## T"), "no example before the first statement"
    assert markdown.count("```") == 4, "a block that no test runs"
    assert "equilibria.theory" in example[1]
    exec(compile(example[1], f"{chapter}.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == example[2]


def test_the_table_is_that_of_the_chapters() -> None:
    bodies = dict(sections())
    rows = re.findall(r"^\| \[T(\d+)\]\(([\w-]+)\.md#t\1\) \|(.*)\|$", text("index"), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 31))
    for number, chapter, cells in rows:
        assert f"{{#t{number}}}" in text(chapter)
        links = CODE.findall(cells)
        assert len(links) == 2 and set(links) <= set(CODE.findall(bodies[int(number)]))
        keys = set(re.findall(r"`([a-z]+\d{4}\w*)`", cells))
        assert keys == set(re.findall(r"equilibria reproduce (\w+)", bodies[int(number)])), f"T{number}"


def test_every_erratum_is_there_once() -> None:
    rows = errata()
    assert [number for number, _, _ in rows] == list(range(1, 65))
    assert {number for number, severity, _ in rows if severity == "A"} == SEVERE
    assert all(len(cells) == 4 and cells[0] and cells[2] for _, _, cells in rows)


@pytest.mark.parametrize("number", sorted(SEVERE))
def test_every_severe_erratum_has_a_witness(number: int) -> None:
    cells = next(cells for found, _, cells in errata() if found == number)
    witnesses = [file for _, file in CODE.findall(cells[3])]
    assert cells[1] and witnesses and all(file.startswith("tests/") for file in witnesses)


def test_a_wrong_link_is_found() -> None:
    good = "[`theory.value.value`](../../src/equilibria/theory/value.py)"
    assert complaints(good) == []
    assert complaints(good.replace("value.value`", "value.worth`"))
    assert complaints(good.replace("theory.value.value`", "theory.nash.duality_gap`"))
    assert complaints("[`test_no_such`](../../tests/test_theory_value.py)")
    assert complaints("[`test_no_such`](../../tests/test_no_such.py)")
