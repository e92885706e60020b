"""docs/settings.md: its Python runs, and the settings in its text and shell can be made."""

from __future__ import annotations

import re
from pathlib import Path

from test_fixes import SETTING, resolves

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), "settings.md", "exec"), {"__name__": "page"})


def test_the_settings_of_the_page_can_be_made() -> None:
    written = [pair.strip("'") for pair in SETTING.findall(PAGE) if pair != "key=value"]
    written += re.findall(r"`((?:game|optimizer|update|networks)[\w.]*=[^`]+)`", PAGE)
    assert len(written) > 7 and all(resolves(pair) for pair in written), written
