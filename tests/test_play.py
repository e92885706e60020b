"""A run's live state: rounds, turns, rates, averages, looking aside, sampling, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, RunError
from equilibria.base.randomness import mix
from equilibria.base.schedules import Bursts, Linear
from equilibria.core.game import Batch, Draw, Game, Loss, Player, gradients, make_draw
from equilibria.core.optimizers import OPTIMIZERS, SGD, Adam, OptimizerSpec
from equilibria.core.play import Average, Play, Rule
from equilibria.core.updates import Alternating, Extragradient, Optimistic, Simultaneous
from equilibria.losses import Clip


class Duel(Game):
    """A generator and a judge with a counting buffer, and what they were dealt."""

    turns: Tensor

    def __init__(self, clip: Clip | None = None, bursts: Any = 1) -> None:
        super().__init__()
        self.make = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        self.tell = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1))
        self.register_buffer("turns", torch.zeros(()))
        self.players = (Player("judge", ("tell",), bursts, clip), Player("maker", ("make",)))
        self.seen: list[tuple[str, Draw]] = []

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, 2)}

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"], **self.codes(len(batch["x"]))}

    def loss(self, player: str, draw: Draw) -> Loss:
        fake = self.tell(self.sample(draw)).mean()
        if player == "maker":
            return Loss(-fake)
        return Loss(fake - self.tell(draw["real"]).mean() + 0.01 * self.turns, {}, {"one": torch.ones_like(self.turns)})

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.make(draw["latent"])
        return made

    def after(self, player: str, draw: Draw, carry: dict[str, Tensor]) -> None:
        self.seen.append((player, draw))
        if player == "judge":
            self.turns.add_(carry["one"])


def rows(seed: int, turn: int) -> Batch:
    return {"x": torch.randn(8, 2, generator=torch.Generator().manual_seed(mix(seed, turn)))}


def playing(rule: Rule | None = None, spec: OptimizerSpec | None = None, seed: int = 0, **more: Any) -> Play:
    torch.manual_seed(seed)
    game = more.pop("game", None) or Duel()
    spec = spec or Adam(lr=0.01)
    return Play(game, rule or Alternating(), {"judge": spec, "maker": spec}, rows, seed=seed, horizon=10, **more)


def copied(play: Play) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in play.tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def game_of(play: Play) -> Any:
    return play.game


# Rounds and turns ----------------------------------------------------------------------------------------------------


def test_every_player_needs_an_optimiser() -> None:
    with pytest.raises(ConfigError, match="player 'maker' has no optimiser"):
        Play(Duel(), Alternating(), {"judge": SGD()}, rows)


@pytest.mark.parametrize(("rule", "turns"), [(Alternating(), 2), (Simultaneous(), 1), (Extragradient(), 1)])
def test_rounds_and_turns_are_counted(rule: Rule, turns: int) -> None:
    play = playing(rule)
    play.advance(3)
    assert (play.round, play.turn) == (3, 3 * turns)
    assert float(game_of(play).turns) == 3.0


def test_a_schedule_of_turns_is_read_every_round() -> None:
    play = playing(game=Duel(bursts=Bursts(usual=2, burst=3, first=1, every=3)))
    counts = []
    for _ in range(4):
        before = play.turn
        play.advance()
        counts.append(play.turn - before - 1)
    assert counts == [3, 2, 2, 3]


def test_sharing_turns_see_one_real_batch_and_fresh_codes() -> None:
    for share in (True, False):
        play = playing(Alternating(share=share), game=Duel(bursts=2))
        play.advance(2)
        draws = [draw for _, draw in game_of(play).seen]
        assert len(draws) == 6
        assert torch.equal(draws[0]["real"], draws[2]["real"]) is share
        assert not torch.equal(draws[0]["latent"], draws[2]["latent"])
        assert not torch.equal(draws[2]["real"], draws[3]["real"])


def test_the_clock_runs_from_zero_to_one_and_stays() -> None:
    play = playing()
    seen = []
    for _ in range(12):
        seen.append(play.clock)
        play.advance()
    assert [c.step for c in seen] == list(range(12))
    assert [c.time for c in seen] == pytest.approx([min(1.0, k / 10) for k in range(12)])
    first = game_of(play).seen[0][1]
    assert (float(first.step), float(first.time)) == (0.0, 0.0)


def test_a_scheduled_rate_is_that_of_the_round() -> None:
    play = playing(spec=SGD(lr=Linear(start=1.0, end=0.0)))
    rates = []
    for _ in range(11):
        play.advance()
        rates.append([group["lr"] for o in play.optimizers.values() for group in o.param_groups])
    assert rates == [pytest.approx([1 - k / 10] * 2) for k in range(11)]


def test_playing_leaves_the_global_generator_alone_and_is_not_disturbed_by_it() -> None:
    one, two = playing(Optimistic()), playing(Optimistic())
    before = torch.get_rng_state()
    one.advance(4)
    assert torch.equal(before, torch.get_rng_state())
    for _ in range(4):
        torch.rand(7)
        two.advance()
        two.sample(3)
    assert same(copied(one), copied(two))


# Moving --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "free"), [(Alternating(), 1), (Extragradient(), 2)], ids=["alternating", "look-ahead"]
)
def test_a_constraint_holds_wherever_a_loss_is_read(rule: Rule, free: int) -> None:
    """All but the first ``free`` losses are at a point that a move has led to, the look-ahead among them."""
    game = Duel(clip=Clip(value=0.05))
    honest, widest = game.loss, []

    def watching(player: str, draw: Draw) -> Loss:
        widest.append(max(float(p.detach().abs().max()) for p in game.tell.parameters()))
        return honest(player, draw)

    game.loss = watching  # type: ignore[method-assign]
    playing(rule, game=game).advance(2)
    assert min(widest[:free]) > 0.06 and max(widest[free:]) <= 0.0500001


@pytest.mark.parametrize(
    "spec", [replace(spec, lr=0.1) for spec in OPTIMIZERS.values()], ids=lambda s: type(s).__name__
)
def test_gradients_of_other_strides_move_parameters_as_contiguous_ones_do(spec: OptimizerSpec) -> None:
    """torch's fused optimisers on the CPU read such a gradient in the wrong order, without a word."""

    class Transposed(Game):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 5))
            self.players = (Player("only", ("weight",)),)

        def draw(self, batch: Batch) -> Batch:
            return {"slope": torch.arange(1.0, 16.0).reshape(5, 3)}

        def loss(self, player: str, draw: Draw) -> Loss:
            return Loss((self.weight.t() * draw["slope"]).sum())

    game = Transposed()
    play = Play(game, Alternating(), {"only": spec}, rows)
    (grad,) = gradients(game, "only", play.deal())[0].values()
    assert grad.stride() != game.weight.stride(), "the case is not the one that is meant"
    play.advance(2)

    reference = nn.Parameter(torch.zeros(3, 5))
    options = {name: getattr(spec, name) for name in spec.__dataclass_fields__}  # type: ignore[attr-defined]
    plain = getattr(torch.optim, type(spec).__name__)([reference], foreach=False, **options)
    for _ in range(2):
        reference.grad = torch.arange(1.0, 16.0).reshape(5, 3).t().contiguous()
        plain.step()
    torch.testing.assert_close(game.weight.detach(), reference.detach())


