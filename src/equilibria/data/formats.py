"""Image files through Pillow: which files are images (by content), and their pixels as bytes by one stated rule.

| pixels in the file | read as |
|---|---|
| 1 or 8 bits a channel | as they are |
| 16-bit gray (PNG, TIFF, PGM) | 0 … 65535 becomes 0 … 255; a folder without a value above 255 is refused |
| 12-bit gray TIFF | 0 … 4095 becomes 0 … 255; likewise |
| 16-bit colour | the upper 8 bits of each channel |
| signed or 32-bit integers, floats | refused without ``range`` |
| any, with ``range=(low, high)`` | low … high becomes 0 … 255; values outside become the nearer end, and are counted |
| transparent | composited on white, or with ``alpha="keep"`` kept as a fourth channel |
| several frames | the first |

Every picture is turned as its EXIF orientation says. All are kept with 8 bits a channel. ``range`` is in the units of
the file: 0 … 65535 for 16 bits, in colour as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..base.errors import DataError
from .archives import open_file
from .checks import fitted
from .options import DataOptions, setting

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SUFFIXES", "Header", "as_array", "brightest", "header_of", "is_deep", "is_picture", "opened", "unscaled"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Files called so are images: one that cannot be decoded is an error. Others are images if their content says so."""
_NEVER = frozenset({"EPS", "PDF", "BUFR", "GRIB", "HDF5", "WMF", "MPEG", "FPX", "MIC"})  # call programs, or decode none
_NO_SIGNATURE = frozenset({"TGA", "SPIDER", "PCX", "IM", "IMT", "MCIDAS", "GBR", "PCD", "XVTHUMB", "IPTC"})
_LAYERED = frozenset({"MPO", "PSD", "ICO", "ICNS", "CUR"})  # further frames are other sizes or parts of the same image
_GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_ORIENTATION, _WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 0x0112, 256, 257, 258, 262, 339


class Header(NamedTuple):
    """What an image file says before it is decoded.

    Attributes:
        path: the file.
        size: width and height as shown.
        gray: whether it has one channel.
        deep: whether a channel has more than 8 bits.
        animated: whether it holds several frames.
        scaled: whether the format or the options say which values are black and white.
        reduced: whether its channels have more bits, of which Pillow gives the upper 8.
    """

    path: Path
    size: tuple[int, int]
    gray: bool
    deep: bool = False
    animated: bool = False
    scaled: bool = True
    reduced: bool = False


@cache
def _known() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in Image.ID if name not in _NEVER]


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file, on the disk or in a zip, opened by Pillow by its content; formats that call a program are not tried.

    Raises:
        OSError: it is no image that Pillow reads.
    """
    from PIL import Image

    # an open file, not a path: Pillow 13 maps a path into memory, and then a 16-bit TIFF that is turned has wrong rows
    with open_file(path) as file, Image.open(file, formats=_known()) as image:
        yield image


def is_picture(path: Path) -> bool:
    """Whether the name is that of an image file, or else the content that of one."""
    if path.suffix.lower() in SUFFIXES:
        return True
    from PIL import Image

    try:
        with opened(path) as image:
            registered = Image.registered_extensions().get(path.suffix.lower())
            return image.format not in _NO_SIGNATURE or registered == image.format
    except Exception:  # a parser of hostile bytes may raise anything
        return False


def header_of(path: Path, options: DataOptions) -> Header:
    """The header of an image file.

    Raises:
        DataError: more pixels than Pillow allows.
        Exception: it cannot be opened; a decoder of hostile bytes may raise anything.
    """
    with opened(path) as image:
        facts, tags = _facts(image), getattr(image, "tag_v2", {})
        # releases of Pillow differ in whether a TIFF's size is that shown
        width, height = (int(tags[_WIDTH]), int(tags[_LENGTH])) if image.format == "TIFF" else image.size
        if too_large := _too_large(path, width, height):
            raise too_large
        deep = is_deep(image)
        scaled = not deep or options.range is not None or _full_range(image, facts) is not None
        turned = _exif(image).get(_ORIENTATION) in _TURNED
        size = (height, width) if turned else (width, height)
        animated = image.format not in _LAYERED and bool(getattr(image, "is_animated", False))
        return Header(path, size, image.mode in _GRAY, deep, animated, scaled, facts.reduced)


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF data. Pillow decodes a PNG for it, which is needed only if there is some behind the pixels."""
    from PIL import Image

    file = getattr(image, "fp", None)
    if image.format != "PNG" or "exif" in image.info or file is None or _is_late(file):
        return image.getexif()
    return Image.Image.getexif(image)


