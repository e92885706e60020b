"""Recorded turns: when they are recorded, what is refused, and that a change outside of the tensors would be seen."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from battery import same
from equilibria.base.errors import ConfigError
from equilibria.base.schedules import Linear
from equilibria.core import optimizers
from equilibria.core.cuda_graphs import CudaGraphs, Eager, Launch, Replay
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Draw, Game, Loss
from equilibria.core.optimizers import SGD, Adam
from equilibria.core.play import Average, Play, Rule
from equilibria.core.updates import Alternating, Extragradient, Optimistic, Simultaneous, Unrolled
from equilibria.training import Settings, engine
from taping import Tape
from test_play import Duel, rows


class Calm(Duel):
    """Without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.tell[2].p = 0.0


class Peek(Duel):
    """A judge's loss that reads a number back."""

    def loss(self, player: str, draw: Draw) -> Loss:
        weight = float(draw.step) if player == "judge" else 1.0
        found = super().loss(player, draw)
        return found._replace(total=found.total * (1 + weight))


class Renamed(Duel):
    """Puts a new tensor in the place of its buffer, which a recording goes on reading."""

    def after(self, player: str, draw: Draw, carry: dict[str, Tensor]) -> None:
        if player == "judge":
            self.turns = self.turns + 1


def play(launch: Launch, rule: Rule | None = None, game: type[Game] = Duel, **more: Any) -> Play:
    torch.manual_seed(0)
    spec = more.pop("spec", Adam(lr=0.01))
    specs = {"judge": spec, "maker": spec}
    return Play(
        game(), rule or Alternating(), specs, rows, horizon=10, averages=(Average(player="maker"),), launch=launch
    )


def refused(why: str, *kind: Any, **more: Any) -> tuple[dict[str, str], Play]:
    """A play of eight rounds that warns once why a turn is not captured, and has the numbers of the eager turns."""
    launch = Replay(Tape())
    played, replayed = play(Eager(), *kind, **more), play(launch, *kind, **more)
    played.advance(8)
    with pytest.warns(UserWarning, match=why) as said:
        replayed.advance(8)
    assert len(said) == 1
    assert same(played.tensors(), replayed.tensors())
    return launch.status, replayed


def test_turns_are_warmed_up_then_recorded_once_and_replayed() -> None:
    tape = Tape()
    launch = Replay(tape)
    replayed = play(launch)
    for turns, status in ((3, "warming up"), (1, "recorded"), (4, "recorded")):
        replayed.advance(turns)
        assert launch.status == {"judge": status, "maker": status}
    assert tape.recorded == 2
    assert replayed.game.turns == 8
    assert len(replayed.game.seen) == 10, "of each player Python runs three turns, one that is captured, one to compare"


def test_dropout_has_the_masks_of_the_turn_as_it_is_written() -> None:
    played, replayed = play(Eager()), play(Replay(Tape()))
    for _ in range(6):
        losses, again = played.advance(), replayed.advance()
        assert all(torch.equal(losses[who].total, again[who].total) for who in losses)
    assert same(played.tensors(), replayed.tensors())


@pytest.mark.parametrize("rule", [Simultaneous(), Extragradient(), Optimistic(), Unrolled(steps=2)], ids=str)
def test_noise_that_is_seeded_twice_is_refused_and_says_so(rule: Rule) -> None:
    refused(r"turn of '(all|maker)' is not captured.*seeded more than once", rule)


def test_a_turn_that_reads_a_number_back_goes_on_as_it_is_written() -> None:
    status, _ = refused("reads a number back", game=Peek)
    assert status["maker"] == "recorded" and "reads" in status["judge"]


def test_a_recording_that_does_not_do_what_the_turn_does_is_not_believed() -> None:
    status, replayed = refused("the captured graph does not write 'game/turns' as the eager turn does", game=Renamed)
    assert replayed.game.turns == 8
    assert status["maker"] == "recorded" and "game/turns" in status["judge"]


