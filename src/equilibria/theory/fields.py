r"""The vector field of a game as a map of :math:`R^n` to itself: derivatives, steps, and conserved quantities.

A game of any number of players is given by one callable, from the parameters by name to one block
:math:`-\partial \ell_i/\partial\theta_i` per player (``lambda p: core.game.field_of(game, p, state, draw)``). So the
losses that are analysed here are the losses that are trained. Nothing is specific to two players.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_map, check_square

Params = dict[str, Tensor]
Field = Callable[[Params], Mapping[str, Mapping[str, Tensor]]]
Map = Callable[[Tensor], Tensor]
Rate = float | Tensor
"""A step size: one for all coordinates, or one for each, ``(n,)``."""


class FlatField:
    r"""A game's field in the coordinates ``x`` of every parameter that some player moves, ``(n,)``.

    .. math:: v(x) = \sum_i P_i^T \big({-\partial \ell_i/\partial \theta_i}\big)(x)

    where :math:`P_i` selects the parameters of player :math:`i`. A parameter that several players move (an encoder
    shared by two losses) gets the sum of its blocks: this is the flow of simultaneous steps, and always a map of
    :math:`R^n` to itself. Parameters that no player moves are constants.

    Args:
        field: maps parameters by name to blocks by player; differentiable.
        params: the start point, all parameters by name.

    Attributes:
        names: the moved parameters, in the order of ``params``.
        start: the point ``params`` in coordinates, ``(n,)``.

    Raises:
        ValueError: no player moves a parameter, a block names an unknown parameter or has another shape, or the moved
            parameters have different dtypes.

    Examples:
        The bilinear value xy: the field rotates.

        >>> at = {"x": torch.ones(1), "y": torch.ones(1)}
        >>> v = FlatField(lambda p: {"x": {"x": -p["y"]}, "y": {"y": p["x"]}}, at)
        >>> v(v.start), v.block(v.start, "x")
        (tensor([-1.,  1.]), tensor([-1.,  0.]))
    """

    def __init__(self, field: Field, params: Mapping[str, Tensor]) -> None:
        self._field = field
        self._all = {name: value.detach() for name, value in params.items()}
        blocks = field(dict(self._all))
        self.players = {player: tuple(block) for player, block in blocks.items()}
        moved = {name for block in blocks.values() for name in block}
        if not moved:
            raise ValueError("the field has no block with a parameter; give a game whose players move something")
        for name, block in ((n, b) for own in blocks.values() for n, b in own.items()):
            if name not in self._all or block.shape != self._all[name].shape:
                known = tuple(self._all[name].shape) if name in self._all else "unknown"
                raise ValueError(f"a block for '{name}' has shape {tuple(block.shape)}, the parameter is {known}")
        self.names = tuple(name for name in self._all if name in moved)
        kinds = {self._all[name].dtype for name in self.names}
        if len(kinds) > 1:
            raise ValueError(f"the moved parameters have dtypes {kinds}; convert the game to one, best float64")
        self.start = self.flat(self._all)

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return self.start.numel()

    def flat(self, params: Mapping[str, Tensor]) -> Tensor:
        """Named tensors as coordinates ``(n,)``; parameters that no player moves are left out."""
        return torch.cat([params[name].reshape(-1) for name in self.names])

    def params(self, x: Tensor) -> Params:
        """Coordinates as named tensors, together with the parameters that no player moves."""
        if x.shape != (self.size,):
            raise ValueError(f"a point of shape {tuple(x.shape)}; the field has coordinates ({self.size},)")
        pieces = torch.split(x, [self._all[name].numel() for name in self.names])
        return {**self._all, **{n: p.view_as(self._all[n]) for n, p in zip(self.names, pieces, strict=True)}}

    def block(self, x: Tensor, player: str) -> Tensor:
        """One player's part of the field, zero at the coordinates it does not move, ``(n,)``.

        Raises:
            ValueError: there is no such player.
        """
        self._know(player)
        return self._joined({player: self._field(self.params(x))[player]})

    def mask(self, player: str) -> Tensor:
        """One where a player moves the coordinate, zero elsewhere, ``(n,)``; errors as in :meth:`block`."""
        self._know(player)
        own = self.players[player]
        return torch.cat([torch.full_like(self._all[n], float(n in own)).reshape(-1) for n in self.names])

    def __call__(self, x: Tensor) -> Tensor:
        return self._joined(self._field(self.params(x)))

    def _know(self, player: str) -> None:
        if player not in self.players:
            raise ValueError(f"no player '{player}'; the field has {', '.join(self.players)}")

    def _joined(self, blocks: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        total: Params = {}
        for block in blocks.values():
            for name, value in block.items():
                total[name] = total[name] + value if name in total else value
        return self.flat({n: total.get(n, torch.zeros_like(self._all[n])) for n in self.names})


def jacobian(v: Map, x: Tensor, chunk: int | None = None) -> Tensor:
    r"""The dense Jacobian :math:`v'(x)_{ij} = \partial v_i/\partial x_j`, ``(n, n)``.

    Args:
        v: ``(n,)`` to ``(n,)``.
        x: ``(n,)``.
        chunk: number of rows computed at a time; 1 needs the least memory and no ``vmap`` rule of any operation.

    Raises:
        ValueError: ``x`` is not ``(n,)``, or ``v`` gives another shape.

    Examples:
        >>> jacobian(lambda x: torch.stack([x.prod(), x.sum()]), torch.tensor([2.0, 5.0]))
        tensor([[5., 2.],
                [1., 1.]])
    """
    rows: Tensor = torch.func.jacrev(v, chunk_size=chunk)(x)
    check_map(x, rows[..., 0])
    return rows.detach()


@dataclass(frozen=True)
class Linearised:
    r"""A map linearised at a point: :math:`v(x)`, and products with :math:`v'` and :math:`v'^T`.

    Each product costs about one backward pass; no matrix of size ``n * n`` is built.
    """

    value: Tensor
    forward: Map
    backward: Map


def linearise(v: Map, x: Tensor) -> Linearised:
    r"""Products with the Jacobian of ``v`` at ``x`` and with its transpose, without the matrix.

    The forward product is a reverse product differentiated in its cotangent (it is linear in it), so that only reverse
    mode is needed: several fused kernels (attention, grid sampling, recurrent cells) have no forward mode.

    Raises:
        ValueError: ``x`` is not ``(n,)``, ``v`` gives another shape, or a product is asked for a vector of another.

    Examples:
        >>> near = linearise(lambda x: x**2, torch.tensor([1.0, 3.0]))
        >>> near.value, near.forward(torch.ones(2)), near.backward(torch.ones(2))
        (tensor([1., 9.]), tensor([2., 6.]), tensor([2., 6.]))
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = v(point)
        check_map(x, value)
        cotangent = torch.zeros_like(value, requires_grad=True)
        flat = not value.requires_grad
        pulled = torch.zeros_like(x) if flat else _pull(value, point, cotangent, keep=True)

    def forward(u: Tensor) -> Tensor:
        check_map(x, u, "a product of a Jacobian")
        return _pull(pulled, cotangent, u) if pulled.requires_grad else torch.zeros_like(value)

    def backward(w: Tensor) -> Tensor:
        check_map(x, w, "a product of a Jacobian")
        return torch.zeros_like(x) if flat else _pull(value, point, w)

    return Linearised(value.detach(), forward, backward)


