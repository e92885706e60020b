"""Write what the code knows of each condition of the doctor into docs/conditions/NAME.md, and leave the rest as it is.

python scripts/condition_pages.py            # facts, tests, remedies and order, from the rules; the index
python scripts/condition_pages.py --run      # the same, and the finding that is shown, from the loop of the page
python scripts/condition_pages.py --run NAME ...  # that of these pages only
python scripts/condition_pages.py --draw     # pictures of conditions that have none, from loops of the field exam
python scripts/condition_pages.py --check    # exit status 1 if a page is missing, stale, or of no condition

A page has a part between markers for each of PARTS. Everything else of it is written by hand: what is seen, why it
happens, what it is confused with, and a loop that has it. In the loop, a comment `# repair:` holds the line that
belongs in place of its line (in a line of its own: the line that is missing).
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from equilibria.doctor import REMEDIES, VITALS, Doctor
from equilibria.doctor import audit as audit_package
from equilibria.doctor.audit.readings import ORDER
from equilibria.doctor.conditions import Level, Rule, View, rules
from equilibria.doctor.conditions import rule as rule_module
from equilibria.doctor.conditions.record import EXAM, RECORD
from equilibria.doctor.schedule import Schedule

sys.path.insert(0, str(Path(__file__).parent))

from condition_pictures import NO_PICTURE, draw

ROOT = Path(__file__).resolve().parents[1]
PAGES, PICTURES = ROOT / "docs" / "conditions", ROOT / "docs" / "images" / "conditions"
PARTS = ("facts", "seen", "found", "change", "order", "test")
KEY = (
    "*Left: samples; of points and curves, real rows are grey, and each class has a colour. Right: blue is this run, "
    "grey the same loop without the fault; the vertical line is where the finding begins, a dashed one the limit.*"
)
_WORDS = {"below": "below", "above": "above", "equal": "exactly", "about": "about", "context": ""}


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def between(text: str, mark: str, content: str) -> str:
    """The text with ``content`` between the markers of a name.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"needs {begin} and, after it, {end}, once each")
    return f"{text.split(begin)[0]}{begin}\n{content}\n{end}{text.split(end)[1]}"


def inside(text: str, mark: str) -> str:
    """What stands between the markers of a name."""
    return text.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0].strip("\n")


# What the code says of a condition -----------------------------------------------------------------------------------


def earliest(checkups: int) -> int:
    """The step of a run's n-th check-up, where each step is checked."""
    schedule, step = Schedule(), 0
    for _ in range(checkups):
        step = schedule.upcoming
        schedule.record(step)
    return step


