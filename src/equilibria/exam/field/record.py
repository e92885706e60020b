"""Runs cases one after the other and keeps the rows in a file: what the command lines of the exams share."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...base.provenance import commit
from .case import FieldCase
from .run import FieldRow, plain_row, row_of, row_text, run_case

Summary = Callable[[Sequence[FieldRow]], dict[str, Any]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every exam has: ``--list``, ``--out`` and ``--more``."""
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--out", type=Path, help="file for the rows and the summary, as JSON, written after each row")
    parser.add_argument("--more", action="store_true", help="keep the rows that the file has, and run the others")


def listed(cases: Sequence[FieldCase]) -> str:
    """The cases, one a line."""
    return "\n".join(f"{case.name} ({case.condition or 'healthy'}): {case.about.splitlines()[0]}" for case in cases)


def examine(
    plan: Sequence[tuple[FieldCase, int]], given: argparse.Namespace, command: Sequence[str], summary: Summary
) -> list[FieldRow]:
    """Run cases with their seeds, print each row, and write all to ``given.out``; rows that are there are kept."""
    before = _rows_in(given.out) if given.more else []
    done = {(row.case, row.seed) for row in before}
    rows = list(before)
    for case, seed in plan:
        if (case.name, seed) in done:
            continue
        rows.append(run_case(case, seed))
        print(row_text(rows[-1]), flush=True)
        if given.out is not None:
            facts = {"commit": commit(), "command": shlex.join(command), "date": datetime.now(UTC).date().isoformat()}
            content = {**facts, "summary": summary(rows), "rows": [plain_row(one) for one in rows]}
            given.out.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return rows


def _rows_in(path: Path | None) -> list[FieldRow]:
    if path is None or not path.exists():
        return []
    return [row_of(values) for values in json.loads(path.read_text())["rows"]]


__all__ = ["add_options", "examine", "listed"]
