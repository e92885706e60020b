"""Output of the command line: lines, tables, errors and warnings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..base.errors import EquilibriaError
from ..base.visible import visible

UNFINISHED = -1  # a run that printed how to continue it; Typer itself ends with 130 on Ctrl-C
_WIDE = 200  # columns without a terminal, so that nothing is cut in a pipe or a file

app = typer.Typer(
    name="equilibria",
    help="""Train any GAN on your own data, and learn why a run works or fails.

    A recipe is a complete configuration of a paper; a run is a recipe trained on data, in a folder of its own.

    [bold]Begin[/bold]: train the default recipe; list the recipes; use your own images
      equilibria train --data digits --steps 2000
      equilibria recipes
      equilibria train wgan-gp --data photos/ --set data.size=32

    [bold]Then[/bold]: list the runs, sample one, evaluate it, diagnose it, continue it bit for bit after Ctrl-C
      equilibria runs
      equilibria sample RUN -n 64 --out samples.png
      equilibria evaluate RUN
      equilibria diagnose RUN
      equilibria train --resume RUN

    Each command has its own --help; --debug shows the traceback of an error.""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
out = Console(width=None if sys.stdout.isatty() else _WIDE, emoji=False)
err = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, emoji=False)

RunArg = Annotated[Path, typer.Argument(help="The folder of a run, made by `equilibria train`.", show_default=False)]
DataArg = Annotated[
    str | None,
    typer.Option("--data", help="Where the run's data is now, if it was moved; refused if it is not the same data."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _use_files(files: list[Path] | None) -> list[Path] | None:
    if files:
        from .. import runs

        for file in files:
            runs.use_file(file)
    return files


WithFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--with",
        callback=_use_files,
        help="A Python file of your own that defines games, networks or recipes; it is run first. Repeatable.",
    ),
]


def say(text: str) -> None:
    """Print text without markup (a name may contain brackets) and without line breaks of our own (long paths).

    Everything is printed by this, :func:`print_table`, :func:`tell` and :func:`show_output`, which escape what a
    terminal would obey.
    """
    out.print(visible(text), markup=False, highlight=False, soft_wrap=True)


def print_table(rows: list[dict[str, str]], right: tuple[str, ...] = (), wraps: tuple[str, ...] = ()) -> None:
    """Print rows under their keys; columns in ``right`` are numbers, those in ``wraps`` may take several lines."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in rows[0]:
        side: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=side, no_wrap=column not in wraps, overflow="fold")
    for row in rows:
        table.add_row(*(escape(visible(value, lines=False)) for value in row.values()))
    out.print(table)


def show_output(line: str) -> None:
    """Print a line that another process wrote, to standard error."""
    err.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def quoted(path: Path) -> str:
    """The path, quoted for a shell."""
    import shlex

    return shlex.quote(str(path))


def failed(error: Exception, words: list[str]) -> int:
    """Print the error of the command with these arguments, and return the exit code."""
    if isinstance(error, EquilibriaError):
        tell("error", f"{error.what}.")
        fix = _with_files(error, words) or _as_options(error) or error.fix  # no full stop: it is pasted
        if error.fix:
            tell("fix", fix)
        return 1
    wrong_usage = getattr(error, "format_message", None)
    if wrong_usage is not None:
        return _explain_usage(error, wrong_usage())
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        tell("error", f"not enough memory: {(str(error).splitlines() or [''])[0][:200]}")
        tell("fix", "use a smaller batch, smaller networks or fewer samples, for example --set batch=16")
        return 1
    if isinstance(error, OSError) and error.filename is not None:
        tell("error", f"{error.filename}: {error.strerror}.")
        tell("fix", "check that it is there and may be read and written, then run the command again")
        return 1
    tell("error", f"{type(error).__name__}: {error}")
    tell("fix", "this is a bug in equilibria; run again with --debug for the traceback.")
    return 70


def _as_options(error: EquilibriaError) -> str:
    """The fix as options of a command; empty if it is no argument that each command calls alike."""
    names = {"seed": "--seed", "steps": "--steps", "n": "-n"}
    if not error.settings.keys() <= names.keys():
        return ""
    return " ".join(f"{names[name]} {value}" for name, value in error.settings.items())


def _explain_usage(error: Any, what: str) -> int:
    """Print what is wrong with the words of a command; where there are no words, the help. Returns the exit code."""
    if not what or what.lstrip().startswith("Usage:"):
        error.show()
    else:
        tell("error", what if what.endswith("?") else f"{what.rstrip('.')}.")
        command = error.ctx.command_path if getattr(error, "ctx", None) is not None else "equilibria"
        tell("fix", f"{command} --help")
    return int(getattr(error, "exit_code", 2))


def _with_files(error: EquilibriaError, words: list[str]) -> str:
    """The same command with the missing ``--with`` files; empty if none is missing."""
    import shlex

    if not error.files:
        return ""
    command = shlex.join(["equilibria", *words, *(word for file in error.files for word in ("--with", file))])
    gone = [file for file in error.files if not Path(file).is_file()]
    return command + "".join(f" ({file} does not exist any more: use its new path)" for file in gone)


def tell(kind: str, text: str) -> None:
    """Print a word and one line to standard error."""
    line = visible(" ".join(text.splitlines()))
    err.print(f"[bold]{kind}:[/bold] {escape(line)}", highlight=False, soft_wrap=True)


def warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
    """Show this library's warnings in one line; replaces :func:`warnings.showwarning`."""
    if issubclass(category, UserWarning):
        tell("warning", str(message))
