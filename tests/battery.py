"""The contract of a game, as checks: each takes ``make(seed) -> (game, batches)`` and asserts one promise.

They are the checks that the core was designed with. ``CHECKS`` names them; ``is_mean_over_rows`` is a property, which a
game has or has not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equilibria.base.randomness import reseed
from equilibria.core.cuda_graphs import Replay
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import (
    Batches,
    Draw,
    Game,
    evaluate,
    field_of,
    gradients,
    make_draw,
    parameters_of,
    pure,
    state_of,
)
from equilibria.core.lookahead import Lookahead
from equilibria.core.optimizers import SGD, Adam, OptimizerSpec
from equilibria.core.play import Play, Rule
from equilibria.core.second_order import Competitive, GradientRegularised, Symplectic
from equilibria.core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled
from equilibria.data import DataSpec
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import Frozen, MLPPair
from equilibria.recipes import Recipe
from equilibria.theory.nash import nikaido_isoda
from taping import Tape

Make = Callable[[int], tuple[Game, Batches]]
Tensors = dict[str, Tensor]

RULES: dict[str, Rule] = {
    "alternating": Alternating(),
    "alternating-share": Alternating(share=True),
    "simultaneous": Simultaneous(),
    "optimistic": Optimistic(),
    "extragradient": Extragradient(),
    "extragradient-past": Extragradient(past=True),
    "consensus": Consensus(),
    "unrolled": Unrolled(steps=2),
    "symplectic": Symplectic(),
    "gradient-regularised": GradientRegularised(weight=0.05),
    "lookahead": Lookahead(period=2),
}
MEMBERS = (3, 14, 15)


def started(make: Make, seed: int = 0, rule: Rule | None = None, optimizer: OptimizerSpec | None = None) -> Play:
    """A prepared play of the game made from ``seed``, with the same optimiser for every player."""
    game, batches = make(seed)
    specs = {player.name: optimizer or Adam(lr=1e-3) for player in game.players}
    play = Play(game, rule or Alternating(), specs, batches, seed=seed, horizon=10)
    play.prepare()
    return play


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors.values())


def widened(draw: Draw) -> Draw:
    """The draw in float64."""
    tensors = {n: t.double() if t.is_floating_point() else t for n, t in draw.tensors.items()}
    return Draw(tensors, draw.step.double(), draw.time.double(), draw.seed)


def rules_of(make: Make) -> dict[str, Rule]:
    """The rules that a game's players can move by: one is for two players that share nothing."""
    game, _ = make(0)
    owned = [set(game.moved(player.name)) for player in game.players]
    pair = len(owned) == 2 and not owned[0] & owned[1]
    return {**RULES, "competitive": Competitive(steps=2)} if pair else RULES


# The promises --------------------------------------------------------------------------------------------------------


def every_rule_plays(make: Make) -> None:
    """Three rounds of each rule: everything stays finite, and each player moves."""
    for name, rule in rules_of(make).items():
        play = started(make, rule=rule)
        before = copied(parameters_of(play.game))
        losses = play.advance(3)
        assert finite(play.tensors()), f"{name}: not finite after three rounds"
        assert losses.keys() == {p.name for p in play.game.players}, f"{name}: losses of {sorted(losses)}"
        after = parameters_of(play.game)
        for player in play.game.players:
            moved = play.game.moved(player.name)
            assert any(not torch.equal(before[n], after[n]) for n in moved), f"{name}: '{player.name}' did not move"


def same_draw_same_loss(make: Make) -> None:
    """A loss is a function of parameters, buffers and the draw, bit for bit, and writes none of them."""
    play = started(make)
    draw = play.deal()
    dealt, before = copied(draw.tensors), copied(play.tensors())
    for player in play.game.players:
        first, second = (gradients(play.game, player.name, draw) for _ in range(2))
        assert torch.equal(first[1].total, second[1].total), f"'{player.name}': the same draw gave two losses"
        assert same(first[0], second[0]), f"'{player.name}': the same draw gave two gradients"
    assert same(before, play.tensors()), "a loss wrote the game's tensors"
    assert same(dealt, draw.tensors), "a loss wrote the draw"
    assert all(p.requires_grad for p in play.game.parameters()), "a parameter was left frozen"


def a_turn_is_a_function_of_its_number(make: Make) -> None:
    """Draws come from (seed, turn) alone: nothing outside disturbs them, no two turns share them."""
    draws = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        play = started(make)
        draws.append([play.deal() for _ in range(2)])
    assert same(draws[0][0].tensors, draws[1][0].tensors), "the global generator leaked into a draw"
    assert not same(draws[0][0].tensors, draws[0][1].tensors), "two turns got the same draw"