def test_the_twin_of_a_graph_sees_what_a_graph_would_do_wrong() -> None:
    rate = SGD(lr=Linear(start=1.0, end=0.0))
    played, replayed = play(Eager(), spec=rate), play(Replay(Tape()), spec=rate)
    played.advance(8)
    replayed.advance(8)
    assert not same(played.tensors(), replayed.tensors()), "a rate that is a number cannot follow its schedule"


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_rate_that_is_a_tensor_follows_its_schedule(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "_unset", lambda parameters: torch.ones(()))
    for rule in (Alternating(), Unrolled(steps=2)):
        spec = kind(lr=Linear(start=0.1, end=0.01))
        played, replayed = play(Eager(), rule, Calm, spec=spec), play(Replay(Tape()), rule, Calm, spec=spec)
        played.advance(8)
        replayed.advance(8)
        assert same(played.tensors(), replayed.tensors())


def test_a_loaded_play_records_again() -> None:
    tape = Tape()
    replayed = play(Replay(tape))
    replayed.advance(5)
    saved, at = {n: t.clone() for n, t in replayed.tensors().items()}, (replayed.round, replayed.turn)
    replayed.advance(5)
    after = {n: t.clone() for n, t in replayed.tensors().items()}
    replayed.load(saved, *at)
    replayed.advance(5)
    assert same(after, replayed.tensors())
    assert tape.recorded == 4


def test_batches_of_another_size_are_another_recording() -> None:
    tape = Tape()
    replayed, played = play(Replay(tape)), play(Eager())
    for own in (replayed, played):
        own.batches = lambda seed, turn: {"x": rows(seed, turn)["x"][: 8 if turn // 2 % 2 else 5]}
        own.advance(12)
    assert tape.recorded == 4
    assert same(played.tensors(), replayed.tensors())


def test_the_losses_that_are_handed_out_are_not_written_over() -> None:
    replayed = play(Replay(Tape()))
    replayed.advance(4)
    first = replayed.advance()
    value = float(first["maker"].total)
    replayed.advance()
    assert float(first["maker"].total) == value


def test_an_ensemble_is_recorded() -> None:
    plays = []
    for launch in (Eager(), Replay(Tape())):
        torch.manual_seed(0)
        members = Ensemble(lambda seed: Calm(), (0, 1, 2))
        plays.append(Play(members, Alternating(), dict.fromkeys(("judge", "maker"), Adam()), rows, launch=launch))
        plays[-1].advance(6)
    assert same(plays[0].tensors(), plays[1].tensors())
    assert plays[1].launch.status == {"judge": "recorded", "maker": "recorded"}


def test_half_precision_is_recorded() -> None:
    plays = [dataclasses.replace(play(launch), precision="bfloat16") for launch in (Eager(), Replay(Tape()))]
    for own in plays:
        own.advance(6)
    assert same(plays[0].tensors(), plays[1].tensors())


def test_settings_say_how_turns_are_launched() -> None:
    cpu = torch.device("cpu")
    assert type(engine.launched(cpu, Settings())) is Eager
    assert type(engine.launched(torch.device("cuda"), Settings())) is Eager
    with pytest.raises(ConfigError, match=r"launch='graph'.*graphs"):
        Settings(launch="graph")
    with pytest.raises(ConfigError, match="CUDA graphs need a GPU"):
        engine.settled(Duel(), cpu, Settings(launch="graphs"), lambda: rows(0, 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rule", [Alternating(), Unrolled(steps=2)], ids=["alternating", "unrolled"])
def test_graphs_on_a_gpu_give_the_numbers_of_kernels(rule: Rule) -> None:
    def there(seed: int, turn: int) -> dict[str, Tensor]:
        return {"x": rows(seed, turn)["x"].cuda()}

    class Placed(Calm if isinstance(rule, Unrolled) else Duel):  # type: ignore[misc]
        def draw(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"real": batch["x"], "latent": torch.randn_like(batch["x"])}

    plays = []
    for launch in (Eager(), Replay(CudaGraphs(torch.device("cuda")))):
        torch.manual_seed(0)
        specs = dict.fromkeys(("judge", "maker"), Adam(lr=Linear(start=0.1, end=0.01)))
        own = Play(Placed().cuda(), rule, specs, there, horizon=10, launch=launch)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own.advance(8)
        plays.append(own)
    assert same(plays[0].tensors(), plays[1].tensors())
