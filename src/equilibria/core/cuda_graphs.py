"""How turns run on the device: eagerly, one kernel launch at a time, or as a CUDA graph that is captured once.

With small networks a GPU waits for kernel launches: one turn launches a few hundred kernels. A captured turn is one
launch. A graph holds memory addresses, so the draw is copied into the tensors that the graph reads, and parameters,
buffers, optimiser state and the update rule's memory are only written in place.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..base import randomness
from .game import Draw, Loss

Losses = dict[str, Loss]
Turn = Callable[[Draw], Losses]
"""Everything that follows from a draw: gradients, optimiser steps, and the update of the game's own state."""
State = Callable[[], dict[str, Tensor]]
"""Returns the tensors that turns may write, by name; the tensors themselves, not copies."""

_WARM = 3  # eager turns before the capture: they create the optimiser state and let cuDNN choose its kernels


class Launch(ABC):
    """Abstract: runs turns."""

    @abstractmethod
    def __call__(self, name: str, turn: Turn, draw: Draw, state: State) -> Losses:
        """Run a turn, which writes the tensors of ``state``. ``name`` identifies the turn: one name, one turn."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what was captured, because tensors that turns write have been replaced."""

    @abstractmethod
    def fresh(self) -> Launch:
        """A launch of the same kind, for another play."""


class Eager(Launch):
    """Runs every turn eagerly, one kernel launch at a time."""

    def __call__(self, name: str, turn: Turn, draw: Draw, state: State) -> Losses:
        return turn(draw)

    def forget(self) -> None: ...

    def fresh(self) -> Launch:
        return self


class Recorder(Protocol):
    """A device that can capture work as a graph."""

    def warm(self, work: Callable[[], Losses]) -> Losses:
        """Run the work eagerly in the conditions of the capture (on the same CUDA stream)."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work without running it, and return a function that runs it.

        Raises:
            RuntimeError: the work cannot be captured; none of it has run.
        """


class CudaGraphs:
    """Captures work as CUDA graphs.

    Args:
        device: the GPU whose kernels are captured.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm(self, work: Callable[[], Losses]) -> Losses:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            losses = work()
        torch.cuda.current_stream().wait_stream(self.stream)
        return losses

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        replay: Callable[[], None] = graph.replay
        return replay


class Replay(Launch):
    """Runs a turn eagerly a few times, then captures it as a graph and replays the graph.

    The numbers are those of the eager turn: a captured graph is used only after one replay has changed the state as
    the eager turn did. Some turns cannot be captured: a turn that copies a number to the CPU, one whose dropout is
    seeded more than once, and one that replaces its state instead of writing in place. These stay eager, and one
    warning says so.

    Args:
        recorder: captures work on the device.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._turns: dict[tuple[Any, ...], _Recorded] = {}

    def __call__(self, name: str, turn: Turn, draw: Draw, state: State) -> Losses:
        key = (name, *((k, t.shape, t.dtype) for k, t in draw.tensors.items()))
        if key not in self._turns:
            self._turns[key] = _Recorded(name, self.recorder)
        return self._turns[key](turn, draw, state)

    def forget(self) -> None:
        self._turns.clear()

    def fresh(self) -> Launch:
        return Replay(self.recorder)

    @property
    def status(self) -> dict[str, str]:
        """The status of each turn: ``"recorded"``, ``"warming up"``, or the reason why it runs eagerly."""
        return {turn.name: turn.status for turn in self._turns.values()}


class _Recorded:
    """One turn, and its captured graph once there is one."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name, self.recorder, self.status = name, recorder, "warming up"
        self._warmed = 0
        self._noise: set[int] = set()
        self._replay: Callable[[], None] | None = None
        self._draw: Draw
        self._losses: Losses
        self._flat: Tensor

    def __call__(self, turn: Turn, draw: Draw, state: State) -> Losses:
        if self._replay is not None:
            return self._replayed(self._replay, draw)
        if self.status != "warming up":
            return turn(draw)
        if self._warmed < _WARM:
            return self._warm(turn, draw)
        if len(self._noise) > 1:
            self._refuse("the random noise of its modules is seeded more than once")
            return turn(draw)
        return self._first(turn, draw, state)

    def _warm(self, turn: Turn, draw: Draw) -> Losses:
        self._warmed += 1
        with _Noise() as noise:
            losses = self.recorder.warm(lambda: turn(draw))
        self._noise = noise.seedings
        return losses

    def _first(self, turn: Turn, draw: Draw, state: State) -> Losses:
        """Capture the turn; run it eagerly and, from the same state, replay the graph. Keep the graph if both agree."""
        before = _copies(state())
        replay = self._recorded(turn, draw)
        _put_back(state(), before)  # a turn that replaces a tensor has replaced it during the capture
        losses = turn(draw)
        if replay is None:
            return losses
        after = _copies(state())
        _put_back(state(), before)
        self._replayed(replay, draw)
        found = state()
        wrong = [
            name for name, value in after.items() if name not in before or _differs(found[name], value, before[name])
        ]
        if wrong:
            self._refuse(f"the captured graph does not write '{wrong[0]}' as the eager turn does")
            _put_back(found, after)
        else:
            self.status, self._replay = "recorded", replay
        return losses

    def _recorded(self, turn: Turn, draw: Draw) -> Callable[[], None] | None:
        own = {name: tensor.clone() for name, tensor in draw.tensors.items()}
        self._draw = Draw(own, draw.step.clone(), draw.time.clone(), draw.seed)

        def work() -> None:
            self._losses = turn(self._draw)
            self._flat = torch.cat([value.reshape(-1) for value in _values(self._losses)])

        randomness.reseed(draw.seed)  # a graph cannot change the seed; every replay reseeds with the draw's own
        try:
            return self.recorder.record(work)
        except RuntimeError as error:
            self._refuse((str(error).splitlines() or [type(error).__name__])[0])
            return None

    def _replayed(self, replay: Callable[[], None], draw: Draw) -> Losses:
        torch._foreach_copy_(_tensors(self._draw), _tensors(draw))
        randomness.reseed(draw.seed)
        replay()
        return self._copied_losses()

    def _refuse(self, why: str) -> None:
        self.status = why
        warnings.warn(f"the turn of '{self.name}' is not captured as a graph and runs eagerly: {why}", stacklevel=2)

    def _copied_losses(self) -> Losses:
        """A copy of the losses: the next replay overwrites the tensors of this one."""
        sizes = [value.numel() for value in _values(self._losses)]
        copies = iter(torch.split(self._flat.clone(), sizes))
        return {
            name: Loss(
                next(copies).view(loss.total.shape), {k: next(copies).view(v.shape) for k, v in loss.parts.items()}
            )
            for name, loss in self._losses.items()
        }


class _Noise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records after which calls of ``reseed`` random numbers are drawn."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seedings: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seedings.add(randomness.count)
        return func(*args, **(kwargs or {}))


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _put_back(tensors: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)


def _differs(found: Tensor, wanted: Tensor, before: Tensor) -> bool:
    """Whether the replayed tensor is wrong: off by more than a tenth of its change, which no order of sums explains."""
    if not wanted.is_floating_point():
        return not torch.equal(found, wanted)
    off, moved = (found - wanted).double().norm(), (wanted - before).double().norm()
    return not bool(off <= 0.1 * moved + 1e-6 * wanted.double().norm())


def _tensors(draw: Draw) -> list[Tensor]:
    return [*draw.tensors.values(), draw.step, draw.time]


def _values(losses: Losses) -> list[Tensor]:
    return [value for loss in losses.values() for value in (loss.total, *loss.parts.values())]
