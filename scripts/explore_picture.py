"""Draw docs/images/explore.png, four pages of one run: python scripts/explore_picture.py RUN [OUT.png]

The run is that of docs/explore.md (`equilibria train --data mnist --minutes 3`). Samples with an attribute and without
it were chosen by eye from the picture of `equilibria sample RUN`; of another run, choose them again: ONES and ZEROS.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import equilibria as eq
from equilibria.figures.animation import captioned
from equilibria.figures.images import png

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "explore.png"
ONES, ZEROS = [4, 6, 18, 26], [0, 7, 23, 40]
GAP = 24


def main(arguments: list[str]) -> None:
    explore = eq.open_run(arguments[0]).explore
    pages = {
        "interpolate: from one code to another": explore.interpolate(rows=4, steps=7),
        "truncate: the threshold of a code's numbers": explore.truncate(rows=4),
        "directions: one code, standard deviations": explore.directions(rows=4),
        "arithmetic: from ones to zeros, strength": explore.arithmetic(plus=ZEROS, minus=ONES),
    }
    drawn = [captioned(page.picture(), (title,)) for title, page in pages.items()]
    width, height = (max(side) for side in zip(*(one.size for one in drawn), strict=True))
    sheet = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for i, one in enumerate(drawn):
        right, down = i % 2, i // 2
        sheet.paste(one, (right * (width + GAP) + width - one.width, down * (height + GAP)))
    target = Path(arguments[1]) if len(arguments) > 1 else TARGET
    target.write_bytes(png(sheet, colors=64))


if __name__ == "__main__":
    main(sys.argv[1:])
