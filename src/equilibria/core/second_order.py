"""Update rules that use the Jacobian of the field, by products with it: competitive, symplectic, regularised.

Each needs gradients of gradients at the point where the players are; no matrix is built. Vectors of the game's
parameters are rows ``(members, n)``: one row, or one per member of an ensemble, so that members stay independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..base import distributed
from ..base.errors import ConfigError
from ..base.records import record
from .game import Draw, Game, Loss, detached, evaluate, shared
from .play import Play
from .updates import Blocks, Joint, Tensors, finish, refuse_wrong_derivatives


def _rows(game: Game, tensors: Iterable[Tensor]) -> Tensor:
    members = max(1, len(game.seeds))
    return torch.cat([t.reshape(members, -1) for t in tensors], 1)


def _named(rows: Tensor, like: Mapping[str, Tensor]) -> Tensors:
    pieces = torch.split(rows, [t.numel() // len(rows) for t in like.values()], dim=1)
    return {name: piece.reshape(t.shape) for (name, t), piece in zip(like.items(), pieces, strict=True)}


def _pulled(game: Game, out: Tensor, inputs: Sequence[Tensor], weights: Tensor, graph: bool = False) -> Tensor:
    """The product of weights with the Jacobian of ``out`` in ``inputs``, averaged over processes, as rows."""
    if not out.requires_grad:
        return torch.zeros_like(_rows(game, inputs))
    found = torch.autograd.grad(out, inputs, weights, retain_graph=True, create_graph=graph, materialize_grads=True)
    return _rows(game, distributed.mean(*found))


def _differentiable(game: Game, draw: Draw, player: str, own: Tensors) -> tuple[Tensors, Loss]:
    """The gradient of a player's loss in these parameters, with its graph, and the loss, detached."""
    loss = evaluate(game, player, draw)
    found = torch.autograd.grad(loss.total, list(own.values()), create_graph=True, materialize_grads=True)
    return shared(dict(zip(own, found, strict=True)), detached(loss))


def _field(game: Game, draw: Draw) -> tuple[Blocks, dict[str, Loss]]:
    """Every player's gradient in its own parameters at the same point and draw, with its graph."""
    grads: Blocks = {}
    losses: dict[str, Loss] = {}
    for player in game.players:
        own: Tensors = dict(game.moved(player.name))
        grads[player.name], losses[player.name] = _differentiable(game, draw, player.name, own)
    return grads, losses


@record
class Symplectic(Joint):
    r"""Symplectic gradient adjustment (Balduzzi et al. 2018, Algorithm 1).

    .. math:: \xi + \lambda A^T \xi, \qquad A = \tfrac12 (J - J^T), \quad J = \xi'

    where :math:`\xi = -v` holds every player's gradient. :class:`~equilibria.core.updates.Consensus` adds
    :math:`\gamma J^T \xi` instead, which also attracts to maxima of a player's loss; the antisymmetric part leaves
    games without rotation (:math:`J` symmetric) as they are. With ``align`` the sign of :math:`\lambda` is that of

    .. math:: \tfrac1n \langle \xi, J^T \xi \rangle \langle A^T \xi, J^T \xi \rangle + \epsilon

    so that the adjustment attracts to stable fixed points and repels from unstable ones. A parameter that several
    players move gets the adjustment once, in equal shares.

    Args:
        weight: :math:`\lambda`.
        align: whether the sign follows the alignment.
        epsilon: of the alignment: where both products are near 0 the sign is positive.
    """

    weight: float = 1.0
    align: bool = True
    epsilon: float = 0.1

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        game = play.game
        refuse_wrong_derivatives(game, "the symplectic adjustment")
        grads, losses = _field(game, draw)
        owners = [n for block in grads.values() for n in block]
        moved: Tensors = {n: p for n, p in game.named_parameters() if n in set(owners)}
        xi = _rows(game, [sum((b[n] for b in grads.values() if n in b), torch.zeros_like(p)) for n, p in moved.items()])
        change = self._adjustment(game, xi, list(moved.values()))
        shares = {n: t / owners.count(n) for n, t in _named(change, moved).items()}
        both = {who: {n: g.detach() + shares[n] for n, g in block.items()} for who, block in grads.items()}
        return finish(play, draw, both, losses)

    def _adjustment(self, game: Game, xi: Tensor, point: list[Tensor]) -> Tensor:
        value = xi.detach()
        back = _pulled(game, xi, point, value)
        weights = torch.zeros_like(value).requires_grad_()
        forward = _pulled(game, _pulled(game, xi, point, weights, graph=True), [weights], value)
        change = 0.5 * (back - forward)
        if self.align:
            aligned = _dot(value, back) * _dot(change, back) / value.shape[1] + self.epsilon
            change = change * torch.where(aligned < 0, -1.0, 1.0).to(change)
        return self.weight * change