# Averages ------------------------------------------------------------------------------------------------------------


def test_averages_follow_their_formula() -> None:
    play = playing(averages=(Average(player="maker", decay=0.3), Average(player="judge")))
    names = {who: list(play.game.moved(who)) for who in ("maker", "judge")}
    kept = {n: p.detach().clone() for n, p in play.game.named_parameters()}
    for t in range(1, 8):
        play.advance()
        for who, most in (("maker", 0.3), ("judge", 0.999)):
            decay = min(most, (1 + t) / (10 + t))
            for n in names[who]:
                kept[n] = decay * kept[n] + (1 - decay) * play.game.get_parameter(n).detach()
    for who in names:
        for n in names[who]:
            torch.testing.assert_close(play.averaged[who][n], kept[n])


def test_samples_come_from_the_averages_unless_asked_otherwise() -> None:
    play = playing(averages=(Average(player="maker", decay=0.9),))
    play.advance(5)
    averaged, now = play.sample(4, seed=2), play.sample(4, seed=2, averaged=False)
    assert not torch.equal(averaged, now)
    with torch.no_grad():
        for n, p in play.game.moved("maker").items():
            p.copy_(play.averaged["maker"][n])
    assert torch.equal(averaged, play.sample(4, seed=2, averaged=False))
    assert play.game.training and averaged.dtype == torch.float32
    assert not torch.equal(averaged, play.sample(4, seed=3))