def _is_late(file: IO[bytes]) -> bool:
    """Whether a PNG has EXIF or text behind its pixels; the place in the file is left as it was."""
    place, seen, late = file.tell(), False, False
    file.seek(8)
    while not late and len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        late = seen and head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
        seen = seen or head[4:] == b"IDAT"
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    file.seek(place)
    return late


class _Facts(NamedTuple):
    """What a picture forgets when it is turned or converted."""

    format: str | None
    bits: int  # a channel
    unsigned: bool
    inverted: bool  # white is zero, which Pillow follows for 8 bits only
    reduced: bool  # more bits a channel, of which Pillow gives the upper 8


def _facts(image: Image.Image) -> _Facts:
    tags = getattr(image, "tag_v2", {})

    def first(tag: int, default: int) -> int:
        found = tags.get(tag, default)
        return int(found[0] if isinstance(found, tuple) else found)

    inverted = first(_PHOTOMETRIC, 1) == 0
    return _Facts(image.format, first(_BITS, 16), first(_SAMPLE_FORMAT, 1) == 1, inverted, _is_reduced(image))


def _is_reduced(image: Image.Image) -> bool:
    """Whether a channel has 16 bits in the file and 8 as Pillow opens it."""
    if is_deep(image):
        return False
    raw = [str(tile.args) for tile in getattr(image, "tile", ())]
    if any(";16" in text for text in raw):  # PNG, TIFF, SGI
        return True
    most = next(
        (tile.args[1] for tile in getattr(image, "tile", ()) if image.format == "PPM" and len(tile.args) > 1), 0
    )
    return isinstance(most, int) and most > 255


def unscaled(path: Path) -> DataError:
    """The error of an image file whose header says that it is not ``scaled``, with the range of its values as the fix.

    Raises:
        Exception: it cannot be decoded.
    """
    with opened(path) as image:
        return _unscaled(str(path), image, _facts(image))


def _unscaled(where: str, image: Image.Image, facts: _Facts) -> DataError:
    values = _values(image, facts)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    what = "float" if image.mode == "F" else "signed or 32-bit integer"
    return DataError(
        f"{where} has {what} pixels, here from {low:g} to {high:g}; no rule says which value is black and which white",
        setting(range=(low, high)),
    )


def _too_large(path: Path, width: int, height: int) -> DataError | None:
    """Pillow's own bound, of which it only warns: a file of a few bytes may say that it is larger."""
    from PIL import Image

    most, count = Image.MAX_IMAGE_PIXELS, width * height
    if most is None or count <= most:
        return None
    return DataError(
        f"{path} has {width} x {height} pixels, more than the {most:,} that Pillow takes for safe",
        f"make it smaller; or write import PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = {count} in your script, or in a "
        "FILE.py for the option --with FILE.py",
    )


Tally = list[tuple[int, int]]
"""Of each picture, how many of its values are outside the range that was given, and how many it has."""


def as_array(image: Image.Image, options: DataOptions, parts: int = 1, tally: Tally | None = None) -> np.ndarray:
    """A picture as uint8 ``(c, h, w)``, upright and fitted to the options, by the rule at the head of this module.

    With ``options.range``, the values outside it are counted in ``tally``.

    Raises:
        DataError: pixels that the rule refuses.
    """
    from PIL import Image, ImageOps

    gray, facts = image.mode in _GRAY, _facts(image)
    if image.format == "TIFF":
        image.load()  # Pillow turns a TIFF here
    image = ImageOps.exif_transpose(image)
    if is_deep(image):
        image = _in_bytes(image, facts, options, tally)
    elif options.range is not None and image.mode != "1":
        image = _stretched(image, options.range, 257 if facts.reduced else 1, tally)
    if image.mode == "LAB":
        image = _from_lab(image)
    if options.alpha == "keep":
        array, gray = np.array(image.convert("RGBA"), dtype=np.uint8), False
    else:
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            clear = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
        array = np.array(image.convert("L" if gray else "RGB"), dtype=np.uint8)
    pixels = array[None] if gray else array.transpose(2, 0, 1)
    return fitted(torch.from_numpy(pixels)[None], options, parts)[0].numpy()


