"""What the rows of a data set are, and how they are read: frozen records."""

from __future__ import annotations

import math

from ..base.errors import ConfigError, DataError, did_you_mean
from ..base.records import record
from .encoding import Encoding

__all__ = ["Column", "DataOptions", "DataSpec", "setting"]

_LARGEST = 1 << 16  # pixels of a side
KINDS = ("image", "vector", "series", "label", "attributes", "text")


@record
class Column:
    """One column of a data set besides ``x`` and ``y``.

    Columns of one stream are aligned: row i of one belongs to row i of the other, in ``batch`` and in ``take`` alike.
    ``x`` and ``y`` are of the stream ``""``. Columns of different streams are independent in both.

    Args:
        name: how a batch names it.
        kind: ``"image"`` (c, h, w) in [-1, 1], ``"vector"`` (d,), ``"series"`` (t, c), ``"label"`` () int64 with -1 for
            an unlabelled row, ``"attributes"`` (k,) of 0 and 1, ``"text"`` (t,) int64 token numbers.
        shape: of one row; ``()`` for labels.
        classes: of labels, or the number of tokens of a text; 0 otherwise.
        stream: the stream that the column is aligned with.

    Raises:
        ConfigError: an unknown kind.

    Examples:
        >>> Column(name="photo", kind="image", shape=(3, 64, 64)).stream
        ''
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    classes: int = 0
    stream: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"column '{self.name}' of kind '{self.kind}'", did_you_mean(self.kind, KINDS))


ROWS = ("image", "table", "vector")
"""Kinds of rows that networks are built for."""


@record
class DataSpec:
    """What a builder of networks needs to know of a data set.

    Args:
        kind: ``"vector"`` for rows ``(d,)``, ``"image"`` for rows ``(c, h, w)`` in [-1, 1].
        shape: the shape of one row.
        classes: the number of classes of ``y``; 0 when there are no labels.
        paired: whether a batch has a second, independent domain, ``"other"``, of the same shape.
        columns: further columns of a batch; each says whether it is aligned with ``x``.
        unlabelled: whether ``y`` is -1 for some rows, which then have no label.
        encoding: of a table, what the numbers of a row stand for; None for other data.
        class_shares: the share of each class among the labelled rows; empty for even shares.

    Examples:
        >>> DataSpec(kind="image", shape=(1, 8, 8), classes=10).numel
        64
    """

    kind: str
    shape: tuple[int, ...]
    classes: int = 0
    paired: bool = False
    columns: tuple[Column, ...] = ()
    unlabelled: bool = False
    encoding: Encoding | None = None
    class_shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ROWS:
            raise ConfigError(f"data of kind '{self.kind}'", did_you_mean(self.kind, ROWS))

    def column(self, name: str) -> Column | None:
        """The further column of this name, None where there is none.

        Examples:
            >>> DataSpec(kind="vector", shape=(2,), paired=True).column("other").stream
            'other'
        """
        for column in self.columns:
            if column.name == name:
                return column
        if name == "other" and self.paired:
            return Column(name="other", kind=self.kind, shape=self.shape, stream="other")
        return None

    def labels_for(self, who: str) -> int:
        """The number of classes, for a game that reads the label of every row.

        Args:
            who: what needs the labels, for the message.

        Raises:
            DataError: there are no labels, or some rows have none.

        Examples:
            >>> DataSpec(kind="vector", shape=(2,), classes=3).labels_for("a conditional game")
            3
        """
        if not self.classes:
            raise DataError(
                f"{who} needs labels, and the data has none",
                "give data with labels, as --data 'digits': a folder with a subfolder for each class, or an .npz with "
                "y (in Python: load(x, labels=y))",
            )
        if self.unlabelled:
            raise DataError(
                f"{who} needs the label of every row, and this data has rows without one (y = -1)",
                "name the data without few:, as --data 'digits'",
            )
        return self.classes

    @property
    def numel(self) -> int:
        """The number of values in one row."""
        return math.prod(self.shape)


@record
class DataOptions:
    """How rows are read from a source.

    Args:
        size: images become squares of ``size`` pixels, or rectangles ``"WIDTHxHEIGHT"`` (``"64x96"`` is 64 pixels wide
            and 96 high), by antialiased bicubic resampling; None keeps their size.
        fit: how images of another shape come to ``size``: ``"crop"`` cuts the largest central part of that shape,
            ``"pad"`` shows the whole image in the middle, with black (transparent, where alpha is kept) around,
            ``"stretch"`` squeezes the whole image.
        grayscale: images become one channel (luma of Rec. 601).
        corrupt: an image file that cannot be decoded is an ``"error"``, or is left out (``"skip"``, with a warning). Of
            images that stay on the disk, ``"skip"`` decodes all once at the start, ``"error"`` those held out.
        held_out: the share of a finite source that only ``take(held_out=True)`` returns, at least one row;
            a source with its own test set (MNIST and its like) holds out that set. 0 holds out nothing.
        labelled: a law that is a mixture or a union of curves deals the index of the component as ``y``.
        stream: whether images of a folder, or of a ``.npy`` of uint8, stay on the disk and are read as batches ask for
            them: ``"true"``, ``"false"``, or ``"auto"``, where they would take more than a quarter of the memory. The
            batches are the same bit for bit. Of streamed rows, a fingerprint holds the names and sizes of all and the
            bytes of a thousand, evenly spaced.
        unlabelled: a label of -1 marks a row without a label; otherwise negative labels are refused.
        classes: where the labels of a folder's images come from: its ``"folders"``, a ``"file"`` beside the images
            (dataset.json, metadata.jsonl, metadata.csv, labels.csv), ``"none"``; ``"auto"`` takes the file if there is
            one and the folders otherwise, and refuses folders that are splits or domains.
        kind: what the rows of an array are: ``"image"``, ``"vector"`` (numbers kept as given, one row flattened),
            ``"table"`` (each column on its own scale), ``"series"`` (refused: not supported), or ``"auto"``, by the
            rule of :mod:`equilibria.data.arrays`.
        range: the pixel values that are black and white, ``(low, high)``, which become -1 and 1; values outside become
            the nearer end. None for the rules of :mod:`equilibria.data.formats` and :mod:`equilibria.data.arrays`.
        alpha: ``"white"`` composites transparent images on white; ``"keep"`` gives every image a fourth channel.
        crop: the name of ``fit`` in earlier versions: ``"center"`` is ``"crop"``, ``"none"`` is ``"stretch"``. It is
            replaced by ``fit``, and None afterwards.
        label: the column of a table that holds the classes.
        drop: columns of a table that are left out.
        category: columns of a table that are categories: numbers that are names (postcodes), texts of many values.
        missing: values of a table that are missing are refused (``"refuse"``), replaced by the column's median or most
            frequent value (``"impute"``), or learned and generated as a value of their own (``"keep"``).

    Raises:
        ConfigError: a value outside its rule.

    Examples:
        >>> DataOptions(size=32, grayscale=True).fit, DataOptions(size="64x96").sides
        ('crop', (64, 96))
    """

    size: int | str | None = None
    fit: str = "crop"
    grayscale: bool = False
    corrupt: str = "error"
    held_out: float = 0.1
    labelled: bool = False
    stream: str = "auto"
    unlabelled: bool = False
    classes: str = "auto"
    kind: str = "auto"
    range: tuple[float, float] | None = None
    alpha: str = "white"
    crop: str | None = None
    label: str | None = None
    drop: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    missing: str = "refuse"

    def __post_init__(self) -> None:
        self._read_size()
        if self.crop is not None:
            _check_word("crop", self.crop, ("center", "none"))
            object.__setattr__(self, "fit", "stretch" if self.crop == "none" else self.fit)
            object.__setattr__(self, "crop", None)
        words = {
            "fit": ("crop", "pad", "stretch"),
            "corrupt": ("error", "skip"),
            "stream": ("auto", "true", "false"),
            "classes": ("auto", "folders", "file", "none"),
            "kind": ("auto", "image", "vector", "table", "series"),
            "alpha": ("white", "keep"),
            "missing": ("refuse", "impute", "keep"),
        }
        for field, known in words.items():
            _check_word(field, getattr(self, field), known)
        if not 0.0 <= self.held_out < 1.0:
            raise ConfigError(f"held_out={self.held_out} is no share in [0, 1) of the rows", setting(held_out=0.1))
        if self.range is not None and not (all(map(math.isfinite, self.range)) and self.range[0] < self.range[1]):
            raise ConfigError(
                f"range={self.range} is no pair of finite numbers, low before high", setting(range=(0, 255))
            )
        if self.alpha == "keep" and self.grayscale:
            raise ConfigError("alpha='keep' of images in gray", setting(alpha="white"))

    def _read_size(self) -> None:
        """Check ``size``; a square given by both sides becomes a number."""
        sides = self.sides if isinstance(self.size, str) else (self.size or 1,) * 2
        if sides is None or self.size == 0 or not all(1 <= side <= _LARGEST for side in sides):
            what = f"size={self.size} is no image size (one side, or WIDTHxHEIGHT, each of 1 to {_LARGEST:,} pixels)"
            raise ConfigError(what, f"{setting(size=64)}, or {setting(size='64x96')}, or leave it out")
        if isinstance(self.size, str) and sides[0] == sides[1]:
            object.__setattr__(self, "size", sides[0])

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height that images become; None where they keep their size."""
        if isinstance(self.size, str):
            width, by, height = self.size.strip().lower().partition("x")
            return (int(width), int(height)) if by and width.isdecimal() and height.isdecimal() else None
        return None if self.size is None else (self.size, self.size)


def _check_word(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        others = ", ".join(f"'{word}'" for word in known[1:])
        fix = f"{setting(**{field: known[0]})}; {others} may stand in its place"
        raise ConfigError(f"{field}='{value}' is unknown", fix)


def setting(**options: object) -> str:
    """How options of :class:`DataOptions` are set, on the command line and in Python: the words of a fix.

    Examples:
        >>> setting(size=64)
        'add --set data.size=64 (in Python: load(source, size=64))'
    """
    line = " ".join(f"--set data.{name}={_word(value)}" for name, value in options.items())
    call = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"add {line} (in Python: load(source, {call}))"


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_word(one) for one in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
