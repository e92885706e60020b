"""BibTeX by key, from the one bibliography of the house."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from ..base.errors import ConfigError, did_you_mean


@lru_cache(maxsize=1)
def entries() -> dict[str, str]:
    """Every entry of references.bib by key."""
    text = resources.files(__package__).joinpath("references.bib").read_text(encoding="utf-8")
    found = re.findall(r"^(@\w+\{([^,\s]+),.*?^\})", text, flags=re.MULTILINE | re.DOTALL)
    return {key: whole for whole, key in found}


def citation(key: str) -> str:
    """The BibTeX of a key.

    Raises:
        ConfigError: the bibliography has no such key.

    Examples:
        >>> citation("goodfellow2014").splitlines()[0]
        '@inproceedings{goodfellow2014,'
    """
    known = entries()
    if key not in known:
        raise ConfigError(f"no entry '{key}' in references.bib", did_you_mean(key, known))
    return known[key]
