"""The cost of the doctor: the same run with and without it, alternating, and the duration of a check-up.

    OMP_NUM_THREADS=1 python -m benchmarks.doctor_cost [--rounds 30000] [--only ring8]

Both sides train the same recipe from the same seed, and log nothing; one has the doctor's hook with default settings.
They alternate in blocks, in one process on one thread, and processor time is measured, so other load on the machine
affects both sides equally. Two shares are printed: the seconds inside the hook over the seconds of training, and the
difference of the two sides over the same. Check-ups are frequent early and rarer later, so a share belongs to a number
of rounds: use as many as the run would have. The first call prepares the doctor (it computes the data's feature space),
the last one makes a diagnosis with more expensive tests; both are in the share.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import ours
from equilibria.base.errors import EquilibriaError
from equilibria.core.game import Loss
from equilibria.core.play import Play
from equilibria.data import Dataset, load
from equilibria.recipes import RECIPES, Recipe
from equilibria.training import fit, hooks
from equilibria.training.checkups import Checkups, Site


class Timed:
    """A hook, with the processor time that it uses."""

    def __init__(self, hook: Checkups) -> None:
        self.hook, self.checkups = hook, []
        self.admission = self.spent = 0.0

    checkups: list[float]

    def due(self, step: int) -> bool:
        return self.hook.due(step)

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        before, start = self.hook.diagnosis, time.process_time()
        self.hook.look(play, losses)
        took = time.process_time() - start
        if not self.spent:
            self.admission = took
        elif self.hook.diagnosis is not before:
            self.checkups.append(took)
        self.spent += took

    def close(self, play: Play) -> None: ...


def measure(row: Recipe, data: Dataset, rounds: int, folder: Path, blocks: int = 40) -> dict[str, float]:
    """Seconds of both sides, of the hook, and of single check-ups; both sides must end with the same networks."""
    alone, seen = (ours.played(row, data, horizon=rounds) for _ in range(2))
    for play in (alone, seen):
        play.advance(3)  # what torch loads and allocates at first
    hook = Checkups(Site(folder, data, rounds, hooks.Log(folder / "metrics.jsonl", 1)), seen)
    timed, took = Timed(hook), {"alone": 0.0, "seen": 0.0}
    marks = [max(4, rounds * (i + 1) // blocks) for i in range(blocks)]
    for i, until in enumerate(marks):
        sides: list[tuple[str, Play, list[Any]]] = [("alone", alone, []), ("seen", seen, [timed])]
        for name, play, watching in sides if i % 2 else sides[::-1]:
            start = time.process_time()
            fit(play, until, watching)
            took[name] += time.process_time() - start
    same = all(torch.equal(a, b) for a, b in zip(alone.game.parameters(), seen.game.parameters(), strict=True))
    assert same, "the doctor has disturbed the run"
    if hook.note:
        raise SystemExit(hook.note)
    *usual, last = timed.checkups
    return {
        "training": took["alone"],
        "hook": timed.spent,
        "difference": took["seen"] - took["alone"],
        "count": len(timed.checkups),
        "check-up": statistics.median(usual),
        "admission": timed.admission,
        "last": last,
    }


def mnist() -> Dataset:
    """MNIST, or noise of the same shape if it is not available (the time hardly depends on the pixels)."""
    try:
        return load("mnist")
    except EquilibriaError as error:
        warnings.warn(f"noise in place of MNIST: {error.what}", stacklevel=2)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (4096, 1, 28, 28), generator=generator, dtype=torch.uint8)
        return load((pixels, torch.arange(4096) % 10))


GAMES: dict[str, tuple[str, Callable[[], Dataset], int]] = {
    "ring8-U / r3gan-small": ("r3gan-small", lambda: load("ring8-U"), 30_000),
    "mnist / r3gan-conditional": ("r3gan-conditional", mnist, 10_000),
    "mnist / r3gan": ("r3gan", mnist, 10_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=None, help="rounds of each side; by default those of a whole run")
    parser.add_argument("--only", default="", help="measure games whose name contains this")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, processor time; doctor / training")
    for name, (recipe, data, usual) in GAMES.items():
        if chosen.only not in name:
            continue
        rounds = chosen.rounds or usual
        with tempfile.TemporaryDirectory() as folder:
            found = measure(RECIPES[recipe], data(), rounds, Path(folder))
        share = found["hook"] / found["training"]
        print(
            f"{name:26s} {rounds} rounds: doctor {found['hook']:.2f} s / training {found['training']:.1f} s = "
            f"{share:.1%} (by difference {found['difference'] / found['training']:+.1%})\n"
            f"{'':26s} {found['count']:.0f} check-ups, median {1e3 * found['check-up']:.0f} ms; admission "
            f"{found['admission']:.2f} s; the last check-up with its diagnosis {found['last']:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
