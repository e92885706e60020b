"""Sample quality against training time: our recipes and others on the same data, side by side in one run.

Each contestant trains for a budget of processor seconds and is sampled at marks on the way. A mark is a share of the
budget; the seconds that were used until then are measured. The contestants take turns between two marks, so that a
busy machine slows all of them. Only training is timed, not sampling and not scoring.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor

from equilibria.base.errors import ConfigError, did_you_mean
from equilibria.cli.console import failed
from equilibria.core.play import Play
from equilibria.data import Dataset, load
from equilibria.figures.images import image_grid
from equilibria.figures.panels import PALETTE, label, panels, rendered
from equilibria.metrics.classifier import Classifier
from equilibria.metrics.frechet import frechet_distance
from equilibria.recipes import RECIPES
from equilibria.runs.samples import Asked, classifier_of, shown
from equilibria.training.disk import make_folder, write_atomically

from . import floor, ours, peers
from .measure import Here, Plan, surroundings

SAMPLES = 2000
MARKS = (1 / 30, 1 / 10, 1 / 5, 1 / 3, 1 / 2, 3 / 4, 1.0)
_TRIED = 20


class Side(Protocol):
    """A contestant that trains when it is told to, and can be sampled in between."""

    def advance(self, rounds: int) -> float:
        """Train for this number of rounds; returns the seconds that they took."""

    def samples(self, labels: Tensor) -> Tensor:
        """One image for each label; the labels are only counted where the contestant knows none."""


@dataclass(frozen=True)
class Contestant:
    """What trains.

    Args:
        name: of the recipe or the script.
        side: makes its side for a data set, a plan, a seed and a number of rounds after which its schedules end.
        conditional: whether its samples have the classes that they are asked for.
        share: the share of the budget for which it trains: its schedules end there.
    """

    name: str
    side: Callable[[Dataset, Plan, int, int], Any]
    conditional: bool = False
    share: float = 1.0

    @property
    def shown(self) -> str:
        """Its name in tables and figures."""
        return self.name if self.share == 1.0 else f"{self.name}, {self.share:.2g} of the time"


class _Ours:
    """A recipe, sampled as a run is: from its averaged weights, with calibrated batch norms."""

    def __init__(self, play: Play, seed: int, threads: int) -> None:
        self.play, self.seed, self.advance = play, seed, Here(play.advance, threads)

    def samples(self, labels: Tensor) -> Tensor:
        asked = Asked(labels if self.play.game.classes else None)
        return next(rows for rows in shown(self.play, len(labels), self.seed, asked).values() if rows.ndim == 4)


class _ByHand:
    """A loop by hand, sampled from the weights that it trains, in training mode."""

    def __init__(self, pair: floor.Pair, threads: int) -> None:
        self.pair, self.advance = pair, Here(pair.advance, threads)

    @torch.no_grad()
    def samples(self, labels: Tensor) -> Tensor:
        z = torch.randn(len(labels), self.pair.latent.size, generator=torch.Generator().manual_seed(5))
        return torch.cat([self.pair.G(part) for part in z.split(64)])


class _Script:
    """Another project's script, sampled as it samples itself."""

    def __init__(self, peer: peers.Peer, shape: tuple[int, ...]) -> None:
        self.peer, self.shape = peer, shape
        self.advance = peer

    def samples(self, labels: Tensor) -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            made = self.peer.samples(-(-len(labels) // 64) * 64, Path(folder) / "samples.npy")[: len(labels)]
        return peers.fitted(made, self.shape)


@contextmanager
def _ours(row: str, data: Dataset, plan: Plan, seed: int, horizon: int) -> Iterator[Side]:
    yield _Ours(ours.played(RECIPES[row], data, ours.CHOSEN, seed=seed, horizon=horizon), seed, plan.threads)


@contextmanager
def _by_hand(data: Dataset, plan: Plan, seed: int, horizon: int) -> Iterator[Side]:
    row = replace(RECIPES["dcgan"], batch=64, averages=RECIPES["gan"].averages)
    yield _ByHand(floor.Pair(row, data, seed), plan.threads)


@contextmanager
def _script(path: str, steps: int, data: Dataset, plan: Plan, seed: int, horizon: int) -> Iterator[Side]:
    with peers.running(peers.Script("PyTorch-GAN", path, steps_a_round=steps), plan, seed, data) as peer:
        yield _Script(peer, data.spec.shape)


def _recipes(name: str, conditional: bool) -> tuple[Contestant, ...]:
    return tuple(Contestant(name, partial(_ours, name), conditional, share) for share in (1.0, 1 / 3))


def _of_pytorch_gan(name: str, steps: int = 1, conditional: bool = False) -> Contestant:
    path = f"implementations/{name}/{name}.py"
    return Contestant(f"PyTorch-GAN {name}", partial(_script, path, steps), conditional)


CONTESTANTS: tuple[Contestant, ...] = (
    *_recipes("r3gan", False),
    *_recipes("r3gan-conditional", True),
    Contestant("dcgan", partial(_ours, "dcgan")),
    Contestant("DCGAN by hand", _by_hand),
    _of_pytorch_gan("dcgan"),
    _of_pytorch_gan("wgan_gp", steps=5),
    _of_pytorch_gan("cgan", conditional=True),
)
"""Everything that can be measured, ours first."""


def chosen(names: Sequence[str], plan: Plan) -> tuple[Contestant, ...]:
    """The contestants of these names; without names all that are possible (scripts only where there are peers).

    Raises:
        ConfigError: there is no contestant of a name.

    Examples:
        >>> [one.shown for one in chosen(["r3gan"], Plan())]
        ['r3gan', 'r3gan, 0.33 of the time']
    """
    known = {one.name for one in CONTESTANTS}
    for name in names:
        if name not in known:
            raise ConfigError(f"no contestant '{name}'", did_you_mean(name, known))
    if names:
        return tuple(one for one in CONTESTANTS if one.name in names)
    return tuple(one for one in CONTESTANTS if plan.peers is not None or "PyTorch-GAN" not in one.name)


@dataclass(frozen=True)
class Scorer:
    """A fixed classifier of the data: features for the distance, and the class of a sample."""

    classifier: Classifier
    real: Tensor
    floor: float

    @classmethod
    def of(cls, data: Dataset, n: int) -> Scorer:
        """Trained on the labelled training rows; ``n`` held-out rows are the real ones, as many more give the floor."""
        classifier = classifier_of(data)
        real = classifier.features(data.take(2 * n, held_out=True)["x"])
        return cls(classifier, real[:n], frechet_distance(real[:n], real[n:]))

    def __call__(self, made: Tensor, labels: Tensor) -> dict[str, float]:
        """Distance to the held-out rows, and the share of samples with the class that was asked for."""
        agreement = float((self.classifier.predict(made) == labels).float().mean())
        return {"distance": frechet_distance(self.classifier.features(made), self.real), "agreement": agreement}


def compared(
    contestants: Sequence[Contestant],
    source: str,
    budget: float,
    plan: Plan,
    seeds: int,
    told: Callable[[str], None],
    n: int = SAMPLES,
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Train every contestant with every seed; returns a row for each, and the samples of the first seed by mark.

    Args:
        contestants: what trains.
        source: of the data.
        budget: processor seconds of each contestant (wall-clock seconds with several threads).
        plan: threads and peers.
        seeds: their number, from 0 on.
        told: called with a line about each mark.
        n: number of samples at a mark.
    """
    data = load(source)
    scorer = Scorer.of(data, n)
    rounds = {one.shown: _rounds(one, data, plan, budget * one.share) for one in contestants}
    rows, pictures = [], []
    for seed in range(seeds):
        with ExitStack() as stack:
            sides = [stack.enter_context(one.side(data, plan, seed, rounds[one.shown])) for one in contestants]
            own = [_row(one, seed, rounds[one.shown], scorer.floor) for one in contestants]
            for mark in MARKS:
                for row, side in zip(own, sides, strict=True):
                    labels = torch.arange(n) % max(data.spec.classes, 1)
                    made = _advanced(row, side, mark, scorer, labels)
                    told(_line(row))
                    if seed == 0:
                        pictures.append(made[:20])
            rows += own
    return rows, pictures


def _row(one: Contestant, seed: int, rounds: int, floor: float) -> dict[str, Any]:
    return {
        "name": one.shown,
        "conditional": one.conditional,
        "seed": seed,
        "rounds": rounds,
        "floor": floor,
        "marks": [],
    }


def _advanced(row: dict[str, Any], side: Side, mark: float, scorer: Scorer, labels: Tensor) -> Tensor:
    before = row["marks"][-1] if row["marks"] else {"rounds": 0, "seconds": 0.0}
    until = max(round(mark * row["rounds"]), before["rounds"] + 1)
    seconds = before["seconds"] + side.advance(until - before["rounds"])
    made = side.samples(labels)
    found = scorer(made, labels)
    if not row["conditional"]:
        del found["agreement"]
    row["marks"].append({"rounds": until, "seconds": seconds, **found})
    return made


def _rounds(one: Contestant, data: Dataset, plan: Plan, seconds: float) -> int:
    """How many rounds fit into the seconds, from a short run."""
    with one.side(data, plan, 0, floor.HORIZON) as side:
        side.advance(3)
        return max(len(MARKS), int(seconds * _TRIED / side.advance(_TRIED)))


def _line(row: dict[str, Any]) -> str:
    last = row["marks"][-1]
    agrees = f", {last['agreement']:.1%} of the labels" if "agreement" in last else ""
    return f"{row['name']}, seed {row['seed']}: {last['seconds']:.0f} s, distance {last['distance']:.1f}{agrees}"


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each contestant's final distance over its seeds, beside the floor.

    Examples:
        >>> row = {"name": "a", "floor": 1.0, "marks": [{"seconds": 60.0, "distance": 5.0}]}
        >>> summary([row, {**row, "marks": [{"seconds": 62.0, "distance": 7.0}]}])[0]["distance"]
        6.0
    """
    names = dict.fromkeys(row["name"] for row in rows)
    found = []
    for name in names:
        last = [row["marks"][-1] for row in rows if row["name"] == name]
        values = [mark["distance"] for mark in last]
        found.append(
            {
                "name": name,
                "seeds": len(last),
                "seconds": fmean(mark["seconds"] for mark in last),
                "distance": fmean(values),
                "deviation": stdev(values) if len(values) > 1 else None,
                "floor": rows[0]["floor"],
            }
        )
    return found


def curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Distance against seconds, both logarithmic: the mean over seeds, and a band from the least to the most."""
    figure, (axes,) = panels(width=6.4, height=3.8)
    for place, name in enumerate(dict.fromkeys(row["name"] for row in rows)):
        marks = list(zip(*(row["marks"] for row in rows if row["name"] == name), strict=True))
        seconds = [fmean(one["seconds"] for one in same) for same in marks]
        values = [[one["distance"] for one in same] for same in marks]
        colour = PALETTE[place % len(PALETTE)]
        axes.fill_between(seconds, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15, lw=0)
        axes.plot(seconds, [fmean(v) for v in values], "o-", color=colour, markersize=3, linewidth=1.2, label=name)
    axes.axhline(rows[0]["floor"], color="#333333", linewidth=0.8, linestyle=":", label="real rows")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(fontsize=7, frameon=False)
    label(
        axes, x="processor seconds of training", y="Fréchet distance, classifier's features", title="Quality per time"
    )
    return figure


def picture(pictures: Sequence[Tensor], names: Sequence[str]) -> Any:
    """Samples of the first seed: a row of twenty for each mark of each contestant, contestants from top to bottom."""
    ordered = [made for place in range(len(names)) for made in pictures[place :: len(names)]]
    return image_grid(torch.cat(ordered), columns=20, tile=28)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; writes quality_time.json, curves.png and samples.png into a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_time", description=__doc__)
    parser.add_argument("names", nargs="*", help="contestants; none for all that are possible")
    parser.add_argument("--data", default="mnist", help="images of 28x28 pixels with labels")
    parser.add_argument("--seconds", type=float, default=600.0, help="budget of each contestant and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", type=Path, help="a folder with a clone of PyTorch-GAN")
    parser.add_argument("--python", type=Path, help="the interpreter that runs the peers")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    given = parser.parse_args(arguments)
    try:
        plan = Plan(given.seconds, threads=given.threads, peers=given.peers, python=given.python)
        contestants = chosen(given.names, plan)
    except ConfigError as error:
        return failed(error)
    torch.set_num_threads(given.threads)
    rows, pictures = compared(
        contestants, given.data, given.seconds, plan, given.seeds, lambda told: print(told, flush=True)
    )
    found = {"machine": surroundings(given.threads), "data": given.data, "summary": summary(rows), "rows": rows}
    make_folder(given.out)
    write_atomically(given.out / "quality_time.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_atomically(given.out / "curves.png", rendered(curves(rows)))
    picture(pictures, [one.shown for one in contestants]).save(given.out / "samples.png")
    for row in found["summary"]:
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.1f}"
        print(
            f"{row['name']}: {row['distance']:.1f}{spread} after {row['seconds']:.0f} s (real rows: {row['floor']:.1f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
