"""Reports of hostile runs: whatever the files of a run hold, a page has no element and no attribute but its template's.

The page is read by a parser that shares nothing with the templates. The allowed elements and attributes are those that
stand in the template files themselves.
"""

from __future__ import annotations

import copy
import html.parser
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from equilibria import reports
from equilibria.reports import page, render
from equilibria.runs.folder import RunFolder

KEPT = Path(__file__).with_name("old_runs") / "gan"
FILES = ("run.json", "metrics.jsonl", "checkups.jsonl", "diagnosis.json", "evaluation.json")
MARK = (
    '</p></title></style></script><meta http-equiv="refresh" content="0;url=https://example.org/">'
    "<script>1</script>'\"><img src=x onerror=1 style='x'>{{ 7 * 7 }}{% raw %}$\\frac{1$&lt;"
)


class Elements(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def allowed() -> dict[str, set[str]]:
    """The attributes of each element, as the templates have them."""
    known: dict[str, set[str]] = {}
    for file in sorted((Path(page.__file__).parent / "templates").glob("*.j2")):
        bare = re.sub(r"{{.*?}}|{%.*?%}|{#.*?#}", " ", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for tag, attributes in Elements(bare).found:
            known.setdefault(tag, set()).update(attributes)
    known["div"].add("hidden")
    return known


ALLOWED = allowed()


def check(text: str) -> Elements:
    seen = Elements(text)
    for tag, attributes in seen.found:
        assert attributes.keys() <= ALLOWED.get(tag, {"no such element"}), (tag, attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    counts = {tag: sum(tag == one for one, _ in seen.found) for tag in ("meta", "script", "style", "title", "main")}
    assert counts == {"meta": 3, "script": 1, "style": 1, "title": 1, "main": 1}
    assert [a["http-equiv"] for _, a in seen.found if "http-equiv" in a] == ["Content-Security-Policy"]
    assert "49$" not in seen.text, "a template was made of the run's text"
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "run"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds, and a picture holds no markup."""
    for module in (reports.charts, reports.samples):
        monkeypatch.setattr(module, "png", lambda *_, **__: b"")
    monkeypatch.setattr(reports.charts, "curves", lambda *_, **__: None)
    monkeypatch.setattr("os.fsync", lambda _: None)


def content(run: Path, name: str) -> list[Any]:
    text = (run / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]


def write(run: Path, name: str, values: list[Any]) -> None:
    text = "".join(json.dumps(value) + "\n" for value in values) if name.endswith("l") else json.dumps(values[0])
    (run / name).write_text(text, encoding="utf-8")


def report(run: Path, **given: Any) -> str:
    return render(RunFolder.open(run, strict=False), **given).read_text(encoding="utf-8")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values that are no lists or objects stand."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key)) if isinstance(inner, (dict, list)) and inner else [(*path, key)]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    made = copy.deepcopy(value)
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return made


def everywhere(value: Any, change: Callable[[Any], Any], names: bool = False) -> Any:
    if isinstance(value, dict):
        return {(key + MARK if names else key): everywhere(inner, change, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [everywhere(inner, change, names) for inner in value]
    return change(value)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "texts": lambda values: everywhere(values, lambda v: v + MARK if isinstance(v, str) else v),
    "numbers": lambda values: everywhere(values, lambda v: v if isinstance(v, str) else MARK),
    "values": lambda values: everywhere(values, lambda v: MARK),
    "names": lambda values: everywhere(values, lambda v: v, names=True),
    "lists": lambda values: everywhere(values, lambda v: [MARK, {MARK: MARK}]),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", CHANGES)
def test_all_fields_of_all_files_at_once(run: Path, name: str) -> None:
    for file in FILES:
        write(run, file, CHANGES[name](content(run, file)))
    seen = check(report(run, bibtex=MARK, notes=[MARK]))
    assert seen.text.count("example.org") > 2


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("file", FILES)
def test_each_field_of_each_file(run: Path, file: str) -> None:
    shutil.rmtree(run / "samples")
    values, shown = content(run, file), 0
    values = values[:1] + values[-1:] if len(values) > 2 else values
    places = list(leaves(values))
    places = places[:: max(1, len(places) // 150)]  # a check-up has hundreds of numbers that no report shows
    for path in places:
        write(run, file, changed(values, path, MARK))
        shown += "example.org" in check(report(run)).text
    wanted = {"run.json": 0.9, "diagnosis.json": 0.35}.get(file, 0.0)  # numbers of the others are left out, with a note
    assert len(places) >= 8 and shown >= wanted * len(places), (shown, len(places))


def test_charts_of_hostile_names_are_drawn(run: Path) -> None:
    """Matplotlib reads dollars as mathematics; a name that is none is drawn as it stands."""
    rows = [{"step": i, f"loss/{MARK}": 1.0, MARK: 2.0, "modes": 3.0} for i in range(3)]
    write(run, "metrics.jsonl", rows)
    write(run, "evaluation.json", [{"modes": {"value": 1.0, "floor": 8.0, "unit": MARK, "n": 3}}])
    seen = check(report(run))
    assert sum(tag == "figure" for tag, _ in seen.found) >= 3


def test_values_that_are_nested_deeply_are_cut_short(run: Path) -> None:
    deep: Any = MARK
    for _ in range(300):
        deep = {"type": "R1", "x": [deep]}
    info = content(run, "run.json")[0]
    write(run, "run.json", [{**info, "recipe": {**info["recipe"], "game": deep}, "seed": deep, "hardware": deep}])
    told = content(run, "diagnosis.json")[0]
    told["findings"][0]["remedies"][0]["settings"] = {"game": deep}
    write(run, "diagnosis.json", [told])
    check(report(run))


def test_nothing_but_the_style_sheet_and_the_script_is_marked_as_safe() -> None:
    folder = Path(page.__file__).parent
    marked = [
        (file.name, line.strip())
        for file in sorted(folder.rglob("*.j2"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"safe\s*[}%|)]|autoescape", line)
    ]
    own = ["<style>{{ style | safe }}</style>", "<script>{{ script | safe }}</script>"]
    assert marked == [("page.html.j2", line) for line in own]
    assert not [file.name for file in folder.glob("*.py") if re.search(r"Markup|__html__", file.read_text())]


@pytest.mark.usefixtures("undrawn")
def test_the_check_finds_a_page_that_does_not_escape(run: Path) -> None:
    write(run, "run.json", CHANGES["texts"](content(run, "run.json")))
    environment = page._environment()
    try:
        environment.autoescape = False
        environment.cache.clear()  # type: ignore[union-attr]
        with pytest.raises(AssertionError):
            check(report(run))
    finally:
        environment.autoescape = True
        environment.cache.clear()  # type: ignore[union-attr]
    check(report(run))
