"""Formats and layouts, counted: each file is read to the pixels that Pillow or numpy gives, or the reader says so.

``python tests/test_data_count.py FILE.json`` writes the counts, case by case.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image, __version__

from equilibria.base.errors import DataError
from equilibria.base.provenance import commit
from equilibria.data import load
from test_data_formats import RANGED, READ, pixels

RNG = np.random.default_rng(7)
N, H, W = 12, 6, 9
IMAGES = RNG.integers(0, 256, (N, H, W, 3), dtype=np.uint8)
GRAY = np.ascontiguousarray(IMAGES[..., 0])
OTHER = RNG.integers(0, 256, (N, H, W, 3), dtype=np.uint8)
TWO = [("cat", "dog")[i % 2] for i in range(N)]


class Layout(NamedTuple):
    """A source made in a folder, and what is to be read of it.

    Attributes:
        make: writes the files; returns the source.
        labels: of each image; None for none.
        images: the pixels.
        warns: whether the reader must warn.
        other: the pixels of the second domain.
        aligned: whether row i of the second domain belongs to row i.
    """

    make: Callable[[Path], str]
    labels: list[str] | None = None
    images: np.ndarray = IMAGES
    warns: bool = False
    other: np.ndarray | None = None
    aligned: bool = True


def files(names: Callable[[int], str], images: np.ndarray = IMAGES, **beside: str) -> Callable[[Path], str]:
    """Image files by name, and text files beside them (``labels_csv`` is labels.csv)."""

    def make(folder: Path) -> str:
        for i, image in enumerate(images):
            path = folder / "set" / names(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, "PNG")
        for name, text in beside.items():
            (folder / "set" / name.replace("_", ".")).write_text(text)
        return str(folder / "set")

    return make


def packed(make: Callable[[Path], str], within: str = "") -> Callable[[Path], str]:
    """The same files in a zip."""

    def made(folder: Path) -> str:
        source = Path(make(folder))
        with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, within + path.relative_to(source).as_posix())
        return str(folder / "set.zip")

    return made


def arrays(**values: Any) -> Callable[[Path], str]:
    """An .npz, or a .npy of the array ``npy``."""

    def make(folder: Path) -> str:
        if "npy" in values:
            np.save(folder / "x.npy", values["npy"])
            return str(folder / "x.npy")
        np.savez(folder / "x.npz", **values)
        return str(folder / "x.npz")

    return make


def both(form: str) -> Callable[[Path], str]:
    """Two folders of equal names."""

    def make(folder: Path) -> str:
        first = files(lambda i: f"A/{i:02d}.png")(folder)
        files(lambda i: f"B/{i:02d}.png", OTHER)(folder)
        return f"{form}:{first}/A,{first}/B"

    return make


def flat(i: int) -> str:
    return f"{i:02d}.png"


def by_class(i: int) -> str:
    return f"{TWO[i]}/{i:02d}.png"


ROWS = [(flat(i), TWO[i]) for i in range(N)]
NUMBERS = [str(i % 11) for i in range(N)]
LAYOUTS: dict[str, Layout] = {
    "flat folder": Layout(files(flat)),
    "upper-case suffixes": Layout(files(lambda i: f"{i:02d}.PNG")),
    "no suffixes": Layout(files(lambda i: f"{i:02d}")),
    "class folders": Layout(files(by_class), TWO),
    "numeric class folders": Layout(files(lambda i: f"{NUMBERS[i]}/{i:02d}.png"), NUMBERS),
    "classes below train": Layout(files(lambda i: f"train/{by_class(i)}"), TWO),
    "deeper folders": Layout(files(lambda i: f"{TWO[i]}/d{i}/0.png"), TWO),
    "shards": Layout(files(lambda i: f"{i // 6:05d}/{i:08d}.png"), None, warns=True),
    "StyleGAN, dataset.json": Layout(
        files(lambda i: f"00000/{flat(i)}", dataset_json=json.dumps({"labels": [[f"00000/{n}", y] for n, y in ROWS]})),
        TWO,
    ),
    "metadata.jsonl": Layout(
        files(flat, metadata_jsonl="\n".join(json.dumps({"file_name": n, "label": y}) for n, y in ROWS)), TWO
    ),
    "metadata.csv": Layout(files(flat, metadata_csv="file_name,label\n" + "\n".join(f"{n},{y}" for n, y in ROWS)), TWO),
    "labels.csv": Layout(files(flat, labels_csv="label,file\n" + "\n".join(f"{y},{n}" for n, y in ROWS)), TWO),
    "labels.csv without a head": Layout(files(flat, labels_csv="\n".join(f"{n},{y}" for n, y in ROWS)), TWO),
    "zip, flat": Layout(packed(files(flat))),
    "zip of class folders": Layout(packed(files(by_class)), TWO),
    "zip with a folder above": Layout(packed(files(by_class), "photos/"), TWO),
    "zip with dataset.json": Layout(
        packed(files(flat, dataset_json=json.dumps({"labels": [[n, y] for n, y in ROWS]}))), TWO
    ),
    "aligned folders": Layout(both("aligned"), other=OTHER),
    "independent folders": Layout(both("pairs"), other=OTHER, aligned=False),
    "side by side": Layout(lambda d: "aligned:" + files(flat, np.concatenate([IMAGES, OTHER], axis=2))(d), other=OTHER),
    "npz": Layout(arrays(x=IMAGES, y=np.array(TWO)), TWO),
    "npz, channels first": Layout(arrays(images=IMAGES.transpose(0, 3, 1, 2), labels=np.array(TWO)), TWO),
    "npz with a test set": Layout(arrays(x_train=IMAGES[:9], x_test=IMAGES[9:])),
    "npz of two columns": Layout(arrays(x=IMAGES, other=OTHER), other=OTHER),
    "npy, channels last": Layout(arrays(npy=IMAGES)),
    "npy, channels first": Layout(arrays(npy=IMAGES.transpose(0, 3, 1, 2))),
    "npy, gray": Layout(arrays(npy=GRAY), images=GRAY),
    "npy, floats in [0, 1]": Layout(arrays(npy=IMAGES / 255.0)),
    "npy, floats in [-1, 1]": Layout(arrays(npy=IMAGES / 127.5 - 1.0)),
    "npy, Fortran order": Layout(arrays(npy=np.asfortranarray(GRAY)), images=GRAY),
    "npy, big-endian": Layout(arrays(npy=GRAY.astype(">i4")), images=GRAY),
}


def of_format(name: str, folder: Path) -> tuple[str, bool]:
    """Read a case of a format; what came of it, and whether that is as it should be."""
    make, expected, most = READ[name]
    make(folder)
    said, found = looked(lambda: pixels(load(folder, held_out=0.0))[0])
    if found is None:
        return said, False
    near = found.shape == np.asarray(expected).shape and np.abs(found.astype(float) - expected).max() <= most
    return said, bool(near)


def of_range(name: str, folder: Path) -> tuple[str, bool]:
    """Numbers of which no rule says black and white: refused, and read with the range."""
    make, numbers, (low, high) = RANGED[name]
    make(folder)
    refused, _ = looked(lambda: load(folder))
    _, found = looked(lambda: pixels(load(folder, held_out=0.0, range=(low, high)))[0])
    wanted = np.rint(((numbers.astype(float) - low) / (high - low) * 255).clip(0, 255))
    return f"{refused}, read with a range", refused == "refused" and np.abs(found.astype(float) - wanted).max() <= 1


def of_layout(name: str, folder: Path, stream: str = "auto") -> tuple[str, bool]:
    """Images known again by their pixels, with their labels and partners."""
    layout = LAYOUTS[name]
    source = layout.make(folder)
    said, data = looked(lambda: load(source, held_out=0.0, stream=stream))
    if data is None:
        return said, False
    rows = data.whole()
    found = as_bytes(rows["x"])
    wanted = layout.images[:, None] if layout.images.ndim == 3 else layout.images.transpose(0, 3, 1, 2)
    place = {image.tobytes(): i for i, image in enumerate(wanted)}
    which = [place.get(image.tobytes(), -1) for image in found]
    right = sorted(which) == list(range(N)) and ("warned" in said) == layout.warns
    if layout.labels is None:
        right &= data.spec.classes == 0
    else:
        names = [data.class_names[y] for y in rows["y"].tolist()]
        right &= names == [layout.labels[i] for i in which]
    if layout.other is not None:
        partners = {image.tobytes(): i for i, image in enumerate(layout.other.transpose(0, 3, 1, 2))}
        of = [partners.get(image.tobytes(), -1) for image in as_bytes(rows["other"])]
        right &= of == which if layout.aligned else sorted(of) == list(range(N))
    return said, right


def as_bytes(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().to(torch.uint8).numpy()


def looked(read: Callable[[], Any]) -> tuple[str, Any]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            value = read()
        except DataError:
            return "refused", None
    return "read, warned" if found else "read", value


KINDS: dict[str, tuple[Callable[[str, Path], tuple[str, bool]], list[str]]] = {
    "format": (of_format, list(READ)), "range": (of_range, list(RANGED)), "layout": (of_layout, list(LAYOUTS)),
}  # fmt: skip


def counted(folder: Path) -> list[dict[str, Any]]:
    """Every case: its kind and name, what came of it, whether its pixels are right."""
    rows = []
    for kind, (look, names) in KINDS.items():
        for i, name in enumerate(names):
            (folder / f"{kind}{i}").mkdir()
            said, right = look(name, folder / f"{kind}{i}")
            rows.append({"kind": kind, "case": name, "outcome": said, "right": bool(right)})
    return rows


def test_sixty_files_of_formats_and_layouts_without_a_silent_damage(tmp_path: Path) -> None:
    rows = counted(tmp_path)
    assert len(rows) >= 60 and len({(row["kind"], row["case"]) for row in rows}) == len(rows)
    assert [row for row in rows if not row["right"]] == []


@pytest.mark.parametrize(
    "name", ["class folders", "zip of class folders", "npy, channels last", "StyleGAN, dataset.json"]
)
def test_layouts_that_can_be_streamed_give_the_same(name: str, tmp_path: Path) -> None:
    assert of_layout(name, tmp_path, "true") == ("read", True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        rows = counted(Path(scratch))
    damages = [row for row in rows if not row["right"]]
    report = {
        "command": "python tests/test_data_count.py docs/results/data_formats.json",
        "commit": commit(),
        "seeds": "0 and 7, of the pixels",
        "pillow": __version__,
        "files": len(rows),
        "silent damages": len(damages),
        "cases": rows,
    }
    Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} cases, {len(damages)} silent damages")
