"""docs/doctor.md and the README say what the code does: tables are rendered from it, shown diagnoses are its words."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from equilibria.doctor import CONDITIONS, REMEDIES, VITALS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_doctor", ROOT / "scripts" / "render_doctor.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code() -> None:
    """Every line is as it would be written, in that order. A new condition's lines may be missing until the page is
    rendered again (the site renders it when it is built); no other may."""
    whole, lines = script().rendered(PAGE).splitlines(), PAGE.splitlines()
    missing = [line[2:] for line in difflib.ndiff(lines, whole) if line.startswith("+ ")]
    assert not [line for line in lines if line not in whole], "run python scripts/render_doctor.py"
    listed = [name for name in CONDITIONS if f"| [`{name}`](" in PAGE]
    assert not [line for line in missing if any(f"[`{name}`]" in line for name in listed)]
    assert all(f"| `{name}` |" in PAGE for name in VITALS) and len(listed) >= 34


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- vitals -->"):
        script().rendered(PAGE.replace("<!-- vitals -->", ""))


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, "doctor.md", "exec"), {"__name__": "page"})
    assert "generator-never-updated" in capsys.readouterr().out  # its training step is left out


def shown(text: str) -> list[tuple[str, str, str]]:
    """Condition, cause and first remedy of each finding that a diagnosis shows, on one line each."""
    found = []
    for part in re.split(r"\n\n(?=[A-Z]+  [a-z-]+, since step \d+\n)", text)[1:]:
        condition = re.match(r"[A-Z]+  ([a-z-]+),", part)
        why = re.search(r"  why       (.*?)\n  evidence", part, flags=re.DOTALL)
        do = re.search(r"  do        (.*?)\n(?:  or|  source|              \S)", part, flags=re.DOTALL)
        assert condition and why and do
        found.append((condition[1], " ".join(why[1].split()), " ".join(do[1].split())))
    return found


@pytest.mark.parametrize(
    "text", [PAGE.split("<!-- broken -->")[1].split("<!-- /broken -->")[0], README], ids=["page", "readme"]
)
def test_a_diagnosis_that_is_shown_has_the_words_of_the_code(text: str) -> None:
    findings = shown(text)
    assert findings and findings[0][0] == "discriminator-too-weak"
    for name, why, do in findings:
        rule = CONDITIONS[name]
        again = "run python scripts/render_doctor.py --run"
        assert why == " ".join(rule.cause.split()), again
        firsts = [rule.remedies[0]] if isinstance(rule.remedies, tuple) else list(REMEDIES)
        assert do in {REMEDIES[first].what for first in firsts}, again