def an_ensemble_is_its_members(make: Make) -> None:
    """Losses, gradients and three rounds of member i are those of the lone run with its seed, to 1e-5."""
    _, batches = make(0)
    game = Ensemble(lambda seed: make(seed)[0], MEMBERS)
    sgd = SGD(lr=0.02)  # Adam turns a gradient that is zero but for rounding into a full step
    play = Play(game, Alternating(), {p.name: sgd for p in game.players}, batches, horizon=10)
    play.prepare()
    lone = [started(make, seed, optimizer=sgd) for seed in MEMBERS]
    draw, alone = play.deal(), [one.deal() for one in lone]
    for player in game.players:
        grads, loss = gradients(game, player.name, draw)
        for i, one in enumerate(lone):
            own, its = gradients(one.game, player.name, alone[i])
            torch.testing.assert_close(loss.parts["each"][i], its.total, rtol=1e-5, atol=1e-5)
            for name, grad in own.items():
                torch.testing.assert_close(grads[f"stack.{name}"][i], grad, rtol=1e-4, atol=1e-5)
    play.advance(3)
    for i, one in enumerate(lone):
        one.advance(3)
        member = game.member(i)
        for name, value in one.game.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def the_jacobian_is_that_of_the_field(make: Make) -> None:
    """Products with the field's Jacobian by two reverse passes are its finite differences, in float64."""
    play = started(make)
    draw, game = widened(play.deal()), play.game.double()
    params, state = copied(parameters_of(game)), copied(state_of(game))
    if not game.exact:
        return
    names = list(params)
    shapes = [params[n].shape for n in names]
    sizes = [params[n].numel() for n in names]

    def field(flat: Tensor) -> Tensor:
        given = {n: t.reshape(s) for n, t, s in zip(names, flat.split(sizes), shapes, strict=True)}
        blocks = field_of(game, given, state, draw)
        return torch.cat([t.flatten() for block in blocks.values() for t in block.values()])

    here = torch.cat([params[n].flatten() for n in names])
    along = torch.randn(len(here), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    along = along / along.norm()
    value, pull = torch.func.vjp(field, here)
    product = torch.func.vjp(lambda w: pull(w)[0], torch.zeros_like(value))[1](along)[0]
    step = 1e-5
    difference = (field(here + step * along) - field(here - step * along)) / (2 * step)
    error = (product - difference).norm() / difference.norm().clamp(min=1e-12)
    assert float(error) < 1e-5, f"the Jacobian-vector product is off by {float(error):.1e}"


def a_run_resumes_bit_for_bit(make: Make) -> None:
    """Saved tensors in a differently seeded game continue to the same bits."""
    for rule in (Alternating(), Optimistic(), Lookahead(period=3)):
        whole = started(make, rule=rule)
        whole.advance(2)
        saved, at = copied(whole.tensors()), (whole.round, whole.turn)
        whole.advance(2)
        other, batches = make(977)
        specs = {player.name: Adam(lr=1e-3) for player in other.players}
        again = Play(other, rule, specs, batches, seed=0, horizon=10)
        assert not same(copied(again.game.state_dict()), copied(whole.game.state_dict())), (
            "the seed makes no difference"
        )
        again.load(saved, *at)
        torch.manual_seed(5)
        again.advance(2)
        assert same(whole.tensors(), again.tensors()), f"{type(rule).__name__}: the resumed run differs"


def the_gap_is_not_negative(make: Make) -> None:
    """Nobody loses by its best answer: the Nikaido-Isoda terms are >= 0, and finite."""
    play = started(make)
    play.advance(1)
    draw = play.deal()
    gains = gap(play.game, draw, steps=5)
    assert gains.keys() == {p.name for p in play.game.players}
    assert all(math.isfinite(g) and g >= 0 for g in gains.values()), str(gains)
    assert sum(gains.values()) > 0, "no player can gain anything one round after the start"


def a_check_up_leaves_no_trace(make: Make) -> None:
    """Scores, slopes and samples leave tensors and the global generator as they were, and the run the same."""
    watched, plain = started(make), started(make)
    for play in (watched, plain):
        play.advance(1)
    before, generator = copied(watched.tensors()), torch.get_rng_state()
    check_up(watched)
    assert same(before, watched.tensors()), "the check-up wrote the run"
    assert torch.equal(generator, torch.get_rng_state()), "the check-up moved the global generator"
    for play in (watched, plain):
        play.advance(2)
    assert same(watched.tensors(), plain.tensors()), "the check-up changed the run that followed"


def samples_are_a_function_of_the_seed(make: Make) -> None:
    """Samples need no real row, have the shape of the data (pairs: twice its last axis), and repeat."""
    play = started(make)
    first, again, other = play.sample(6, seed=1), play.sample(6, seed=1), play.sample(6, seed=2)
    assert len(first) == 6 and bool(first.isfinite().all())
    assert torch.equal(first, again) and not torch.equal(first, other)


def a_contest_is_higher_for_more_real(make: Make) -> None:
    """A score per point, a slope of its shape; who judges and makes no fake learns to score the real higher."""
    play = started(make)
    draw = play.deal()
    contests = play.game.contests(draw)
    assert contests, "no contest"
    for name, contest in contests.items():
        for side in ("real", "fake"):
            point, score, slope = contest.points(side)[0], contest.scores(side), contest.slopes(side)
            assert len(score) == len(point) and slope.shape == point.shape, f"{name}/{side}"
            assert bool(score.isfinite().all() and slope.isfinite().all()), f"{name}/{side}"
    judges = [p.name for p in play.game.players if not makes_fakes(play.game, p.name, draw)]
    assert judges, "every player makes fakes"
    for judge in judges:
        own = play.game.moved(judge)
        optimizer = torch.optim.Adam(list(own.values()), lr=0.02)
        for _ in range(60):
            for n, grad in gradients(play.game, judge, draw)[0].items():
                own[n].grad = grad.contiguous()
            optimizer.step()
    for name, contest in play.game.contests(draw).items():
        margin = float((contest.scores("real").mean() - contest.scores("fake").mean()).detach())
        assert margin > 0, f"{name}: the trained judge scores fakes higher, by {-margin:.2g}"


def makes_fakes(game: Game, player: str, draw: Draw) -> bool:
    """Whether a fake point of a contest depends on the player's parameters."""
    points = [p for contest in game.contests(draw).values() for p in contest.fake if p.requires_grad]
    own = list(game.moved(player).values())
    grads = torch.autograd.grad([p.sum() for p in points], own, allow_unused=True)
    return any(g is not None for g in grads)


def a_recorded_turn_is_the_turn(make: Make) -> None:
    """Replaying a turn that was recorded gives the numbers of playing it, under every rule: nothing that changes from
    turn to turn is decided outside the draw, the parameters and the state written in place."""
    for name, rule in rules_of(make).items():
        tape = Tape()
        played, replayed = started(make, rule=rule), started(make, rule=rule)
        replayed.launch = Replay(tape)
        for _ in range(6):
            losses, again = played.advance(), replayed.advance()
            for who, loss in losses.items():
                assert torch.equal(loss.total, again[who].total), f"{name}: another loss for '{who}'"
                assert same(loss.parts, again[who].parts), f"{name}: other parts for '{who}'"
        assert same(played.tensors(), replayed.tensors()), f"{name}: other tensors after six rounds"
        assert tape.recorded == len(replayed.launch.status), f"{name}: {replayed.launch.status}"


CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__: check
    for check in (
        every_rule_plays,
        same_draw_same_loss,
        a_turn_is_a_function_of_its_number,
        an_ensemble_is_its_members,
        the_jacobian_is_that_of_the_field,
        a_run_resumes_bit_for_bit,
        the_gap_is_not_negative,
        a_check_up_leaves_no_trace,
        samples_are_a_function_of_the_seed,
        a_contest_is_higher_for_more_real,
        a_recorded_turn_is_the_turn,
    )
}


