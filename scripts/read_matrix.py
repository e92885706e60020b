"""Each fault of code with each way to write a step, in short loops: which causes are read in the training step.

    python scripts/read_matrix.py --loops 300 --seed 1 --out found.json
    python scripts/read_matrix.py --sound 100

A generated case trains for some hundred steps, and the splits use a combination once. What is read in a step does not
need that: loops of 60 steps, of parts of ``development`` and ``held-out``, show in which ways of writing a step a fault
is read. Faults that are measured and not read (a few named in ``MEASURED``) are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from equilibria.exam.field.run import run_case
from equilibria.exam.generated.axes import Axes
from equilibria.exam.generated.cases import FAULTS, Open, case_of, triples
from equilibria.exam.generated.fault import Needs

STEPS = 60
MEASURED = ("statistics-slow", "column-unscaled", "batches-told-apart", "constraint-lost", "constraint-too-tight")
SPLITS = ("development", "held-out")


def open_to(needs: Needs) -> dict[str, list[Open]]:
    """By way to write a step, the combinations of seen parts that have the needs."""
    found: dict[str, list[Open]] = {}
    for split in SPLITS:
        for one in triples(split, needs):
            if {one[0].split, one[1].split, one[2].split} <= set(SPLITS):
                found.setdefault(one[2].name, []).append(one)
    return found


def faulty(rng: random.Random) -> Iterator[Axes]:
    """Every fault of code with every way to write a step, in random order; the rest of a combination at random."""
    pairs = [
        (fault, ways)
        for fault in FAULTS.values()
        if fault.family != "dynamics" and not fault.only_late and fault.name not in MEASURED
        for ways in open_to(fault.needs).values()
    ]
    rng.shuffle(pairs)
    for fault, ways in pairs:
        law, network, style, recipes = rng.choice(ways)
        seen = [i for i, variant in enumerate(fault.variants) if variant.split in SPLITS]
        yield Axes(law.name, network.name, style.name, rng.choice(recipes), fault.name, rng.choice(seen))


def sound(rng: random.Random) -> Iterator[Axes]:
    """Sound loops without end, in turn over the ways to write a step."""
    ways = list(open_to(Needs()).values())
    rng.shuffle(ways)
    while True:
        for one in ways:
            law, network, style, recipes = rng.choice(one)
            yield Axes(law.name, network.name, style.name, rng.choice(recipes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loops, each fault beside its repaired twin; prints each and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=0, help="loops with a fault")
    parser.add_argument("--sound", type=int, default=0, help="loops without one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="loops whose name has this")
    parser.add_argument("--out", type=Path, help="a JSON file of the rows")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rng = random.Random(f"matrix {given.seed}")
    drawn = list(itertools.islice(faulty(rng), given.loops))
    drawn += itertools.islice(sound(rng), given.sound)
    rows = []
    for axes in (one for one in drawn if given.only in one.name()):
        case = replace(case_of(axes), steps=STEPS, truth=lambda attached: 0.0)
        row = run_case(case, given.seed)
        found, twin = ([name for name, _ in names or ()] for names in (row.found, row.repaired))
        rows.append({**asdict(axes), "named_first": row.rank() == 0, "found": found, "sound": twin, "error": row.error})
        told = "" if not axes.fault else "first" if row.rank() == 0 else "MISSED"
        print(axes.name(), told, found, "ALARM" if twin else "", twin, row.error, flush=True)
    faults = [row for row in rows if row["fault"]]
    print(f"named first: {sum(row['named_first'] for row in faults)} of {len(faults)}")
    print(f"sound loops with a finding: {sum(bool(row['sound']) for row in rows)} of {len(rows)}")
    if given.out is not None:
        given.out.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
