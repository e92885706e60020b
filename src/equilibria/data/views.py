r"""Data derived from data: the same rows in the same order, changed.

``view(dataset)`` is a data set whose row i comes from row i of ``dataset``: the same seed and turn deal the same rows,
so both may be used side by side. Only ``x`` changes; labels and further columns stay.

**Pyramids.** Images are floats in [-1, 1] (bytes are scaled first). :func:`halve` takes the mean of 2 x 2 blocks and
:func:`enlarge` interpolates linearly; both keep the range, so a band is in [-2, 2]:

.. math:: I_{k+1} = d(I_k), \qquad h_k = I_k - u(I_{k+1}), \qquad I_k = u(I_{k+1}) + h_k

(Denton et al. 2015, section 2.2, with d = :func:`halve` and u = :func:`enlarge`). The last equation inverts the one
before it up to the rounding of two float32 operations, together at most 1.8e-7 a level.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError
from ..base.randomness import mix
from ..base.records import encode, record
from ..base.registry import Registry
from .dataset import Dataset
from .options import Column, DataSpec
from .store import Store
from .table import Table, rows_at, scaled

__all__ = [
    "VIEWS", "DataView", "Edges", "Halved", "Negative", "Residual", "Reweighted", "SideBySide",
    "enlarge", "halve", "viewed",
]  # fmt: skip

Rows = dict[str, Tensor]


@runtime_checkable
class DataView(Protocol):
    """A record that derives a data set from another: ``view(dataset)``.

    The derived set has the options and the held-out rows of ``dataset``. No string reopens it, unless it was named by
    one (``load("mnist-residual")``).
    """

    def __call__(self, dataset: Dataset) -> Dataset:
        """The derived data set.

        Raises:
            DataError: the view needs rows of another kind.
            ConfigError: a field does not fit the data.
        """

    def store(self, dataset: Dataset) -> Store:
        """Where the derived rows come from."""


def _derived(dataset: Dataset, view: DataView, spec: DataSpec) -> Dataset:
    name = f"{dataset.name}-{type(view).__name__.lower()}"
    return Dataset(name, view.store(dataset), spec, options=dataset.options, class_names=dataset.class_names)


class RowView(ABC):
    """Abstract record: a view of images that changes each row by itself."""

    keeps_bytes: ClassVar[bool] = False
    """Whether bytes become bytes: then it may as well be applied to whole arrays, once."""

    def __call__(self, dataset: Dataset) -> Dataset:
        """The derived data set, of the size of ``dataset``.

        Raises:
            DataError: the rows are no images, or of a size that the view cannot take.
        """
        return _derived(dataset, self, self.spec(dataset.spec, dataset.name))

    def store(self, dataset: Dataset) -> Store:
        """The rows of the data, each changed as it is dealt."""
        return RowStore(dataset.store, self)

    @abstractmethod
    def change(self, rows: Rows) -> Rows:
        """Rows as they are stored (``x`` uint8 or float32), changed."""

    def spec(self, spec: DataSpec, name: str) -> DataSpec:
        """What rows of the derived set are; ``name`` is what the data is called in messages.

        Raises:
            DataError: as from the call.
        """
        if spec.kind != "image":
            raise DataError(f"'{name}' has rows of shape {spec.shape}: no {_word(self)} of vectors", "name images")
        # A row of zeros says which columns there are, and of which shape.
        made = self.change({"x": torch.zeros(1, *spec.shape)})
        shape = tuple(made.pop("x").shape[1:])
        added = tuple(Column(name=n, kind="image", shape=tuple(c.shape[1:])) for n, c in made.items())
        clash = {c.name for c in added} & {c.name for c in spec.columns}
        if clash:
            raise DataError(f"'{name}' has a column '{min(clash)}' already", "take this view of other data")
        return replace(spec, shape=shape, paired=spec.paired and shape == spec.shape, columns=(*spec.columns, *added))


class RowStore(Store):
    """The rows of a store, each changed by itself as it is dealt.

    Args:
        of: the rows.
        view: the change.
    """

    def __init__(self, of: Store, view: RowView) -> None:
        self.of, self.view = of, view
        self.size, self.held_size = of.size, of.held_size

    def batch(self, n: int, seed: int, turn: int) -> Rows:
        return self.view.change(self.of.batch(n, seed, turn))

    def take(self, n: int, seed: int, held_out: bool) -> Rows:
        return self.view.change(self.of.take(n, seed, held_out))

    def whole(self) -> Rows:
        return self.view.change(self.of.whole())

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": "view", "view": encode(self.view), "of": self.of.fingerprint()}

    def to(self, device: torch.device) -> RowStore:
        return RowStore(self.of.to(device), self.view)


@record
class Negative(RowView):
    """The negative of each image: 255 - x of bytes, -x of floats.

    Examples:
        >>> from equilibria.data import load
        >>> digits = load("digits")
        >>> torch.equal(Negative()(digits).take(4)["x"], load("digits-negative").take(4)["x"])
        True
    """

    keeps_bytes: ClassVar[bool] = True

    def change(self, rows: Rows) -> Rows:
        x = rows["x"]
        return {**rows, "x": 255 - x if x.dtype == torch.uint8 else -x}


@record
class Edges(RowView):
    """The outlines of each image: the maximum over 3 x 3 neighbours, less the pixel (half a morphological gradient).

    Of bytes it is in 0 … 255; of floats, where it is in [0, 2], 1 is subtracted.

    Examples:
        >>> x = torch.full((1, 1, 4, 4), -1.0)
        >>> x[0, 0, 0, 0] = 1.0
        >>> Edges().change({"x": x})["x"][0, 0, 0].tolist()
        [-1.0, 1.0, -1.0, -1.0]
    """

    keeps_bytes: ClassVar[bool] = True

    def change(self, rows: Rows) -> Rows:
        parts = []
        for piece in torch.split(rows["x"], 1024):
            wide = torch.nn.functional.max_pool2d(piece.float(), 3, stride=1, padding=1) - piece.float()
            parts.append(wide.to(torch.uint8) if piece.dtype == torch.uint8 else wide - 1.0)
        return {**rows, "x": torch.cat(parts)}


@record
class Halved(RowView):
    """Images at half the resolution (:func:`halve`).

    Raises:
        DataError: from the call, images of an odd height or width.

    Examples:
        >>> from equilibria.data import load
        >>> Halved()(load("digits")).spec.shape
        (1, 4, 4)
    """

    def change(self, rows: Rows) -> Rows:
        return {**rows, "x": halve(scaled({"x": rows["x"]})["x"])}


@record
class Residual(RowView):
    """One band of a Laplacian pyramid: what an image has beyond its half-size copy.

    ``x`` is :math:`h = I - u(d(I))`, in [-2, 2]; the aligned column ``coarse`` is :math:`d(I)`, at half the resolution.
    ``enlarge(coarse) + x`` is the image.

    Raises:
        DataError: from the call, images of an odd height or width.

    Examples:
        >>> from equilibria.data import load
        >>> digits = load("digits")
        >>> band = Residual()(digits).take(4)
        >>> bool((enlarge(band["coarse"]) + band["x"] - digits.take(4)["x"]).abs().max() < 1e-6)
        True
    """

    def change(self, rows: Rows) -> Rows:
        x = scaled({"x": rows["x"]})["x"]
        coarse = halve(x)
        return {**rows, "x": x - enlarge(coarse), "coarse": coarse}


@record
class SideBySide(RowView):
    """Two pictures side by side in each image: the left half is ``x``, the right half the aligned column ``other``.

    Examples:
        >>> from equilibria.data import load
        >>> data = SideBySide()(load(torch.zeros(6, 1, 4, 8)))
        >>> data.spec.shape, data.spec.column("other").shape
        ((1, 4, 4), (1, 4, 4))
    """

    def change(self, rows: Rows) -> Rows:
        x = rows["x"]
        if x.shape[-1] % 2:
            raise DataError(f"images {x.shape[-1]} pixels wide have no halves", "give images of an even width")
        left, right = x.chunk(2, dim=-1)
        return {**rows, "x": left, "other": right}


def viewed(table: Table, view: RowView, name: str) -> Table:
    """The table with the view taken of all its rows at once; ``name`` is what it is called in messages.

    Raises:
        DataError: the view needs rows of another kind.
    """
    spec = view.spec(table.spec(), name)
    pieces = [view.change({"x": rows_at(table.x, piece)}) for piece in torch.split(torch.arange(len(table)), 1024)]
    made = {column: torch.cat([piece[column] for piece in pieces]) for column in pieces[0]}
    return replace(table, values={**table.values, **made}, columns=spec.columns)


def halve(x: Tensor) -> Tensor:
    """Images at half the resolution: the mean of each 2 x 2 block.

    Args:
        x: ``(…, h, w)`` floats, h and w even.

    Returns:
        ``(…, h / 2, w / 2)``, in the range of ``x``.

    Raises:
        DataError: h or w is odd.

    Examples:
        >>> halve(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
        tensor([[3.]])
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise DataError(f"images of {x.shape[-1]} x {x.shape[-2]} cannot be halved", _even(x))
    # Sums of slices, and no pooling: elementwise operations round alike on every device.
    rows = x[..., 0::2, :] + x[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) * 0.25


def _even(x: Tensor) -> str:
    from .options import setting

    height, width = (max(2, side // 2 * 2) for side in x.shape[-2:])
    return setting(size=width if width == height else f"{width}x{height}")


def enlarge(x: Tensor) -> Tensor:
    """Images at twice the resolution, by linear interpolation along each axis.

    A fine pixel is 3/4 the coarse pixel that it lies in and 1/4 the nearest neighbour of that; beyond the edge the
    edge is repeated. It is :func:`torch.nn.functional.interpolate` with ``mode="bilinear"``, by elementwise operations.

    Args:
        x: ``(…, h, w)`` floats.

    Returns:
        ``(…, 2h, 2w)``, in the range of ``x``.

    Examples:
        >>> enlarge(torch.tensor([[0.0, 4.0]]))[0]
        tensor([0., 1., 3., 4.])
    """
    return _doubled(_doubled(x, -1), -2)


def _doubled(x: Tensor, axis: int) -> Tensor:
    count = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, count - 1)], axis)
    behind = torch.cat([x.narrow(axis, 1, count - 1), x.narrow(axis, count - 1, 1)], axis)
    own = x * 0.75
    pairs = torch.stack([own + before * 0.25, own + behind * 0.25], dim=x.dim() + axis + 1)
    return pairs.flatten(x.dim() + axis, x.dim() + axis + 1)


