"""What a notebook shows of an object: text, escaped by construction, and a picture."""

from __future__ import annotations

import base64
from html import escape


def shown(text: str, png: bytes | None = None) -> str:
    """HTML of a text and of a picture below it.

    Examples:
        >>> shown("a < b")
        '<pre>a &lt; b</pre>'
        >>> shown("a", b"x").endswith('<img alt="" src="data:image/png;base64,eA==">')
        True
    """
    picture = "" if png is None else f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return f"<pre>{escape(text)}</pre>{picture}"
