"""``python -m equilibria.exam.generated``: draw cases of a split, run them, and write all as JSON."""

from __future__ import annotations

import argparse
import sys

from ..field.record import add_options, examine, listed
from ..field.run import summary_text
from .axes import SPLITS
from .cases import FAULTS, cases
from .summary import generated_summary


def main(arguments: list[str] | None = None) -> int:
    """Run the exam."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.exam.generated", description=__doc__)
    parser.add_argument("--split", choices=SPLITS, required=True, help="which families of laws, networks and styles")
    parser.add_argument("--faulty", type=int, default=len(FAULTS), help="number of loops with a fault")
    parser.add_argument("--healthy", type=int, default=30, help="number of loops without one")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing and of the runs")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="drawn cases whose name has it")
    add_options(parser)
    given = parser.parse_args(arguments)
    drawn = [c for c in cases(given.split, given.faulty, given.healthy, given.seed) if given.only in c.name]
    if given.list:
        print(listed(drawn))
        return 0
    told = sys.argv[1:] if arguments is None else arguments
    command = ["python", "-m", "equilibria.exam.generated", *told]
    rows = examine([(case, given.seed) for case in drawn], given, command, generated_summary)
    print(summary_text({k: v for k, v in generated_summary(rows).items() if not k.startswith("by_")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