@record
class Reweighted:
    r"""Rows dealt with replacement, row i with probability proportional to its weight.

    Row i is the i-th of ``dataset.batch(len(weights), seed, 0)``: of finite data a fixed order of all training rows, of
    a law that many rows, drawn once. Held-out rows are those of the data.

    Args:
        weights: one number >= 0 a row, not all 0.
        seed: of the order of the rows.

    Raises:
        ConfigError: weights that are negative, not finite or all 0; or, from the call, not one weight a training row.

    Examples:
        >>> from equilibria.data import load
        >>> digits = load("digits")
        >>> only_first = Reweighted(weights=(1.0, *[0.0] * (digits.size - 1)))(digits)
        >>> len(only_first.batch(8, seed=0, turn=0)["x"].unique(dim=0))
        1
    """

    weights: tuple[float, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        weights = torch.tensor(self.weights, dtype=torch.float64)
        if not len(weights) or not bool((weights.isfinite() & (weights >= 0)).all()) or not float(weights.sum()) > 0:
            raise ConfigError(f"{len(weights)} weights", "give finite numbers >= 0, at least one of them above 0")

    def __call__(self, dataset: Dataset) -> Dataset:
        """The reweighted data set; its size is the number of weights."""
        return _derived(dataset, self, dataset.spec)

    def store(self, dataset: Dataset) -> Store:
        """Where the rows come from."""
        count = len(self.weights)
        if dataset.size is not None and dataset.size != count:
            raise ConfigError(
                f"{count} weights for the {dataset.size} training rows of '{dataset.name}'", "give as many"
            )
        return WeightedStore(dataset, torch.tensor(self.weights, dtype=torch.float64), self.seed)


class WeightedStore(Store):
    """Rows of a data set dealt with replacement by weight, a function of (seed, turn).

    Args:
        data: what the rows are from.
        weights: ``(n,)`` float64, on the CPU.
        seed: rows are those of ``data.batch(n, seed, 0)``.
    """

    size: int

    def __init__(self, data: Dataset, weights: Tensor, seed: int) -> None:
        self.data, self.weights, self.seed = data, weights, seed
        self.size, self.held_size = len(weights), data.held_out_size
        self.rows = data.batch(len(weights), seed, 0)
        self._edges = weights.cumsum(0)

    def batch(self, n: int, seed: int, turn: int) -> Rows:
        generator = torch.Generator().manual_seed(mix(seed, turn, 5))
        places = torch.rand(n, generator=generator, dtype=torch.float64) * self._edges[-1]
        chosen = torch.searchsorted(self._edges, places, right=True).clamp(max=self.size - 1)
        return {name: column[chosen.to(column.device)] for name, column in self.rows.items()}

    def take(self, n: int, seed: int, held_out: bool) -> Rows:
        return self.data.take(n, seed, held_out=True) if held_out else self.batch(n, mix(seed, 8), 0)

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.weights.numpy().data).hexdigest()
        return {"kind": "reweighted", "of": self.data.fingerprint(), "sha256": digest}

    def to(self, device: torch.device) -> WeightedStore:
        return WeightedStore(self.data.to(device), self.weights, self.seed)


def _word(view: RowView) -> str:
    return type(view).__name__.lower()


VIEWS: Registry[RowView] = Registry(
    "view", {"negative": Negative(), "edges": Edges(), "halved": Halved(), "residual": Residual()}, base=DataView
)
"""Views that a source may be named with: ``digits-negative``."""
