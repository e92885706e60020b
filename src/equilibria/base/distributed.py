"""The processes that play one run together: who they are, means over all of them, and what happens when one is gone.

A process is told of the others by its environment (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``), as
``torchrun`` and ``accelerate launch`` set it; under ``equilibria train --processes`` they meet at a file instead, since
torch's store listens to every network. All processes deal the same whole draw of a turn; each takes its rows, and
:func:`mean` makes one gradient of theirs. Alone, every function here does nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from .errors import ConfigError, EquilibriaError, RunError

PATIENCE = timedelta(minutes=30)  # the others wait while the first one judges, draws and writes
MEETING = "EQUILIBRIA_MEETING"  # a file that the processes of one machine meet at, in place of an address
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
_ROLL_CALL = 3.0  # seconds in which the processes that are left say so


class GoneError(EquilibriaError):
    """A process of the run has ended before the run did."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is.

    Examples:
        >>> Ranks().leads, Ranks(rank=1, count=2).leads
        (True, False)
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0


ALONE = Ranks()
_here, _playing = ALONE, ALONE
_store: Store | None = None  # where all meet; kept, for the first process serves it
_met = 0


def here() -> Ranks:
    """Which of the joined processes this is; :data:`ALONE` outside of :func:`joined`."""
    return _here


def playing() -> Ranks:
    """Which of the processes that share every turn this is; :data:`ALONE` outside of :func:`together`."""
    return _playing


def announced() -> Ranks:
    """What the environment says, joined or not.

    Raises:
        ConfigError: it speaks of several processes and does not say where they meet.

    Examples:
        >>> announced().count
        1
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return ALONE
    needed = ("RANK",) if MEETING in os.environ else _NEEDED
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {count} and {missing[0]} is not set",
            "start with torchrun or --processes, or unset WORLD_SIZE for a run of one process",
        )
    try:
        return Ranks(int(os.environ["RANK"]), int(count))
    except ValueError as error:
        raise ConfigError(f"RANK={os.environ['RANK']} of WORLD_SIZE={count}", "both are whole numbers") from error


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes that the environment speaks of, and leave them in the end. May be nested.

    A process group that the caller has made is used, and left as it is. On a CPU the processes talk by gloo, on GPUs by
    nccl; each takes the GPU of its ``LOCAL_RANK``.

    Raises:
        ConfigError: the environment is incomplete, or there are fewer GPUs than processes on this machine.
        RunError: the others did not come.
    """
    global _here
    wanted = Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else announced()
    if _here.count > 1 or wanted.count == 1:
        yield _here
        return
    made = not dist.is_initialized()
    if made:
        _meet(wanted)
    _here = wanted
    try:
        yield _here
    finally:
        _here = ALONE
        if made:
            dist.destroy_process_group()


