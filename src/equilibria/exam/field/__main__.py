"""``python -m equilibria.exam.field``: run the field exam, print each row, and write all as JSON."""

from __future__ import annotations

import argparse
import sys

from ...base.errors import ConfigError, did_you_mean
from . import CASES
from .record import add_options, examine, listed
from .run import field_summary, summary_text


def main(arguments: list[str] | None = None) -> int:
    """Run the exam."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.exam.field", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases by name; none for all")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each case")
    add_options(parser)
    given = parser.parse_args(arguments)
    for name in given.only:
        if name not in CASES:
            raise ConfigError(f"no case '{name}'", did_you_mean(name, list(CASES)))
    cases = [CASES[name] for name in given.only or CASES]
    if given.list:
        print(listed(cases))
        return 0
    told = sys.argv[1:] if arguments is None else arguments
    plan = [(case, seed) for seed in range(given.seeds) for case in cases]
    rows = examine(plan, given, ["python", "-m", "equilibria.exam.field", *told], field_summary)
    print(summary_text(field_summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
