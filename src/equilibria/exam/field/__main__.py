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
from .run import FieldRow, field_summary, plain_row, row_of, row_text, run_case, summary_text


def main(arguments: list[str] | None = None) -> int:
    """Run the exam."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.exam.field", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases by name; none for all")
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each case")
    parser.add_argument("--out", type=Path, help="file for the rows and the summary, as JSON, written after each row")
    parser.add_argument("--more", action="store_true", help="keep the rows that the file has, and run the others")
    given = parser.parse_args(arguments)
    for name in given.only:
        if name not in CASES:
            raise ConfigError(f"no case '{name}'", did_you_mean(name, list(CASES)))
    cases = [CASES[name] for name in given.only or CASES]
    if given.list:
        for case in cases:
            print(f"{case.name} ({case.condition or 'healthy'}): {case.about.splitlines()[0]}")
        return 0
    before = _rows_in(given.out) if given.more else []
    done = {(row.case, row.seed) for row in before}
    rows = list(before)

    def keep(row: FieldRow) -> None:
        print(row_text(row), flush=True)
        rows.append(row)
        if given.out is not None:
            told = sys.argv[1:] if arguments is None else arguments
            command = shlex.join(["python", "-m", "equilibria.exam.field", *told])
            facts = {"commit": commit(), "command": command, "date": datetime.now(UTC).date().isoformat()}
            content = {**facts, "summary": field_summary(rows), "rows": [plain_row(one) for one in rows]}
            given.out.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    for seed in range(given.seeds):
        for case in cases:
            if (case.name, seed) not in done:
                keep(run_case(case, seed))
    print(summary_text(field_summary(rows)))
    return 0


def _rows_in(path: Path | None) -> list[FieldRow]:
    if path is None or not path.exists():
        return []
    return [row_of(values) for values in json.loads(path.read_text())["rows"]]


if __name__ == "__main__":
    sys.exit(main())
