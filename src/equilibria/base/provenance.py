"""The origin of a result: the commit of the code that made it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str | None:
    """The commit of the checkout that this package is imported from, with ``"-modified"`` if files differ.

    None if the package is installed from a wheel, or git is not available.

    Examples:
        >>> commit() is None or len(commit().split("-")[0]) >= 7
        True
    """
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=-modified", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name], cwd=here, capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if tracked.returncode == 0 else None  # otherwise a wheel inside another repository
