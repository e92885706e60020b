"""Write what the doctor measures, what it names, and a real diagnosis into docs/doctor.md and README.md.

python scripts/render_doctor.py            # the tables of vitals and conditions, and the pictures that there are
python scripts/render_doctor.py --run      # the same, and the diagnoses, from runs of examples/sick_and_healthy.py
python scripts/render_doctor.py --check    # exit status 1 if a table is not as it would be written
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from equilibria.doctor import REMEDIES, VITALS
from equilibria.doctor.conditions import Rule, rules
from equilibria.doctor.schedule import Schedule

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = ROOT / "docs" / "doctor.md", ROOT / "README.md"
PICTURES = "images/conditions"  # from the page
TIERS = {1: "each", 2: "where called for", 3: "at a diagnosis"}


def cell(text: str) -> str:
    return text.replace("|", r"\|")


def vitals() -> str:
    """The vitals as a Markdown table, in the order of the catalogue."""
    rows = [
        f"| `{name}` | {cell(v.what)} | {cell(v.unit)} | {cell(v.source) or '–'} | {TIERS[v.tier]} |"
        for name, v in VITALS.items()
    ]
    return "\n".join(["| vital | what it is | unit | source | measured |", "|---|---|---|---|---|", *rows])


def earliest(checkups: int) -> int:
    """The step of a run's n-th check-up, where each step is checked."""
    schedule, step = Schedule(), 0
    for _ in range(checkups):
        step = schedule.upcoming
        schedule.record(step)
    return step


def first_remedy(rule: Rule) -> str:
    if not isinstance(rule.remedies, tuple):
        return "depends on what is seen"
    remedy = REMEDIES[rule.remedies[0]]
    return f"`{remedy.name}`: {cell(remedy.what)}"


def conditions() -> str:
    """The conditions as a Markdown table, root causes first."""
    rows = [
        f"| `{r.condition}` | {cell(r.cause)} | {cell(r.source)} | {first_remedy(r)} | {earliest(r.min_checkups)} |"
        for r in rules()
    ]
    head = "| condition | why it happens | source | first remedy | earliest step |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def pictures() -> str:
    """A heading, the cause and the picture of each condition that has one, in the order of the table."""
    parts = []
    for rule in rules():
        name = rule.condition
        if (PAGE.parent / PICTURES / f"{name}.png").exists():
            shown = f"![{name}: samples, and the number that gives it away]({PICTURES}/{name}.png)"
            parts += [f"### {name}", rule.cause, shown]
    return "\n\n".join(parts)


def diagnosis(name: str, whole: bool) -> str:
    """What `examples/sick_and_healthy.py --only name` prints; unless whole, up to the end of its first finding."""
    command = [sys.executable, str(ROOT / "examples" / "sick_and_healthy.py"), "--only", name]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    head, *findings = re.split(r"\n\n(?=[A-Z]+  [a-z-]+, since)", told.split("\n\nnot assessed")[0])
    if not whole and len(findings) > 1:
        rest = [re.sub(r"^[A-Z]+  ([a-z-]+), .*", r"\1", f, flags=re.DOTALL) for f in findings[1:]]
        further = re.search(r"\n\nfurther(.*?)(?:\n\n|$)", told, flags=re.DOTALL)
        rest += re.findall(r"([a-z-]+) \(step", further[1]) if further else []
        findings = [findings[0], f"[{len(rest)} more, which come after it: {', '.join(rest)}]"]
    shown = "\n\n".join([head, *findings]) if not whole else told
    return f"```text\n$ python examples/sick_and_healthy.py --only {name}\n{shown}\n```"


def between(text: str, mark: str, content: str) -> str:
    """The text with ``content`` between the markers of a name.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"needs {begin} and, after it, {end}, once each")
    return f"{text.split(begin)[0]}{begin}\n{content}\n{end}{text.split(end)[1]}"


def rendered(text: str) -> str:
    """The page with its tables and pictures."""
    parts = {"vitals": vitals(), "conditions": conditions(), "pictures": pictures()}
    for mark, content in parts.items():
        text = between(text, mark, content)
    return text


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    wanted = rendered(text)
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("docs/doctor.md: a table is not that of the code; run python scripts/render_doctor.py")
        return int(text != wanted)
    if "--run" in sys.argv[1:]:
        wanted = between(wanted, "broken", diagnosis("broken", whole=True))
        wanted = between(wanted, "healthy", diagnosis("healthy", whole=True))
        readme = between(README.read_text(encoding="utf-8"), "doctor", diagnosis("broken", whole=False))
        README.write_text(readme, encoding="utf-8")
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
