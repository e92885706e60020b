"""`--processes`: the same command, started once for each process of this machine, and watched."""

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
from .console import UNFINISHED, err, tell

Count = Annotated[
    int | None,
    typer.Option("--processes", help="Processes of this machine that share each batch; under torchrun leave it out."),
]
_STARTED = "import sys; sys.argv[0] = 'equilibria'; from equilibria.cli import main; sys.exit(main())"
_STOPPED = 130
_MEETING = "EQUILIBRIA_MEETING"  # as in ranks.py, whose import would cost a second
_GRACE = 60.0  # seconds for the others to end by themselves when one has failed
_LINES = 20


def spread(context: typer.Context, count: int | None) -> None:
    """Leave the command to ``count`` processes and exit with their code, unless this is one of them.

    Raises:
        ConfigError: ``count`` is below 1, or not that of the launcher that started this process; or many seeds are to
            be trained.
        Exit: when the processes have ended.
    """
    told = os.environ.get("WORLD_SIZE")
    if context.params.get("seeds") is not None and (count is not None or told not in {None, "1"}):
        raise ConfigError("--seeds beside --processes", "train the seeds on one process, or one seed on several")
    if count is None:
        return
    if count < 1:
        raise ConfigError(f"--processes {count}", "use at least 1")
    if told is not None and told != str(count):
        raise ConfigError(f"--processes {count} where a launcher has started {told}", "leave --processes out")
    if told is None and count > 1:
        code = launch(_words(context), count, gpus=context.params.get("device") != "cpu")
        raise typer.Exit(UNFINISHED if code == _STOPPED else code)


def _words(context: typer.Context) -> list[str]:
    """The command's arguments as they are written on the command line."""
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
    """Run ``equilibria`` with these words on ``count`` processes of this machine; the exit code of them all.

    The first one speaks. What another says is shown when it was the first to fail. Signals are handed on.
    """
    said: list[IO[bytes] | None] = [None, *(tempfile.TemporaryFile() for _ in range(count - 1))]  # noqa: SIM115
    with tempfile.TemporaryDirectory(prefix="equilibria-") as folder:
        environment = _environment(count, gpus, os.path.join(folder, "meeting"))
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", _STARTED, *words],
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=said[rank],
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
    if first is not None:
        _explain(first, workers[first].returncode, said)
    return max(1 if worker.returncode < 0 else worker.returncode for worker in workers)


def _environment(count: int, gpus: bool, meeting: str) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), _MEETING: meeting}
    if sys.platform == "linux":
        told["GLOO_SOCKET_IFNAME"] = "lo"  # nobody else's business
    if not gpus:
        told["CUDA_VISIBLE_DEVICES"] = ""
    own_threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))
    return {**os.environ, **told, "OMP_NUM_THREADS": own_threads}


def _watched(workers: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all, handing signals on. The first that failed, or None; the others get a while to see it themselves."""

    def hand_on(number: int, frame: Any) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
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


def _explain(first: int, code: int, said: list[IO[bytes] | None]) -> None:
    """What the first to fail said, or that it was killed; for process 0, who speaks anyway, what process 1 said."""
    if code < 0:
        tell("error", f"process {first} was ended by {signal.Signals(-code).name}.")
    speaker = said[first] if first else said[1] if code < 0 else None
    if speaker is not None:
        speaker.seek(0)
        for line in speaker.read().decode(errors="replace").splitlines()[-_LINES:]:
            err.print(line, markup=False, highlight=False, soft_wrap=True)
