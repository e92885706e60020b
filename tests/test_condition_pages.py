"""The pages of the conditions: one for each, as the code has it; links lead somewhere, and each loop has its fault."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from equilibria.doctor import CONDITIONS, REMEDIES

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import condition_pages as script

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "conditions").glob("*.md"))}
CONDITION_PAGES = {name: text for name, text in PAGES.items() if name != "index"}


def test_there_is_a_page_for_each_condition_and_it_is_as_the_code_has_it() -> None:
    assert not list(script.stale()), "run python scripts/condition_pages.py"


@pytest.mark.parametrize(
    "change", ["without a page", "without its table", "of no condition", "not written", "without a picture"]
)
def test_a_wrong_page_is_found(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PAGES.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    page = tmp_path / "mode-collapse.md"
    if change == "without a page":
        page.unlink()
    elif change == "without its table":
        page.write_text(page.read_text(encoding="utf-8").replace("| severity |", "| weight |"), encoding="utf-8")
    elif change == "of no condition":
        page = page.rename(tmp_path / "mode-collapsed.md")
    elif change == "without a picture":
        monkeypatch.setattr(script, "PICTURES", tmp_path)
        missing = [one for one in script.stale() if "no picture" in one]
        assert len(missing) == len(CONDITION_PAGES) - len(script.NO_PICTURE)
    else:
        page.write_text(page.read_text(encoding="utf-8") + "TODO\n", encoding="utf-8")
    monkeypatch.setattr(script, "PAGES", tmp_path)
    assert any(page.name in problem for problem in script.stale())


def test_a_shown_finding_has_the_words_of_the_code() -> None:
    for name, text in CONDITION_PAGES.items():
        finding = " ".join(re.search(r"```text\n(.*?)```", text, flags=re.DOTALL)[1].split())  # type: ignore[index]
        again = f"run python scripts/condition_pages.py --run {name}"
        assert re.match(rf"[A-Z]+ {name}, since step \d+ ", finding), again
        assert " ".join(CONDITIONS[name].cause.split()) in finding, again
        remedies = CONDITIONS[name].remedies
        names = remedies if isinstance(remedies, tuple) else list(REMEDIES)
        assert any(f" do {REMEDIES[one].what} " in f"{finding} " for one in names), again


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.stem)
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            marked = there.read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", marked, flags=re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}
            assert anchor in known or f"#{anchor}" in marked or f'id="{anchor}"' in marked, f"{page.name}: {target}"


def steps_of(loop: str) -> int:
    return int(re.search(r"for step in range\(1, (\d+)\)", loop)[1]) - 1  # type: ignore[index]


SHORT = [name for name, text in CONDITION_PAGES.items() if steps_of(script.loop_of(text)) <= 30]
LONG = sorted(set(CONDITION_PAGES) - set(SHORT))


def findings_of(loop: str, deep: bool = False) -> list[str]:
    return [one.condition for one in script.played(loop).diagnose(deep=deep).findings if one.status == "active"]


@pytest.mark.parametrize("name", SHORT)
def test_a_short_loop_has_its_condition(name: str) -> None:
    assert findings_of(script.loop_of(CONDITION_PAGES[name]))[0] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_long_loop_has_its_condition(name: str) -> None:
    assert name in findings_of(script.loop_of(CONDITION_PAGES[name]), deep=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, text in CONDITION_PAGES.items() if "# repair:" in text])
def test_a_repaired_loop_does_not_have_it(name: str) -> None:
    assert name not in findings_of(script.repaired(script.loop_of(CONDITION_PAGES[name])))


@pytest.mark.parametrize("name", LONG)
def test_a_long_loop_runs(name: str) -> None:
    """Two steps of it, as it stands and repaired."""
    loop = script.loop_of(CONDITION_PAGES[name])
    for code in (loop, script.repaired(loop)):
        script.played(re.sub(r"range\(1, \d+\)", "range(1, 3)", code))


def test_repairs_replace_add_and_delete_lines() -> None:
    loop = "    a()  # repair: b(c, d)\n    # repair: e()\n    f()  # repair: delete this line\n    g()  # stays"
    assert script.repaired(loop) == "    b(c, d)\n    e()\n    g()  # stays"


def test_the_earliest_step_counts_windows_for_what_is_read_and_check_ups_for_what_is_measured() -> None:
    assert [script.earliest(n) for n in (1, 2, 6, 8)] == [10, 20, 60, 87]
    texts = {name: script.earliest_text(rule) for name, rule in CONDITIONS.items()}
    assert texts["condition-fixed"] == "20 (read)" and texts["unbounded-logarithm"] == "10 (read)"
    assert texts["mode-collapse"] == "264 (measured)" and texts["double-sigmoid"] == "20 (read), 10 (measured)"
