"""Update rules: how the players move along the game's vector field. Each rule works with every game.

A rule is a frozen record. Tensors that it keeps between rounds are in ``play.memory``, and so in the checkpoint. A turn
is everything that follows from a draw. ``play.take`` may capture a turn as a graph and replay it, so a turn must not
branch on values that change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..base import distributed
from ..base.errors import ConfigError
from ..base.randomness import reseed
from ..base.records import record
from ..base.schedules import value_at
from .game import Draw, Game, Loss, detached, evaluate, gradients, live, pure, shared, state_of

if TYPE_CHECKING:
    from .play import Play

Tensors = dict[str, Tensor]
Blocks = dict[str, Tensors]


def _blocks(game: Game, draw: Draw) -> tuple[Blocks, dict[str, Loss]]:
    """Every player's gradient at the same point and draw."""
    if type(game).losses is not Game.losses:
        return _blocks_of_one_graph(game, draw)
    grads: Blocks = {}
    losses: dict[str, Loss] = {}
    for player in game.players:
        grads[player.name], losses[player.name] = gradients(game, player.name, draw)
    return grads, losses


def _blocks_of_one_graph(game: Game, draw: Draw) -> tuple[Blocks, dict[str, Loss]]:
    grads: Blocks = {}
    losses: dict[str, Loss] = {}
    with live(game, *(player.name for player in game.players)):
        reseed(draw.seed)
        found = game.losses(draw)
        last = list(found)[-1]
        for name, loss in found.items():
            own = game.moved(name)
            block = torch.autograd.grad(
                loss.total, list(own.values()), retain_graph=name != last, materialize_grads=True
            )
            grads[name], losses[name] = shared(dict(zip(own, block, strict=True)), detached(loss))
    return grads, losses


def _turn(play: Play, who: str, draw: Draw) -> dict[str, Loss]:
    grads, loss = gradients(play.game, who, draw)
    return finish(play, draw, {who: grads}, {who: loss})


def finish(play: Play, draw: Draw, grads: Blocks, losses: dict[str, Loss]) -> dict[str, Loss]:
    """Move the players along minus these gradients, let the game write its state, and hand the losses on."""
    for name, block in grads.items():
        play.move(name, block)
    for name, loss in losses.items():
        play.settle(name, draw, loss)
    return losses


@record
class Alternating:
    """Players move one after the other, each with fresh draws (Goodfellow et al. 2014, Algorithm 1).

    With ``share`` all turns of a round use the same real batch, with fresh latent codes and noise in each turn (as in
    adversarial autoencoders and StyleGAN-like loops).
    """

    share: bool = False

    def round(self, play: Play) -> dict[str, Loss]:
        losses: dict[str, Loss] = {}
        rows = play.turn if self.share else None
        for player in play.game.players:
            for _ in range(int(value_at(player.turns, play.clock))):
                losses.update(play.take(player.name, partial(_turn, play, player.name), play.deal(rows)))
        return losses


class Joint(ABC):
    """Abstract record: a rule whose round is one turn in which all players move on one draw."""

    def round(self, play: Play) -> dict[str, Loss]:
        return play.take("all", partial(self.turn, play), play.deal())

    @abstractmethod
    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        """Move all players on a draw."""


@record
class Simultaneous(Joint):
    """All players move from the same point, on one draw: :math:`\\theta \\leftarrow \\theta + \\eta v(\\theta)`.

    On the bilinear game :math:`V = \\theta_G \\theta_D` the norm grows by :math:`\\sqrt{1+\\eta^2}` each round.
    """

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        grads, losses = _blocks(play.game, draw)
        return finish(play, draw, grads, losses)


@record
class Optimistic(Joint):
    """Optimistic mirror descent (Daskalakis et al. 2018, eq. 6), through each player's own optimiser.

    .. math:: \\theta_{k+1} = \\theta_k + \\eta\\,(2 v_k - v_{k-1})

    With Adam as the optimiser, Adam receives the optimistic gradient. The first round uses the plain gradient.
    """

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        grads, losses = _blocks(play.game, draw)
        ahead: Blocks = {}
        for who, block in grads.items():
            ahead[who] = {n: 2 * g - play.memory.get(f"{who}/{n}", g) for n, g in block.items()}
            play.remember(who, block)
        return finish(play, draw, ahead, losses)


@record
class Extragradient(Joint):
    """Step with the gradient at a look-ahead point (Korpelevich 1976; Gidel et al. 2019, eqs 11-12).

    .. math:: \\theta' = \\theta_k + \\eta v(\\theta_k), \\quad \\theta_{k+1} = \\theta_k + \\eta v(\\theta')

    With ``past`` the look-ahead uses the gradient of the last look-ahead point, so a round costs one gradient, not two
    (Gidel et al. 2019, eqs 13-14). The optimiser's state changes once per round: the look-ahead's changes to it and to
    the game's buffers are undone. Both gradients use the same draw.
    """

    past: bool = False

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        first = self._remembered(play) if self.past else {}
        if not first:
            first, _ = _blocks(play.game, draw)
        with play.aside():
            for name, block in first.items():
                play.move(name, block)
            grads, losses = _blocks(play.game, draw)
        if self.past:
            for who, block in grads.items():
                play.remember(who, block)
        return finish(play, draw, grads, losses)

    def _remembered(self, play: Play) -> Blocks:
        own = {p.name: {n: f"{p.name}/{n}" for n in play.game.moved(p.name)} for p in play.game.players}
        if any(key not in play.memory for keys in own.values() for key in keys.values()):
            return {}
        return {who: {n: play.memory[key] for n, key in keys.items()} for who, keys in own.items()}


