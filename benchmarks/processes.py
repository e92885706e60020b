"""Rounds per second of two processes against one, one thread each, at the same whole batch.

    python -m benchmarks.processes [--batches 64 256] [--pairs 3] [--rounds 40] [--processes 2] [--json FILE]

DCGAN on MNIST through the command line, alternating between the two sides. A rate is the run's own rate between its
first and its last logged round, so it includes neither imports nor the start of the process group.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from equilibria.base.provenance import commit

DCGAN = ("width=64", "norm=batch", "generator_activation=relu", "init=normal02")
CLI = [sys.executable, "-c", "import sys; from equilibria.cli import main; sys.exit(main())", "train", "gan"]


def rate(batch: int, processes: int, rounds: int) -> float:
    """Rounds per second of one run."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--data", "mnist", "--steps", str(rounds), "--out", str(Path(folder) / "run"), "--device", "cpu"]
        for setting in (*(f"networks.image.{pair}" for pair in DCGAN), f"batch={batch}"):
            words += ["--set", setting]
        for setting in ("doctor=false", "evaluate=false", f"log_every={rounds}", f"sample_every={10 * rounds}"):
            words += ["--set", f"run.{setting}"]
        words += ["--set", f"run.checkpoint_every={10 * rounds}", "--processes", str(processes)]
        said = subprocess.run(
            [*CLI, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if said.returncode:
            raise SystemExit(said.stderr)
        rates = re.findall(rf"round {rounds}/{rounds}  ([0-9.]+)/s", said.stderr)
        return float(rates[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = []
    for batch in given.batches:
        pairs = [(rate(batch, 1, given.rounds), rate(batch, given.processes, given.rounds)) for _ in range(given.pairs)]
        ratios = [several / one for one, several in pairs]
        found.append({"batch": batch, "processes": given.processes, "rounds/s": pairs, "ratios": ratios})
        print(
            f"batch {batch}: one {statistics.median(a for a, _ in pairs):.2f}/s, {given.processes} processes "
            f"{statistics.median(b for _, b in pairs):.2f}/s, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps({"commit": commit(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
