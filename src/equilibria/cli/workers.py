"""`--processes`: starts the same command in several processes on this machine and waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Annotated, Any

import typer

from ..base.errors import ConfigError
from ..base.processes import temporary_folder
from .console import UNFINISHED, show_output, tell

Count = Annotated[
    int | None,
    typer.Option("--processes", help="Processes of this machine that share each batch; under torchrun leave it out."),
]
_STARTED = """
import os, sys
sys.argv[0] = 'equilibria'
from equilibria.base.processes import end_with_launcher
end_with_launcher(os.path.dirname(os.environ['EQUILIBRIA_MEETING']))
from equilibria.cli import main
sys.exit(main())
"""
_STOPPED = 130
_MEETING = "EQUILIBRIA_MEETING"  # as in base/distributed.py, whose import takes a second
_GRACE = 60.0  # seconds for the others to end by themselves after one has failed
_LINES = 20


def spread(context: typer.Context, count: int | None) -> None:
    """Run the command in ``count`` processes and exit with their code, unless this is one of them.

    Raises:
        ConfigError: ``count`` is below 1, or differs from the number of the launcher that started this process; or
            ``--seeds`` was given too.
        Exit: when the processes have ended.
    """
    world_size = os.environ.get("WORLD_SIZE")
    if context.params.get("seeds") is not None and (count is not None or world_size not in {None, "1"}):
        raise ConfigError("--seeds together with --processes", "train the seeds on one process, or one seed on several")
    if count is None:
        return
    if count < 1:
        raise ConfigError(f"--processes {count}", "use at least 1")
    if world_size is not None and world_size != str(count):
        raise ConfigError(f"--processes {count}, but a launcher has started {world_size}", "leave --processes out")
    if world_size is None and count > 1:
        code = launch(_words(context), count, gpus=context.params.get("device") != "cpu")
        raise typer.Exit(UNFINISHED if code == _STOPPED else code)


def _words(context: typer.Context) -> list[str]:
    """The command's arguments as on the command line."""
    words = [str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        name = parameter.opts[0]
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            for each in value if isinstance(value, (list, tuple)) else [value]:
                words += [str(each)] if parameter.param_type_name == "argument" else [name, str(each)]
    return words + (["--debug"] if "--debug" in sys.argv else [])


def launch(words: list[str], count: int, gpus: bool = True) -> int:
    """Run ``equilibria`` with these words on ``count`` processes of this machine; returns their exit code.

    The output of process 0 is shown; that of another process only if it was the first to fail. Signals are forwarded.
    If this process is killed, the others stop with a checkpoint: each holds a pipe whose other end closes then.
    """
    outputs: list[IO[bytes] | None] = [None, *(tempfile.TemporaryFile() for _ in range(count - 1))]  # noqa: SIM115
    with temporary_folder() as folder:
        environment = _environment(count, gpus, str(folder / "meeting"))
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", _STARTED, *words],
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=outputs[rank],
                start_new_session=True,  # Ctrl-C reaches each once, through us: a second one would interrupt at once
            )
            for rank in range(count)
        ]
        try:
            first = _watched(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
                if worker.stdin is not None:
                    worker.stdin.close()
    if first is not None:
        _explain(first, workers[first].returncode, outputs)
    return max(1 if worker.returncode < 0 else worker.returncode for worker in workers)


def _environment(count: int, gpus: bool, meeting: str) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), _MEETING: meeting}
    if sys.platform == "linux":
        own["GLOO_SOCKET_IFNAME"] = "lo"  # only local traffic
    if not gpus:
        own["CUDA_VISIBLE_DEVICES"] = ""
    own_threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))
    return {**os.environ, **own, "OMP_NUM_THREADS": own_threads}


def _watched(workers: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all and forward signals. Returns the first that failed, or None; the others get time to end."""

    def forward(number: int, frame: Any) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    known = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.signal(number, forward) for number in known}
    first, until = None, float("inf")
    try:
        while any(worker.poll() is None for worker in workers) and time.monotonic() < until:
            failed = [rank for rank, worker in enumerate(workers) if worker.poll() not in {None, 0, _STOPPED}]
            if failed and first is None:
                first, until = failed[0], time.monotonic() + _GRACE
            time.sleep(0.05)
        return first
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _explain(first: int, code: int, outputs: list[IO[bytes] | None]) -> None:
    """Print the output of the first process that failed, or its signal; for a killed process 0, that of process 1."""
    if code < 0:
        tell("error", f"process {first} was ended by {signal.Signals(-code).name}.")
    shown = outputs[first] if first else outputs[1] if code < 0 else None
    if shown is not None:
        shown.seek(0)
        for line in shown.read().decode(errors="replace").splitlines()[-_LINES:]:
            show_output(line)
