"""Windows of a run: when one is opened, and what they say together."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .calls import fed_of
from .hashing import row_hashes
from .passes import Window
from .readings import Before, Losses, Reading, read
from .recorder import Recorder
from .trace import PLAYERS, Trace

_SHORTEST, _LONGEST = 2, 16
_LONG_FROM, _LONG = 88, 2  # from this step on check-ups are far apart, and so many windows are long
_MOST_HELD = 2**22  # numbers that a window of two steps may hold for a long one to be opened
_MOST_REAL = 2**26  # numbers of real rows that are hashed


@dataclass
class Audited:
    """What a window said.

    Attributes:
        readings: of each condition that was read.
        losses: that are trained.
        unread: what could not be read, and why.
        codes: what the generator was fed at its first call; None where it was not called.
    """

    readings: list[Reading]
    losses: Losses
    unread: dict[str, str] = field(default_factory=dict)
    codes: Tensor | None = None


class Audit:
    """Records windows of two or more training steps, and reads them.

    Args:
        networks: the modules of each player, as the loop calls them.
        real: the real rows, as the discriminator is fed; None where they are not known.
        labels: of the real rows, where they are classes.
        parts: by the hash of a real row, the part of the data that it is in.

    Examples:
        >>> G, D = nn.Linear(3, 2), nn.Linear(2, 1)
        >>> audit = Audit({"generator": [G], "discriminator": [D]})
        >>> audit.arm()
        >>> optimizer = torch.optim.SGD(D.parameters(), lr=0.1)
        >>> for _ in range(2):
        ...     h = D(G(torch.randn(8, 3)))  # the generator's step was forgotten
        ...     h.mean().backward()
        ...     optimizer.step()
        >>> [r.condition for r in audit.read().readings if r.holds]
        ['gradients-accumulate']
        >>> audit.recording
        False
    """

    def __init__(
        self,
        networks: Mapping[str, Sequence[nn.Module]],
        real: Tensor | None = None,
        labels: Tensor | None = None,
        parts: Mapping[int, int] = types.MappingProxyType({}),
    ) -> None:
        self._networks = {who: list(own) for who, own in networks.items()}
        self._recorder = Recorder(self._networks)
        known: frozenset[int] = frozenset()
        if real is not None and real.numel() <= _MOST_REAL:
            known = frozenset(row_hashes(real).tolist())
        self._before = Before(real=known, parts=parts, labels=labels, discriminators=self._networks["discriminator"])
        self._marks: dict[str, int] = {}
        self._span, self._long = _SHORTEST, _LONG

    @property
    def recording(self) -> bool:
        """Whether a window is open."""
        return self._recorder.is_open

    def span(self, step: int) -> int:
        """How many steps the next window has.

        Two windows of every run have sixteen, so that they hold what is done at some steps only, as a lazy penalty.
        """
        return _LONGEST if step >= _LONG_FROM and self._long else self._span

    def arm(self, step: int = 0) -> None:
        """Open a window; the training steps after ``step`` are recorded."""
        if self.span(step) > self._span:
            self._long -= 1
        self._recorder.open()

    def read(self) -> Audited | None:
        """Close the window and read it; None where none was open."""
        if not self.recording:
            return None
        trace = self._recorder.close()
        marks = {who: _mark(own) for who, own in self._networks.items()}
        self._before.still = {who: marks[who] == old for who, old in self._marks.items()}
        self._marks = marks
        try:
            with torch.no_grad():
                return self._read(trace)
        except Exception as error:  # a record of a kind that was never thought of says nothing
            return Audited([], Losses(), {"the training step": f"{type(error).__name__}: {error}"})

    def _read(self, trace: Trace) -> Audited:
        if trace.failures:
            return Audited([], Losses(), {"the training step": trace.failures[0]})
        window = Window.of(trace, fed_of(trace, self._before.real))
        found, losses = read(window, self._before)
        few = any(0 < len(window.steps(who)) < 2 for who in PLAYERS) or not all(window.steps(who) for who in PLAYERS)
        if few and self._span < _LONGEST:  # players that step rarely: the next window is longer
            self._span *= 2
        if sum(t.numel() for call in trace.calls for t in (call.rows, *(o.value for o in call.outputs))) > _MOST_HELD:
            self._long = 0
        unread = {who: why for who, why in window.uncovered.items() if why}
        if not trace.calls:
            unread["the training step"] = "neither network was called as a module between two calls of check()"
        fed = next((call.rows for call in trace.of("generator") if call.grads), None)
        return Audited(found, losses, unread, fed)


def _mark(networks: Sequence[nn.Module]) -> int:
    total = 0
    for net in networks:
        for p in net.parameters():
            if p.numel():
                total = (total * 31 + int(row_hashes(p.detach().reshape(1, -1))[0])) % 2**64
    return total


__all__ = ["Audit", "Audited"]
