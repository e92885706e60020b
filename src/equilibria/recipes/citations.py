"""BibTeX by key, from the bibliography of the package."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from ..base.errors import ConfigError, did_you_mean

_ADDED: dict[str, str] = {}


@lru_cache(maxsize=1)
def entries() -> dict[str, str]:
    """Every entry of references.bib by key."""
    return _parsed(resources.files(__package__).joinpath("references.bib").read_text(encoding="utf-8"))


def _parsed(bibtex: str) -> dict[str, str]:
    found = re.findall(r"^(@\w+\{([^,\s]+),.*?^\})", bibtex, flags=re.MULTILINE | re.DOTALL)
    return {key: whole for whole, key in found}


def cite_also(bibtex: str) -> None:
    """Make further BibTeX entries known, for recipes that are defined outside the package.

    An entry begins and ends at the start of a line, as in references.bib; a key of references.bib keeps its meaning.

    Examples:
        >>> cite_also("@misc{own_system,\\n  title = {Own},\\n  year = {2026},\\n}")
        >>> citation("own_system").splitlines()[0]
        '@misc{own_system,'
    """
    _ADDED.update(_parsed(bibtex))


def citation(key: str) -> str:
    """The BibTeX of a key.

    Raises:
        ConfigError: the bibliography has no such key.

    Examples:
        >>> citation("goodfellow2014").splitlines()[0]
        '@inproceedings{goodfellow2014,'
    """
    known = {**_ADDED, **entries()}
    if key not in known:
        raise ConfigError(f"no entry '{key}' in references.bib", did_you_mean(key, known))
    return known[key]