# What the promises are stated with -----------------------------------------------------------------------------------


def gap(game: Game, draw: Draw, steps: int = 20, rate: float = 1e-2) -> dict[str, float]:
    """The Nikaido-Isoda terms of a game under a draw."""
    params, state = parameters_of(game), state_of(game)

    def loss_of(player: str) -> Callable[[Tensors], Tensor]:
        return lambda own: pure(game, {**params, **own}, state, player, draw).total

    names = [p.name for p in game.players]
    return nikaido_isoda(
        {who: loss_of(who) for who in names},
        {who: {n: params[n] for n in game.moved(who)} for who in names},
        steps,
        rate,
        {p.name: p.constraint for p in game.players if p.constraint is not None},
    )


def check_up(play: Play) -> dict[str, Any]:
    """What a doctor looks at, on a draw of its own."""
    with torch.random.fork_rng():
        game, found = play.game, {}
        with torch.no_grad():
            draw = make_draw(game.deal(play.batches, 10**6, 0, 0), 1, *play.clock)
        reseed(draw.seed)
        for name, contest in game.contests(draw).items():
            for side in ("real", "fake"):
                found[f"{name}/{side}"] = (contest.scores(side).detach(), contest.slopes(side).detach())
        found["samples"] = play.sample(5, seed=3)
        found["losses"] = {p.name: evaluate(game, p.name, draw).total.detach() for p in game.players}
        return found


def is_mean_over_rows(make: Make) -> bool:
    """Whether every player's gradient under a draw is the mean of those under its two halves.

    Then gradient accumulation is exact and two processes with half the batch each are one with all of it.
    """
    play = started(make)
    draw, game = widened(play.deal()), play.game.double()
    for player in game.players:
        whole = gradients(game, player.name, draw)[0]
        halves = [gradients(game, player.name, draw.part(i, 2, game.whole))[0] for i in range(2)]
        for name, grad in whole.items():
            mean = (halves[0][name] + halves[1][name]) / 2
            if not torch.allclose(mean, grad, rtol=1e-7, atol=1e-10):
                return False
    return True


def started_from(row: Recipe, data: DataSpec) -> dict[str, nn.Module]:
    """A small frozen GAN in the place of each run that a recipe starts from; the global generator is moved."""
    if not row.sources:
        return {}
    reseed(99)
    teacher = TwoPlayer(latent=Latent(size=8)).build(MLPPair(width=8), data)
    return {source.name: Frozen(teacher) for source in row.sources}
