"""Image formats: small files made here, each read to the pixels that Pillow or numpy gives directly, or refused."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile

from equilibria.base.errors import ConfigError, DataError
from equilibria.data import DataOptions, Dataset, images, load
from equilibria.data.formats import header_of

RNG = np.random.default_rng(0)
H, W = 12, 18
GRAY = RNG.integers(0, 256, (H, W), dtype=np.uint8)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (H, W), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (H, W)).astype(np.uint16)
TWELVE = RNG.integers(0, 4096, (H, W)).astype(np.uint16)
SIGNED = RNG.integers(-1000, 1001, (H, W)).astype(np.int32)
LARGE = RNG.integers(0, 2**31 - 1, (H, W)).astype(np.int32)
FLOAT = RNG.random((H, W)).astype(np.float32)
SMOOTH = np.dstack([np.mgrid[0:H, 0:W][1] * 13, np.mgrid[0:H, 0:W][0] * 20, np.full((H, W), 90)]).astype(np.uint8)
MUTED = SMOOTH // 3 + 90
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255.0) + 255.0 * (1 - ALPHA[..., None] / 255.0))
TO_BYTES = np.rint(DEEP / 257.0)


def written(path: Path, array: np.ndarray, form: str | None = None, **how: Any) -> Path:
    Image.fromarray(array).save(path, form, **how)
    return path


def pixels(data: Dataset) -> np.ndarray:
    """The images of a data set as (n, h, w) or (n, h, w, c) bytes, undone from what a batch deals."""
    x = ((data.whole()["x"] + 1) * 127.5).round().to(torch.uint8).numpy()
    return x[:, 0] if x.shape[1] == 1 else x.transpose(0, 2, 3, 1)


def read(path: Path, **options: Any) -> np.ndarray:
    found: np.ndarray = pixels(load(path, held_out=0.0, **options))[0]
    return found


def tiff(path: Path, raw: bytes, bits: int, **tags: int) -> Path:
    """A TIFF of one strip, written byte by byte: for pixels that Pillow reads and does not write."""
    wanted = {"photometric": 1, "format": 1, "orientation": 1} | tags
    entries = {256: W, 257: H, 258: bits, 259: 1, 262: wanted["photometric"], 273: 0, 274: wanted["orientation"]}
    entries |= {277: 1, 278: H, 279: len(raw), 339: wanted["format"]}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    path.write_bytes(head + body + struct.pack("<I", 0) + raw)
    return path


def png(path: Path, raw: np.ndarray, colour: int, before: bytes = b"") -> Path:
    """A PNG of 16 bits a channel; ``before`` stands before its pixels."""
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in raw)
    head = struct.pack(">IIBBBBB", W, H, 16, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def lab(path: Path) -> Path:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    change = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    found = ImageCms.applyTransform(Image.fromarray(MUTED), change)
    assert found is not None
    found.save(path)
    return path


def packed(values: np.ndarray) -> bytes:
    """12 bits a pixel, two pixels in three bytes."""
    first, second = values.reshape(-1, 2).astype(np.int64).T
    three = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return three.astype(np.uint8).tobytes()


def colours(gray: np.ndarray) -> np.ndarray:
    """What Pillow opens as colours: three equal channels."""
    return np.dstack([gray, gray, gray])


def hidden(values: np.ndarray, gray: int) -> np.ndarray:
    """White where a 16-bit value is the transparent one."""
    found: np.ndarray = np.where(values == gray, 255, np.rint(values / 257.0))
    return found


HOLED = DEEP.copy()
HOLED[:4] = 1000
DEEP_RGB = RNG.integers(0, 65536, (H, W, 3)).astype(np.uint16)
FULL = np.full((H, W), 65535, dtype=np.uint16)
PALETTE = Image.fromarray(RGB).quantize(16)
THROUGH = GRAY.copy()
THROUGH[0, 0], THROUGH[5, 5] = 77, 77

# name: (how the file is made, the pixels, the largest difference)
Case = tuple[Callable[[Path], Path], Any, int]
READ: dict[str, Case] = {
    "png gray": (lambda d: written(d / "a.png", GRAY), GRAY, 0),
    "png colour, upper case": (lambda d: written(d / "A.PNG", RGB), RGB, 0),
    "png 1 bit": (lambda d: written(d / "a.png", GRAY > 127), (GRAY > 127) * 255, 0),
    "png palette": (lambda d: saved(PALETTE, d / "a.png"), np.asarray(PALETTE.convert("RGB")), 0),
    "png gray, one value transparent": (
        lambda d: written(d / "a.png", THROUGH, transparency=77), np.where(THROUGH == 77, 255, THROUGH), 0,
    ),
    "png colour and alpha": (lambda d: written(d / "a.png", np.dstack([RGB, ALPHA])), ON_WHITE, 1),
    "png gray and alpha": (
        lambda d: written(d / "a.png", np.dstack([GRAY, ALPHA])),
        np.rint(GRAY * (ALPHA / 255.0) + 255 - ALPHA), 1,
    ),
    "png 16 bits": (lambda d: written(d / "a.png", DEEP), TO_BYTES, 0),
    "png 16 bits, by hand": (lambda d: png(d / "a.png", DEEP, 0), TO_BYTES, 0),
    "png 16 bits, one value transparent": (
        lambda d: png(d / "a.png", HOLED, 0, chunk(b"tRNS", struct.pack(">H", 1000))), hidden(HOLED, 1000), 0,
    ),
    "png 16 bits, colour": (lambda d: png(d / "a.png", DEEP_RGB, 2), np.rint(DEEP_RGB / 257.0), 1),
    "png 16 bits, gray and alpha": (lambda d: png(d / "a.png", np.dstack([DEEP, FULL]), 4), colours(TO_BYTES), 1),
    "png 16 bits, colour and alpha": (
        lambda d: png(d / "a.png", np.dstack([DEEP_RGB, FULL]), 6), np.rint(DEEP_RGB / 257.0), 1,
    ),
    "jpeg colour": (lambda d: written(d / "a.JPG", SMOOTH, quality=98), SMOOTH, 12),
    "jpeg gray": (lambda d: written(d / "a.jpeg", SMOOTH[..., 0], quality=98), SMOOTH[..., 0], 6),
    "jpeg CMYK": (lambda d: saved(Image.fromarray(SMOOTH).convert("CMYK"), d / "a.jpg", quality=98), SMOOTH, 14),
    "webp": (lambda d: written(d / "a.webp", RGB, lossless=True), RGB, 0),
    "webp and alpha": (
        lambda d: written(d / "a.webp", np.dstack([RGB, ALPHA]), lossless=True, exact=True), ON_WHITE, 1,
    ),
    "gif": (lambda d: written(d / "a.gif", GRAY), colours(GRAY), 0),
    "bmp": (lambda d: written(d / "a.bmp", RGB), RGB, 0),
    "ppm": (lambda d: written(d / "a.ppm", RGB), RGB, 0),
    "pgm": (lambda d: written(d / "a.pgm", GRAY), GRAY, 0),
    "pgm 16 bits": (
        lambda d: (d / "a.pgm").write_bytes(b"P5 18 12 65535\n" + DEEP.astype(">u2").tobytes()) and d, TO_BYTES, 0,
    ),
    "tiff": (lambda d: written(d / "a.tif", RGB), RGB, 0),
    "tiff gray, LZW": (lambda d: written(d / "a.tiff", GRAY, compression="tiff_lzw"), GRAY, 0),
    "tiff 16 bits": (lambda d: written(d / "a.tif", DEEP), TO_BYTES, 0),
    "tiff 16 bits, deflated": (lambda d: written(d / "a.tif", DEEP, compression="tiff_deflate"), TO_BYTES, 0),
    "tiff 16 bits, white is zero": (
        lambda d: tiff(d / "a.tif", DEEP.tobytes(), 16, photometric=0), np.rint((65535 - DEEP.astype(int)) / 257.0), 0,
    ),
    "tiff 8 bits, white is zero": (lambda d: tiff(d / "a.tif", GRAY.tobytes(), 8, photometric=0), 255 - GRAY, 0),
    "tiff 12 bits": (lambda d: tiff(d / "a.tif", packed(TWELVE), 12), np.rint(TWELVE / 4095.0 * 255), 0),
    "tiff CMYK": (lambda d: saved(Image.fromarray(SMOOTH).convert("CMYK"), d / "a.tif"), SMOOTH, 3),
    "tiff YCbCr": (lambda d: saved(Image.fromarray(SMOOTH).convert("YCbCr"), d / "a.tif"), SMOOTH, 6),
    "tiff Lab": (lambda d: lab(d / "a.tif"), MUTED, 4),
    "jfif": (lambda d: written(d / "a.jfif", SMOOTH, "JPEG", quality=98), SMOOTH, 12),
    "jpeg 2000": (lambda d: written(d / "a.jp2", RGB, "JPEG2000", irreversible=False), RGB, 0),
    "tga": (lambda d: written(d / "a.tga", RGB, "TGA"), RGB, 0),
    "pnm": (lambda d: written(d / "a.pnm", RGB, "PPM"), RGB, 0),
    "pcx": (lambda d: written(d / "a.pcx", RGB, "PCX"), RGB, 0),
    "sgi": (lambda d: written(d / "a.sgi", RGB, "SGI"), RGB, 0),
    "qoi": (lambda d: written(d / "a.qoi", RGB, "QOI"), RGB, 0),
    "dds": (lambda d: written(d / "a.dds", RGB, "DDS"), RGB, 0),
    "png without a suffix": (lambda d: written(d / "a", RGB, "PNG"), RGB, 0),
    "png called .dat": (lambda d: written(d / "a.dat", RGB, "PNG"), RGB, 0),
    "webp called .jpg": (lambda d: written(d / "a.jpg", RGB, "WEBP", lossless=True), RGB, 0),
    "xbm": (lambda d: saved(Image.fromarray(GRAY > 127), d / "a.xbm"), (GRAY > 127) * 255, 0),
}  # fmt: skip


def saved(image: Image.Image, path: Path, **how: Any) -> Path:
    image.save(path, **how)
    return path


@pytest.mark.parametrize("name", READ)
def test_a_format_is_read_to_its_pixels(name: str, tmp_path: Path) -> None:
    make, expected, most = READ[name]
    make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(tmp_path)
    assert found.shape == np.asarray(expected).shape
    difference = np.abs(found.astype(float) - expected)
    assert difference.max() <= most, (name, difference.max())


# range ----------------------------------------------------------------------------------------------------------------

# how the file is made, its numbers, the range that states black and white
RANGED: dict[str, tuple[Callable[[Path], Path], np.ndarray, tuple[float, float]]] = {
    "tiff int32, signed": (lambda d: written(d / "a.tif", SIGNED), SIGNED, (-1000, 1000)),
    "tiff int32, bytes": (lambda d: written(d / "a.tif", GRAY.astype(np.int32)), GRAY, (0, 255)),
    "tiff int32, large": (lambda d: written(d / "a.tif", LARGE), LARGE, (0, 2**31 - 1)),
    "tiff int16": (
        lambda d: tiff(d / "a.tif", SIGNED.astype(np.int16).tobytes(), 16, format=2), SIGNED, (-1000, 1000),
    ),
    "tiff uint32": (
        lambda d: tiff(d / "a.tif", (LARGE.astype(np.uint32) * 2).tobytes(), 32), LARGE.astype(float) * 2, (0, 2**32),
    ),
    "tiff float": (lambda d: written(d / "a.tif", FLOAT), FLOAT, (0, 1)),
    "tiff float, a window": (lambda d: written(d / "a.tif", FLOAT * 4 - 2), FLOAT * 4 - 2, (-1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGED)
def test_numbers_without_black_and_white_need_a_range(name: str, tmp_path: Path) -> None:
    make, numbers, (low, high) = RANGED[name]
    make(tmp_path)
    for options in ({}, {"corrupt": "skip"}):
        with pytest.raises(DataError, match=r"data\.range="):
            load(tmp_path, **options)
    expected = np.rint(((numbers.astype(float) - low) / (high - low) * 255).clip(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that values are outside
        assert np.abs(read(tmp_path, range=(low, high)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("make", "numbers", "span"),
    [
        (lambda d: written(d / "a.png", TWELVE), TWELVE, (0, 4095)),
        (lambda d: written(d / "a.tif", TWELVE), TWELVE, (0, 4095)),
        (lambda d: written(d / "a.png", (GRAY > 127).astype(np.uint8)), GRAY > 127, (0, 1)),
        (lambda d: written(d / "a.png", GRAY % 21), GRAY % 21, (0, 20)),
    ],
)
def test_a_small_part_of_the_range_is_warned_of_with_the_range_that_fits(
    make: Callable[[Path], Path], numbers: np.ndarray, span: tuple[int, int], tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.warns(UserWarning, match=rf"data\.range={span[0]},{int(np.max(numbers))} "):
        load(tmp_path)
    expected = np.rint(numbers * (255.0 / span[1]))
    np.testing.assert_array_equal(read(tmp_path, range=span), expected)


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("beside", [False, True])
def test_bytes_in_files_of_16_bits_are_refused_and_both_readings_named(
    beside: bool, stream: str, tmp_path: Path
) -> None:
    """They would become black; a bright file of 8 bits beside them changes nothing."""
    png(tmp_path / "a.png", GRAY, 0)
    if beside:
        written(tmp_path / "b.png", GRAY)
    with pytest.raises(DataError, match=r"no value above 255.*data\.range=0,255.*data\.range=0,65535"):
        load(tmp_path, stream=stream)
    np.testing.assert_array_equal(read(tmp_path, range=(0, 255), stream=stream), GRAY)
    np.testing.assert_array_equal(read(tmp_path, range=(0, 65535), stream=stream), np.rint(GRAY / 257.0))


def test_one_dark_file_of_16_bits_among_others_is_read(tmp_path: Path) -> None:
    png(tmp_path / "a.png", GRAY, 0)
    png(tmp_path / "b.png", DEEP, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = load(tmp_path).described()
    assert "2 images of more than 8 bits" in said and "8 bits kept" in said


def test_the_line_says_that_colours_of_16_bits_keep_8(tmp_path: Path) -> None:
    png(tmp_path / "a.png", DEEP_RGB, 2)
    assert "1 images of 16 bits in colour, the upper 8 kept" in load(tmp_path).described()
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.ppm").write_bytes(b"P6 18 12 65535\n" + DEEP_RGB.astype(">u2").tobytes())
    assert "1 images of 16 bits in colour" in load(tmp_path).described()
    written(tmp_path / "a.ppm", RGB)
    assert "16 bits" not in load(tmp_path).described()


def test_a_range_of_16_bit_colours_is_in_their_units(tmp_path: Path) -> None:
    png(tmp_path / "a.png", DEEP_RGB // 16, 2)
    expected = (DEEP_RGB // 16 >> 8) * 257 * (255.0 / 4095)  # of the upper 8 bits, which Pillow gives
    assert np.abs(read(tmp_path, range=(0, 4095)) - expected.clip(0, 255)).max() <= 1


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (lambda d: written(d / "a.png", GRAY), GRAY),
        (lambda d: written(d / "a.png", RGB), RGB),
        (lambda d: written(d / "a.png", DEEP), DEEP),
        (lambda d: written(d / "a.tif", FLOAT * 300), FLOAT * 300),
    ],
)
def test_values_outside_the_range_are_counted_and_said(
    make: Callable[[Path], Path], numbers: np.ndarray, stream: str, tmp_path: Path
) -> None:
    make(tmp_path)
    count = int(((numbers < 20) | (numbers > 200)).sum())
    with pytest.warns(UserWarning, match=rf"^{count:,} of {numbers.size:,} values"):
        data = load(tmp_path, range=(20, 200), stream=stream)
    assert f"{count:,} of {numbers.size:,} values" in data.described()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, range=(0, 65535), stream=stream)


def test_headers_of_png_files_are_read_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    written(tmp_path / "a.png", RGB)
    Image.fromarray(RGB).save(tmp_path / "b.png", exif=exif)
    late = (tmp_path / "b.png").read_bytes()
    start = late.index(b"eXIf") - 4
    piece = late[start : start + 12 + int.from_bytes(late[start : start + 4], "big")]
    moved = late.replace(piece, b"")
    (tmp_path / "c.png").write_bytes(moved[:-12] + piece + moved[-12:])  # behind the pixels, before the end
    decoded: list[str] = []
    load_pixels = Image.Image.load
    monkeypatch.setattr(PngImageFile, "load", lambda self: decoded.append(Path(self.fp.name).name) or load_pixels(self))
    sizes = {name: header_of(tmp_path / f"{name}.png", DataOptions()).size for name in "ab"}
    assert sizes == {"a": (W, H), "b": (H, W)} and not decoded
    monkeypatch.undo()
    assert header_of(tmp_path / "c.png", DataOptions()).size == (H, W)
    np.testing.assert_array_equal(read(tmp_path / "c.png"), np.rot90(RGB, -1))


def test_images_are_decoded_by_several_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        written(tmp_path / f"{i}.png", np.full_like(GRAY, 60 * i + 70))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    both, own = threading.Barrier(2, timeout=20), images.as_array

    def waiting(*given: Any) -> np.ndarray:
        both.wait()  # passes only when a second thread decodes at the same time
        return own(*given)

    monkeypatch.setattr(images, "as_array", waiting)
    assert pixels(load(tmp_path, held_out=0.0))[:, 0, 0].tolist() == [70, 130, 190, 250]


def test_a_range_is_taken_of_colours_and_not_of_alpha(tmp_path: Path) -> None:
    written(tmp_path / "a.png", np.dstack([RGB // 4, np.full_like(ALPHA, 255)]))
    np.testing.assert_array_equal(read(tmp_path, range=(0, 63)), np.rint(RGB // 4 * (255.0 / 63)))


def test_float_pixels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    holed = FLOAT.copy()
    holed[2, 3] = np.nan
    written(tmp_path / "a.tif", holed)
    with pytest.raises(DataError, match="NaN"):
        load(tmp_path, range=(0.0, 1.0))


def test_a_range_that_is_none_is_refused() -> None:
    for bad in ((1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))):
        with pytest.raises(ConfigError, match=r"data\.range="):
            DataOptions(range=bad)


def test_a_streamed_folder_scales_alike(tmp_path: Path) -> None:
    for i in range(3):
        written(tmp_path / f"{i}.tif", np.roll(SIGNED, i, axis=0))
    whole = load(tmp_path, range=(-1000, 1000), held_out=0.0)
    streamed = load(tmp_path, range=(-1000, 1000), held_out=0.0, stream="true")
    assert streamed.fingerprint()["kind"] == "stream"
    np.testing.assert_array_equal(pixels(whole), pixels(streamed))


# orientation, alpha, frames -------------------------------------------------------------------------------------------

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}  # what is shown of a picture as it is stored (Exif 2.3, orientation)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["png", "webp", "tiff"])
def test_a_picture_is_shown_upright(form: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / f"a.{form}", exif=exif, **({"lossless": True} if form == "webp" else {}))
    np.testing.assert_array_equal(read(tmp_path), TURNS[orientation](RGB))


def test_a_deep_tiff_is_shown_upright(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", DEEP.tobytes(), 16, orientation=6)
    np.testing.assert_array_equal(read(tmp_path), np.rot90(TO_BYTES, -1))


def test_a_turned_jpeg_has_the_size_that_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(SMOOTH).save(tmp_path / "a.jpg", quality=98, exif=exif)
    assert np.abs(read(tmp_path).astype(int) - np.rot90(SMOOTH, 1)).max() <= 12


def test_alpha_is_kept_as_a_fourth_channel(tmp_path: Path) -> None:
    written(tmp_path / "a.png", np.dstack([RGB, ALPHA]))
    written(tmp_path / "b.png", GRAY)
    data = load(tmp_path, held_out=0.0, alpha="keep")
    assert data.spec.shape == (4, H, W)
    first, second = pixels(data)
    np.testing.assert_array_equal(first, np.dstack([RGB, ALPHA]))
    np.testing.assert_array_equal(second, np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, 255)]))
    with pytest.raises(ConfigError, match="alpha"):
        load(tmp_path, alpha="keep", grayscale=True)


@pytest.mark.parametrize("form", ["gif", "tif", "webp", "png"])
def test_of_several_frames_the_first_is_read_and_this_is_said(form: str, tmp_path: Path) -> None:
    first, *others = [Image.fromarray(np.roll(RGB if form != "gif" else GRAY, i, axis=0)) for i in range(4)]
    how = {"lossless": True} if form == "webp" else {}
    first.save(tmp_path / f"a.{form}", save_all=True, append_images=others, **how)
    with pytest.warns(UserWarning, match=rf"a\.{form}.*first frame"):
        found = read(tmp_path)
    np.testing.assert_array_equal(found, colours(GRAY) if form == "gif" else RGB)


# content and not suffix -----------------------------------------------------------------------------------------------


def test_files_are_images_by_content_and_others_are_counted(tmp_path: Path) -> None:
    for i in range(3):
        written(tmp_path / f"{i}.png", RGB)
    written(tmp_path / "a.jfif", RGB, "JPEG")
    written(tmp_path / "b", RGB, "PNG")
    (tmp_path / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    (tmp_path / "d.txt").write_text("a caption")
    (tmp_path / "e.txt").write_text("another")
    with pytest.warns(UserWarning, match=r"1 \.heic"):
        data = load(tmp_path, held_out=0.0)
    assert data.size == 5
    said = data.described()
    assert "1 .heic" in said and "2 .txt" in said


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89HDF\r\n\x1a\n" + bytes(99)]
)
def test_formats_that_call_a_program_or_hold_no_image_are_not_tried(content: bytes, tmp_path: Path) -> None:
    written(tmp_path / "a.png", RGB)
    (tmp_path / "b.bin").write_bytes(content)
    assert load(tmp_path, held_out=0.0).size == 1
    (tmp_path / "c.png").write_bytes(content)
    with pytest.raises(DataError, match=r"c\.png"):
        load(tmp_path)


def test_one_file_is_opened_by_its_content(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(written(tmp_path / "picture.bin", RGB, "PNG")), RGB)
    (tmp_path / "no.bin").write_bytes(bytes(50))
    with pytest.raises(DataError, match=r"no\.bin"):
        load(tmp_path / "no.bin")
