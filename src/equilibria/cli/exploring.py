"""`equilibria explore`: paths, truncation, directions and arithmetic of codes, and training, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import ConfigError, did_you_mean
from .console import RunArg, WithFiles, app, quoted, say

if TYPE_CHECKING:
    from ..runs import Run
    from ..runs.pages import Page

PAGES = {
    "interpolate": "paths between two codes, one in each row; a .gif or .mp4 goes through four codes and back",
    "truncate": "the same codes at several strengths of truncation",
    "directions": "one code moved along the principal directions of the generator's first layer (GANSpace)",
    "grid": "one code moved along two of these directions",
    "arithmetic": "codes moved from one attribute to another: --minus 3 --plus 8",
    "training": "the samples that the run has stored, by round; a .gif or .mp4",
}
READ = {
    "interpolate": {"rows", "steps", "method", "label", "latents"},
    "truncate": {"rows", "values", "method", "label", "latents"},
    "directions": {"rows", "steps", "reach", "label", "latents"},
    "grid": {"steps", "reach", "label", "latents"},
    "arithmetic": {"rows", "values", "plus", "minus", "latents"},
    "training": set(),
}
"""The options that each page reads, besides ``--out``, ``--seed`` and ``--best``."""


PickArg = Annotated[str | None, typer.Option(help="Which of these codes, counted from 0, for example 3,17.")]
_Plus = Annotated[
    str | None, typer.Option(help="Classes, or without classes numbers of samples, that have the attribute.")
]
_Latents = Annotated[
    Path | None, typer.Option(help="Codes to begin with, a .npz or .npy file (from explore, or --save-latents).")
]
_Target = Annotated[
    Path | None,
    typer.Option("--out", help="A .png, .gif or .mp4 file; PAGE.png if not given (of training, training.gif)."),
]


@app.command()
def explore(
    run: RunArg,
    page: Annotated[str, typer.Argument(metavar="[PAGE]", help=f"One of {', '.join(PAGES)}.")] = "interpolate",
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

    Pages: interpolate, truncate, directions, grid, arithmetic, training.

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
    given: dict[str, Any] = {"rows": rows, "steps": steps, "method": method, "values": values, "reach": reach}
    given |= {"plus": plus, "minus": minus, "label": label, "latents": latents}
    given = {name: value for name, value in given.items() if value is not None}
    if unread := sorted(given.keys() - READ[page]):
        raise ConfigError(f"--{unread[0]} is not read by the page '{page}'", "leave it out")
    target = _target(to or Path("training.gif" if page == "training" else f"{page}.png"))
    pages.check_name(target)
    opened = runs.open_run(run, best_round=best)
    if page == "training":
        if target.suffix.lower() == ".png":
            raise ConfigError("training is an animation", f"--out {target.stem}.gif")
        say(f"{pages.write_training(opened, target)} rounds in {target}")
        return
    if pick is not None and latents is None:
        raise ConfigError("--pick without --latents", f"--latents samples.npz --pick {pick}")
    if latents is not None:
        given["latents"] = picked(latents, pick)
    made = _page(opened, page, {**given, "seed": seed}, target.suffix.lower() != ".png")
    picture, codes = made.write(target)
    say(f"{len(made.rows)} x {len(made.columns)} samples in {picture}, their codes in {codes}")
    again = codes.with_name(f"{codes.stem}-again.png")
    say(f"Again:   equilibria sample {quoted(run)} --latents {quoted(codes)} --out {quoted(again)}")


def _page(run: Run, page: str, how: dict[str, Any], moving: bool) -> Page:
    """The page of a run with the options that were given."""
    if "values" in how:
        how["strengths" if page == "arithmetic" else "values"] = _numbers("values", how.pop("values"), float)
    if page == "arithmetic":
        for side in ("plus", "minus"):
            if side not in how:
                which = "classes: equilibria classes RUN" if run.play.game.classes else "samples, counted from 0"
                raise ConfigError(f"--{side} is not given ({which})", "--minus 3,4,5 --plus 0,1,2")
            how[side] = [word.strip() for word in how[side].split(",") if word.strip()]
    if page in ("interpolate", "truncate") and "label" in how:
        how["labels"] = [how.pop("label")]
        how.setdefault("rows", None if "latents" in how else 6)
    if page == "interpolate" and moving:
        how["closed"] = True
    explorer = run.explore
    pages = {
        "interpolate": explorer.interpolate,
        "truncate": explorer.truncate,
        "directions": explorer.directions,
        "grid": explorer.plane,
        "arithmetic": explorer.arithmetic,
    }
    made: Page = pages[page](**how)  # type: ignore[operator]
    return made


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
