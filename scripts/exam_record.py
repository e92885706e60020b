"""Write how often each condition was right in the exam, from docs/results/exam_held-out.json.

python scripts/exam_record.py          # writes src/equilibria/doctor/conditions/record.py
python scripts/exam_record.py --check  # exit status 1 if it is not as it would be written
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from equilibria.exam.cases import HELD_OUT

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / "docs" / "results" / "exam_held-out.json"
OUT = ROOT / "src" / "equilibria" / "doctor" / "conditions" / "record.py"


def text() -> str:
    """The module: of the runs in which a condition came first, how many had it."""
    exam = json.loads(FOUND.read_text(encoding="utf-8"))
    right = {case.name: set(case.conditions) for case in HELD_OUT}
    said, hits = Counter[str](), Counter[str]()
    for kind, runs in exam["sittings"].items():
        for run in runs:
            if run["said"]:
                first = run["said"][0][0]
                said[first] += 1
                hits[first] += kind == "sick" and first in right[run["name"]]
    rows = "".join(f'    "{name}": ({hits[name]}, {said[name]}),\n' for name in sorted(said))
    return (
        '"""How often a measured finding was right; written by scripts/exam_record.py from the held-out exam."""\n\n'
        "from __future__ import annotations\n\n"
        f'EXAM = "{exam["commit"]}"\n"""The commit of the exam."""\n\n'
        f"RECORD: dict[str, tuple[int, int]] = {{\n{rows}}}\n"
        '"""Of the runs of the exam in which a condition came first: how many had it, and how many there were."""\n'
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(OUT.read_text(encoding="utf-8") != text())
    OUT.write_text(text(), encoding="utf-8")
