"""The training loop: advance the play by rounds and call hooks. It does not depend on the game."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from ..base import distributed
from ..core.game import Loss
from ..core.play import Play


class Hook(Protocol):
    """Something that observes a run. It may read the play and must not change it.

    ``due`` is called after every round, so it must be cheap; ``look`` is called only if ``due`` returned True.
    """

    def due(self, step: int) -> bool: ...

    def look(self, play: Play, losses: dict[str, Loss]) -> None: ...

    def close(self, play: Play) -> None: ...


def fit(play: Play, until: int, hooks: Sequence[Hook] = ()) -> bool:
    """Train until round ``until``. Returns False if a signal (Ctrl-C, SIGTERM or SIGHUP) stopped it before.

    A signal ends the loop between two rounds, never inside one; a second Ctrl-C interrupts at once. If one of several
    processes that train together gets a signal, all stop after the same round.
    """
    with _stop_signals() as stop:
        try:
            stopped = distributed.any_process_async(stop.is_set)
            while not stopped() and play.round < until:
                stopped = distributed.any_process_async(stop.is_set)
                losses = play.advance()
                for hook in hooks:
                    if hook.due(play.round):
                        hook.look(play, losses)
        finally:
            for hook in hooks:
                hook.close(play)
    return play.round >= until


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    asked = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # `nohup` ignores it: training goes on
        asked.append(hangup)
    before = {number: signal.signal(number, ask) for number in asked}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # None: the handler was not set from Python, so only the default can be restored
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
