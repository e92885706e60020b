"""`updates.unrolled_gradient` against finite differences, its first term, and the envelope theorem."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.randomness import reseed
from equilibria.core.game import Batch, Batches, Draw, Game, Loss, Player, gradients
from equilibria.core.optimizers import SGD, Adam, Adamax, AdamW, NAdam, OptimizerSpec, RAdam, RMSprop
from equilibria.core.play import Play
from equilibria.core.updates import Alternating, unrolled_gradient
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, Clip, RelativisticPairing
from equilibria.networks import MLPPair


class Two(Game):
    """Two numbers, zero sum: V(g, d) = c g d + a g²/2 + q sin(g) d² - b d²/2; D ascends, G descends."""

    def __init__(self, g: float = 0.7, d: float = -0.4, q: float = 0.3, clip: Clip | None = None) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.tensor(g, dtype=torch.float64))
        self.d = nn.Parameter(torch.tensor(d, dtype=torch.float64))
        self.q = q
        self.players = (Player("discriminator", ("d",), constraint=clip), Player("generator", ("g",)))

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"].double()}

    def loss(self, player: str, draw: Draw) -> Loss:
        c = draw["real"].mean()
        value = c * self.g * self.d + 0.5 * self.g**2 + self.q * self.g.sin() * self.d**2 - self.d**2
        return Loss(value if player == "generator" else -value)


def ones(seed: int, turn: int) -> Batch:
    return {"x": torch.ones(4, 1)}


def normals(seed: int, turn: int) -> Batch:
    return {"x": torch.randn(12, 2, generator=torch.Generator().manual_seed(turn))}


def play_of(game: Game, inner: OptimizerSpec, batches: Batches = ones, warm: int = 0) -> Play:
    play = Play(game, Alternating(), {"discriminator": inner, "generator": SGD(lr=0.05)}, batches)
    play.advance(warm)
    play._set_rates()  # a round does this first; the oracle steps the optimiser outside of one
    return play


def small_gan(**options: Any) -> Game:
    reseed(4)
    from equilibria.data import DataSpec

    spec = TwoPlayer(latent=Latent(size=2), **options)
    return spec.build(MLPPair(width=5, depth=2, activation="tanh"), DataSpec(kind="vector", shape=(2,))).double()


def double_draw(play: Play) -> Draw:
    draw = play.deal()
    return Draw({n: t.double() for n, t in draw.tensors.items()}, draw.step.double(), draw.time.double(), draw.seed)


def loss_after_real_steps(play: Play, draw: Draw, steps: int) -> float:
    """The oracle: torch's own optimiser really takes the inner steps, then everything is put back."""
    game = play.game
    with play.aside():
        for _ in range(steps):
            grads, _ = gradients(game, "discriminator", draw)
            play.move("discriminator", grads)
        return float(game.loss("generator", draw).total.detach())


def finite_differences(play: Play, draw: Draw, steps: int, h: float) -> dict[str, Tensor]:
    found = {}
    for name, parameter in play.game.moved("generator").items():
        slope = torch.zeros_like(parameter)
        for i in range(parameter.numel()):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[i] += sign * h
                values.append(loss_after_real_steps(play, draw, steps))
                with torch.no_grad():
                    parameter.view(-1)[i] -= sign * h
            slope.view(-1)[i] = (values[0] - values[1]) / (2 * h)
        found[name] = slope
    return found


# The differentiable Adam and RMSprop have epsilon² under the root, torch's add epsilon to it: a tiny one parts them
# less than the finite differences err.
INNER: dict[str, OptimizerSpec] = {
    "sgd": SGD(lr=0.1),
    "momentum": SGD(lr=0.05, momentum=0.9),
    "adam": Adam(lr=0.05, betas=(0.5, 0.9), eps=1e-13),
    "rmsprop": RMSprop(lr=0.02, alpha=0.9, eps=1e-13),
    "adamw": AdamW(lr=0.05, betas=(0.5, 0.9), eps=1e-13, weight_decay=0.5),
    "adamax": Adamax(lr=0.05, betas=(0.5, 0.9), eps=1e-13),
    "nadam": NAdam(lr=0.05, betas=(0.5, 0.9), eps=1e-13),
    "radam": RAdam(lr=0.05, betas=(0.5, 0.9), eps=1e-13),
}


