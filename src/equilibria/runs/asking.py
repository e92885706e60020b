"""What samples are asked to be: their classes, by number or name, and their codes, from any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError, ShapeError, did_you_mean
from ..core.game import Game
from ..core.play import Play
from ..data import DataSpec
from ..data.files import stored
from ..networks.layers import one_hot

CLASSES = "y"
"""The name of the classes beside codes."""


def latent_names(play: Play) -> tuple[str, ...]:
    """The entries of a game's draw that are latent codes: one, or one for each level of a pyramid.

    Raises:
        ConfigError: samples are made from rows, without codes, or by several members at once.
    """
    game = play.game
    if game.seeds:
        raise ConfigError("codes of several seeds at once", "open the run of one seed")
    if game.needs:
        what = f"this run's samples are made from rows ({', '.join(game.needs)}), not from latent codes"
        raise ConfigError(what, "equilibria sample RUN --given ROWS (in Python: run.sample(n, given=rows))")
    found = tuple(name for name in play.codes(1).tensors if name.rpartition("/")[2] == "latent")
    if not found:
        raise ConfigError(f"the samples of a {type(game).__name__} have no latent codes", "use run.sample(n)")
    return found


def class_names_in(play: Play) -> frozenset[str]:
    """The entries of a game's draw that are the class asked for, as a unit vector."""
    classes = play.game.classes
    if not classes:
        return frozenset()
    drawn = play.codes(classes, labels=torch.arange(classes, device=play.device)).tensors
    unit = torch.eye(classes)
    return frozenset(n for n, v in drawn.items() if v.shape == unit.shape and torch.equal(v.cpu().float(), unit))


def labels_asked(play: Play, names: tuple[str, ...], n: int, labels: Any) -> Tensor:
    """``n`` classes given by number or name, ``(n,)``.

    Raises:
        ConfigError: labels for a game without them, or none of its classes.
    """
    classes = play.game.classes
    if not classes:
        fix = "leave them out, or train a conditional recipe: equilibria train r3gan-conditional --data digits"
        raise ConfigError("labels were asked for, and this run's game has no classes", fix)
    found = labels if isinstance(labels, Tensor) else [_class_number(one, names, classes) for one in labels]
    asked = torch.as_tensor(found, device=play.device)
    if asked.shape != (n,) or asked.is_floating_point() or bool(((asked < 0) | (asked >= classes)).any()):
        raise ConfigError(f"labels {asked.flatten()[:8].tolist()}", f"give {n} whole numbers in 0…{classes - 1}")
    return asked.long()


def _class_number(label: int | str, names: tuple[str, ...], classes: int) -> Any:
    """The number of a class given by number or name; a name that is a number is a name first."""
    if not isinstance(label, str):
        return label
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < classes:
        return int(label)
    raise ConfigError(f"no class '{label}'", did_you_mean(label, names))


def latents_of(given: Any, play: Play, labels: Tensor | Sequence[int | str] | None = None) -> dict[str, Tensor]:
    """Codes from whatever was given, as entries of the game's draw, with the classes as ``y`` if they are among them.

    Args:
        given: codes ``(n, d)`` as a tensor or an array; a mapping of the names in the draw to such, as
            :meth:`Run.codes` returns; or a ``.npy`` or ``.npz`` file of these.
        play: whose codes they are.
        labels: classes that are asked for; those that are given with the codes are then left out.

    Raises:
        ConfigError: the game has no latent codes, or something else was given.
        DataError: the file cannot be read, an entry has no such name, or a number is not finite.
        ShapeError: codes of another shape.
    """
    latent = latent_names(play)
    where = f" in {given}" if isinstance(given, (str, PathLike)) else ""
    entries = _named(given, latent)
    if labels is not None:
        entries.pop(CLASSES, None)
    if labels is not None or CLASSES in entries:  # these follow from the classes
        entries = {name: values for name, values in entries.items() if name not in class_names_in(play)}
    like = play.codes(1).tensors
    found: dict[str, Tensor] = {}
    for name, values in entries.items():
        if name == CLASSES and play.game.classes:
            found[name] = labels_asked(play, (), len(values), torch.as_tensor(values))
        elif name not in like or name in play.game.whole:
            raise DataError(f"no codes '{name}'{where} are known to this run", did_you_mean(name, like))
        else:
            found[name] = _checked(values, like[name], f"codes '{name}'{where}")
    counts = {name: len(rows) for name, rows in found.items()}
    if len(set(counts.values())) != 1:
        raise ShapeError(f"codes{where} of {counts} rows", "give as many of each, at least one")
    return found


def with_classes_of(game: Game, data: DataSpec) -> Game:
    """A game made in Python whose samples have classes of the data: in the data's shares if it says no others."""
    if game.classes == data.classes and not game.class_shares:
        game.class_shares = data.class_shares
    return game


def with_classes(codes: dict[str, Tensor], labels: Tensor | None, play: Play) -> dict[str, Tensor]:
    """Codes with the classes that they were drawn for, unless other ones have been put in their place."""
    if labels is None:
        return codes
    given = one_hot(labels.cpu(), play.game.classes)
    drawn = all(torch.equal(codes[name].float(), given) for name in class_names_in(play))
    return {**codes, CLASSES: labels.cpu()} if drawn else codes


def read_latents(path: Path) -> dict[str, Any]:
    """The arrays of a file of codes by name; that of a ``.npy`` as ``x``. Nothing is unpickled.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    if not path.expanduser().is_file():
        raise DataError(f"there is no file {path}", "write one: equilibria sample RUN --save-latents codes.npz")
    found = stored(path.expanduser())
    if not found or any(values.ndim == 0 for values in found.values()):
        raise DataError(f"{path} holds no codes", "write codes: equilibria sample RUN --save-latents codes.npz")
    return dict(found)


def _named(given: Any, latent: tuple[str, ...]) -> dict[str, Any]:
    """Arrays by name."""
    if isinstance(given, (str, PathLike)):
        given = read_latents(Path(given))
    if isinstance(given, (Tensor, np.ndarray)):
        given = {"x": given}
    if isinstance(given, Mapping):
        given = {latent[0] if name == "x" else name: values for name, values in given.items()}
    if not isinstance(given, Mapping) or not all(isinstance(v, (Tensor, np.ndarray)) for v in given.values()):
        what = f"latents are a {type(given).__name__}, and codes are needed"
        raise ConfigError(what, "latents=run.codes(64), a tensor (n, d), or the path of a .npy or .npz file")
    return dict(given)


def _checked(values: Any, like: Tensor, what: str) -> Tensor:
    if values.dtype.kind not in "fiub" if isinstance(values, np.ndarray) else values.is_complex():
        raise DataError(f"{what} are of the type {values.dtype}", "give numbers")
    rows = torch.as_tensor(values)
    shape = tuple(like.shape[1:])
    if tuple(rows.shape[1:]) != shape or rows.dim() != like.dim() or not len(rows):
        wanted = ", ".join(["n", *map(str, shape)])
        raise ShapeError(f"{what} have the shape {tuple(rows.shape)}", f"give ({wanted}) with n of at least 1")
    if rows.is_floating_point() and not bool(rows.isfinite().all()):
        raise DataError(f"{what} are not all finite", "give finite numbers")
    return rows.to(like)
