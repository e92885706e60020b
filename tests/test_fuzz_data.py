"""Every file of data, fuzzed: arrays, pictures, and the original files of the named sets."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import equilibria as eq
from equilibria.base.errors import DataError
from equilibria.data import fetch
from fuzzing import cases, damaged, read

# Arrays --------------------------------------------------------------------------------------------------------------

DTYPES = ["u1", "f4", "f8", ">f8", "f2", "i8", ">u2", "?", "c8", "U3", "S2", "M8[s]", "V4", "f4,u1", "O", "g"]
SHAPES: list[tuple[int, ...]] = [
    (),
    (0,),
    (6,),
    (6, 1),
    (6, 2),
    (0, 3),
    (6, 4, 4),
    (6, 4, 4, 3),
    (2, 2, 2, 2, 2),
    (6, 0, 2),
]
KEYS = [
    "x",
    "images",
    "data",
    "y",
    "labels",
    "x_train",
    "x_test",
    "y_train",
    "y_test",
    "names",
    "",
    "a/b",
    "../x",
    "text",
    "text_train",
    "text_test",
]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape, dtype = draw(st.sampled_from(SHAPES)), np.dtype(draw(st.sampled_from(DTYPES)))
    made = (
        np.zeros(shape, dtype)
        if dtype.kind not in "uif"
        else (np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype)
    )
    if dtype.kind == "f" and made.size:
        made.flat[0] = draw(st.sampled_from([0.5, np.nan, np.inf, -1.0, 6e4]))
    return np.asfortranarray(made) if draw(st.booleans()) else made


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """An array, its bytes damaged, its header's shape enlarged, or its header something else."""
    raw = npy(draw(arrays()))
    kind = draw(st.sampled_from(["whole", "damaged", "shape", "header", "magic"]))
    if kind == "damaged":
        return draw(damaged(raw))
    if kind == "magic":
        return (
            draw(st.sampled_from([b"", b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x80\x04."]))
            + raw[:40]
        )
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 2)}"
    if kind == "shape":
        side = draw(st.sampled_from([10**6, 10**12, 2**63, -1, 10**40]))
        text = text.replace("6,", f"{side},")
    if kind == "header":
        odd = st.sampled_from(["(" * 300, "[" * 9000, "{'a':", "'''", "\\", "None", "{}", "1+1", "\0", "9" * 5000])
        text = draw(st.one_of(odd, damaged(text.encode()).map(lambda b: b.decode("latin1"))))
    if kind != "whole":
        told = text.encode("latin1", "replace") + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(told)) + told + bytes(48)
    return raw


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """A zip of arrays under all sorts of names; some not arrays, some compressed in odd ways, some damaged."""
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    ) as made:
        for key in draw(st.lists(st.sampled_from(KEYS), min_size=0, max_size=4, unique=True)):
            name = zipfile.ZipInfo(f"{key}.npy" if draw(st.booleans()) else key)
            made.writestr(name, draw(npy_files()), made.compression)
    raw = out.getvalue()
    if draw(st.booleans()):
        return draw(damaged(raw))
    if draw(st.integers(0, 5)) == 0:
        return raw.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
        )
    return raw


def sound(found: eq.Dataset | None) -> None:
    """What was read can be trained on."""
    if found is not None and found.size:
        rows = found.batch(min(3, found.size), seed=0, turn=0)["x"]
        assert rows.dtype.is_floating_point and bool(rows.isfinite().all())
        found.fingerprint()


