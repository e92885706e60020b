"""HTML by Jinja2 with autoescape: what is put into a page is text, whatever it holds.

The templates are in ``templates/``. A page loads nothing, runs no script but its own, and sends nothing anywhere: its
Content-Security-Policy allows pictures that it carries, and the style sheet and the script whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..doctor.diagnosis_text import capital
from .text import counted, number, sentence

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Picture:
    """A PNG as a page carries it.

    Attributes:
        png: the file.
        alt: what it shows.
        kind: classes of the element: ``plot`` is turned over in the dark, ``pixels`` is enlarged without blur.
    """

    png: bytes
    alt: str
    kind: str

    @property
    def data(self) -> str:
        """The file in base64."""
        return base64.b64encode(self.png).decode()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "counted": counted, "sentence": sentence, "capital": capital}
    return made


def page(template: str, **values: Any) -> str:
    """A whole HTML document.

    Args:
        template: a file of ``templates/`` that extends ``page.html.j2``.
        values: what it shows, ``title`` among them. Strings are escaped wherever they stand.

    Examples:
        >>> shown = page("page.html.j2", title="a < b")
        >>> "<title>a &lt; b</title>" in shown, "Content-Security-Policy" in shown
        (True, True)
    """
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "form-action 'none'; base-uri 'none'"
    )
    own = {"style": style, "script": script, "policy": policy}
    return _environment().get_template(template).render(**values, **own) + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