# Looking aside -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("spec", [Adam(lr=0.01), SGD(lr=0.01, momentum=0.9)], ids=["adam", "momentum"])
def test_what_is_moved_aside_is_put_back(spec: OptimizerSpec, rounds: int) -> None:
    """Parameters, buffers and the optimisers' entries; entries that did not exist do not exist again."""
    play = playing(spec=spec)
    play.advance(rounds)
    before = copied(play)
    with pytest.raises(RuntimeError, match="inside"), play.aside():
        draw = make_draw(game_of(play).draw(rows(9, 9)), 1)
        for player in ("judge", "maker"):
            play.move(player, gradients(play.game, player, draw)[0])
        play.game.turns.add_(5)  # type: ignore[operator]
        assert not same(before, copied(play))
        raise RuntimeError("inside")
    assert same(before, copied(play))


# Saving --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [Alternating(), Optimistic(), Extragradient(past=True)], ids=lambda r: type(r).__name__
)
def test_loaded_tensors_continue_bit_for_bit(rule: Rule) -> None:
    average = (Average(player="maker"),)
    whole, again = playing(rule, averages=average), playing(rule, seed=9, averages=average)
    again.seed = 0
    whole.advance(3)
    saved, at = copied(whole), (whole.round, whole.turn)
    again.advance(1)
    again.load(saved, *at)
    assert same(saved, copied(again))
    for play in (whole, again):
        play.advance(2)
    assert same(copied(whole), copied(again))


def test_names_say_whose_a_tensor_is() -> None:
    play = playing(Optimistic(), averages=(Average(player="maker"),))
    play.advance()
    names = set(play.tensors())
    assert {n.split("/")[0] for n in names} == {"game", "opt", "ema", "rule"}
    assert {"game/turns", "game/make.0.weight", "opt/judge/tell.0.bias/exp_avg", "ema/maker/make.0.weight"} <= names
    assert "rule/maker/make.2.bias" in names


def without(saved: dict[str, Tensor]) -> None:
    del saved["game/make.0.weight"]


def with_more(saved: dict[str, Tensor]) -> None:
    saved["game/more"] = torch.zeros(1)


def reshaped(saved: dict[str, Tensor]) -> None:
    saved["game/make.0.weight"] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without, "'game/make.0.weight' is missing from the checkpoint"),
        (with_more, "'game/more' is not part of this game"),
        (reshaped, r"\(3, 3\).* in the checkpoint and \(4, 2\)"),
    ],
    ids=["missing", "more", "reshaped"],
)
def test_tensors_of_another_game_are_refused_and_nothing_changes(
    spoil: Callable[[dict[str, Tensor]], None], said: str
) -> None:
    play = playing()
    play.advance(2)
    saved = copied(playing(seed=4))
    spoil(saved)
    before = copied(play)
    with pytest.raises(RunError, match=said):
        play.load(saved, 0, 0)
    assert same(before, copied(play)) and play.round == 2