@pytest.mark.parametrize("warm", [0, 2, 9])  # after 6 steps RAdam rectifies
@pytest.mark.parametrize("steps", [1, 5, 10])
@pytest.mark.parametrize("inner", INNER.values(), ids=list(INNER))
def test_total_derivative_of_two_numbers(inner: OptimizerSpec, steps: int, warm: int) -> None:
    play = play_of(Two(), inner, warm=warm)
    draw = play.deal()
    found, loss = unrolled_gradient(play, "generator", draw, steps)
    wanted = finite_differences(play, draw, steps, 1e-5)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)
    assert float(loss.total) == pytest.approx(loss_after_real_steps(play, draw, steps), rel=1e-7)


@pytest.mark.parametrize("steps", [1, 5, 10])
@pytest.mark.parametrize("inner", [INNER["sgd"], INNER["adam"]], ids=["sgd", "adam"])
@pytest.mark.parametrize(
    "options", [{}, {"objective": RelativisticPairing(), "penalties": (R1(gamma=1.0),)}], ids=["gan", "r1"]
)
def test_total_derivative_of_a_network(options: dict[str, Any], inner: OptimizerSpec, steps: int) -> None:
    play = play_of(small_gan(**options), inner, normals)
    draw = double_draw(play)
    gradients(play.game, "discriminator", draw)
    found, _ = unrolled_gradient(play, "generator", draw, steps)
    wanted = finite_differences(play, draw, steps, 1e-5)
    for name, slope in wanted.items():
        torch.testing.assert_close(found[name], slope, rtol=2e-5, atol=2e-8)


def first_term(play: Play, draw: Draw, steps: int) -> dict[str, Tensor]:
    """The gradient of G's loss at the unrolled D, held: what k D-steps before G would give."""
    with play.aside():
        for _ in range(steps):
            grads, _ = gradients(play.game, "discriminator", draw)
            play.move("discriminator", grads)
        return gradients(play.game, "generator", draw)[0]


def test_it_is_more_than_its_first_term() -> None:
    play = play_of(small_gan(), SGD(lr=0.5), normals)
    draw = double_draw(play)
    total, first = unrolled_gradient(play, "generator", draw, 3)[0], first_term(play, draw, 3)
    apart = sum(float((total[n] - first[n]).norm()) for n in total)
    assert apart > 0.05 * sum(float(g.norm()) for g in first.values())


def test_no_step_is_the_plain_gradient() -> None:
    play = play_of(small_gan(), Adam(lr=0.1), normals)
    draw = double_draw(play)
    found, loss = unrolled_gradient(play, "generator", draw, 0)
    plain, its = gradients(play.game, "generator", draw)
    assert all(torch.equal(found[n], plain[n]) for n in plain) and torch.equal(loss.total, its.total)


def test_the_second_term_vanishes_as_the_follower_answers_best() -> None:
    """Envelope theorem on V = gd + g²/2 - d²: with D at its best answer d = g/2 the total derivative is 3g/2.

    A step of rate .2 leaves .6 of the follower's distance, so after K the second term is .75 · .6^K (1 - .6^K) here.
    """
    play = play_of(Two(q=0.0), SGD(lr=0.2))
    draw = play.deal()
    for steps in (0, 1, 5, 10, 40):
        total, first = unrolled_gradient(play, "generator", draw, steps)[0]["g"], first_term(play, draw, steps)["g"]
        assert abs(float(total - first)) == pytest.approx(0.75 * 0.6**steps * (1 - 0.6**steps), rel=1e-6, abs=1e-12)
    assert float(total) == pytest.approx(1.5 * 0.7, abs=1e-7)


def test_the_stored_follower_and_its_optimiser_stay() -> None:
    play = play_of(Two(), Adam(lr=0.1), warm=3)
    before = {n: t.clone() for n, t in play.tensors().items()}
    unrolled_gradient(play, "generator", play.deal(), 4)
    assert all(torch.equal(t, before[n]) for n, t in play.tensors().items())


def test_the_inner_steps_keep_the_followers_constraint() -> None:
    """With D clipped to ±.01 its answer is a corner: the loss is that of the corner, not of the free answer."""
    play = play_of(Two(clip=Clip(value=0.01)), SGD(lr=0.2))
    draw = play.deal()
    _, loss = unrolled_gradient(play, "generator", draw, 3)
    assert float(loss.total) == pytest.approx(loss_after_real_steps(play, draw, 3), rel=1e-12)
    assert float(loss.total) == pytest.approx(0.7 * 0.01 + 0.245 + (0.3 * 0.6442177 - 1) * 1e-4, abs=1e-9)
