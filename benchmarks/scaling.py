"""Peak memory and time of a round against n: examples in the data set, batch, image side, ensemble members.

    python benchmarks/scaling.py [--json docs/results/scaling.json] [--figure docs/images/scaling.png]

Each point is a process of its own on one thread: its peak resident memory above that of the same process before
training, and the median processor time of a round. The slope is that of a line through the last three points on
logarithmic axes, with its standard error: 1 is linear. Data are streamed from a ``.npy``, so its size should cost nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

POINTS: dict[str, tuple[int, ...]] = {
    "examples": (10_000, 40_000, 160_000, 640_000),
    "batch": (64, 256, 1024, 4096),
    "pixels": (16 * 16, 32 * 32, 64 * 64, 128 * 128),
    "members": (4, 16, 64, 256),
}
LAST = 3


def measure(what: str, n: int) -> dict[str, float]:
    """One point, in this process."""
    import resource
    import statistics
    import time

    import numpy as np
    import torch

    from equilibria.data import DataOptions, load
    from equilibria.ensemble import Ensemble
    from equilibria.game import Batch, Game
    from equilibria.games.two_player import TwoPlayer
    from equilibria.networks import Auto, MLPPair
    from equilibria.optimizers import Adam
    from equilibria.play import Play
    from equilibria.updates import Alternating

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        size = {"batch": 64, "examples": 10_000} | {what: n}
        side = math.isqrt(n) if what == "pixels" else 28
        source: Any = "ring8-U"
        if what in {"examples", "pixels"}:
            source = Path(folder) / "x.npy"
            count = size["examples"] if what == "examples" else 256
            np.lib.format.open_memmap(source, mode="w+", dtype=np.uint8, shape=(count, side, side)).flush()
        data = load(source, options=DataOptions(stream="true" if isinstance(source, Path) else "false"))
        rows = 16 if what == "pixels" else size["batch"]

        def batches(seed: int, turn: int) -> Batch:
            return data.batch(rows, seed, turn)

        def make(seed: int) -> Game:
            return TwoPlayer().build(Auto() if what == "pixels" else MLPPair(width=64, depth=2), data.spec)

        base = peak()
        game = Ensemble(make, range(n)) if what == "members" else make(0)
        play = Play(game, Alternating(), {p.name: Adam() for p in game.players}, batches)
        play.prepare()
        play.advance(2)
        times = []
        for _ in range(5):
            start = time.process_time()
            play.advance()
            times.append(time.process_time() - start)
        return {"n": n, "seconds": statistics.median(times), "megabytes": peak() - base}


def slope(points: list[dict[str, float]], value: str) -> tuple[float, float]:
    """Slope of the last points on logarithmic axes, and its standard error."""
    from scipy.stats import linregress

    last = points[-LAST:]
    found = linregress([math.log(p["n"]) for p in last], [math.log(max(p[value], 1e-9)) for p in last])
    return float(found.slope), float(found.stderr)


def figure(told: dict[str, Any], path: Path) -> None:
    """Time and memory against n, an axis for each n."""
    from equilibria.figures.panels import PALETTE, label, legend, logarithmic, panels, rendered

    drawn, axes = panels(rows=2, columns=len(told))
    for i, (what, one) in enumerate(told.items()):
        for j, (value, unit) in enumerate((("seconds", "s a round"), ("megabytes", "MB above the start"))):
            own, points = axes[j * len(told) + i], one["points"]
            fitted, error = one["slopes"][value]
            own.plot([p["n"] for p in points], [max(p[value], 0.1 if j else 1e-9) for p in points], "o-",
                     color=PALETTE[j], label=f"slope {fitted:.2f} ± {error:.2f}")  # fmt: skip
            logarithmic(own, x=True, y=True)
            label(own, what, unit, f"{'memory' if j else 'time'} against {what}")
            legend(own)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rendered(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", nargs=2, metavar=("WHAT", "N"), help="measure one point and print it")
    parser.add_argument("--json", type=Path, default=Path("docs/results/scaling.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/scaling.png"))
    chosen = parser.parse_args()
    if chosen.point:
        print(json.dumps(measure(chosen.point[0], int(chosen.point[1]))))
        return
    told: dict[str, Any] = {}
    for what, sizes in POINTS.items():
        points = []
        for n in sizes:
            command = [sys.executable, __file__, "--point", what, str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            points.append(json.loads(done.stdout))
            print(what, points[-1], flush=True)
        told[what] = {"points": points, "slopes": {v: slope(points, v) for v in ("seconds", "megabytes")}}
        print(what, {v: f"{s:.2f} ± {e:.2f}" for v, (s, e) in told[what]["slopes"].items()}, flush=True)
    chosen.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    figure(told, chosen.figure)


if __name__ == "__main__":
    main()
