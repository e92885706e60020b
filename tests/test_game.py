"""The core's nouns: draws, contests, players, and the gradients and field of a game."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, EquilibriaError
from equilibria.base.randomness import mix, own_randomness, reseed
from equilibria.core.game import (
    Batch,
    Contest,
    Draw,
    Game,
    Loss,
    Player,
    evaluate,
    field_of,
    gradients,
    live,
    make_draw,
    parameters_of,
    pure,
    state_of,
)


class Toy(Game):
    """Two vectors and a weight that both players move; a buffer that a loss reads; noise of a module."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Linear(3, 1)
        self.d = nn.Linear(3, 1)
        self.both = nn.Parameter(torch.ones(3))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(2.0))
        self.players = (Player("judge", ("d", "both")), Player("maker", ("g.weight", "both")))

    def prepare(self, batch: Batch) -> None:
        self.scale.copy_(batch["x"].abs().mean())

    def draw(self, batch: Batch) -> Batch:
        return {"x": batch["x"], "noise": torch.randn(len(batch["x"]))}

    def loss(self, player: str, draw: Draw) -> Loss:
        kept = self.drop(self.both)
        score = self.d(draw["x"] * kept) - self.g(draw["x"])
        total = (self.scale * score.square().squeeze(1) + draw["noise"] * score.squeeze(1)).mean()
        return Loss(total if player == "judge" else -total, {"score": score.mean()}, {"seen": score})


def batches(seed: int, turn: int) -> Batch:
    return {"x": torch.randn(6, 3, generator=torch.Generator().manual_seed(mix(seed, turn)))}


def toy() -> tuple[Toy, Draw]:
    torch.manual_seed(0)
    game = Toy()
    return game, make_draw(game.deal(batches, 0, 0, 0), seed=4)


# Draws ---------------------------------------------------------------------------------------------------------------


def test_parts_of_a_draw_are_its_rows_in_order() -> None:
    draw = make_draw({"x": torch.arange(6.0), "table": torch.arange(5.0)}, seed=3, step=7, time=0.25)
    parts = [draw.part(i, 3, whole=("table",)) for i in range(3)]
    assert torch.equal(torch.cat([p["x"] for p in parts]), draw["x"])
    assert all(p["table"] is draw["table"] and p.seed == 3 and p.step is draw.step for p in parts)
    with pytest.raises(ConfigError, match=r"6 rows .*4"):
        draw.part(0, 4, whole=("table",))


def test_a_draw_names_what_it_lacks() -> None:
    draw = make_draw({"latent": torch.zeros(2)}, seed=0)
    assert "latent" in draw and "label" not in draw
    with pytest.raises(ConfigError, match="did you mean 'latent'"):
        draw["latnet"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_time_has_the_type_of_the_draw(dtype: torch.dtype) -> None:
    draw = make_draw({"label": torch.zeros(2, dtype=torch.int64), "x": torch.zeros(2, dtype=dtype)}, 0, 3, 0.5)
    assert draw.step.dtype == draw.time.dtype == dtype and (float(draw.step), float(draw.time)) == (3.0, 0.5)
    assert draw.step.dim() == draw.time.dim() == 0


def test_a_deal_is_a_function_of_seed_and_turn() -> None:
    game = Toy()
    first = game.deal(batches, 1, 5, 5)
    torch.rand(17)
    again, later, shared = game.deal(batches, 1, 5, 5), game.deal(batches, 1, 6, 6), game.deal(batches, 1, 6, 5)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["x"], later["x"]) and not torch.equal(first["noise"], later["noise"])
    assert torch.equal(first["x"], shared["x"]) and torch.equal(later["noise"], shared["noise"])


def test_the_mixed_seeds_of_neighbours_are_unrelated() -> None:
    """Over counters and seeds no two of 40 000 collide more often than 32 random bits do, and bits are fair."""
    found = [mix(seed, turn, 1) for seed in range(20) for turn in range(2000)]
    assert len(found) - len(set(found)) <= 3  # expected 0.19
    for bit in range(32):
        share = sum(number >> bit & 1 for number in found) / len(found)
        assert abs(share - 0.5) < 0.0125  # five standard deviations


def test_own_randomness_gives_the_generator_back_even_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), own_randomness():
        reseed(9)
        torch.rand(3)
        raise RuntimeError("inside")
    assert torch.equal(before, torch.get_rng_state())


# Contests ------------------------------------------------------------------------------------------------------------


