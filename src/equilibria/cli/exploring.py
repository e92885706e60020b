"""`equilibria explore`: paths, truncation, directions and arithmetic of codes, and training, as pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import ConfigError, did_you_mean
from .console import RunArg, WithFiles, app, quoted, say

if TYPE_CHECKING:
    from ..runs import Run, pages

_How = dict[str, Any]


@dataclass(frozen=True)
class PageKind:
    """A page that the command makes. One more page is one more row of :data:`PAGES`.

    Attributes:
        what: what it shows.
        options: the options that it reads, besides ``--out``, ``--seed`` and ``--best``.
        method: the method of :class:`~equilibria.runs.exploring.Explorer` that makes it; empty for the pictures that a
            run has stored.
        arguments: from the run, the options by name and whether it is an animation, the arguments of the method.
        note: what is said of the run after the page is written; empty for nothing.
    """

    what: str
    options: frozenset[str] = frozenset()
    method: str = ""
    arguments: Callable[[Run, _How, bool], _How] = lambda run, how, moving: how
    note: Callable[[Run], str] = lambda run: ""


def _of_paths(run: Run, how: _How, moving: bool) -> _How:
    return _of_rows(run, how, moving) | ({"closed": True} if moving else {})


def _of_rows(run: Run, how: _How, moving: bool) -> _How:
    """Rows of one class, where one was asked for."""
    if "label" not in how:
        return how
    rows = {"rows": how.get("rows", None if "latents" in how else 6)}
    return {name: value for name, value in how.items() if name != "label"} | rows | {"labels": [how["label"]]}


def _of_attributes(run: Run, how: _How, moving: bool) -> _How:
    """The samples or classes that have an attribute, and those that do not.

    Raises:
        ConfigError: one of the two is not given.
    """
    how = {"strengths" if name == "values" else name: value for name, value in how.items()}
    for side in ("plus", "minus"):
        if side not in how:
            listed = f"classes: equilibria classes {quoted(run.path)}"
            which = listed if run.play.game.classes else "samples, counted from 0"
            raise ConfigError(f"--{side} is not given ({which})", "--minus 3,4,5 --plus 0,1,2")
        how[side] = [word.strip() for word in how[side].split(",") if word.strip()]
    return how


def _what_the_numbers_are(run: Run) -> str:
    if run.play.game.classes:
        return ""
    return "this run has no classes: --minus and --plus are numbers of its samples, counted from 0"


PAGES = {
    "interpolate": PageKind(
        "paths between two codes, one in each row; a .gif or .mp4 goes through four codes and back",
        frozenset({"rows", "steps", "method", "label", "latents"}),
        "interpolate",
        _of_paths,
    ),
    "truncate": PageKind(
        "the same codes at several strengths of truncation",
        frozenset({"rows", "values", "method", "label", "latents"}),
        "truncate",
        _of_rows,
    ),
    "directions": PageKind(
        "one code moved along the principal directions of the generator's first layer (GANSpace)",
        frozenset({"rows", "steps", "reach", "label", "latents"}),
        "directions",
    ),
    "grid": PageKind(
        "one code moved along two of these directions", frozenset({"steps", "reach", "label", "latents"}), "plane"
    ),
    "arithmetic": PageKind(
        "codes moved from one attribute to another: --minus 3 --plus 8",
        frozenset({"rows", "values", "plus", "minus", "latents"}),
        "arithmetic",
        _of_attributes,
        _what_the_numbers_are,
    ),
    "training": PageKind("the samples that the run has stored, by round; a .gif or .mp4"),
}


PickArg = Annotated[str | None, typer.Option(help="Which of these codes, counted from 0, for example 3,17.")]
_Plus = Annotated[
    str | None, typer.Option(help="Classes, or without classes numbers of samples, that have the attribute.")
]
_Latents = Annotated[
    Path | None, typer.Option(help="Codes to begin with, a .npz or .npy file (from explore, or --save-latents).")
]
_Page = Annotated[
    str,
    typer.Argument(metavar="[PAGE]", help="\n\n".join(f"{name}: {kind.what}." for name, kind in PAGES.items())),
]
_Target = Annotated[
    Path | None,
    typer.Option("--out", help="A .png, .gif or .mp4 file; PAGE.png if not given (of training, training.gif)."),
]


@app.command()
def explore(
    run: RunArg,
    page: _Page = "interpolate",
    to: _Target = None,
    rows: Annotated[int | None, typer.Option(help="Rows: codes, paths or directions.")] = None,
    steps: Annotated[int | None, typer.Option(help="Samples on a path, or positions on a direction.")] = None,
    method: Annotated[str | None, typer.Option(help="Of paths: slerp or lerp. Of truncation: normal or psi.")] = None,
    values: Annotated[str | None, typer.Option(help="Thresholds, psi or strengths, for example 0.5,1,2.")] = None,
    reach: Annotated[float | None, typer.Option(help="Standard deviations at the ends of a direction.")] = None,
    plus: _Plus = None,
    minus: Annotated[str | None, typer.Option(help="Those that do not have it.")] = None,
    label: Annotated[str | None, typer.Option(help="The class of all samples, by name or number.")] = None,
    latents: _Latents = None,
    pick: PickArg = None,
    seed: Annotated[int, typer.Option(help="Seed of the codes.")] = 0,
    best: Annotated[
        bool, typer.Option("--best", help="Use the round whose samples were the best in training.")
    ] = False,
    own: WithFiles = None,
) -> None:
    """Explore the codes of a run's generator in a picture or an animation, with the codes of each sample beside it.

    [dim]equilibria explore runs/digits

    equilibria explore runs/digits --out loop.gif

    equilibria explore runs/digits truncate --label 7

    equilibria explore runs/digits directions --rows 8

    equilibria explore runs/digits arithmetic --minus 3 --plus 8

    equilibria explore runs/digits interpolate --latents samples.npz --pick 3,17

    equilibria explore runs/digits training --out training.gif[/dim]
    """
    from .. import runs
    from ..runs import pages

    if page not in PAGES:
        raise ConfigError(f"no page '{page}'", did_you_mean(page, PAGES))
    kind = PAGES[page]
    given: _How = {"rows": rows, "steps": steps, "method": method, "values": values, "reach": reach}
    given |= {"plus": plus, "minus": minus, "label": label, "latents": latents}
    given = {name: value for name, value in given.items() if value is not None}
    if unread := sorted(given.keys() - kind.options):
        raise ConfigError(f"--{unread[0]} is not read by the page '{page}'", "leave it out")
    if pick is not None and latents is None:
        raise ConfigError("--pick without --latents", f"--latents samples.npz --pick {pick}")
    target = _target(to or Path(f"{page}.png" if kind.method else f"{page}.gif"))
    pages.check_name(target)
    opened = runs.open_run(run, best_round=best)
    if not kind.method:
        if target.suffix.lower() == ".png":
            raise ConfigError(f"{page} is an animation", f"--out {target.stem}.gif")
        say(f"{pages.write_training(opened, target)} rounds in {target}")
        return
    if latents is not None:
        given["latents"] = picked(latents, pick)
    if values is not None:
        given["values"] = _numbers("values", values, float)
    how = kind.arguments(opened, {**given, "seed": seed}, target.suffix.lower() != ".png")
    made: pages.Page = getattr(opened.explore, kind.method)(**how)
    _write(made, target)
    if note := kind.note(opened):
        say(note)


def _write(made: pages.Page, target: Path) -> None:
    """Write a page, and say how its samples are made again."""
    picture, codes = made.write(target)
    say(f"{len(made.rows)} x {len(made.columns)} samples in {picture}, their codes in {codes}")
    again = codes.with_name(f"{codes.stem}-again.png")
    say(f"Again:   equilibria sample {quoted(made.run.path)} --latents {quoted(codes)} --out {quoted(again)}")


def picked(path: Path, which: str | None) -> Any:
    """The codes of a file, or those of its rows with these numbers.

    Raises:
        ConfigError: a number without a row.
        DataError: the file cannot be read.
    """
    from ..runs.asking import read_latents

    entries = read_latents(path)
    if which is None:
        return entries
    count = min(len(values) for values in entries.values())
    numbers = _numbers("pick", which, int)
    for number in numbers:
        if not 0 <= number < count:
            raise ConfigError(f"--pick {number}: {path} holds {count} codes", f"use numbers from 0 to {count - 1}")
    return {name: values[numbers] for name, values in entries.items()}


def _numbers(name: str, text: str, kind: type[int] | type[float]) -> list[Any]:
    try:
        found = [kind(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = []
    if not found:
        example = "3,17" if kind is int else "0.5,1,2"
        raise ConfigError(f"--{name} {text} is no list of numbers", f"--{name} {example}")
    return found


def _target(path: Path) -> Path:
    """The file to write: a GIF in place of an MP4 where there is no program to write one."""
    from ..figures.animation import can_write_mp4

    if path.suffix.lower() == ".mp4" and not can_write_mp4():
        say(f"ffmpeg is not on the path, which an MP4 needs: written as {path.with_suffix('.gif')}")
        return path.with_suffix(".gif")
    return path
