"""The loop and what looks at it."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equilibria.base.errors import EquilibriaError, ShapeError
from equilibria.core.game import Loss
from equilibria.data import load
from equilibria.training import fit, hooks, pictures, progress


class Clock:
    """A play that only counts."""

    def __init__(self) -> None:
        self.round = 0

    def advance(self) -> dict[str, Loss]:
        self.round += 1
        return {"generator": Loss(torch.tensor(1.0 / self.round))}


class Spy:
    """A hook that notes when it looks, and may send a signal."""

    def __init__(self, every: int = 1, send: dict[int, int] | None = None) -> None:
        self.every, self.send, self.seen, self.closed = every, send or {}, [], 0

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def look(self, play: Any, losses: dict[str, Loss]) -> None:
        self.seen.append(play.round)
        if play.round in self.send:
            os.kill(os.getpid(), self.send[play.round])

    def close(self, play: Any) -> None:
        self.closed += 1


def test_hooks_look_when_due_and_are_closed() -> None:
    play, every, third = Clock(), Spy(), Spy(3)
    assert fit(play, 7, [every, third])
    assert (every.seen, third.seen, every.closed) == ([1, 2, 3, 4, 5, 6, 7], [3, 6], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_rounds_and_handlers_are_given_back(number: int) -> None:
    before = signal.getsignal(number)
    play, spy = Clock(), Spy(send={3: number})
    assert not fit(play, 10, [spy])
    assert play.round == 3 and spy.closed == 1
    assert signal.getsignal(number) is before


def test_a_second_signal_interrupts_at_once() -> None:
    class Stubborn(Spy):
        def look(self, play: Any, losses: dict[str, Loss]) -> None:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            self.seen.append(play.round)

    spy = Stubborn()
    with pytest.raises(KeyboardInterrupt):
        fit(Clock(), 10, [spy])
    assert spy.seen == [] and spy.closed == 1


def test_a_thread_trains_without_signals() -> None:
    play, found = Clock(), []
    thread = threading.Thread(target=lambda: found.append(fit(play, 3, [])))
    thread.start()
    thread.join()
    assert found == [True] and play.round == 3


def test_the_log_has_losses_parts_and_lists(tmp_path: Path) -> None:
    log, heard = hooks.Log(tmp_path / "metrics.jsonl", 5), []
    log.listeners.append(heard.append)
    play = Clock()
    play.round = 5
    loss = Loss(torch.tensor(0.5), {"score/real": torch.tensor(2.0), "each": torch.tensor([0.25, 0.25])})
    log.look(play, {"discriminator": loss})
    row = {"step": 5, "loss/discriminator": 0.5, "score/real": 2.0, "each": [0.25, 0.25]}
    assert hooks.read_rows(log.path) == [row] == heard
    assert [log.due(step) for step in (1, 2, 5, 10)] == [True, False, True, True]


def test_divergence_is_said(tmp_path: Path) -> None:
    log = hooks.Log(tmp_path / "metrics.jsonl", 1)
    with pytest.raises(EquilibriaError, match="loss/generator is nan at round 0"):
        log.look(Clock(), {"generator": Loss(torch.tensor(float("nan")))})


def test_rows_after_a_step_and_torn_lines_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": s, "loss/generator": 0.1 * s}) for s in (1, 2, 2, 3, 4)]
    path.write_text("\n".join([*lines[:2], '{"step": "x"}', "[1]", *lines[2:], '{"step": 5, "lo']))
    hooks.cut_rows(path, 3)
    assert path.read_text() == "".join(line + "\n" for line in lines[:4])
    hooks.cut_rows(tmp_path / "none.jsonl", 3)
    assert hooks.read_rows(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("source", "shape"),
    [("ring8-U", (9, 2)), ("ring8-U", (2, 9, 2)), ("digits", (9, 1, 8, 8)), ("digits", (2, 9, 1, 8, 16))],
)
def test_pictures_of_any_samples(source: str, shape: tuple[int, ...]) -> None:
    data = load(source)
    assert pictures.painter(data.spec, lambda: data)({"samples": torch.zeros(shape)})[1:4] == b"PNG"


def test_samples_that_cannot_be_drawn_are_kept_as_numbers(tmp_path: Path) -> None:
    data = load("digits")
    paint = pictures.painter(data.spec, lambda: data)
    with pytest.raises(ShapeError, match=r"\(4, 3\)"):
        paint({"samples": torch.zeros(4, 3)})

    def draw(play: Any) -> dict[str, Tensor]:
        return {"samples": torch.full((4, 3), 1e6)}

    hook = hooks.Samples(tmp_path, 8, draw, lambda play, views: paint(views))
    hook.look(Clock(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000000.npz"]
    assert float(np.load(tmp_path / "step-00000000.npz")["x"].max()) == 1e6
    assert [step for step in range(1, 17) if hook.due(step)] == [1, 2, 8, 16]


def test_progress_without_a_terminal_is_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = hooks.Log(tmp_path / "metrics.jsonl", 1)
    fit(Clock(), 20, [log, progress.Bar(log, 20, 0)])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == "" and "\x1b" not in said.err and len(lines) == 11
    assert lines[0].startswith("round 1/20") and lines[-1].startswith("round 20/20") and "generator 0.05" in lines[-1]