@record
class GradientRegularised(Joint):
    r"""Players also descend the squared norm of the *other* players' gradients.

    .. math:: \ell_i + w \sum_{j \ne i} \lVert \nabla_{\theta_j} \ell_j \rVert^2 \quad \text{in } \theta_i

    With ``players=("generator",)`` it is the regulariser of Nagarajan & Kolter 2017 (sec. 4), with all players JARE
    (Nie & Patel 2019), whose :math:`\gamma` is :math:`2w`. :class:`~equilibria.core.updates.Consensus` has each
    player's *own* gradient in it too. All players move from the same point.

    Args:
        weight: ``w``.
        players: those who are regularised; all if empty.

    Raises:
        ConfigError: in a turn, a player that the game does not have.
    """

    weight: float = 0.5
    players: tuple[str, ...] = ()

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        game = play.game
        refuse_wrong_derivatives(game, "the gradient regulariser")
        regularised = [game.player(name).name for name in self.players] or [p.name for p in game.players]
        grads, losses = _field(game, draw)
        squares = {who: sum((g.square().sum() for g in block.values()), draw.step * 0) for who, block in grads.items()}
        total = {who: {n: g.detach() for n, g in block.items()} for who, block in grads.items()}
        for who in regularised:
            own: Tensors = dict(game.moved(who))
            others = sum((square for other, square in squares.items() if other != who), draw.step * 0)
            change = _pulled(game, others, list(own.values()), torch.ones_like(others))
            for name, value in _named(change, own).items():
                total[who][name] = total[who][name] + self.weight * value
        return finish(play, draw, total, losses)


@record
class Competitive(Joint):
    r"""Competitive gradient descent (Schäfer & Anandkumar 2019, Algorithm 1), for two players with losses f and g.

    .. math:: \Delta x = -\eta_x\, (I - \eta_x \eta_y D_{xy} f\, D_{yx} g)^{-1}
        (\nabla_x f - \eta_y D_{xy} f\, \nabla_y g), \qquad \Delta y = -\eta_y\, (\nabla_y g + D_{yx} g\, \Delta x)

    the Nash equilibrium of the game's bilinear approximation with quadratic costs of moving. On the bilinear game it
    converges for every rate. The matrix is not symmetric unless the game is zero-sum, so the system is solved by
    conjugate gradients on its normal equations: four Hessian-vector products a step, and no matrix is built.
    :math:`\eta_x` and :math:`\eta_y` are the players' learning rates, and :math:`-\Delta x/\eta_x` is passed to their
    optimisers: the equation holds as it stands with SGD without momentum. The part ``residual`` of the first player's
    loss is the relative residual of the linear system.

    Args:
        steps: of conjugate gradients; at least 1.

    Raises:
        ConfigError: in a turn, a game whose players are not two, or share parameters.
    """

    steps: int = 10

    def turn(self, play: Play, draw: Draw) -> dict[str, Loss]:
        game = play.game
        refuse_wrong_derivatives(game, "competitive gradient descent")
        first, second = _pair(game)
        x, y = dict(game.moved(first)), dict(game.moved(second))
        f, its = _differentiable(game, draw, first, {**x, **y})
        g, others = _differentiable(game, draw, second, {**x, **y})
        rate, rate_y = play.rate(first), play.rate(second)
        f_x, f_y, g_x, g_y = (_rows(game, [b[n] for n in own]) for b in (f, g) for own in (x, y))
        of_x, of_y = list(x.values()), list(y.values())

        def system(u: Tensor) -> Tensor:
            answer = _pulled(game, g_x, of_y, u)
            return u - rate * rate_y * _pulled(game, f_y, of_x, answer)

        def transposed(u: Tensor) -> Tensor:
            return u - rate * rate_y * _pulled(game, g_y, of_x, _pulled(game, f_x, of_y, u))

        wanted = f_x.detach() - rate_y * _pulled(game, f_y, of_x, g_y.detach())
        move = _solved(system, transposed, wanted, self.steps)
        answer = g_y.detach() - rate * _pulled(game, g_x, of_y, move)
        residual = (system(move) - wanted).norm(dim=1) / wanted.norm(dim=1).clamp(min=1e-30)
        parts = {**its.parts, "residual": residual if game.seeds else residual.reshape(())}
        blocks = {first: _named(move, x), second: _named(answer, y)}
        return finish(play, draw, blocks, {first: its._replace(parts=parts), second: others})


def _pair(game: Game) -> tuple[str, str]:
    """The names of the two players of a game.

    Raises:
        ConfigError: there are not two, or they share parameters.
    """
    names = [player.name for player in game.players]
    if len(names) != 2:
        raise ConfigError(
            f"competitive gradient descent is for two players, and the game has {len(names)} ({', '.join(names)})",
            "use --set update=symplectic, which works with any number of players",
        )
    if both := set(game.moved(names[0])) & set(game.moved(names[1])):
        raise ConfigError(
            f"competitive gradient descent needs players that share no parameter, and both move '{min(both)}'",
            "use --set update=symplectic",
        )
    return names[0], names[1]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _solved(
    system: Callable[[Tensor], Tensor], transposed: Callable[[Tensor], Tensor], wanted: Tensor, steps: int
) -> Tensor:
    """The solution of a linear system by conjugate gradients on its normal equations, from its right side.

    The number of steps is fixed, so that a turn can be captured. A step without a residual changes nothing.
    """
    found = wanted
    left = wanted - system(found)
    slope = transposed(left)
    along, size = slope, _dot(slope, slope)
    for _ in range(steps):
        image = system(along)
        step = _ratio(size, _dot(image, image))
        found, left = found + step * along, left - step * image
        slope = transposed(left)
        before, size = size, _dot(slope, slope)
        along = slope + _ratio(size, before) * along
    return found


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a/b, and 0 where b is 0."""
    none = b == 0
    return torch.where(none, 0.0, a / torch.where(none, 1.0, b))
