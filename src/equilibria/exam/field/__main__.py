"""``python -m equilibria.exam.field``: run the field exam, print each row, and write all as JSON."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from ...base.errors import ConfigError, did_you_mean
from ...base.provenance import commit
from . import CASES
from .run import field_summary, plain_row, row_text, run_field, summary_text


def main(arguments: list[str] | None = None) -> int:
    """Run the exam."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.exam.field", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases by name; none for all")
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each case")
    parser.add_argument("--out", type=Path, help="file for the rows and the summary, as JSON")
    given = parser.parse_args(arguments)
    for name in given.only:
        if name not in CASES:
            raise ConfigError(f"no case '{name}'", did_you_mean(name, list(CASES)))
    cases = [CASES[name] for name in given.only or CASES]
    if given.list:
        for case in cases:
            print(f"{case.name} ({case.condition or 'healthy'}): {case.about.splitlines()[0]}")
        return 0
    rows = run_field(cases, given.seeds, lambda row: print(row_text(row), flush=True))
    summary = field_summary(rows)
    print(summary_text(summary))
    if given.out is not None:
        told = sys.argv[1:] if arguments is None else arguments
        content = {
            "commit": commit(),
            "command": shlex.join(["python", "-m", "equilibria.exam.field", *told]),
            "date": datetime.now(UTC).date().isoformat(),
            "summary": summary,
            "rows": [plain_row(row) for row in rows],
        }
        given.out.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