def _meet(wanted: Ranks) -> None:
    global _store, _met
    # torch's optimisers import this module at their first step, and its defaults would hold the group of that moment:
    # its threads would outlive it, and now and then abort the process at its end.
    import torch.distributed.nn

    backend = "gloo"
    if torch.cuda.is_available():
        local, there = int(os.environ.get("LOCAL_RANK", wanted.rank)), torch.cuda.device_count()
        if local >= there:
            raise ConfigError(
                f"process {local} of this machine has no GPU of its own (there are {there})",
                f"start {there} here, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on the CPU",
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        _store = _store or _opened(wanted)
        _met += 1  # each meeting has its own names in the store: those of the last would lead to closed doors
        own = PrefixStore(f"equilibria/{_met}", _store)
        dist.init_process_group(backend, store=own, rank=wanted.rank, world_size=wanted.count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        where = os.environ.get(MEETING) or f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise RunError(
            f"process {wanted.rank} of {wanted.count} did not meet the others at {where} ({_first_line(error)})",
            "start all of them, with one address that each can reach",
        ) from error


def _opened(wanted: Ranks) -> Store:
    file = os.environ.get(MEETING)
    way = "env://" if file is None else f"{Path(file).as_uri()}?rank={wanted.rank}&world_size={wanted.count}"
    store: Store = next(iter(rendezvous(way)))[0]
    return store


@contextmanager
def together() -> Iterator[None]:
    """Inside, draws are parts and :func:`mean` is over the joined processes, which must all be inside as well."""
    global _playing
    before, _playing = _playing, _here
    try:
        yield
    finally:
        _playing = before


def mean(*tensors: Tensor) -> tuple[Tensor, ...]:
    r"""The mean of each tensor over the processes that play together, by one reduction of all; differentiable.

    .. math:: y = \frac1k \sum_{r=1}^k x_r

    Where the loss of all is the mean of the losses :math:`\ell_r`, the gradient that process :math:`r` passes on for
    its :math:`x_r` is the mean of :math:`\partial \ell_s/\partial y` over :math:`s`: the map is its own adjoint, so
    it may be differentiated any number of times. Outside of :func:`together` the tensors come back as they are.

    Raises:
        GoneError: a process has ended.

    Examples:
        >>> mean(torch.ones(2))
        (tensor([1., 1.]),)
    """
    if _playing.count == 1:
        return tensors
    flat: Tensor = _Mean.apply(torch.cat([t.reshape(-1) for t in tensors]))  # type: ignore[no-untyped-call]
    cut = torch.split(flat, [t.numel() for t in tensors])
    return tuple(own.view(t.shape).to(t.dtype) for own, t in zip(cut, tensors, strict=True))


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)  # a sum of halves would round once more for each process
        out = x.to(wide, memory_format=torch.contiguous_format, copy=True)
        with _watched():
            dist.all_reduce(out)
        return out.div_(_here.count).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: the map is linear."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        found: Tensor = _Mean.apply(grads[0])  # type: ignore[no-untyped-call]
        return found


def ask(own: Callable[[], bool]) -> Callable[[], bool]:
    """Whether any joined process says yes. The question travels while the caller goes on; calling the result waits.

    Alone the answer is one's own, at the time of the call.

    Raises:
        GoneError: from the result, when a process has ended.

    Examples:
        >>> ask(lambda: True)()
        True
    """
    if _here.count == 1:
        return own
    said = torch.tensor([float(own())])
    with _watched():
        work = dist.all_reduce(said, async_op=True)

    def answer() -> bool:
        with _watched():
            work.wait()
        return bool(said.item() > 0)

    return answer


def anyone(flag: bool) -> bool:
    """Whether any joined process says yes; all wait for the answer."""
    return ask(lambda: flag)()


def told(text: str) -> str:
    """The first process's text, for all."""
    if _here.count == 1:
        return text
    raw = text.encode()
    length = torch.tensor([len(raw)])
    with _watched():
        dist.broadcast(length, 0)
        sent = torch.tensor(list(raw) if _here.leads else [0] * int(length), dtype=torch.uint8)
        dist.broadcast(sent, 0)
    return bytes(sent.tolist()).decode()


def led(call: Callable[[], object]) -> None:
    """Let the first process do something that the others wait for. What is wrong with it is raised by all.

    Raises:
        EquilibriaError: what the call raised.
    """
    trouble: EquilibriaError | None = None
    if _here.leads:
        try:
            call()
        except EquilibriaError as error:
            trouble = error
    heard = told(json.dumps([trouble.what, trouble.fix]) if trouble is not None else "")
    if trouble is not None:
        raise trouble
    if heard:
        raise RunError(*json.loads(heard))


@torch.no_grad()
def copied(tensors: list[Tensor]) -> None:
    """Give every process the first one's values, in place."""
    if _here.count == 1:
        return
    with _watched():
        for tensor in tensors:
            sent = tensor.contiguous()
            dist.broadcast(sent, 0)
            tensor.copy_(sent)


@contextmanager
def _watched() -> Iterator[None]:
    """Say who is gone when the others cannot be reached."""
    try:
        yield
    except RuntimeError as error:
        raise GoneError(
            f"{_missing()} ended before the run did ({_first_line(error)})",
            "what it said is above or in its own output; continue from the last checkpoint with `equilibria train "
            "--resume RUN`, on any number of processes",
        ) from error


def _missing() -> str:
    """Who of the others does not answer; each that is left signs the store that all met at."""
    others = [rank for rank in range(_here.count) if rank != _here.rank]
    if _store is None:
        return "another process"
    try:
        _store.set(f"left/{_met}/{_here.rank}", "")
        until = time.monotonic() + _ROLL_CALL
        while others and time.monotonic() < until:
            others = [rank for rank in others if not _store.check([f"left/{_met}/{rank}"])]
            time.sleep(0.05)
    except RuntimeError:
        others = [0]  # the first process keeps the store
    return f"process {others[0]} of {_here.count}" if others else "a connection between the processes"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