@cache
def readers() -> dict[str, tuple[Path, ast.FunctionDef]]:
    """By condition, the function that reads it in the training step, and its file."""
    found: dict[str, tuple[Path, ast.FunctionDef]] = {}
    for path in sorted(Path(audit_package.__file__).parent.glob("*.py")):
        if path.name in ("readings.py", "reading.py"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            for condition in ORDER:
                if condition in texts or (condition.endswith("-never-updated") and "-never-updated" in texts):
                    found[condition] = path, node
    return found


COMPARED = {"noise-reused": 1, "learning-rate-jump": 1, "few-rows-used": 2}
"""Windows that a reading compares its own with: it speaks from the next one on."""


def read_at(rule: Rule) -> int | None:
    """The earliest step at which it can be found by reading; None if it is never read."""
    return earliest(COMPARED.get(rule.condition, 0) + rule.windows) if rule.condition in readers() else None


def measured_at(rule: Rule) -> int | None:
    """The earliest step at which it can be found by measuring; None if it is only read."""
    return None if rule.test is None else earliest(rule.min_checkups)


def earliest_text(rule: Rule) -> str:
    """The earliest step of each way in which it is found."""
    ways = [(at, how) for at, how in ((read_at(rule), "read"), (measured_at(rule), "measured")) if at is not None]
    return ", ".join(f"{at} ({how})" for at, how in ways)


def judged(condition: str) -> tuple[bool, bool]:
    """Whether a reading can rule it out; and whether some reading of it is by a threshold only."""
    _, node = readers()[condition]
    rules_out = threshold = False
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Reading" and len(call.args) > 1:
            named = call.args[0].value if isinstance(call.args[0], ast.Constant) else condition
            if named != condition:
                continue
            rules_out = rules_out or not (isinstance(call.args[1], ast.Constant) and call.args[1].value is True)
            threshold = threshold or any(k.arg == "certain" for k in call.keywords)
    return rules_out, threshold


def test_functions(rule: Rule) -> list[Callable[..., Any]]:
    """The test of a rule, and the functions of its module that it calls."""
    assert rule.test is not None
    found: list[Callable[..., Any]] = []
    ahead: list[Callable[..., Any]] = [rule.test]
    while ahead:
        one = ahead.pop(0)
        found.append(one)
        for name in one.__code__.co_names:
            known = one.__globals__.get(name)
            if inspect.isfunction(known) and known.__module__ == rule.test.__module__ and known not in found:
                ahead.append(known)
    return found


def source_of(function: Callable[..., Any]) -> str:
    return textwrap.dedent(inspect.getsource(function)).rstrip()


def names_in(function: Callable[..., Any]) -> list[str]:
    """The vitals that a test names, in its order; names that it computes from the player are filled in."""
    player = inspect.getclosurevars(function).nonlocals.get("player")
    players = [player] if player else ["generator", "discriminator"]
    text = source_of(function)
    found = re.findall(r'"([a-z]+/[a-z{}-]+)"', text)
    each = [one.replace("{player}", who) for one in found for who in players]
    return [one for one in dict.fromkeys(each) if one in VITALS]


def expectations(function: Callable[..., Any]) -> dict[str, str]:
    """What each vital is in a sound run, as the evidence of a test says it."""
    found: dict[str, str] = {}
    player = inspect.getclosurevars(function).nonlocals.get("player")
    for call in ast.walk(ast.parse(source_of(function))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in _WORDS):
            continue
        first = call.args[0]
        name = str(first.value) if isinstance(first, ast.Constant) else f"wiring/still-{player}" if player else ""
        if len(call.args) < 3 or not name:
            continue
        limit = call.args[1]
        shown = f"{limit.value}" if isinstance(limit, ast.Constant) else ast.unparse(limit)
        meaning = call.args[2].value if isinstance(call.args[2], ast.Constant) else ""
        found[name] = f"{_WORDS[call.func.id]} `{shown}`" + (f": {meaning}" if meaning else "")
    return found


def terms(rule: Rule) -> list[str]:
    """What the words of a test mean: the properties of a View that it reads."""
    text = "\n".join(source_of(one) for one in test_functions(rule))
    found = []
    for name, value in vars(View).items():
        if isinstance(value, property) and name not in ("now", "final", "history") and f"view.{name}" in text:
            found.append(f"- `{name}`: {' '.join((value.__doc__ or '').split())}")
    return found


# The parts of a page -------------------------------------------------------------------------------------------------


def level_text(level: Level) -> str:
    """The statement of a level, from its source."""
    found = re.search(rf'{level.name} = \d+\n    """(.*?)"""', Path(rule_module.__file__).read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def facts(rule: Rule) -> str:
    """The cause and a table."""
    ways = []
    if rule.condition in readers():
        sure = "probable (a threshold)" if judged(rule.condition)[1] else "certain"
        ways.append(f"{sure} where it is read in the training step")
    if rule.test is not None:
        ways.append("probable where it is measured")
    right, of = RECORD.get(rule.condition, (0, 0))
    rows = [
        ("severity", rule.severity.value),
        ("kind of cause", level_text(rule.level)),
        ("confidence", ", ".join(ways)),
        ("earliest step", earliest_text(rule)),
        ("source", rule.source),
    ]
    if of:
        rows.append((f"right when measured first, in the [exam](../exam.md) of commit {EXAM}", f"{right} of {of} runs"))
    table = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows)
    return f"{rule.cause}\n\n| | |\n|---|---|\n{table}"


def found_by(rule: Rule) -> str:
    """How the condition is read or measured, and what makes the doctor silent."""
    parts = []
    if rule.condition in readers():
        path, node = readers()[rule.condition]
        said = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        rules_out, threshold = judged(rule.condition)
        windows = f"{rule.windows} windows in a row" if rule.windows > 1 else "one window"
        asks = f": {said[:1].lower()}{said[1:]}" if said else "."
        text = (
            f"**Read in the training step** by `{path.stem}.{node.name}` of the audit{asks} "
            f"It is found when {windows} read it: at step {read_at(rule)} at the earliest, dated from the first. "
        )
        if threshold:
            text += "At least one form of it is read with a threshold; such a finding is *probable*, not *certain*. "
        if rules_out:
            text += "A last window that reads it as sound rules it out, whatever was measured."
        else:
            text += "It is never ruled out: where it is not read, nothing is said."
        parts.append(text.rstrip())
    if rule.test is not None:
        row = f"at {rule.consecutive} check-ups in a row" if rule.consecutive > 1 else "at one check-up"
        need = f"after {rule.min_checkups} check-ups" if rule.min_checkups > 1 else "from the first check-up on"
        parts.append(
            f"**Measured.** The test below must hold {row}, the newest among them, {need} (step {measured_at(rule)} at "
            "the earliest)."
        )
        wanted: dict[str, str] = {}
        for one in test_functions(rule):
            wanted |= {**dict.fromkeys(names_in(one), ""), **{k: v for k, v in expectations(one).items() if v}}
        names = [name for one in test_functions(rule) for name in names_in(one)]
        rows = [
            f"| `{name}` | {cell(VITALS[name].what)} | {cell(VITALS[name].unit)} | {cell(wanted.get(name, ''))} |"
            for name in dict.fromkeys(names)
        ]
        if rows:
            head = "| vital | what it is | unit | in a sound run |\n|---|---|---|---|"
            parts.append("\n".join([head, *rows]))
        if terms(rule):
            parts.append("Words of the test:\n\n" + "\n".join(terms(rule)))
    return "\n\n".join(parts)


def test_code(rule: Rule) -> str:
    """The code of the reading, with the constants that it names, and that of the test."""
    parts = []
    if rule.condition in readers():
        path, node = readers()[rule.condition]
        text = path.read_text(encoding="utf-8")
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        constants = [line for line in text.splitlines() if (m := re.match(r"(_[A-Z_]+) = ", line)) and m[1] in used]
        code = "\n".join([*constants, *[""] * (2 * bool(constants)), ast.get_source_segment(text, node) or ""])
        parts.append(f"Of `{path.relative_to(ROOT).as_posix()}`:\n\n```python\n{code}\n```")
    if rule.test is not None:
        where = Path(inspect.getfile(rule.test)).relative_to(ROOT).as_posix()
        code = "\n\n\n".join(source_of(one) for one in test_functions(rule))
        parts.append(f"Of `{where}`:\n\n```python\n{code}\n```")
    return "\n\n".join(parts)


def change(rule: Rule) -> str:
    """The remedies with their code."""
    if isinstance(rule.remedies, tuple):
        names, head = rule.remedies, ""
    else:
        text = source_of(rule.remedies)
        names = tuple(dict.fromkeys(n for n in re.findall(r'"([a-z-]+)"', text) if n in REMEDIES))
        head = f"Which comes first depends on what is seen: {' '.join((rule.remedies.__doc__ or '').split())}\n\n"
    parts = []
    for i, name in enumerate(names, 1):
        remedy = REMEDIES[name]
        parts.append(f"{i}. **{name}**: {remedy.what}")
        if remedy.snippet:
            parts.append(f"```python\n{remedy.snippet}\n```")
    return head + "\n\n".join(parts)


def order(rule: Rule) -> str:
    """Its place among the findings."""
    names = [one.condition for one in rules()]
    parts = []
    if rule.condition in readers():
        i = ORDER.index(rule.condition)
        parts.append(f"Among findings that are read it is number {i + 1} of {len(ORDER)}{_beside(ORDER, i)}.")
    if rule.test is not None:
        same = [one.condition for one in rules() if one.test is not None]
        i = same.index(rule.condition)
        parts.append(
            f"Measured findings come after those that are read, root causes first: it is number {i + 1} of {len(same)}"
            f"{_beside(same, i)}. Beside a critical finding that is certain it is listed as an effect of that one."
        )
    assert rule.condition in names
    return " ".join(parts)


def _beside(names: tuple[str, ...] | list[str], i: int) -> str:
    after = f", after {link(names[i - 1])}" if i else ""
    before = f"{' and' if after else ','} before {link(names[i + 1])}" if i + 1 < len(names) else ""
    return after + before


def link(name: str) -> str:
    return f"[{name}]({name}.md)"


def picture(rule: Rule) -> str:
    """The picture of a condition with its key, or the reason why there is none."""
    name = rule.condition
    if not (PICTURES / f"{name}.png").exists():
        return NO_PICTURE.get(name, "")
    return f"![{name}: samples, and the number that gives it away](../images/conditions/{name}.png)\n\n{KEY}"


def rendered(rule: Rule, text: str) -> str:
    """The page with all that the code knows; the finding that it shows is left as it is."""
    finding = re.match(r"```text\n.*?\n```", inside(text, "seen"), flags=re.DOTALL)
    seen = "\n\n".join(part for part in (finding[0] if finding else "", picture(rule)) if part)
    parts = {
        "facts": facts(rule),
        "seen": seen,
        "found": found_by(rule),
        "change": change(rule),
        "order": order(rule),
        "test": test_code(rule),
    }
    for mark, content in parts.items():
        text = between(text, mark, content)
    return text


def skeleton(rule: Rule) -> str:
    """A new page: its headings and markers, and TODO where a person has to write."""
    marks = {mark: f"<!-- {mark} -->\n<!-- /{mark} -->" for mark in PARTS}
    return f"""# {rule.condition}

{marks["facts"]}

## What you see

TODO: what a user sees without the doctor. The doctor prints:

{marks["seen"]}

## Why it happens, and why it hurts

TODO

## How it is found

{marks["found"]}

## What to change

{marks["change"]}

## What it is often confused with

TODO

{marks["order"]}

## A loop that has it

```python
TODO
```

## The test, as it is in the code

{marks["test"]}
"""


def index() -> str:
    """The list of the pages, root causes first."""
    rows = [
        f"| {link(rule.condition)} | {cell(rule.cause.split('. ')[0].rstrip('.'))}. | {earliest_text(rule)} |"
        for rule in rules()
    ]
    head = (
        "# Conditions of the doctor\n\nA page for each: what it is, what you see, why it happens, how it is read or "
        "measured, what to change. Root causes come first. *What you see* as a way in: "
        "[the doctor](../doctor.md#what-you-see).\n\n| condition | what it is | earliest step |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


# The loop of a page --------------------------------------------------------------------------------------------------


def loop_of(text: str) -> str:
    """The loop of a page."""
    found = re.search(r"## A loop that has it\n.*?```python\n(.*?)```", text, flags=re.DOTALL)
    if found is None:
        raise ValueError("no block of python under '## A loop that has it'")
    return found[1]


def repaired(loop: str) -> str:
    """The loop with the lines that its comments `# repair:` hold."""
    lines = []
    for line in loop.split("\n"):
        marked = re.match(r"^(\s*)(.*?)\s*# repair: (.*)$", line)
        if marked is None:
            lines.append(line)
        elif marked[3] != "delete this line":
            lines.append(marked[1] + marked[3])
    return "\n".join(lines)


def names_after(loop: str) -> dict[str, Any]:
    """Run a loop, and return its names."""
    names: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(loop.replace("print(doctor.diagnose())", ""), "the loop of a page", "exec"), names)
    return names


def played(loop: str) -> Doctor:
    """Run a loop, and return its doctor."""
    doctor: Doctor = names_after(loop)["doctor"]
    return doctor


def printed(rule: Rule, text: str) -> str:
    """What the doctor prints of the condition after the loop of its page.

    Raises:
        ValueError: it is not found.
    """
    diagnosis = played(loop_of(text)).diagnose()
    found = next((one for one in diagnosis.active if one.condition == rule.condition), None)
    found = found or next((one for one in diagnosis.findings if one.condition == rule.condition), None)
    if found is None or found.status != "active":
        raise ValueError(f"{rule.condition}: the loop of its page does not have it:\n{diagnosis}")
    block = re.search(
        rf"^[A-Z]+  {rule.condition}, since step .*?(?=\n\n|\Z)", str(diagnosis), re.DOTALL | re.MULTILINE
    )
    return f"```text\n{block[0] if block else found}\n```"


def stale() -> Iterator[str]:
    """What is wrong with the pages: those that are missing, of no condition, or not as they would be written."""
    known = {rule.condition: rule for rule in rules()}
    there = {path.stem for path in PAGES.glob("*.md")} - {"index"}
    yield from (f"{name}.md is missing" for name in known if name not in there)
    yield from (f"{name}.md is of no condition" for name in sorted(there - set(known)))
    for name in sorted(there & set(known)):
        text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        if text != rendered(known[name], text):
            yield f"{name}.md is not as the code has it"
        if "TODO" in text:
            yield f"{name}.md has a part that nobody wrote"
        if not inside(text, "seen").startswith("```text"):
            yield f"{name}.md shows no finding: run it with --run {name}"
        if not picture(known[name]):
            yield f"{name}.md has no picture, and no reason for that: draw it with --draw {name}"
    if not (PAGES / "index.md").exists() or (PAGES / "index.md").read_text(encoding="utf-8") != index():
        yield "index.md is not as the code has it"


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        problems = list(stale())
        print("\n".join(f"docs/conditions/{one}" for one in problems) or "the pages are as the code has them")
        return int(bool(problems))
    only = [one for one in arguments if not one.startswith("--")]
    if "--draw" in arguments:
        draw(PICTURES, only)
    PAGES.mkdir(exist_ok=True)
    for rule in rules():
        path = PAGES / f"{rule.condition}.md"
        text = path.read_text(encoding="utf-8") if path.exists() else skeleton(rule)
        if "--run" in arguments and (not only or rule.condition in only):
            text = between(text, "seen", printed(rule, text))
            print(rule.condition, flush=True)
        path.write_text(rendered(rule, text), encoding="utf-8")
    (PAGES / "index.md").write_text(index(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
