"""The views of a game as pictures, and the rows and labels that they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..base.errors import ConfigError, DataError, ShapeError, did_you_mean
from ..core.game import Game
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..data.encoding import Encoding, Series
from ..figures import Bounds, Plane, bounds_of, image_grid, plane_of, png, scatter, strip
from ..figures.tables import table_picture
from ..metrics.modes import modes
from ..metrics.tables import associations, plain_columns
from .hooks import Log, Samples
from .marginals import FEW, finished

_ROWS = {"vector": 2500, "image": 64}
Views = Mapping[str, Tensor]
Painter = Callable[[Views], bytes]


def members_of(rows: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Rows of this shape by member: those of an ensemble are ``(members, n, …)``, all others one part.

    Examples:
        >>> len(members_of(torch.zeros(3, 5, 2), (2,))), len(members_of(torch.zeros(5, 2), (2,)))
        (3, 1)
    """
    return list(rows) if rows.dim() == len(shape) + 2 else [rows]


def labels_for(play: Play, n: int) -> Tensor | None:
    """The classes of a picture of a game with labels: each class by its share in the data, in order row by row."""
    return play.game.usual_classes(n).to(play.device) if play.game.classes else None


def rows_for(game: Game, data: Callable[[], Dataset], n: int, seed: int = 0) -> dict[str, Tensor] | None:
    """Rows for a game that samples from rows; None for one that samples from codes alone (the data is not opened)."""
    return held_out_rows(game.needs, data, n, seed, game.shows) if game.needs else None


def judged_samples(play: Play, data: Dataset, n: int, seed: int) -> Tensor:
    """``n`` samples as the first view that is compared with the data, on the CPU.

    Raises:
        ConfigError: the game does not show that view.
    """
    view = next(iter(play.game.judged))
    shown = play.views(n, seed, labels_for(play, n), given=rows_for(play.game, lambda: data, n))
    if view not in shown:
        raise ConfigError(f"Game.judged names '{view}', which is not among the game's views", did_you_mean(view, shown))
    return shown[view].cpu()


