"""Pages of samples in rows and columns: as a picture or an animation, with the codes of each sample beside it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ..base.errors import ConfigError, RunError
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..figures import image_grid
from ..figures.animation import captioned, gif, mp4
from ..training import disk
from ..training.pictures import painter
from . import snapshots

Codes = dict[str, Tensor]
SUFFIXES = (".png", ".gif", ".mp4")


class Sampled(Protocol):
    """What is read of a run."""

    path: Path
    play: Play

    @property
    def spec(self) -> DataSpec: ...

    @property
    def data(self) -> Dataset: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def sample(self) -> Callable[..., Tensor]: ...

    @property
    def codes(self) -> Callable[..., Codes]: ...


@dataclass(frozen=True, repr=False)
class Page:
    """Samples in rows and columns, with their codes.

    Attributes:
        samples: ``(rows * columns, …)`` row by row.
        codes: what :meth:`Run.sample` takes as ``latents`` to make the same samples again, bit for bit.
        columns: captions of the columns.
        rows: captions of the rows; empty texts where they have none.
        run: whose samples they are.
        closed: whether the first column follows the last one.
    """

    samples: Tensor
    codes: Codes
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    run: Sampled
    closed: bool = False

    def __repr__(self) -> str:
        return f"Page of {len(self.rows)} x {len(self.columns)} samples of {self.run.path}"

    def at(self, row: int, column: int) -> Codes:
        """The codes of one sample, one row of each."""
        i = range(len(self.rows))[row] * len(self.columns) + range(len(self.columns))[column]
        return {name: values[i : i + 1] for name, values in self.codes.items()}

    def picture(self) -> Image.Image:
        """Images in a grid with captions; points over the real ones.

        Raises:
            ConfigError: the samples are rows of a table.
        """
        if self.run.spec.kind == "image":
            page = image_grid(self.samples, len(self.columns), tile=48)
            return captioned(page, self.columns, self.rows if any(self.rows) else ())
        return self._points(self.samples)

    def frames(self) -> list[Image.Image]:
        """A picture of each column, in order; then back to the first one if the path is not closed."""
        rows = self.samples.reshape(len(self.rows), len(self.columns), *self.samples.shape[1:])
        image = self.run.spec.kind == "image"
        made = [
            image_grid(rows[:, j], tile=64) if image else self._points(rows[:, j]) for j in range(len(self.columns))
        ]
        return made if self.closed else made + made[-2:0:-1]

    def write(self, path: str | Path) -> tuple[Path, Path]:
        """Write a ``.png``, or an animation of the columns as ``.gif`` or ``.mp4``, and the codes beside it.

        Returns:
            the picture, and the ``.npz`` of the codes, which has its name.

        Raises:
            ConfigError: another suffix, no such folder, or an ``.mp4`` without the program ``ffmpeg``.
            RunError: a file cannot be written.
        """
        target = Path(path)
        check_name(target)
        kind = target.suffix.lower()
        if kind == ".png":
            out = io.BytesIO()
            self.picture().save(out, "PNG", optimize=True)
            content = out.getvalue()
        else:
            content = animated(kind, self.frames())
        disk.write_atomically(target, content)
        beside = target.with_suffix(".npz")
        write_codes(self.codes, beside)
        return target, beside

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.picture().save(out, "PNG")
        return out.getvalue()

    def _points(self, samples: Tensor) -> Image.Image:
        if self.run.spec.encoding is not None:
            what = f"the data of {self.run.path} is a table, and its rows cannot be drawn"
            raise ConfigError(what, "use samples and codes of the page, or: equilibria sample RUN --out samples.csv")
        drawn = painter(self.run.spec, lambda: self.run.data)({"samples": samples})
        return Image.open(io.BytesIO(drawn)).convert("RGB")


def check_name(path: Path) -> None:
    """Refuse a name that a page cannot be written under.

    Raises:
        ConfigError: another suffix, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"a page of samples cannot be written as '{path.name}'", f"--out {path.stem or 'page'}.png")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}", "make it first, or choose another --out")


def animated(kind: str, frames: Sequence[Image.Image], milliseconds: int = 80) -> bytes:
    """Frames as the bytes of a ``.gif`` or an ``.mp4``."""
    return mp4(frames, milliseconds) if kind == ".mp4" else gif(frames, milliseconds)


def write_codes(codes: Codes, path: Path) -> None:
    """Write codes as an ``.npz`` of plain arrays that ``latents`` and ``--latents`` take."""
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **{name: rows.cpu().numpy() for name, rows in codes.items()})
    disk.write_atomically(path, out.getvalue())


def write_training(run: Sampled, path: Path) -> int:
    """Write the pictures of samples that a run has stored as an animation by round.

    Returns:
        the number of rounds.

    Raises:
        RunError: fewer than two rounds with a picture of the same size.
    """
    found = [one for one in snapshots.listed(run.path / "samples") if one.image is not None]
    drawn = [(one.step, picture) for one in found if (picture := one.picture()) is not None]
    drawn = [(step, picture) for step, picture in drawn if picture.size == drawn[-1][1].size]
    if len(drawn) < 2:
        what = f"{run.path} has stored {len(drawn)} pictures of samples, and an animation needs 2"
        raise RunError(what, "train with more of them: --set run.sample_every=100")
    captions = [f"round {step:,}" for step, _ in drawn]
    frames = [captioned(one, columns=(text,)) for (_, one), text in zip(drawn, captions, strict=True)]
    disk.write_atomically(path, animated(path.suffix.lower(), frames, 250))
    return len(drawn)
