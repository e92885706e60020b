"""Data-parallel training: the rank of this process, means over all processes, and the error when a process is lost.

A process finds the others through environment variables (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``),
as ``torchrun`` and ``accelerate launch`` set them. Under ``equilibria train --processes`` the processes meet at a file
instead, because torch's TCP store listens on every network interface. All processes make the same whole draw of a
turn. Each takes its own rows, and :func:`mean` averages the gradients. In a run of one process every function here
does nothing.
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

TIMEOUT = timedelta(minutes=30)  # the other processes wait while the first one evaluates, draws figures and writes
MEETING = "EQUILIBRIA_MEETING"  # names a file at which the processes of one machine meet, instead of an address
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
_ROLL_CALL = 3.0  # seconds in which the remaining processes report that they are alive


class ProcessLostError(EquilibriaError):
    """A process of the run has ended before the run did."""


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of processes.

    Examples:
        >>> Ranks().is_first, Ranks(rank=1, count=2).is_first
        (True, False)
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0


SINGLE = Ranks()
_here, _playing = SINGLE, SINGLE
_store: Store | None = None  # the store at which all processes meet; kept, because the first process serves it
_met = 0


def here() -> Ranks:
    """The rank among the joined processes; :data:`SINGLE` outside of :func:`joined`."""
    return _here


def playing() -> Ranks:
    """The rank among the processes that share every turn; :data:`SINGLE` outside of :func:`together`."""
    return _playing


def from_environment() -> Ranks:
    """The rank and the number of processes that the environment variables give, joined or not.

    Raises:
        ConfigError: they give several processes and not the address at which these meet.

    Examples:
        >>> from_environment().count
        1
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return SINGLE
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
    """Join the process group that the environment variables describe, and leave it at exit. May be nested.

    A process group that the caller has made is used, and not destroyed. The backend is gloo on a CPU and nccl on GPUs;
    each process takes the GPU of its ``LOCAL_RANK``.

    Raises:
        ConfigError: the environment is incomplete, or this machine has fewer GPUs than processes.
        RunError: the other processes could not be reached.
    """
    global _here
    wanted = Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else from_environment()
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
        _here = SINGLE
        if made:
            dist.destroy_process_group()


def _meet(wanted: Ranks) -> None:
    global _store, _met
    # torch's optimisers import this module at their first step. Its default arguments would then hold the process
    # group of that moment; the group's threads would outlive it and could abort the process at its end.
    import torch.distributed.nn

    backend = "gloo"
    if torch.cuda.is_available():
        local, there = int(os.environ.get("LOCAL_RANK", wanted.rank)), torch.cuda.device_count()
        if local >= there:
            raise ConfigError(
                f"process {local} of this machine has no GPU of its own (the machine has {there})",
                f"start {there} processes here, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on the CPU",
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        _store = _store or _opened(wanted)
        _met += 1  # each group has its own keys in the store: the keys of the last group hold closed addresses
        own = PrefixStore(f"equilibria/{_met}", _store)
        dist.init_process_group(backend, store=own, rank=wanted.rank, world_size=wanted.count, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = os.environ.get(MEETING) or f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise RunError(
            f"process {wanted.rank} of {wanted.count} could not reach the others at {where} ({_first_line(error)})",
            "start all processes, with one address that each can reach",
        ) from error


def _opened(wanted: Ranks) -> Store:
    file = os.environ.get(MEETING)
    way = "env://" if file is None else f"{Path(file).as_uri()}?rank={wanted.rank}&world_size={wanted.count}"
    store: Store = next(iter(rendezvous(way)))[0]
    return store


@contextmanager
def together() -> Iterator[None]:
    """Inside, each process gets its part of a draw and :func:`mean` averages over all joined processes.

    All processes must enter it.
    """
    global _playing
    before, _playing = _playing, _here
    try:
        yield
    finally:
        _playing = before


def mean(*tensors: Tensor) -> tuple[Tensor, ...]:
    r"""The mean of each tensor over the processes inside :func:`together`, in one all-reduce; differentiable.

    .. math:: y = \frac1k \sum_{r=1}^k x_r

    If the total loss is the mean of the losses :math:`\ell_r`, the gradient that process :math:`r` passes on for its
    :math:`x_r` is the mean of :math:`\partial \ell_s/\partial y` over :math:`s`. The map is its own adjoint, so it can
    be differentiated any number of times. Outside of :func:`together` the tensors are returned unchanged.

    Raises:
        ProcessLostError: a process has ended.

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
        wide = torch.promote_types(x.dtype, torch.float32)  # a sum in half precision would round once per process
        out = x.to(wide, memory_format=torch.contiguous_format, copy=True)
        with _watched():
            dist.all_reduce(out)
        return out.div_(_here.count).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves nothing for the backward pass: the map is linear."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        found: Tensor = _Mean.apply(grads[0])  # type: ignore[no-untyped-call]
        return found


def any_process_async(own: Callable[[], bool]) -> Callable[[], bool]:
    """Whether ``own()`` is true on any joined process. The reduction runs in the background; calling the result waits.

    With one process the result calls ``own``.

    Raises:
        ProcessLostError: from the result, when a process has ended.

    Examples:
        >>> any_process_async(lambda: True)()
        True
    """
    if _here.count == 1:
        return own
    flags = torch.tensor([float(own())])
    with _watched():
        work = dist.all_reduce(flags, async_op=True)

    def answer() -> bool:
        with _watched():
            work.wait()
        return bool(flags.item() > 0)

    return answer


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true on any joined process; all processes wait for the answer."""
    return any_process_async(lambda: flag)()


def broadcast_text(text: str) -> str:
    """The text of the first process, on every process."""
    if _here.count == 1:
        return text
    raw = text.encode()
    length = torch.tensor([len(raw)])
    with _watched():
        dist.broadcast(length, 0)
        sent = torch.tensor(list(raw) if _here.is_first else [0] * int(length), dtype=torch.uint8)
        dist.broadcast(sent, 0)
    return bytes(sent.tolist()).decode()


def run_on_first(call: Callable[[], object]) -> None:
    """Call a function on the first process while the others wait. An error of it is raised on every process.

    Raises:
        EquilibriaError: the call raised it.
    """
    raised: EquilibriaError | None = None
    if _here.is_first:
        try:
            call()
        except EquilibriaError as error:
            raised = error
    received = broadcast_text(json.dumps([raised.what, raised.fix]) if raised is not None else "")
    if raised is not None:
        raise raised
    if received:
        raise RunError(*json.loads(received))


@torch.no_grad()
def broadcast_tensors(tensors: list[Tensor]) -> None:
    """Copy the values of the first process to every process, in place."""
    if _here.count == 1:
        return
    with _watched():
        for tensor in tensors:
            sent = tensor.contiguous()
            dist.broadcast(sent, 0)
            tensor.copy_(sent)


@contextmanager
def _watched() -> Iterator[None]:
    """Name the lost process when a collective operation fails."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            f"{_missing()} ended before the run did ({_first_line(error)})",
            "its error message is above or in its own output; continue from the last checkpoint with `equilibria train "
            "--resume RUN`, on any number of processes",
        ) from error


def _missing() -> str:
    """The process that does not answer: every remaining process sets its own key in the common store."""
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
        others = [0]  # the first process serves the store
    return f"process {others[0]} of {_here.count}" if others else "a connection between the processes"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