def counted() -> tuple[Contest, list[tuple[int, ...]]]:
    calls: list[tuple[int, ...]] = []

    def score(x: Tensor, y: Tensor) -> Tensor:
        calls.append(tuple(x.shape))
        return (x.square() * y).sum(1)

    real, fake = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    return Contest((real, torch.ones(1, 2)), (fake, 2 * torch.ones(1, 2)), score), calls


def test_each_score_and_slope_is_computed_once() -> None:
    contest, calls = counted()
    assert contest.slopes("real").tolist() == [[2.0, 4.0]] and contest.scores("real").tolist() == [5.0]
    assert contest.slopes("real") is contest.slopes("real") and len(calls) == 1
    assert contest.scores("fake").tolist() == [50.0] and contest.scores("fake") is contest.scores("fake")
    assert len(calls) == 2
    assert contest.slopes("fake").tolist() == [[12.0, 16.0]] and len(calls) == 3


def test_slopes_elsewhere_keep_the_context_of_their_side() -> None:
    contest, _ = counted()
    x = torch.tensor([[1.0, 1.0]])
    assert contest.slopes_at(x, "real").tolist() == [[2.0, 2.0]]
    assert contest.slopes_at(x, "fake").tolist() == [[4.0, 4.0]]


def test_a_slope_counts_the_first_entry_only_even_where_the_others_depend_on_it() -> None:
    """A joint point (x, e(x)): the slope is the partial derivative, and it can be differentiated on."""
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    contest = Contest((x, 3 * x), (x, x), lambda a, b: (a.square() * b).sum(1))
    slopes = contest.slopes("real")
    assert slopes.tolist() == [[6.0, 24.0]]  # 2 x e(x), not d(3 x³)/dx = 9 x²
    assert torch.autograd.grad(slopes.sum(), x)[0].tolist() == [[12.0, 24.0]]  # the derivative of 6 x² all the same


@pytest.mark.parametrize("live_x", [False, True])
@pytest.mark.parametrize("live_w", [False, True])
def test_slopes_are_the_same_inside_and_outside_transforms_and_need_what_their_parts_need(
    live_x: bool, live_w: bool
) -> None:
    w = torch.tensor([0.5, -1.0], requires_grad=live_w)
    x = torch.tensor([[1.0, 2.0], [0.3, 0.1]], requires_grad=live_x)
    plain = Contest((x,), (x,), lambda a: (a.square() @ w).tanh())
    slopes = plain.slopes("real")
    assert slopes.requires_grad is plain.scores("real").requires_grad is (live_x or live_w)

    def inside(w: Tensor) -> Tensor:
        return Contest((x.detach(),), (x,), lambda a: (a.square() @ w).tanh()).slopes("real").square().sum()

    slope_of_w, value = torch.func.grad_and_value(inside)(w.detach())
    assert torch.equal(value, slopes.detach().square().sum())
    if live_w:
        assert torch.equal(torch.autograd.grad(slopes.square().sum(), w)[0], slope_of_w)
    with torch.no_grad():
        assert torch.equal(Contest((x,), (x,), plain.score).slopes("real"), slopes)


def test_a_score_that_does_not_depend_on_its_point_has_slope_zero() -> None:
    bias = torch.ones(3, requires_grad=True)
    for score in (lambda a: bias * 2, lambda a: torch.ones(3)):
        assert Contest((torch.zeros(3, 2),), (), score).slopes("real").tolist() == [[0.0, 0.0]] * 3


# Players -------------------------------------------------------------------------------------------------------------


def test_players_move_modules_and_parameters_found_by_identity() -> None:
    game = Toy()
    assert list(game.moved("judge")) == ["both", "d.weight", "d.bias"]
    assert list(game.moved("maker")) == ["both", "g.weight"]
    assert game.moved("maker")["both"] is game.both is game.moved("judge")["both"]


def test_a_parameter_under_two_names_is_moved_by_who_names_either() -> None:
    game = Toy()
    game.d.weight = game.g.weight  # listed under its first name, g.weight
    assert game.moved("judge")["g.weight"] is game.moved("maker")["g.weight"] is game.d.weight


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        (("gg",), "moves 'gg'.*did you mean 'g'"),
        (("g.wieght",), "did you mean 'g.weight'"),
        (("drop",), "no parameter"),
    ],
)
def test_what_a_player_cannot_move_is_named(moves: tuple[str, ...], said: str) -> None:
    game = Toy()
    game.players = (Player("maker", moves),)
    with pytest.raises(ConfigError, match=said):
        game.moved("maker")
    with pytest.raises(ConfigError, match="did you mean 'maker'"):
        game.moved("makr")