@given(npy_files(), st.sampled_from([".npy", ".npz"]))
@cases(50)
def test_npy(tmp_path_factory: pytest.TempPathFactory, raw: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzzed{suffix}"
    path.write_bytes(raw)
    sound(read(lambda: eq.load(path)))


@given(npz_files(), st.booleans())
@cases(60)
def test_npz(tmp_path_factory: pytest.TempPathFactory, raw: bytes, labels: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(raw)
    sound(read(lambda: eq.load(path, str(path) if labels else None)))


class Trap:
    """Calls out when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pickle-was-loaded",))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trap = np.array([Trap()], dtype=object)
    np.save("a.npy", trap, allow_pickle=True)
    np.savez("a.npz", x=trap)
    np.savez("b.npz", x=np.zeros((6, 2)), names=trap)
    Path("b.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npy", "a.npz", "b.npz", "b.npy"):
        with pytest.raises(DataError, match="never unpickled"):
            eq.load(tmp_path / name)
    assert not Path("pickle-was-loaded").exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A megabyte says that it is a thousand terabytes."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1125899906842624, 1)}"
    told = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, allowZip64=True) as made:
        with made.open("x.npy", "w", force_zip64=True) as inside:
            inside.write(told + bytes(10**7))
        made.getinfo("x.npy").file_size = 2**50
    with pytest.raises(DataError, match=r"1,125,899\.9 GB"):
        eq.load(tmp_path / "bomb.npz")


# Pictures ------------------------------------------------------------------------------------------------------------

MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I", "F", "YCbCr"]
FORMATS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]


def pixels(mode: str) -> Image.Image:
    if mode in {"I", "I;16"}:
        return Image.fromarray((np.arange(64) * 999 % 65536).astype(np.uint16).reshape(8, 8)).convert(mode)
    made = Image.fromarray((np.arange(192) % 256).astype(np.uint8).reshape(8, 8, 3))
    return made.convert(mode) if mode != "LA" else made.convert("L").convert("LA")


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    out, mode, kind = io.BytesIO(), draw(st.sampled_from(MODES)), draw(st.sampled_from(FORMATS))
    try:
        pixels(mode).save(out, kind)
    except (OSError, ValueError):
        pixels("RGB").save(out, "PNG")
    raw = out.getvalue()
    what = draw(st.sampled_from(["whole", "damaged", "damaged", "bytes", "bomb"]))
    if what == "bytes":
        return raw[:12] + draw(st.binary(max_size=60))
    if what == "bomb":
        return bomb(draw(st.sampled_from([20_000, 100_000, 2**31 - 1])), draw(st.sampled_from([2, 20_000])))
    return draw(damaged(raw)) if what == "damaged" else raw


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says how large it is."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@given(pictures(), st.sampled_from([None, 4, 8]), st.booleans(), st.booleans())
@cases(50)
def test_a_folder_of_pictures(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, size: int | None, gray: bool, skip: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(raw)
    pixels("RGB").save(folder / "b.png")
    options = eq.DataOptions(size=size, grayscale=gray, corrupt="skip" if skip else "error")
    sound(read(lambda: eq.load(folder, options=options)))


@pytest.mark.timeout(20)
def test_odd_things_in_a_folder(tmp_path: Path) -> None:
    """Loops of links, links to nowhere, pipes, folders called x.png, names that are no text: none stops or hangs it."""
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        pixels("RGB").save(tmp_path / part / "ok.png")
        for k in range(3):
            (tmp_path / part / f"loop{k}").symlink_to(tmp_path)
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "a" / "nowhere.png").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\xfe.png")).write_bytes(
        (tmp_path / "a" / "ok.png").read_bytes()
    )
    (tmp_path / "a" / "line\nbreak.PNG").write_bytes((tmp_path / "a" / "ok.png").read_bytes())
    with pytest.raises(DataError, match=r"nowhere\.png cannot be decoded"):
        eq.load(tmp_path)
    (tmp_path / "a" / "nowhere.png").unlink()
    found = eq.load(tmp_path)
    assert len(found.take(9)["x"]) == 9 and found.size is not None and found.size + (found.held_out_size or 0) == 4
    assert found.class_names == ("a", "b")


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_picture_larger_than_a_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb(20_000, 5_000))
    with pytest.raises(DataError, match=r"a\.png has 20000 x 5000 pixels"):
        eq.load(tmp_path / "a.png", options=eq.DataOptions(size=8))


# Original files of the named sets ------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@st.composite
def originals(draw: st.DrawFn) -> dict[str, bytes]:
    """The four files of an MNIST-like set, some of them damaged or of other shapes."""
    files = {}
    for split, n in (("train", 20), ("t10k", 10)):
        files[f"{split}-images-idx3-ubyte"] = idx(np.zeros((n, 3, 3), np.uint8))
        files[f"{split}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    name = draw(st.sampled_from(sorted(files)))
    raw = files.pop(name)
    kind = draw(st.sampled_from(["damaged", "shape", "gz", "bad gz", "empty", "axes"]))
    if kind == "damaged":
        files[name] = draw(damaged(raw))
    elif kind == "shape":
        sides = draw(st.lists(st.sampled_from([0, 1, 2**31, 2**32 - 1, 65536]), max_size=5))
        files[name] = b"\0\0\x08" + bytes([len(sides)]) + b"".join(n.to_bytes(4, "big") for n in sides)
    elif kind == "axes":
        files[name] = idx(np.zeros(draw(st.sampled_from([(20,), (20, 3), (20, 3, 3, 3), (0, 3, 3)])), np.uint8))
    elif kind == "empty":
        files[name] = b""
    else:
        packed = gzip.compress(raw, mtime=0)
        files[f"{name}.gz"] = packed if kind == "gz" else draw(damaged(packed))
    return files


@given(originals(), st.booleans(), st.data())
@cases(50)
def test_original_files(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], archived: bool, data: st.DataObject
) -> None:
    base = Path(tmp_path_factory.mktemp("originals"))
    given_path, cache = base / "given", base / "cache"
    given_path.mkdir()
    for name, raw in files.items():
        (given_path / name).write_bytes(raw)
    if archived:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, raw in files.items():
                told = tarfile.TarInfo(name)
                told.size = len(raw)
                tar.addfile(told, io.BytesIO(raw))
        given_path = base / "a.tgz"
        given_path.write_bytes(data.draw(damaged(gzip.compress(out.getvalue(), mtime=0))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUILIBRIA_DATA", str(cache))
        kept = read(lambda: fetch.fetch("fashion-mnist", given_path))
    assert kept is None and not cache.exists(), "a set of black pictures is not the set"


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb", 1) as out:
        for _ in range(600):
            out.write(bytes(1 << 20))
    found: list[str] = []

    def refused() -> None:
        try:
            fetch.fetch("fashion-mnist", folder)
        except DataError as error:
            found.append(error.what)
            raise

    assert read(refused) is None and "MB" in found[0]
