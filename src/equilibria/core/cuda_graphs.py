"""How turns reach the device: kernel by kernel, or as one recorded graph that is replayed.

Small networks on a GPU wait for the launches of their kernels, a turn of a few hundred of them. Recorded once, a turn
is one launch. What is recorded are addresses: the draw is copied into the tensors that the recording reads, and
parameters, buffers, optimiser state and a rule's memory are only ever written in place.
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
"""All that follows from a draw: gradients, moves, and the game's own state."""
State = Callable[[], dict[str, Tensor]]
"""The tensors that turns may write, by name, as they are."""

_WARM = 3  # turns played as they are written before one is recorded: they build optimiser state and choose kernels


class Launch(ABC):
    """Abstract: plays turns."""

    @abstractmethod
    def __call__(self, name: str, turn: Turn, draw: Draw, state: State) -> Losses:
        """Play a turn, which writes the tensors of ``state``; ``name`` stands for the same turn every time."""

    @abstractmethod
    def forget(self) -> None:
        """Hear that tensors that turns write have been replaced."""

    @abstractmethod
    def another(self) -> Launch:
        """One of the same kind, for another play."""


class Kernels(Launch):
    """Plays turns as they are written."""

    def __call__(self, name: str, turn: Turn, draw: Draw, state: State) -> Losses:
        return turn(draw)

    def forget(self) -> None: ...

    def another(self) -> Launch:
        return self


class Recorder(Protocol):
    """A device that can record work."""

    def warm(self, work: Callable[[], Losses]) -> Losses:
        """Do the work as it will be when it is recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the work, without doing it; what is returned does it.

        Raises:
            RuntimeError: the work cannot be recorded; nothing was done.
        """


class CudaGraphs:
    """Records work as CUDA graphs.

    Args:
        device: whose kernels are recorded.
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
    """Plays a turn as it is written a few times, records it, and replays the recording from then on.

    The numbers are those of the turn as it is written: a recording is believed once it has moved the state as the turn
    itself does. A turn that cannot be recorded (one that reads a number back, one whose dropout is seeded more than
    once) or does not keep its state in place goes on as it is written, and a warning says so once.

    Args:
        recorder: of the device.
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

    def another(self) -> Launch:
        return Replay(self.recorder)

    @property
    def told(self) -> dict[str, str]:
        """By turn: ``"recorded"``, ``"warming up"``, or why it is played as it is written."""
        return {turn.name: turn.told for turn in self._turns.values()}


class _Recorded:
    """One turn, and its recording once there is one."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name, self.recorder, self.told = name, recorder, "warming up"
        self._warmed = 0
        self._noise: set[int] = set()
        self._replay: Callable[[], None] | None = None
        self._draw: Draw
        self._losses: Losses
        self._flat: Tensor

    def __call__(self, turn: Turn, draw: Draw, state: State) -> Losses:
        if self._replay is not None:
            return self._replayed(self._replay, draw)
        if self.told != "warming up":
            return turn(draw)
        if self._warmed < _WARM:
            return self._warm(turn, draw)
        if len(self._noise) > 1:
            self._refuse("its modules' noise is seeded more than once")
            return turn(draw)
        return self._first(turn, draw, state)

    def _warm(self, turn: Turn, draw: Draw) -> Losses:
        self._warmed += 1
        with _Noise() as noise:
            losses = self.recorder.warm(lambda: turn(draw))
        self._noise = noise.seedings
        return losses

    def _first(self, turn: Turn, draw: Draw, state: State) -> Losses:
        """Record, then play the turn as it is written and, from the same state, replayed: the recording stands if it
        does what the turn does.
        """
        before = _copies(state())
        replay = self._recorded(turn, draw)
        _put_back(state(), before)  # a turn that replaces a tensor has done so while it was recorded
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
            self._refuse(f"a recording does not write '{wrong[0]}' as the turn does")
            _put_back(found, after)
        else:
            self.told, self._replay = "recorded", replay
        return losses

    def _recorded(self, turn: Turn, draw: Draw) -> Callable[[], None] | None:
        own = {name: tensor.clone() for name, tensor in draw.tensors.items()}
        self._draw = Draw(own, draw.step.clone(), draw.time.clone(), draw.seed)

        def work() -> None:
            self._losses = turn(self._draw)
            self._flat = torch.cat([value.reshape(-1) for value in _values(self._losses)])

        randomness.reseed(draw.seed)  # a recording cannot change the seed, only meet the same one
        try:
            return self.recorder.record(work)
        except RuntimeError as error:
            self._refuse((str(error).splitlines() or [type(error).__name__])[0])
            return None

    def _replayed(self, replay: Callable[[], None], draw: Draw) -> Losses:
        torch._foreach_copy_(_tensors(self._draw), _tensors(draw))
        randomness.reseed(draw.seed)
        replay()
        return self._told_losses()

    def _refuse(self, why: str) -> None:
        self.told = why
        warnings.warn(f"the turn of '{self.name}' is not recorded but played kernel by kernel: {why}", stacklevel=2)

    def _told_losses(self) -> Losses:
        """A copy: the next replay writes over what this one wrote."""
        sizes = [value.numel() for value in _values(self._losses)]
        copies = iter(torch.split(self._flat.clone(), sizes))
        return {
            name: Loss(
                next(copies).view(loss.total.shape), {k: next(copies).view(v.shape) for k, v in loss.parts.items()}
            )
            for name, loss in self._losses.items()
        }


class _Noise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes under which seedings random numbers are drawn."""

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
    """Whether a tensor was not moved as it should: beyond a tenth of its movement, which no order of sums explains."""
    if not wanted.is_floating_point():
        return not torch.equal(found, wanted)
    off, moved = (found - wanted).double().norm(), (wanted - before).double().norm()
    return not bool(off <= 0.1 * moved + 1e-6 * wanted.double().norm())


def _tensors(draw: Draw) -> list[Tensor]:
    return [*draw.tensors.values(), draw.step, draw.time]


def _values(losses: Losses) -> list[Tensor]:
    return [value for loss in losses.values() for value in (loss.total, *loss.parts.values())]
