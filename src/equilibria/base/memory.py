"""The memory of this machine: what would not fit is refused before it is asked for."""

from __future__ import annotations

import os

SHARE = 0.8
"""The share of the machine's memory that one thing may need."""


def machine_memory() -> int | None:
    """The bytes of memory of this machine; None where the system does not tell.

    Examples:
        >>> machine_memory() is None or machine_memory() > 2**20
        True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def too_large(needed: int) -> str:
    """Why so many bytes cannot be had, as a clause; empty if they can, or if that is not known.

    Examples:
        >>> too_large(10), "GB" in too_large(10**18) or machine_memory() is None
        ('', True)
    """
    memory = machine_memory()
    if memory is None or needed <= SHARE * memory:
        return ""
    return f"need {needed / 1e9:,.1f} GB, the machine has {memory / 1e9:,.1f} GB"
