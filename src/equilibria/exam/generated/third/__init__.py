"""A third part of the held-out split; importing it adds the parts to the tables of the axes.

Another author wrote it, without a look at the doctor. It judged the doctor once as its second unseen split, and its
mistakes were mended since.
"""

from __future__ import annotations

from ..fault import Variant
from . import dynamics, laws, losses, networks, styles, styles_more, trained, wiring

LOOPS = (styles.__name__, styles_more.__name__)
"""The modules that hold the styles."""

VARIANTS: dict[str, tuple[Variant, ...]] = {
    name: found for module in (wiring, losses, trained, dynamics) for name, found in module.VARIANTS.items()
}
"""The variants of each fault, by its name."""

__all__ = ["LOOPS", "VARIANTS", "laws", "networks"]
