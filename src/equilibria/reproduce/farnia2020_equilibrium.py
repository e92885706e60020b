"""A trained GAN is not a Nash equilibrium: against its fixed discriminator the generator's loss falls as it gets worse.

In the proximal game the discriminator responds with a few steps that a distance penalises; there the generator stays.
The reason is the game, not the training: in the plain game a proximally trained generator gets worse as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import functional_call

from ..base.records import record
from ..base.schedules import value_at
from ..core.ensemble import Ensemble
from ..core.game import Draw, Loss, gradients, make_draw, parameters_of, pure, state_of
from ..core.optimizers import Adam
from ..core.play import Play, Rule
from ..core.updates import Alternating
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import GradientPenalty, Minimax, Wasserstein
from ..metrics.transport import exact_w1
from ..networks import MLPPair
from ..theory.proximal import Proximal, gaussian_generator_value, gaussian_logit, proximal_gradient, sobolev_distance
from .claim import Check, Claim, Outcome, at_least, at_most, close
from .side_by_side import batches_of, side_by_side

CLAIM = Claim(
    paper="farnia2020",
    figure="section 4 (Gaussian data), section 7 (frozen discriminators, proximal training); Figures 1 to 5",
    statement="GANs may have no Nash equilibrium: against the frozen discriminator of a trained GAN the generator "
    "lowers its loss while its samples get worse; trained and held in the proximal game it gets worse by less.",
    printed="no equilibrium in the Gaussian example (Theorem 1); frozen training shown in pictures only",
    derived="s = 2: -.579, -3.225, -13.18 nats at shifts 0, 3, 6",
    tolerance="half a unit of the last digit; in every seed the loss falls and W1 to the data rises; the mean rise in "
    "the proximal game is at most .9 of that (the same training twice has 1). 5 seeds, 600 rounds and 300 frozen ones; "
    "quick: 2 seeds and half of each",
    budget=(40, 110),
    items=("T11", "E30"),
)
BATCH, WEIGHT, ANSWER_STEPS, RATE, SHIFT_RATE = 256, 1.0, 5, 1e-3, 0.1
SPEC = TwoPlayer(
    objective=Wasserstein(), penalties=(GradientPenalty(weight=1.0),), discriminator_turns=5, latent=Latent(size=2)
)
NETWORKS = MLPPair(width=64, depth=2, discriminator_depth=2)
OPTIMIZER = Adam(lr=RATE, betas=(0.5, 0.9))


@record
class ProximalTraining:
    """Alternating turns in which the generator descends the proximal value, for an ensemble of two-player games.

    Each member has its own proximal answer: values and distances are summed over members.
    """

    weight: float = WEIGHT
    steps: int = ANSWER_STEPS

    def round(self, play: Play) -> dict[str, Loss]:
        losses: dict[str, Loss] = {}
        for player in play.game.players:
            for _ in range(int(value_at(player.turns, play.clock))):
                draw = play.deal()
                own = self._of_generator(play, draw) if player.name == "generator" else None
                grads, loss = own or gradients(play.game, player.name, draw)
                play.move(player.name, grads)
                losses[player.name] = loss
        return losses

    def _of_generator(self, play: Play, draw: Draw) -> tuple[dict[str, Tensor], Loss]:
        game, everything, state = play.game, parameters_of(play.game), state_of(play.game)
        assert isinstance(game, Ensemble)
        d = {name: p for name, p in everything.items() if name.startswith("stack.discriminator.")}
        g = {name: p for name, p in everything.items() if name.startswith("stack.generator.")}
        network = game.member_view(0).get_submodule("discriminator")

        def value(own: dict[str, Tensor], made: dict[str, Tensor]) -> Tensor:
            return -pure(game, {**everything, **own, **made}, state, "discriminator", draw).total

        real = draw["real"]

        def score(own: dict[str, Tensor], x: Tensor) -> Tensor:
            plain = {name.removeprefix("stack.discriminator."): p for name, p in own.items()}
            of_member = torch.func.vmap(lambda p, rows: functional_call(network, p, (rows,)))
            scored: Tensor = of_member(plain, x.view(real.shape)).flatten()
            return scored

        # The distance is a mean over all rows; needed is the sum over members of the means over their own rows.
        weight = self.weight * len(real)
        game_of = Proximal(sobolev_distance(score, real.flatten(0, 1)), weight, self.steps, RATE)
        grads, answer = proximal_gradient(value, d, g, game_of)
        return grads, Loss(-value(answer, g).detach())


class Drift(NamedTuple):
    """A trained generator that continues against its frozen discriminator, ``(looks, seeds)``, from look 0 on."""

    rounds: list[int]
    loss: Tensor
    distance: Tensor


def run(quick: bool) -> Outcome:
    seeds, trained, frozen = (range(2), 300, 150) if quick else (range(5), 600, 300)
    data = load("ring8-M")
    plain = side_by_side(SPEC, NETWORKS, data, seeds, Alternating(), OPTIMIZER, BATCH)
    proximal = side_by_side(SPEC, NETWORKS, data, seeds, ProximalTraining(), OPTIMIZER, BATCH)
    for play in (plain, proximal):
        play.advance(trained)
    drifts = {
        "trained and held in the plain game": _held(plain, data, Alternating(), frozen),
        "trained and held in the proximal game": _held(proximal, data, ProximalTraining(), frozen),
        "trained in the proximal, held in the plain": _held(proximal, data, Alternating(), frozen),
    }
    shifts = torch.linspace(0, 6, 61, dtype=torch.float64)
    curve = gaussian_generator_value(shifts, s=2.0)
    path = shifted(0.05, 120)
    checks = (*_of_gaussian(curve, path), *_of_ring(drifts))
    numbers = {
        name: {"rounds": d.rounds, "loss": d.loss.tolist(), "W1": d.distance.tolist()} for name, d in drifts.items()
    }
    return Outcome(_draw((shifts, curve, path), drifts), checks, numbers)


def shifted(start: float, steps: int) -> Tensor:
    """The shift ``u`` by step, while ``z + u`` descends the generator's Minimax() loss against the frozen optimum."""
    z = torch.linspace(-5, 5, 401, dtype=torch.float64)
    share = torch.exp(-z.square() / 2)
    share = share / share.sum()

    def loss(u: Tensor) -> Tensor:
        each = torch.func.vmap(lambda h: Minimax().generator(h[None]))(gaussian_logit(z + u, 2.0))
        return (share * each).sum()

    path = [torch.tensor(start, dtype=torch.float64)]
    for _ in range(steps):
        path.append(path[-1] - SHIFT_RATE * torch.func.grad(loss)(path[-1]))
    return torch.stack(path)