def held_out_rows(
    needed: tuple[str, ...] | None,
    data: Callable[[], Dataset],
    n: int,
    seed: int = 0,
    besides: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """``n`` held-out rows of some columns; training rows, with a warning, if nothing is held out.

    ``needed``: the columns, None for all; ``besides``: columns that are added if the data has them.

    Raises:
        DataError: the data has no such column.
    """
    opened = data()
    held_out = opened.held_out_size is None or opened.held_out_size > 0
    if not held_out:
        warnings.warn(
            f"no rows of '{opened.name}' are held out, training rows are used (set data.held_out above 0)", stacklevel=2
        )
    rows = opened.take(n, seed, held_out=held_out)
    if needed is None:
        return rows
    if missing := [name for name in needed if name not in rows]:
        raise DataError(f"the data has no column '{missing[0]}', only {', '.join(rows)}", "use data that has it")
    return {name: rows[name] for name in (*needed, *(name for name in besides if name in rows))}


def sample_hook(folder: Path, data: Dataset, every: int, log: Log) -> Samples:
    """The hook that stores samples and pictures, and logs the number of captured modes if the data is a law."""
    image = data.spec.kind == "image"
    n = 100 if image and data.spec.classes == 10 else _ROWS[data.spec.kind]
    given: list[dict[str, Tensor] | None] = []

    def draw(play: Play) -> Views:
        if not given:
            given.append(rows_for(play.game, lambda: data, n))
        shown = play.views(n, 0, labels_for(play, n), given=given[0])
        shown = {name: view.cpu() for name, view in shown.items()}
        if (encoding := data.spec.encoding) is not None:
            judged = play.game.judged
            shown = {n: finished(v, play, encoding, FEW) if judged.get(n) == "x" else v for n, v in shown.items()}
        if row := _modes(play, shown, data):
            log.write({"step": play.round, **row})
            log.latest.update(row)
        return shown

    def picture(play: Play, shown: Views) -> bytes:
        return painter(data.spec, lambda: data, n, play.game.judged)(shown)

    return Samples(folder / "samples", every, draw, picture, np.float16 if image else np.float32)


def _modes(play: Play, shown: Views, data: Dataset) -> dict[str, float | list[float]]:
    """The modes of the data's law that samples capture; of an ensemble a list, one number per member."""
    law, shape = data.law, tuple(data.spec.shape)
    view = next((name for name, column in play.game.judged.items() if column == "x"), None)
    if law is None or law.modes is None or view is None or view not in shown:
        return {}
    parts = members_of(shown[view], shape)
    if tuple(parts[0].shape[1:]) != shape:
        return {}
    found = [modes(rows, law) for rows in parts]
    captured: list[float] = [f.captured for f in found]
    quality: list[float] = [f.high_quality for f in found]
    single = len(found) == 1
    return {
        "quality/modes": captured[0] if single else captured,
        "quality/high_quality": quality[0] if single else quality,
    }


def painter(
    spec: DataSpec, data: Callable[[], Dataset], n: int = 64, judged: Mapping[str, str] | None = None
) -> Painter:
    """A function that draws views as a PNG; it raises ShapeError for views that cannot be drawn.

    Images are drawn in a grid; with several views, each example is a row of them in their order. Points are drawn over
    real ones, each view in a panel of its own over the rows of the column that it is compared with.

    Args:
        spec: kind and shape of the rows.
        data: returns the data, which is needed only for points.
        n: how many samples there will be.
        judged: each view that is compared with the data, and the column.
    """
    columns = judged if judged is not None else {"samples": "x"}
    if spec.kind == "image":
        return lambda views: _grid(views, 10 if n == 100 else 8)
    if spec.encoding is not None:
        return _Tables(spec.encoding, data, columns)
    scatters = _Scatters(data, columns)

    def draw(views: Views) -> bytes:
        flat = {name: view.flatten(0, -2) for name, view in views.items() if view.dim() in (2, 3)}
        if not flat:
            raise ShapeError(f"samples of shape {_shapes(views)} are not points", "write them to a .npz")
        panels = [scatters.panel(name, points) for name, points in flat.items()]
        return png(panels[0] if len(panels) == 1 else strip(panels, list(flat), height=panels[0].height))

    return draw


class _Tables:
    """Marginal laws and associations of the columns of samples, over those of the training rows."""

    def __init__(self, encoding: Encoding, data: Callable[[], Dataset], columns: Mapping[str, str]) -> None:
        self.encoding, self.data, self.columns = encoding, data, columns
        self._real: dict[str, Series] = {}

    def __call__(self, views: Views) -> bytes:
        found = [view for name, view in views.items() if self.columns.get(name) == "x"]
        rows = found[0].flatten(0, -2) if found else torch.zeros(0)
        if rows.dim() != 2 or rows.shape[1] != self.encoding.width or not len(rows):
            raise ShapeError(f"samples of shape {_shapes(views)} are no rows of the table", "write them to a .npz")
        if not self._real:
            rows_of_data = self.data().take(_ROWS["vector"])["x"]
            self._real = self.encoding.decode(rows_of_data.cpu().numpy())
        made = self.encoding.decode(rows.cpu().numpy())
        matrices = (associations(self._real, self.encoding), associations(made, self.encoding))
        return table_picture(plain_columns(self._real), plain_columns(made), matrices)


class _Scatters:
    """Points over the real rows of their column, in windows that stay the same from picture to picture."""

    def __init__(self, data: Callable[[], Dataset], columns: Mapping[str, str]) -> None:
        self.data, self.columns = data, columns
        self._windows: dict[str, tuple[Tensor | None, Bounds, Plane | None]] = {}
        self._rows: dict[str, Tensor] = {}

    def panel(self, name: str, points: Tensor) -> Image.Image:
        if name not in self._windows:
            self._windows[name] = self._window(name, points)
        real, window, plane = self._windows[name]
        return scatter(points, real, window, plane=plane)

    def _window(self, name: str, points: Tensor) -> tuple[Tensor | None, Bounds, Plane | None]:
        if not self._rows:
            self._rows = self.data().take(_ROWS["vector"])
        real = self._rows.get(self.columns.get(name, ""))
        shown = points if real is None else real.cpu()
        plane = plane_of(shown, "the real data" if real is not None else "the samples") if shown.shape[1] > 2 else None
        flat = plane.project(shown.numpy()) if plane else shown.expand(-1, 2) if shown.shape[1] == 1 else shown
        return (None if real is None else shown), bounds_of(flat), plane


def _grid(views: Views, columns: int) -> bytes:
    """Images in a grid, an example's views side by side."""
    images = {name: view for name, view in views.items() if view.dim() >= 4 and view.shape[-3] in (1, 3, 4)}
    flat = {name: view.flatten(0, -4) for name, view in images.items()}
    if not flat:
        raise ShapeError(f"samples of shape {_shapes(views)} are not images", "write them to a .npz")
    if len(flat) == 1:
        return png(image_grid(next(iter(flat.values())), columns))
    return png(image_grid(side_by_side(flat), max(1, round(columns / len(flat))), tile=80 * len(flat)))


def side_by_side(views: Views) -> Tensor:
    """Images ``(n, 1, 3 or 4, h, w)`` of several views as one wide image per example.

    Smaller ones are enlarged by the largest integer factor that fits and centred; if one view is in colour, all
    are.

    Raises:
        ShapeError: views of different numbers of images.

    Examples:
        >>> side_by_side({"coarse": torch.zeros(5, 1, 4, 4), "fine": torch.zeros(5, 3, 8, 8)}).shape
        torch.Size([5, 3, 8, 16])
    """
    counts = {name: len(view) for name, view in views.items()}
    if len(set(counts.values())) != 1:
        raise ShapeError(f"views of {counts} images", "give every view one image per example")
    height = max(int(view.shape[2]) for view in views.values())
    channels = max(int(view.shape[1]) for view in views.values())
    parts = []
    for view in views.values():
        factor = max(1, height // int(view.shape[2]))
        if view.shape[1] < channels == 4:  # beside images with alpha, one that is opaque
            view = torch.cat([view.expand(-1, 3, -1, -1), torch.ones_like(view[:, :1])], dim=1)
        grown = view.expand(-1, channels, -1, -1).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        above = (height - grown.shape[2]) // 2
        below = height - int(grown.shape[2]) - above
        parts.append(torch.nn.functional.pad(grown, (0, 0, above, below), value=-1.0))
    return torch.cat(parts, dim=3)


def _shapes(views: Views) -> str:
    return ", ".join(str(tuple(view.shape)) for view in views.values())
