"""`equilibria compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..base.errors import ConfigError
from .console import UNFINISHED, JsonFlag, WithFiles, app, quoted, say
from .settings import applied, from_options, grouped


class _WithDefault(TyperGroup):
    """A group whose first command is meant where none is named: ``compare gan wgan`` for ``compare run gan wgan``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


comparing = typer.Typer(
    cls=_WithDefault,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Compare methods on problems over many seeds, with intervals and corrected tests.

    [dim]equilibria compare gan r3gan-small --data ring8-U --data grid25 --seeds 10

    equilibria compare gan gan:batch=256 --data digits --seeds 5 --steps 2000 --jobs 2

    equilibria compare comparisons/FOLDER

    equilibria compare runs/a runs/b runs/c runs/d[/dim]

    A method is a recipe, with settings of its own after a colon: wgan-gp:optimizer.lr=1e-3,batch=128.
    The same command continues a comparison that was stopped.""",
)
app.add_typer(comparing, name="compare")

_Data = Annotated[
    list[str] | None, typer.Option("--data", help="A problem: anything `train --data` takes. Repeatable.")
]
_Words = Annotated[
    list[str],
    typer.Argument(
        metavar="METHOD...",
        help="Recipes, with settings after a colon; or the folder of a comparison; or folders of finished runs.",
    ),
]
_Seeds = Annotated[int | None, typer.Option(help="Seeds of every method on every problem; 5 if not given.")]
_Steps = Annotated[int | None, typer.Option(help="Rounds of every run; each recipe's own if not given.")]
_Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Methods are told apart by the first; further ones are shown. Repeatable."),
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value for every run: data.size=32, run.doctor=false. Repeatable."),
]
_Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the comparison; one under comparisons/ if not given.")
]
_Jobs = Annotated[int, typer.Option(help="Processes of this machine that work at once; they share its cores.")]
_Device = Annotated[str | None, typer.Option(help="cpu, cuda, …; the best available one if not given.")]
_Folder = Annotated[Path, typer.Argument(help="The folder of a comparison.", show_default=False)]


def _planned(words: list[str], out: Path | None, jobs: int, **how: Any) -> Path:
    """The folder with the plan of these words, made or found."""
    from .. import compare
    from ..data import DataOptions

    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}", "use at least 1")
    groups = grouped(how["settings"] or [])
    if groups["recipe"]:
        path, text = groups["recipe"][0]
        raise ConfigError(f"--set {path}={text} is of a recipe", f"write it after the method: {words[0]}:{path}={text}")
    base = {"device": how["device"]} if how["device"] else {}
    settings = applied(from_options(compare.QUIET, base), groups["run"], "run.")
    plan = compare.planned(
        words,
        how["data"] or [],
        seeds=5 if how["seeds"] is None else how["seeds"],
        steps=how["steps"],
        metrics=how["metrics"] or (),
        settings=settings,
        options=applied(DataOptions(), groups["data"], "data."),
        threads=compare.threads_for(jobs),
    )
    folder = out or compare.default_folder(plan)
    compare.kept(folder, plan)
    return folder


@comparing.command(name="run")
def compare_run(
    words: _Words,
    data: _Data = None,
    seeds: _Seeds = None,
    steps: _Steps = None,
    jobs: _Jobs = 1,
    metric: _Metrics = None,
    setting: _Set = None,
    device: _Device = None,
    out: _Out = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print the table for LaTeX.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
    as_json: JsonFlag = False,
    own: WithFiles = None,
) -> None:
    """Train every method on every problem with every seed, and print what can be told apart.

    The word run may be left out.
    """
    from .. import compare

    form = "json" if as_json else "latex" if latex else "markdown" if markdown else "text"
    paths = [Path(word) for word in words]
    if len(paths) == 1 and compare.holds_plan(paths[0]):
        _print(compare.opened(paths[0], metric or ()), form)
        return
    if not data and all(path.is_dir() for path in paths):
        _print(compare.of_these(paths, metric or ()), form)
        return
    how = {"seeds": seeds, "steps": steps, "metrics": metric, "settings": setting, "device": device, "data": data}
    folder = _planned(words, out, jobs, **how)
    done = compare.work_in_processes(folder, jobs) if jobs > 1 else compare.work(folder, say)
    if not done:
        say("Stopped; nothing is lost. Continue with the same command, or:")
        say(f"  equilibria compare work {quoted(folder)}")
        raise typer.Exit(UNFINISHED)
    _print(compare.opened(folder), form)
    if form == "text":
        say(f"Page:    {(folder / 'compare.html').resolve()}")


@comparing.command(name="plan")
def compare_plan(
    words: _Words,
    data: _Data = None,
    seeds: _Seeds = None,
    steps: _Steps = None,
    jobs: _Jobs = 1,
    metric: _Metrics = None,
    setting: _Set = None,
    device: _Device = None,
    out: _Out = None,
    own: WithFiles = None,
) -> None:
    """Write the plan of a comparison, and train nothing: any number of workers then share it.

    --jobs says how many workers one machine has at once, and so how many threads each.
    """
    from .. import compare

    how = {"seeds": seeds, "steps": steps, "metrics": metric, "settings": setting, "device": device, "data": data}
    folder = _planned(words, out, jobs, **how)
    blocks = compare.read(folder).blocks()
    say(f"{folder}: {len(blocks)} cells, numbers 0 to {len(blocks) - 1}. Work on them, here or elsewhere, with")
    say(f"  equilibria compare work {quoted(folder)}")


@comparing.command(name="work")
def compare_work(
    folder: _Folder,
    cell: Annotated[int | None, typer.Option("--cell", help="Only this cell, for arrays of jobs.")] = None,
    following: Annotated[bool, typer.Option("--next", help="Only the next free cell.")] = False,
    own: WithFiles = None,
) -> None:
    """Work on the cells of a planned comparison that nobody else works on, until all have a result.

    Start it as often and on as many machines as you like; they need the folder in common. Exit code 130 if a signal
    stopped it: start it again.
    """
    from .. import compare

    if cell is not None and following:
        raise ConfigError("--cell together with --next", "leave one of them out")
    if not compare.work(folder, say, only=cell, once=following):
        raise typer.Exit(UNFINISHED)
    left = len(compare.missing(folder, compare.read(folder)))
    say(f"cells without a result: {left}" if left else f"Every cell has a result: equilibria compare {quoted(folder)}")


def _print(found: Any, form: str) -> None:
    say(found.shown(form))
