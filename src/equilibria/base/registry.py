"""Registries: the one place where a name that a user types becomes a record."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Generic, TypeVar

from .errors import ConfigError, did_you_mean

T = TypeVar("T")
_REGISTRIES: dict[type, Registry[Any]] = {}


def spelled(name: str) -> str:
    """The canonical spelling of a name: lower case, words joined by hyphens.

    Examples:
        >>> spelled("Least_Squares"), spelled(" WGAN GP ")
        ('least-squares', 'wgan-gp')
    """
    return "-".join(name.strip().lower().replace("_", " ").replace("-", " ").split())


class Registry(Mapping[str, T], Generic[T]):
    """Values by name, with aliases; lookup ignores case and the choice of ``_`` or ``-``.

    Args:
        noun: what an entry is called in messages, for example ``"objective"``.
        entries: values by canonical name, in the order in which they are listed.
        aliases: further names of entries.
        base: the class of the entries, or several; a record's field of such a class then accepts a name, in Python and
            after ``--set``. An entry may be a class of records instead of a record, where settings have no defaults.

    Examples:
        >>> ages = Registry("age", {"bronze-age": 1, "iron-age": 2}, aliases={"iron": "iron-age"})
        >>> ages.find("Iron_Age"), ages.find("iron"), list(ages)
        (2, 2, ['bronze-age', 'iron-age'])
        >>> ages.find("bronce-age")
        Traceback (most recent call last):
        equilibria.base.errors.ConfigError: no age 'bronce-age'. Fix: did you mean 'bronze-age'?
    """

    def __init__(
        self,
        noun: str,
        entries: Mapping[str, T],
        aliases: Mapping[str, str] | None = None,
        base: type | tuple[type, ...] = (),
    ) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        for name, value in entries.items():
            self.add(name, value)
        for alias, name in (aliases or {}).items():
            self.alias(alias, name)
        for kind in base if isinstance(base, tuple) else (base,):
            _REGISTRIES[kind] = self

    @property
    def aliases(self) -> Mapping[str, str]:
        """The canonical name of each further name."""
        return self._aliases

    def add(self, name: str, value: T, replace: bool = False) -> None:
        """Add an entry, or, with ``replace``, put it in the place of the one that has its name.

        Raises:
            ConfigError: the name is taken or not in canonical spelling.
        """
        if name != spelled(name):
            raise ConfigError(f"{self.noun} name '{name}'", f"spell it '{spelled(name)}'")
        if name in self and not (replace and name in self._entries):
            raise ConfigError(f"two entries are called {self.noun} '{name}'", "choose another name")
        self._entries[name] = value

    def remove(self, name: str) -> None:
        """Take an entry out, with its aliases; nothing where there is none."""
        self._entries.pop(name, None)
        self._aliases = {alias: entry for alias, entry in self._aliases.items() if entry != name}

    def alias(self, alias: str, name: str) -> None:
        """Add another name of an entry."""
        if spelled(alias) in self._entries or name not in self._entries:
            raise ConfigError(f"alias '{alias}' of {self.noun} '{name}'", "name an entry by a name that is free")
        self._aliases[spelled(alias)] = name

    def find(self, name: str) -> T:
        """The entry of this name.

        Raises:
            ConfigError: there is none; the message names the nearest one.
        """
        given: Any = name
        if not isinstance(given, str):
            what = f"{name!r:.60} is a {type(name).__name__}, and the name of a {self.noun} is needed"
            raise ConfigError(what, did_you_mean("", self._entries))
        try:
            return self[name]
        except KeyError:
            near = did_you_mean(spelled(name), self._entries, self._aliases)
            raise ConfigError(f"no {self.noun} '{name}'", near) from None

    def name_of(self, value: T) -> str | None:
        """The canonical name of a value that is an entry, else None."""
        return next((name for name, entry in self._entries.items() if entry == value), None)

    def __getitem__(self, name: str) -> T:
        key = spelled(name)
        return self._entries[self._aliases.get(key, key)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (spelled(name) in self._entries or spelled(name) in self._aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def registry_of(kind: type) -> Registry[Any] | None:
    """The registry of a class or of the nearest of its bases, None where there is none."""
    for base in kind.__mro__:
        if base in _REGISTRIES:
            return _REGISTRIES[base]
    return None


def registries() -> Mapping[type, Registry[Any]]:
    """All registries by the class of their entries."""
    return _REGISTRIES


def modules_in(package: str) -> list[ModuleType]:
    """The modules directly in a package, imported in alphabetical order: what is in the folder is found.

    Args:
        package: its dotted name. Modules called ``registry``, which call this, are left out.

    Examples:
        >>> names = [module.__name__ for module in modules_in("equilibria.base")]
        >>> names == sorted(names), "equilibria.base.errors" in names
        (True, True)
    """
    path = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(path) if module.name != "registry")
    return [importlib.import_module(f"{package}.{name}") for name in names]


def gathered(noun: str, package: str, attribute: str, base: type) -> Registry[Any]:
    """A registry of what the modules of a package list under an attribute, and of their ``ALIASES``.

    Args:
        noun: what an entry is called.
        package: whose modules are read, in alphabetical order.
        attribute: of a module: entries by name. A module without it lists none.
        base: the class of the entries.
    """
    found: Registry[Any] = Registry(noun, {}, base=base)
    for module in modules_in(package):
        for name, entry in getattr(module, attribute, {}).items():
            found.add(name, entry)
        for alias, name in getattr(module, "ALIASES", {}).items():
            if name in found:
                found.alias(alias, name)
    return found
