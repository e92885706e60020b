"""The best checkpoint: the weights of the round whose samples were the closest to held-out rows.

```
RUN/best/step-00001200/   the weights (as in a checkpoint, without optimisers), and measure.json: what was measured
```

Every round of a fixed grid is measured, so a run that was killed and resumed keeps the same one. A round that was
surpassed is deleted only after a checkpoint of a later round is whole: the run may have to go back to before that.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..base.errors import EquilibriaError, ShapeError
from ..base.records import parsed, written
from ..core.game import Loss
from ..core.play import Play
from ..data import Dataset
from ..doctor.space import Space, space_of
from ..metrics import evaluate
from ..metrics.frechet import frechet_distance
from ..metrics.protocols import check_metric_name
from . import checkpoint
from .pictures import held_out_rows, judged_samples

FOLDER, MEASURE = "best", "measure.json"
DISTANCE = "distance"
_ROWS = {"vector": 512, "image": 256}
_SEED = 1
_LEAST = 1e-9  # root mean square of rows that are not all alike
Judge = Callable[[Play], float]
"""Measures the samples of a play, the less the better."""


@dataclass(frozen=True)
class Scored:
    """A round that was kept, and what its samples scored.

    Attributes:
        path: the folder of its weights.
        round: the round.
        measure: the name of what was measured.
        value: the number.
    """

    path: Path
    round: int
    measure: str
    value: float


def kept(folder: Path) -> list[Scored]:
    """The rounds that are kept in ``folder``, the best one first; what is damaged is left out."""
    found = []
    for path in checkpoint.listed(folder):
        try:
            values = parsed((path / MEASURE).read_bytes())
            found.append(Scored(path, checkpoint.round_of(path), str(values["measure"]), float(values["value"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda one: (one.value, one.round))


def drop_after(run: Path, round: int) -> None:
    """Delete what is kept of rounds after ``round``, which are trained again.

    Raises:
        RunError: it cannot be deleted.
    """
    checkpoint.drop(run / FOLDER, round)


class Best:
    """A hook that keeps the weights of the round with the best samples.

    Args:
        run: the folder of the run.
        every: rounds between two measurements; the last round is measured as well.
        last: the last round.
        measure: the name of what is measured.
        judge: measures it.
    """

    def __init__(self, run: Path, every: int, last: int, measure: str, judge: Judge) -> None:
        self.run, self.folder, self.every, self.last = run, run / FOLDER, every, last
        self.measure, self.judge, self.off = measure, judge, False
        found = kept(self.folder)
        self.value = found[0].value if found else math.inf

    def due(self, step: int) -> bool:
        return not self.off and (step % self.every == 0 or step == self.last)

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        try:
            value = self.judge(play)
        except EquilibriaError as error:  # samples of a user's game may be none that can be compared with rows
            self.off = True
            warnings.warn(f"no best checkpoint is kept: {error.what}", stacklevel=2)
            return
        if value < self.value:
            self.value = value
            final = self.folder / f"step-{play.round:08d}"
            checkpoint.save_weights(play, final, {MEASURE: written({"measure": self.measure, "value": value})})

    def prune(self) -> None:
        """Delete what was surpassed before the newest whole checkpoint."""
        saved = [checkpoint.round_of(path) for path in checkpoint.listed(self.run / "checkpoints")]
        found, newest = kept(self.folder), max(saved, default=-1)
        needed = {one.round for one in (found[:1] + [one for one in found if one.round <= newest][:1])}
        for one in found:
            if one.round not in needed:
                shutil.rmtree(one.path, ignore_errors=True)

    def close(self, play: Play) -> None: ...


def judge_of(measure: str, data: Dataset) -> Judge:
    """What measures the samples of a play of this data.

    Args:
        measure: ``"distance"`` to held-out rows: of rows of at most 16 numbers the sliced Wasserstein-1 distance, in
            units of the data's root mean square; of others the Fréchet distance of their principal components and of
            the norm that these leave out (256 samples tell apart rounds of one run by it, and not by the former). Or
            the name of a metric of :func:`~equilibria.metrics.evaluate`, whose excess over its floor is taken.
        data: the data of the run.

    Raises:
        ConfigError: the name of a metric of a protocol, which is not computed in training.
    """
    check_metric_name(measure)
    return _Distance(data) if measure == DISTANCE else _Metric(measure, data)


class _Distance:
    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._space: Space | None = None

    def __call__(self, play: Play) -> float:
        column = next(iter(play.game.judged.values()))
        n = _ROWS.get(self.data.spec.kind, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is held out was said at the start
            real = held_out_rows((column,), lambda: self.data, n)[column]
        if self._space is None:
            self._space = space_of(self.data.take(min(2048, self.data.size or 2048))[column], cells=False)
        if self._space.scale < _LEAST:
            return math.nan  # no distance has a scale, and no round is the best one
        samples = judged_samples(play, self.data, n, _SEED)
        if samples.shape[1:] != real.shape[1:]:
            raise ShapeError(f"samples of shape {tuple(samples.shape[1:])} of rows {tuple(real.shape[1:])}")
        if self._space.axes is None:
            return self._space.sliced(self._space(real), self._space(samples))
        return frechet_distance(_features(self._space, samples), _features(self._space, real))


def _features(space: Space, x: torch.Tensor) -> torch.Tensor:
    """Principal components of rows, and the norm of what they leave out, on the same scale, ``(n, k + 1)``."""
    assert space.axes is not None
    z, flat = space(x), (x.flatten(1).float() - space.mean) / space.scale
    left = flat.square().sum(1) - z.square().sum(1) / space.axes[:, 0].square().sum()
    return torch.cat([z, left.clamp(min=0).sqrt()[:, None] / math.sqrt(z.shape[1])], dim=1).double()


class _Metric:
    def __init__(self, name: str, data: Dataset) -> None:
        self.name, self.data = name, data

    def __call__(self, play: Play) -> float:
        found = evaluate(judged_samples(play, self.data, 1000, _SEED), self.data)
        one = found.get(self.name)
        if one is None or one.excess is None:
            raise EquilibriaError(f"samples of this run have no metric '{self.name}'; there are {', '.join(found)}")
        return one.excess