def _held(play: Play, data: Dataset, rule: Rule, rounds: int) -> Drift:
    """Continue to train copies of the generators only, and measure five times."""
    real, game = data.take(1000, seed=5)["x"], play.game
    kept, both = {n: p.detach().clone() for n, p in game.named_parameters()}, game.players
    game.players = (game.player("generator"),)
    held = Play(game, rule, {"generator": OPTIMIZER}, batches_of(data, BATCH), seed=1)
    looks, losses, distances = [0], [_losses(held)], [_distances(held, real)]
    for part in range(1, 6):
        held.advance(rounds * part // 5 - held.round)
        looks.append(held.round)
        losses.append(_losses(held))
        distances.append(_distances(held, real))
    with torch.no_grad():
        for name, parameter in game.named_parameters():
            parameter.copy_(kept[name])
    game.players = both
    return Drift(looks, torch.stack(losses), torch.stack(distances))


def _losses(play: Play) -> Tensor:
    """Each member's generator loss on fresh draws, which are the same at every measurement."""
    with torch.no_grad():
        draws = [play.game.deal(play.batches, 0, turn, turn) for turn in range(10_000, 10_008)]
        each = [play.game.loss("generator", make_draw(tensors, 0)).parts["each"] for tensors in draws]
    return torch.stack(each).mean(0)


def _distances(play: Play, real: Tensor) -> Tensor:
    return torch.tensor([exact_w1(made, real) for made in play.sample(len(real), seed=3)])


def _of_gaussian(curve: Tensor, path: Tensor) -> tuple[Check, ...]:
    return (
        close("Gaussian example: value at shift 0 (nats)", float(curve[0]), -0.579, 5e-4),
        close("Gaussian example: value at shift 3 (nats)", float(curve[30]), -3.225, 5e-4),
        close("Gaussian example: value at shift 6 (nats)", float(curve[60]), -13.18, 5e-3),
        at_least("shift that gradient steps reach from .05 in 120 steps", float(path[-1]), 3.0),
    )


def _of_ring(drifts: dict[str, Drift]) -> tuple[Check, ...]:
    plain, proximal, _ = drifts.values()
    rises = [d.distance[-1] - d.distance[0] for d in (plain, proximal)]
    return (
        at_most("plain: largest change of the loss over seeds", float((plain.loss[-1] - plain.loss[0]).max()), 0.0),
        at_least("plain: least rise of W1 over seeds", float(rises[0].min()), 0.0),
        at_most("proximal: mean rise of W1 over that of plain training", float(rises[1].mean() / rises[0].mean()), 0.9),
    )


def _draw(gaussian: tuple[Tensor, Tensor, Tensor], drifts: dict[str, Drift]) -> Figure:
    figure, (left, loss, distance) = panels(columns=3, width=3.6, height=2.8)
    shifts, curve, path = gaussian
    left.plot(shifts, curve, color=PALETTE[0], linewidth=1.4, label="value against the frozen optimum")
    at = path[::12][path[::12] <= 6]
    left.plot(
        at, gaussian_generator_value(at, 2.0), "o", color=PALETTE[1], markersize=4, label="every 12th gradient step"
    )
    label(left, "generator's shift u", "E log(1 − D*(z + u)) (nats)", "Gaussian data, s = 2: shifting away pays")
    legend(left, "lower left")
    for (name, drift), colour in zip(drifts.items(), PALETTE, strict=False):
        _band(loss, drift.rounds, drift.loss - drift.loss[0], colour, name)
        _band(distance, drift.rounds, drift.distance, colour, name)
    low, high = loss.get_ylim()
    loss.set_ylim(low - 0.45 * (high - low), high)
    label(loss, "generator's rounds against the frozen D", "change of its loss", "Ring: the generator's loss falls …")
    label(
        distance,
        "generator's rounds against the frozen D",
        "W1 to 1,000 data (ring of radius 2)",
        "… and its samples get worse",
    )
    legend(loss, "lower left")
    return figure


def _band(axes: Axes, rounds: list[int], values: Tensor, colour: str, name: str) -> None:
    axes.plot(rounds, values.mean(1), color=colour, linewidth=1.8, label=name)
    for row in values.T:
        axes.plot(rounds, row, color=colour, linewidth=0.7, alpha=0.4)
