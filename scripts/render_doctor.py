"""Write what the doctor measures, what it names, and a real diagnosis into docs/doctor.md and README.md.

python scripts/render_doctor.py            # the tables of vitals and conditions
python scripts/render_doctor.py --run      # the same, and the diagnoses, from runs of examples/sick_and_healthy.py
python scripts/render_doctor.py --example  # the same as the first, and what is printed for a common mistake
python scripts/render_doctor.py --check    # exit status 1 if a table is not as it would be written
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from equilibria.doctor import REMEDIES, VITALS
from equilibria.doctor.conditions import Rule, rules

sys.path.insert(0, str(Path(__file__).parent))

from condition_pages import PAGES, between, cell, earliest_text, loop_of, played

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = ROOT / "docs" / "doctor.md", ROOT / "README.md"
EXAMPLE = "swapped-labels"
TIERS = {1: "each", 2: "where called for", 3: "at a diagnosis"}


def vitals() -> str:
    """The vitals as a Markdown table, in the order of the catalogue."""
    rows = [
        f"| `{name}` | {cell(v.what)} | {cell(v.unit)} | {cell(v.source) or '–'} | {TIERS[v.tier]} |"
        for name, v in VITALS.items()
    ]
    return "\n".join(["| vital | what it is | unit | source | measured |", "|---|---|---|---|---|", *rows])


def first_remedy(rule: Rule) -> str:
    if not isinstance(rule.remedies, tuple):
        return "depends on what is seen"
    remedy = REMEDIES[rule.remedies[0]]
    return f"`{remedy.name}`: {cell(remedy.what)}"


def conditions() -> str:
    """The conditions as a Markdown table, root causes first."""
    rows = [
        f"| [`{r.condition}`](conditions/{r.condition}.md) | {cell(r.cause)} | {first_remedy(r)} | {earliest_text(r)} |"
        for r in rules()
    ]
    head = "| condition | why it happens | first remedy | earliest step |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def example() -> str:
    """What is printed for the loop of the page of swapped labels, with more steps."""
    loop = loop_of((PAGES / f"{EXAMPLE}.md").read_text(encoding="utf-8"))
    longer = re.sub(r"range\(1, \d+\)", "range(1, 901)", loop)
    return f"```text\n{played(longer).diagnose(deep=False)}\n```"


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


def rendered(text: str) -> str:
    """The page with its tables."""
    parts = {"vitals": vitals(), "conditions": conditions()}
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
    if {"--run", "--example"} & set(sys.argv[1:]):
        wanted = between(wanted, "example", example())
    if "--run" in sys.argv[1:]:
        wanted = between(wanted, "broken", diagnosis("broken", whole=True))
        wanted = between(wanted, "healthy", diagnosis("healthy", whole=True))
        readme = between(README.read_text(encoding="utf-8"), "doctor", diagnosis("broken", whole=False))
        README.write_text(readme, encoding="utf-8")
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