def _pull(outputs: Tensor, inputs: Tensor, weights: Tensor, keep: bool = False) -> Tensor:
    (found,) = torch.autograd.grad(
        outputs, inputs, weights, retain_graph=True, create_graph=keep, materialize_grads=True
    )
    return found


def hessian_product(loss: Map, x: Tensor, u: Tensor) -> Tensor:
    r"""The Hessian-vector product :math:`\nabla^2 \ell(x)\, u` of a loss, without the matrix.

    Args:
        loss: maps ``(n,)`` to 0-dim: one player's loss in its own coordinates, with the other players fixed.
        x: ``(n,)``.
        u: ``(n,)``.

    Examples:
        >>> hessian_product(lambda x: x.prod(), torch.tensor([2.0, 5.0]), torch.tensor([1.0, 0.0]))
        tensor([0., 1.])
    """
    return linearise(torch.func.grad(loss), x).backward(u)


def hessian(loss: Map, x: Tensor) -> Tensor:
    r"""The dense Hessian of a loss, ``(n, n)``.

    Its definiteness shows whether the loss is convex in a player's own parameters. Nagarajan & Kolter 2017, Prop. 3.1:
    the value of a GAN *can be* concave in the generator's parameters too, for a large set of discriminators and
    arbitrarily near equilibrium, so GANs are not convex-concave games (E27: it is an example and a warning; often
    printed as "concave-concave in most of the domain", as if that were a good property).

    Examples:
        >>> hessian(lambda x: x.prod(), torch.tensor([2.0, 5.0]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    return jacobian(torch.func.grad(loss), x)


def consensus(v: Map, gamma: float) -> Map:
    r"""The field of consensus optimisation (Mescheder et al. 2017, eq. 10).

    .. math:: w = v - \gamma \nabla L, \qquad L = \tfrac12 \|v\|^2, \qquad \nabla L = v'^T v

    for all players at once. At a zero of ``v``, :math:`w' = v' - \gamma v'^T v'`. Every stationary point of :math:`L`
    attracts, whether or not it is an equilibrium. For the Dirac-GAN, :math:`\partial_\psi L = \psi f'^2 +
    \theta(\psi^2+\theta^2)f'f''`; the published notebook halves the second term.

    Examples:
        >>> w = consensus(lambda x: torch.stack([-x[1], x[0]]), gamma=0.5)
        >>> w(torch.tensor([2.0, 0.0]))
        tensor([-1., 2.])
    """

    def pulled(x: Tensor) -> Tensor:
        value, pull = torch.func.vjp(v, x)[:2]
        shifted: Tensor = value - gamma * pull(value)[0]
        return shifted

    return pulled


def gradient_regularised(field: FlatField, generator: str, discriminator: str, eta: float) -> Map:
    r"""The field in which the generator also minimises the discriminator's gradient (Nagarajan & Kolter 2017, sec. 4).

    .. math:: v_G - \eta \nabla_{\theta_G} \|v_D\|^2, \qquad v_D \text{ unchanged}

    Locally stable for every :math:`\eta > 0`, for the Wasserstein value too; the paper's bound
    :math:`\eta < 1/(2\lambda_{max}(-J_{DD}))` is no threshold
    (:func:`~equilibria.theory.spectra.regularised_jacobian`).

    Raises:
        ValueError: the game has no player of one of these names.

    Examples:
        >>> at = {"g": torch.ones(1), "d": torch.ones(1)}
        >>> turn = FlatField(lambda p: {"g": {"g": p["d"]}, "d": {"d": -p["g"]}}, at)
        >>> gradient_regularised(turn, "g", "d", eta=0.25)(turn.start)
        tensor([ 0.5000, -1.0000])
    """
    own = field.mask(generator)
    field.mask(discriminator)

    def regularised(x: Tensor) -> Tensor:
        slope: Tensor = torch.func.grad(lambda at: field.block(at, discriminator).square().sum())(x)
        return field(x) - eta * own * slope

    return regularised


def simultaneous(v: Map, rate: Rate) -> Map:
    r"""One simultaneous step, :math:`x \mapsto x + h\,v(x)`.

    On the bilinear game it multiplies the norm by :math:`\sqrt{1+h^2}`: it diverges for every step size.

    Examples:
        >>> simultaneous(lambda x: -x, 0.5)(torch.tensor([1.0]))
        tensor([0.5000])
    """
    return lambda x: x + rate * v(x)


def alternating(field: FlatField, rate: Rate, turns: Mapping[str, int] | None = None) -> Map:
    r"""One round in which the players move in turn, each against the others' *new* strategies.

    .. math:: F = F_k \circ \dots \circ F_1, \qquad F_i(x) = x + h\, P_i^T v_i(x) \ \text{(repeated for several turns)}

    Args:
        field: the field; its players move in their order.
        rate: step size.
        turns: number of turns of each player that has more than one.

    Raises:
        ValueError: ``turns`` names another player.

    Examples:
        >>> at = {"x": torch.ones(1), "y": torch.zeros(1)}
        >>> v = FlatField(lambda p: {"y": {"y": p["x"]}, "x": {"x": -p["y"]}}, at)
        >>> alternating(v, 0.5)(v.start)
        tensor([0.7500, 0.5000])
    """
    for name in turns or {}:
        field.mask(name)

    def round_of(x: Tensor) -> Tensor:
        for player in field.players:
            for _ in range((turns or {}).get(player, 1)):
                x = x + rate * field.block(x, player)
        return x

    return round_of


def extragradient(v: Map, rate: Rate) -> Map:
    r"""One step with the field of a look-ahead point (Korpelevich 1976): :math:`x \mapsto x + h\,v(x + h\,v(x))`.

    Examples:
        >>> extragradient(lambda x: -x, 0.5)(torch.tensor([1.0]))
        tensor([0.7500])
    """
    return lambda x: x + rate * v(x + rate * v(x))


def optimistic(v: Map, rate: Rate) -> Map:
    r"""One optimistic step (Daskalakis et al. 2018) on the stacked state :math:`(x_k, v_{k-1})`, ``(2n,)``.

    .. math:: (x, u) \mapsto (x + h(2 v(x) - u),\ v(x))

    Start it at ``(x, v(x))``: the first step is then a plain gradient step. A state of odd size is refused.

    Examples:
        >>> optimistic(lambda x: -x, 0.5)(torch.tensor([1.0, -1.0]))
        tensor([ 0.5000, -1.0000])
    """

    def step(state: Tensor) -> Tensor:
        if state.ndim != 1 or len(state) % 2:
            raise ValueError(f"a state of shape {tuple(state.shape)}; want a point and the last field, (2n,)")
        x, last = state.chunk(2)
        now = v(x)
        return torch.cat([x + rate * (2 * now - last), now])

    return step


def orbit(step: Map, x: Tensor, steps: int) -> Tensor:
    """The orbit of a map from ``x``, ``(steps + 1, n)``, with the start first.

    Examples:
        >>> orbit(lambda x: x / 2, torch.tensor([8.0]), 3).squeeze()
        tensor([8., 4., 2., 1.])
    """
    points = [x.detach()]
    for _ in range(steps):
        points.append(step(points[-1]).detach())
    return torch.stack(points)


def drift(quantity: Map, v: Map, x: Tensor) -> Tensor:
    r"""The rate of change of a quantity along the flow: :math:`\frac{d}{dt} Q(x(t)) = \langle \nabla Q, v \rangle`.

    If it is zero everywhere, the continuous flow conserves the quantity. The unregularised Dirac-GAN and every bilinear
    game with equal rates conserve :math:`\|\theta\|^2 + \|\psi\|^2`, so they cannot converge; discrete simultaneous
    steps increase it.

    Args:
        quantity: ``(n,)`` to 0-dim.
        v: the field.
        x: ``(n,)``.

    Examples:
        >>> turn = lambda x: torch.stack([-x[1], x[0]])
        >>> drift(lambda x: x.square().sum(), turn, torch.tensor([3.0, 4.0]))
        tensor(0.)
    """
    return torch.dot(torch.func.grad(quantity)(x), v(x)).detach()


def split(matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""The symmetric and antisymmetric parts of a Jacobian: descent, and rotation (Balduzzi et al. 2018).

    .. math:: J = \tfrac12 (J + J^T) + \tfrac12 (J - J^T)

    In a potential game (one common loss) the second part is zero; if the first part is zero, the flow conserves
    :math:`\tfrac12\|v\|^2`.

    Raises:
        ValueError: the matrix is not square.

    Examples:
        >>> split(torch.tensor([[0.0, -1.0], [3.0, 0.0]]))[1]
        tensor([[ 0., -2.],
                [ 2.,  0.]])
    """
    check_square(matrix)
    return (matrix + matrix.mT) / 2, (matrix - matrix.mT) / 2
