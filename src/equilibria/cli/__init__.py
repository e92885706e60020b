"""The command line: parse, call, print."""

from __future__ import annotations

import sys
import warnings

import typer

from ..base import own_files
from . import comparing, exploring, research, results, training
from .console import UNFINISHED, app, err, failed, out, tell, warn

__all__ = ["app", "comparing", "err", "exploring", "main", "out", "research", "results", "training"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 done, 1 an error in the input, 2 wrong usage, 130 stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    own_files.forget()  # of an earlier command in the same process
    with warnings.catch_warnings():
        warnings.showwarning = warn
        try:
            code = int(app(given, prog_name="equilibria", standalone_mode=False) or 0)
        except (KeyboardInterrupt, typer.Abort):
            code = 130
        except Exception as error:
            if debug:
                raise
            return failed(error, given)
    if code == 130:
        tell("stopped", "unsaved work is lost; `equilibria runs` lists the runs that can be resumed.")
    return 130 if code == UNFINISHED else code
