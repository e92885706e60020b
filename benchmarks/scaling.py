"""Peak memory and time of a round against n: examples in the data set, batch, image side, ensemble members.

    python -m benchmarks.scaling [--json docs/results/scaling.json] [--figure docs/images/scaling.png]

Each point is measured in its own process on one thread: its peak resident memory above that of the same process after a
tiny run, and the median processor time of a round. The slope is that of a line through the last three points on
logarithmic axes, with its standard error: 1 is linear. Images are streamed from a ``.npy``, so their number should not
matter.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equilibria.base.provenance import commit
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Game
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import DataOptions, load
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import Auto, MLPPair

POINTS: dict[str, tuple[int, ...]] = {
    "examples": (10_000, 40_000, 160_000, 640_000),
    "batch": (256, 1024, 4096, 16384),
    "pixels": (16 * 16, 32 * 32, 64 * 64, 128 * 128),
    "members": (16, 64, 256, 1024),
}
TINY = {"examples": 100, "batch": 2, "pixels": 8 * 8, "members": 2}
LAST = 3
LEAST = {"seconds": 1e-6, "megabytes": 1.0}  # smaller differences have no meaning


def playing(what: str, size: int, folder: str) -> Play:
    """A run in which the quantity ``what`` has this size, after two rounds."""
    side = math.isqrt(size) if what == "pixels" else 28
    source: Any = "ring8-U"
    if what in {"examples", "pixels"}:
        source = Path(folder) / f"{size}.npy"
        shape = (size if what == "examples" else 256, side, side)
        np.lib.format.open_memmap(source, mode="w+", dtype=np.uint8, shape=shape).flush()
    data = load(source, options=DataOptions(stream="true" if isinstance(source, Path) else "auto"))
    rows = {"batch": size, "pixels": 16}.get(what, 64)

    def batches(seed: int, turn: int) -> Batch:
        return data.batch(rows, seed, turn)

    def make(seed: int) -> Game:
        return TwoPlayer().build(Auto() if what == "pixels" else MLPPair(width=64, depth=2), data.spec)

    game = Ensemble(make, range(size)) if what == "members" else make(0)
    play = Play(game, Alternating(), {p.name: Adam() for p in game.players}, batches)
    play.prepare()
    play.advance(2)
    return play


def measure(what: str, n: int) -> dict[str, float]:
    """One point, in this process."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        playing(what, TINY[what], folder)  # so that everything that training loads is loaded
        base, play = peak(), playing(what, n, folder)
        times = []
        for _ in range(5):
            start = time.process_time()
            play.advance()
            times.append(time.process_time() - start)
    return {"n": n, "seconds": statistics.median(times), "megabytes": peak() - base}


def peak() -> float:
    """The peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slope(points: list[dict[str, float]], value: str) -> tuple[float, float]:
    """Slope of the last points on logarithmic axes, and its standard error."""
    from scipy.stats import linregress

    last = points[-LAST:]
    found = linregress([math.log(p["n"]) for p in last], [math.log(max(p[value], LEAST[value])) for p in last])
    return float(found.slope), float(found.stderr)


def figure(results: dict[str, Any], path: Path) -> None:
    """Time and memory against n, one panel per quantity."""
    from equilibria.figures.panels import PALETTE, label, legend, logarithmic, panels, rendered

    drawn, axes = panels(rows=2, columns=len(results))
    for i, (what, one) in enumerate(results.items()):
        for j, (value, unit) in enumerate((("seconds", "s a round"), ("megabytes", "MB above the start"))):
            own, points = axes[j * len(results) + i], one["points"]
            fitted, error = one["slopes"][value]
            shown = [max(p[value], LEAST[value]) for p in points]
            name = f"slope {fitted:.2f} ± {error:.2f}"
            own.plot([p["n"] for p in points], shown, "o-", color=PALETTE[j], label=name)
            logarithmic(own, x=True, y=True)
            middle = math.sqrt(min(shown) * max(shown))  # at least two decades, so that a constant looks constant
            reach = max(10.0, 2 * max(shown) / middle)
            own.set_ylim(middle / reach, middle * reach)
            label(own, what, unit, f"{'memory' if j else 'time'} against {what}")
            legend(own)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rendered(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", nargs=2, metavar=("WHAT", "N"), help="measure one point and print it")
    parser.add_argument("--only", choices=sorted(POINTS), help="measure this again, and keep the rest of the JSON")
    parser.add_argument("--json", type=Path, default=Path("docs/results/scaling.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/scaling.png"))
    chosen = parser.parse_args()
    if chosen.point:
        print(json.dumps(measure(chosen.point[0], int(chosen.point[1]))))
        return
    results: dict[str, Any] = json.loads(chosen.json.read_text(encoding="utf-8"))["against"] if chosen.only else {}
    for what, sizes in POINTS.items() if not chosen.only else [(chosen.only, POINTS[chosen.only])]:
        points = []
        for n in sizes:
            command = [sys.executable, "-m", "benchmarks.scaling", "--point", what, str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            points.append(json.loads(done.stdout))
            print(what, points[-1], flush=True)
        results[what] = {"points": points, "slopes": {v: slope(points, v) for v in ("seconds", "megabytes")}}
        print(what, {v: f"{s:.2f} ± {e:.2f}" for v, (s, e) in results[what]["slopes"].items()}, flush=True)
    chosen.json.write_text(json.dumps({"commit": commit(), "against": results}, indent=1) + "\n", encoding="utf-8")
    figure(results, chosen.figure)


if __name__ == "__main__":
    main()
