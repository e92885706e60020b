"""Pictures in temporal order as a GIF or an MP4, and a grid with captions along its sides."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..base.errors import ConfigError, ShapeError
from .images import INK

_LINE = 18  # pixels of a line of text


def gif(pictures: Sequence[Image.Image], milliseconds: int = 80) -> bytes:
    """Pictures of one size as an animated GIF that repeats for ever.

    Grey pictures keep their pixels; of others each is reduced to a palette of 256 colours of its own. A picture equal
    to the one before it is stored as a longer frame.

    Args:
        pictures: in order.
        milliseconds: of each picture, at least 20: faster ones are slowed down by most programs.

    Raises:
        ShapeError: no pictures, or pictures of different sizes.

    Examples:
        >>> gif([Image.new("L", (8, 8), level) for level in (0, 100)])[:6]
        b'GIF89a'
    """
    _check(pictures)
    frames = [_grey(one) or one.convert("RGB").quantize(256, dither=Image.Dither.NONE) for one in pictures]
    out = io.BytesIO()
    frames[0].save(
        out, "GIF", save_all=True, append_images=frames[1:], duration=max(20, milliseconds), loop=0, optimize=False
    )
    return out.getvalue()


def can_write_mp4() -> bool:
    """Whether the program ``ffmpeg`` is there."""
    return shutil.which("ffmpeg") is not None


def mp4(pictures: Sequence[Image.Image], milliseconds: int = 80) -> bytes:
    """Pictures of one size as an MP4, by the program ``ffmpeg``; sides that are odd get a white line.

    Args:
        pictures: in order.
        milliseconds: of each picture.

    Raises:
        ShapeError: no pictures, or pictures of different sizes.
        ConfigError: ``ffmpeg`` is not there, or fails.
    """
    _check(pictures)
    program = shutil.which("ffmpeg")
    if program is None:
        raise ConfigError("an MP4 needs the program ffmpeg, which is not on the path", "use a name that ends in .gif")
    width, height = (side + side % 2 for side in pictures[0].size)
    raw = io.BytesIO()
    for one in pictures:
        page = Image.new("RGB", (width, height), "white")
        page.paste(one.convert("RGB"))
        raw.write(page.tobytes())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "film.mp4"
        rate = f"{1000 / max(1, milliseconds):.6g}"
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
        made = ["-an", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target)]
        done = subprocess.run(
            [program, "-loglevel", "error", "-y", *given, *made], input=raw.getvalue(), capture_output=True, check=False
        )
        if done.returncode or not target.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise ConfigError(f"ffmpeg failed: {said[0][:200]}", "use a name that ends in .gif")
        return target.read_bytes()


def captioned(page: Image.Image, columns: Sequence[str] = (), rows: Sequence[str] = ()) -> Image.Image:
    """A grid with a caption over each column and to the left of each row; without captions the grid as it is.

    Args:
        page: rows and columns of one size each.
        columns: captions from left to right; those that do not fit are left out.
        rows: captions from top to bottom.

    Examples:
        >>> captioned(Image.new("RGB", (60, 40)), columns=("a", "b"), rows=("c",)).size
        (75, 58)
    """
    font = ImageFont.load_default(size=12)
    left = round(max((font.getlength(text) for text in rows), default=-8)) + 8
    top = _LINE if any(columns) else 0
    out = Image.new("RGB", (page.width + left, page.height + top), "white")
    out.paste(page, (left, top))
    draw = ImageDraw.Draw(out)
    for i, text in enumerate(columns):
        if font.getlength(text) <= page.width / len(columns):
            draw.text((left + (i + 0.5) * page.width / len(columns), top / 2), text, fill=INK, font=font, anchor="mm")
    for i, text in enumerate(rows):
        draw.text((left - 5, top + (i + 0.5) * page.height / len(rows)), text, fill=INK, font=font, anchor="rm")
    return out


def _check(pictures: Sequence[Image.Image]) -> None:
    sizes = sorted({one.size for one in pictures})
    if len(sizes) != 1:
        raise ShapeError(f"an animation of {len(pictures)} pictures of the sizes {sizes}", "give pictures of one size")


def _grey(picture: Image.Image) -> Image.Image | None:
    """The picture with one channel, if it is grey."""
    red, green, blue = picture.convert("RGB").split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else None