def brightest(path: Path) -> float:
    """The largest number in an image file, before it is scaled."""
    with opened(path) as image:
        return float(_values(image, _facts(image)).max())


def is_deep(image: Image.Image) -> bool:
    """Whether a channel of an open picture has more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _full_range(image: Image.Image, facts: _Facts) -> tuple[float, float] | None:
    """The values of black and white in a picture of more than 8 bits; None where the format does not say them."""
    if image.mode.startswith("I;16"):
        return 0.0, float(2**facts.bits - 1)
    if image.mode == "I" and facts.format in ("PNG", "PPM"):  # Pillow gives the pixels of a PGM on this scale
        return 0.0, 65535.0
    if image.mode == "I" and facts.format is None:  # made or changed in memory: 16 bits, if its values allow
        values = np.asarray(image)
        return (0.0, 65535.0) if values.min() >= 0 and values.max() <= 65535 else None
    return None


def _values(image: Image.Image, facts: _Facts) -> np.ndarray:
    """The numbers in the file. Pillow reads unsigned 32-bit integers as signed ones."""
    found: np.ndarray = np.asarray(image)
    wrapped = image.mode == "I" and facts.format == "TIFF" and facts.unsigned and facts.bits == 32
    return found.view(np.uint32).astype(np.float64) if wrapped else found.astype(np.float64)


def _in_bytes(image: Image.Image, facts: _Facts, options: DataOptions, tally: Tally | None) -> Image.Image:
    from PIL import Image

    values = _values(image, facts)
    span = options.range or _full_range(image, facts)
    if span is None:
        raise _unscaled("an image", image, facts)
    if not np.isfinite(values).all():
        raise DataError("an image with NaN or infinite pixels", "replace them, or remove the image")
    if tally is not None and options.range is not None:
        tally.append((int(((values < span[0]) | (values > span[1])).sum()), values.size))
    if facts.inverted:
        values = span[0] + span[1] - values
    made = Image.fromarray(_scaled(values, span))
    see_through = image.info.get("transparency")
    if isinstance(see_through, int):  # one value of a 16-bit PNG is transparent
        alpha = np.where(np.asarray(image) == see_through, 0, 255).astype(np.uint8)
        made = Image.merge("LA", (made, Image.fromarray(alpha)))
    return made


def _scaled(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """``low … high`` as 0 … 255, rounded; values outside become the nearer end."""
    low, high = span
    scaled: np.ndarray = ((values.astype(np.float64) - low) * (255.0 / (high - low))).clip(0.0, 255.0)
    found: np.ndarray = np.rint(scaled).astype(np.uint8)
    return found


def _stretched(image: Image.Image, span: tuple[float, float], unit: int, tally: Tally | None) -> Image.Image:
    """A picture of 8 bits with ``range`` taken of its colours; what is transparent stays so.

    One level of the picture is ``unit`` levels of the file.
    """
    from PIL import Image

    clear = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    mode = ("L" if image.mode in _GRAY else "RGB") + ("A" if clear else "")
    numbers = np.arange(256) * unit
    levels = [int(value) for value in _scaled(numbers, span)]
    bands = list(image.convert(mode).split())
    colours = bands[:-1] if clear else bands
    if tally is not None:
        beyond = (numbers < span[0]) | (numbers > span[1])
        counts = np.array([band.histogram() for band in colours])
        tally.append((int(counts[:, beyond].sum()), int(counts.sum())))
    made = [*(band.point(levels) for band in colours), *bands[len(colours) :]]
    return Image.merge(mode, made) if len(made) > 1 else made[0]


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    change = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    found = ImageCms.applyTransform(image, change)
    assert found is not None
    return found