@record
class Consensus(Joint):
    """Consensus optimisation (Mescheder et al. 2017, eq. 10).

    .. math:: w = v - \\gamma \\nabla L, \\quad L = \\tfrac12 \\lVert v \\rVert^2

    for all players at once. It moves the eigenvalues of the Jacobian of :math:`v` to the left. It also attracts to
    every stationary point of :math:`v`, whether or not the point is an equilibrium.
    """

    gamma: float = 0.1

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        game = play.game
        refuse_wrong_derivatives(game, "consensus")
        grads: Blocks = {}
        losses: dict[str, Loss] = {}
        square = torch.zeros((), device=draw.step.device)
        for player in game.players:
            own = game.moved(player.name)
            loss = evaluate(game, player.name, draw)
            found = torch.autograd.grad(loss.total, list(own.values()), create_graph=True, materialize_grads=True)
            # With several processes the field is their mean, so the mean must be taken before the square.
            grads[player.name], losses[player.name] = shared(dict(zip(own, found, strict=True)), detached(loss))
            square = square + 0.5 * sum(g.square().sum() for g in grads[player.name].values())
        names, values = zip(*game.named_parameters(), strict=True)
        pull = dict(
            zip(names, distributed.mean(*torch.autograd.grad(square, values, materialize_grads=True)), strict=True)
        )
        both = {who: {n: g.detach() + self.gamma * pull[n] for n, g in own.items()} for who, own in grads.items()}
        return finish(play, draw, both, losses)


@record
class Unrolled:
    """Unrolled GAN (Metz et al. 2017, eqs 7-10): the leader minimises its loss after ``steps`` steps of the others.

    .. math:: \\theta_D^{k+1} = \\theta_D^k + \\eta \\nabla_{\\theta_D} f(\\theta_G, \\theta_D^k), \\quad
        \\theta_G \\leftarrow \\theta_G - \\eta \\frac{d f(\\theta_G, \\theta_D^K(\\theta_G,\\theta_D))}{d \\theta_G}

    The derivative is total: it goes through the inner steps. These are steps of the followers' own optimisers from
    their present state, on the turn's draw, and they do not change the stored parameters of the followers. Followers
    are the players that share no parameter with the leader. All players but the leader take ordinary alternating turns.

    Args:
        steps: number of inner steps; 0 gives ordinary alternating training.
        leader: the player that looks ahead; by default the last player of a round.
    """

    steps: int = 5
    leader: str | None = None

    def round(self, play: Play) -> dict[str, Loss]:
        game = play.game
        refuse_wrong_derivatives(game, "unrolling")
        leader = self.leader or game.players[-1].name
        losses: dict[str, Loss] = {}
        for player in game.players:
            for _ in range(int(value_at(player.turns, play.clock))):
                turn = partial(self._turn, play) if player.name == leader else partial(_turn, play, player.name)
                losses.update(play.take(player.name, turn, play.deal()))
        return losses

    def _turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        leader = self.leader or play.game.players[-1].name
        grads, loss = unrolled_gradient(play, leader, draw, self.steps)
        return finish(play, draw, {leader: grads}, {leader: loss})


def unrolled_gradient(play: Play, leader: str, draw: Draw, steps: int) -> tuple[Tensors, Loss]:
    """The total derivative of the leader's loss through ``steps`` steps of its followers, and that loss."""
    game = play.game
    own = game.moved(leader)
    followers = [p for p in game.players if p.name != leader and not set(game.moved(p.name)) & set(own)]
    state = state_of(game)
    theta: Tensors = dict(game.named_parameters())
    memory: Blocks = {}
    for player in followers:
        kept = play.optimizers[player.name].state
        for name, parameter in game.moved(player.name).items():
            entries = kept.get(parameter, {}).items()
            memory[name] = {k: v for k, v in entries if isinstance(v, Tensor)}
    for _ in range(steps):
        stepped: Tensors = {}
        for player in followers:
            names = list(game.moved(player.name))
            inner = pure(game, theta, state, player.name, draw).total
            grads = torch.autograd.grad(inner, [theta[n] for n in names], create_graph=True, materialize_grads=True)
            spec = play.specs[player.name]
            rate = play.rate(player.name)
            for name, grad in zip(names, distributed.mean(*grads), strict=True):
                value, memory[name] = spec.differentiable_step(theta[name], grad, memory[name], rate)
                stepped[name] = player.constraint(name, value) if player.constraint else value
        theta = {**theta, **stepped}
    loss = pure(game, theta, state, leader, draw)
    total = torch.autograd.grad(loss.total, list(own.values()), materialize_grads=True)
    return shared(dict(zip(own, total, strict=True)), detached(loss))


_WRONG = (
    torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d,
    torch.nn.BatchNorm3d,
    torch.nn.InstanceNorm1d,
    torch.nn.InstanceNorm2d,
    torch.nn.LayerNorm,
)


def refuse_wrong_derivatives(game: Game, rule: str) -> None:
    """Refuse games that contain torch's native normalisation layers: their third derivatives are wrong, without a
    warning (torch issues 186256 and 175754).

    Raises:
        ConfigError: the game holds one.
    """
    if game.__dict__.get("_derivatives_checked"):
        return
    for name, module in game.named_modules():
        if isinstance(module, _WRONG):
            raise ConfigError(
                f"{rule} differentiates the losses' gradients, and {type(module).__name__} ('{name}') has wrong higher "
                "derivatives in torch",
                "use the normalisation layers of equilibria.networks, or another update rule",
            )
    game.__dict__["_derivatives_checked"] = True