def test_a_copied_game_moves_its_own_parameters() -> None:
    game = Toy()
    game.moved("judge")
    with live(game, "judge"):
        twin = copy.deepcopy(game)
    assert twin.moved("judge")["both"] is twin.both is not game.both
    with live(game, "judge"):
        assert not game.g.weight.requires_grad and game.both.requires_grad


# Losses, gradients and the field -------------------------------------------------------------------------------------


def test_only_live_players_need_gradients_and_a_frozen_parameter_stays_frozen() -> None:
    game = Toy()
    game.g.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), live(game, "judge"):
        needing = {n for n, p in game.named_parameters() if p.requires_grad}
        assert needing == {"both", "d.weight", "d.bias"}
        raise RuntimeError("inside")
    assert {n for n, p in game.named_parameters() if not p.requires_grad} == {"g.bias"}


def test_gradients_are_those_of_a_plain_backward() -> None:
    game, draw = toy()
    found, loss = gradients(game, "maker", draw)
    evaluate(game, "maker", draw).total.backward()  # type: ignore[no-untyped-call]
    assert found.keys() == {"both", "g.weight"}
    for name, grad in found.items():
        torch.testing.assert_close(grad, game.get_parameter(name).grad)
    assert not any(t.requires_grad for t in (loss.total, *loss.parts.values(), *loss.carry.values()))
    assert loss.carry["seen"].shape == (6, 1)


def test_a_parameter_that_a_loss_does_not_reach_has_gradient_zero() -> None:
    game, draw = toy()
    game.extra = nn.Parameter(torch.ones(2))
    game.players = (Player("maker", ("g", "extra")),)
    assert gradients(game, "maker", draw)[0]["extra"].tolist() == [0.0, 0.0]


def test_noise_of_modules_is_in_the_draw() -> None:
    game, draw = toy()
    first = evaluate(game, "judge", draw).total
    torch.rand(5)
    assert torch.equal(first, evaluate(game, "judge", draw).total)
    others = {evaluate(game, "judge", Draw(draw.tensors, draw.step, draw.time, s)).total.item() for s in range(8)}
    assert len(others) > 1


def test_a_loss_that_is_not_one_number_is_refused() -> None:
    game, draw = toy()
    game.loss = lambda player, draw: Loss(draw["noise"])  # type: ignore[method-assign]
    with pytest.raises(EquilibriaError, match=r"'judge' has shape \(6,\).*take a mean"):
        evaluate(game, "judge", draw)


def test_the_field_is_minus_each_players_own_gradient() -> None:
    game, draw = toy()
    field = field_of(game, parameters_of(game), state_of(game), draw)
    assert field.keys() == {"judge", "maker"}
    for player, block in field.items():
        for name, grad in gradients(game, player, draw)[0].items():
            torch.testing.assert_close(block[name], -grad)


def test_a_pure_loss_reads_given_parameters_and_leaves_the_game_alone() -> None:
    game, draw = toy()
    before = {n: t.clone() for n, t in game.state_dict().items()}
    params = {n: torch.zeros_like(p) for n, p in parameters_of(game).items()}
    assert float(pure(game, params, state_of(game), "judge", draw).total) == 0.0
    louder = pure(game, parameters_of(game), {"scale": torch.tensor(5.0)}, "judge", draw).total
    assert float(louder.detach()) != float(evaluate(game, "judge", draw).total.detach())
    assert all(torch.equal(before[n], t) for n, t in game.state_dict().items())


# Beginning -----------------------------------------------------------------------------------------------------------


def test_a_game_is_prepared_with_the_first_batch() -> None:
    game = Toy()
    with torch.no_grad():
        game.begin(batches, 3)
    assert float(game.scale) == pytest.approx(float(batches(3, 0)["x"].abs().mean()))


def test_a_replaced_buffer_is_refused() -> None:
    game = Toy()

    def replace(batch: Batch) -> None:
        game.scale = batch["x"].mean()

    game.prepare = replace  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"replaced the buffer 'scale'.*copy_"):
        game.begin(batches, 3)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("draw", ({},)), ("contests", (None,)), ("sample", (None,)), ("codes", (1,)), ("member_view", (0,))],
)
def test_an_abstract_game_plays_nothing(method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Game(), method)(*arguments)
