r"""The small games in which the theory of training is stated, as games like all others.

Their laws are points or intervals, so every expectation is a sum over quadrature nodes: nothing is random, and the
field that theory takes apart comes out of the objectives and penalties that train images. Parameters are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, ShapeError
from ..core.game import Batch, Contest, Draw, Game, Loss, Player
from ..losses import Clip, Minimax, Objective, Penalty, RelativisticAverage, Wasserstein
from .contest_losses import discriminator_loss, generator_loss

Score = Callable[[Tensor], Tensor]


def no_batches(seed: int, turn: int) -> Batch:
    """The batches of a game that brings its own data: none."""
    return {}


class DiracGAN(Game):
    r"""The data is a point at 0, the generator one at :math:`\theta`, the discriminator linear: :math:`h(x) = \psi x`.

    .. math:: L_D = \ell_D(h(\epsilon), h(\theta + \epsilon')) + \sum_i R_i, \qquad \epsilon, \epsilon' \sim N(0, s^2)

    (Mescheder et al. 2018, sec. 2, where ``h`` is higher for *fake*: their discriminator is :math:`-\psi`.) It has one
    equilibrium, :math:`\theta = \psi = 0`, and without regularisation no gradient method finds it.

    Instance noise is not sampled: both sides are integrated by Gauss and Hermite's rule over independent noises.

    Args:
        objective: any pair of losses.
        penalties: added to the discriminator's loss.
        noise: the standard deviation ``s`` of instance noise on real and fake points.
        clip: the discriminator's strategy set.
        start: :math:`(\theta, \psi)`.
        nodes: of the rule, on each side; with ``noise = 0`` there is one.

    Raises:
        ConfigError: negative noise, no node, or noise under an objective that is not a mean over rows.

    Examples:
        The field at (1, 1) of the game of Goodfellow et al. 2014: :math:`(\psi\,\sigma(1), -\theta\,\sigma(1))`.

        >>> from equilibria.core.game import make_draw, field_of, parameters_of
        >>> game = DiracGAN()
        >>> v = field_of(game, parameters_of(game), {}, make_draw(game.draw({}), seed=0))
        >>> round(v["generator"]["theta"].item(), 4), round(v["discriminator"]["psi"].item(), 4)
        (0.7311, -0.7311)
    """

    weights: Tensor
    real_nodes: Tensor
    fake_nodes: Tensor

    def __init__(
        self,
        objective: Objective | None = None,
        penalties: Sequence[Penalty] = (),
        noise: float = 0.0,
        clip: Clip | None = None,
        start: tuple[float, float] = (1.0, 1.0),
        nodes: int = 32,
    ) -> None:
        super().__init__()
        if noise < 0 or nodes < 1:
            raise ConfigError(f"noise={noise}, nodes={nodes}", "use noise >= 0 and nodes >= 1")
        self.objective, self.penalties = objective or Minimax(), tuple(penalties)
        points, shares = np.polynomial.hermite_e.hermegauss(nodes) if noise else (np.zeros(1), np.ones(1))
        _store_pairs(self, noise * points, shares)
        _need_mean(self.objective, len(self.weights))
        self.theta = nn.Parameter(torch.tensor(start[0], dtype=torch.float64))
        self.psi = nn.Parameter(torch.tensor(start[1], dtype=torch.float64))
        self.players = (Player("discriminator", ("psi",), 1, clip), Player("generator", ("theta",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.real_nodes.new_zeros(n, 1)}

    def draw(self, batch: Batch) -> Batch:
        return _nothing_but_noise(self.penalties, self.codes(1))

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((self.real_nodes,), (self.theta + self.fake_nodes,), self._score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        return _expected(player, contest, self.weights, (self.objective, self.penalties), draw)

    def sample(self, draw: Draw) -> Tensor:
        return self.theta + draw["latent"]

    def _score(self, x: Tensor) -> Tensor:
        return self.psi * x.squeeze(-1)


class UniformGAN(Game):
    r"""Data uniform on (-1, 1), generator ``G(z) = a z`` of uniform codes, discriminator :math:`h(x) = w x^2`.

    .. math:: V(w, a) = E_x f(w x^2) + E_z f(-w a^2 z^2)

    the example of Nagarajan & Kolter 2017 (Prop. 3.1): concave in ``w``, and in ``a`` as well wherever ``w >= 0``, with
    an equilibrium at ``w = 0``, ``a = 1``. Expectations are by Gauss and Legendre's rule.

    Args:
        objective: any pair of losses that are means over rows.
        penalties: added to the discriminator's loss.
        start: ``(w, a)``.
        nodes: of the rule, on each side.

    Raises:
        ConfigError: no node, or an objective that is not a mean over rows.

    Examples:
        The Wasserstein value at (w, a): w/3 (1 - a²).

        >>> from equilibria.core.game import make_draw
        >>> game = UniformGAN(Wasserstein(), start=(3.0, 2.0))
        >>> round(-game.loss("discriminator", make_draw(game.draw({}), seed=0)).total.item(), 9)
        -3.0
    """

    weights: Tensor
    real_nodes: Tensor
    fake_nodes: Tensor

    def __init__(
        self,
        objective: Objective | None = None,
        penalties: Sequence[Penalty] = (),
        start: tuple[float, float] = (0.5, 0.5),
        nodes: int = 32,
    ) -> None:
        super().__init__()
        if nodes < 1:
            raise ConfigError(f"nodes={nodes}", "use nodes >= 1")
        self.objective, self.penalties = objective or Minimax(), tuple(penalties)
        _store_pairs(self, *np.polynomial.legendre.leggauss(nodes))
        _need_mean(self.objective, len(self.weights))
        self.w = nn.Parameter(torch.tensor(start[0], dtype=torch.float64))
        self.a = nn.Parameter(torch.tensor(start[1], dtype=torch.float64))
        self.players = (Player("discriminator", ("w",)), Player("generator", ("a",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.rand_like(self.w.detach().expand(n, 1)) * 2 - 1}

    def draw(self, batch: Batch) -> Batch:
        return _nothing_but_noise(self.penalties, {"latent": self.fake_nodes.new_zeros(1, 1)})

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((self.real_nodes,), (self.a * self.fake_nodes,), self._score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        return _expected(player, contest, self.weights, (self.objective, self.penalties), draw)

    def sample(self, draw: Draw) -> Tensor:
        return self.a * draw["latent"]

    def _score(self, x: Tensor) -> Tensor:
        return self.w * x.squeeze(-1).square()


class BilinearGame(Game):
    r"""A Wasserstein game of two points: data at 0, generator at :math:`A\theta`, critic :math:`h(x) = \psi^T x`.

    .. math:: L_D = \psi^T A \theta = -L_G

    The bilinear saddle, every point with :math:`A\theta = 0, A^T\psi = 0` an equilibrium; its flow turns and keeps
    :math:`\|\theta\|^2 + \|\psi\|^2`. Other objectives and penalties make it a Dirac-GAN in several dimensions.

    Args:
        matrix: ``A``, ``(m, d)``; by default the number 1.
        objective: Wasserstein's if none is given.
        penalties: added to the critic's loss.
        start: :math:`\theta` ``(d,)`` and :math:`\psi` ``(m,)``; ones if not given.

    Raises:
        ShapeError: the matrix or the start has another shape.

    Examples:
        >>> from equilibria.core.game import make_draw, field_of, parameters_of
        >>> game = BilinearGame(torch.tensor([[2.0]]))
        >>> v = field_of(game, parameters_of(game), dict(game.named_buffers()), make_draw(game.draw({}), seed=0))
        >>> v["generator"]["theta"].tolist(), v["discriminator"]["psi"].tolist()
        ([2.0], [-2.0])
    """

    matrix: Tensor

    def __init__(
        self,
        matrix: Tensor | None = None,
        objective: Objective | None = None,
        penalties: Sequence[Penalty] = (),
        start: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        a = (torch.ones(1, 1) if matrix is None else matrix).detach().double()
        if a.ndim != 2:
            raise ShapeError(f"a matrix of shape {tuple(a.shape)}", "give A with rows of the data's size, (m, d)")
        theta, psi = (a.new_ones(a.shape[1]), a.new_ones(a.shape[0])) if start is None else start
        if theta.shape != a.shape[1:] or psi.shape != a.shape[:1]:
            raise ShapeError(f"start {tuple(theta.shape)}, {tuple(psi.shape)} for A {tuple(a.shape)}", "use (d,), (m,)")
        self.objective, self.penalties = objective or Wasserstein(), tuple(penalties)
        self.register_buffer("matrix", a.clone())
        self.theta, self.psi = (
            nn.Parameter(theta.detach().to(a, copy=True)),
            nn.Parameter(psi.detach().to(a, copy=True)),
        )
        self.players = (Player("discriminator", ("psi",)), Player("generator", ("theta",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.matrix.new_zeros(n, len(self.matrix))}

    def draw(self, batch: Batch) -> Batch:
        return _nothing_but_noise(self.penalties, self.codes(1))

    def contests(self, draw: Draw) -> dict[str, Contest]:
        fake = (self.matrix @ self.theta)[None]
        return {"data": Contest((torch.zeros_like(fake),), (fake,), self._score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        return _played(player, contest, self.objective, self.penalties, draw)

    def sample(self, draw: Draw) -> Tensor:
        return self.matrix @ self.theta + draw["latent"]

    def _score(self, x: Tensor) -> Tensor:
        return x @ self.psi


def _store_pairs(game: Game, points: np.ndarray, shares: np.ndarray) -> None:
    """Buffers with every pair of a real and a fake node: the two sides are independent."""
    x = torch.as_tensor(np.asarray(points), dtype=torch.float64)
    w = torch.as_tensor(np.asarray(shares) / np.sum(shares), dtype=torch.float64)
    n = len(x)
    game.register_buffer("real_nodes", x.repeat_interleave(n)[:, None], persistent=False)
    game.register_buffer("fake_nodes", x.repeat(n)[:, None], persistent=False)
    game.register_buffer("weights", torch.outer(w, w).flatten(), persistent=False)


def _need_mean(objective: Objective, pairs: int) -> None:
    if pairs > 1 and isinstance(objective, RelativisticAverage):
        raise ConfigError(
            "RelativisticAverage is not a mean over rows, and this game integrates row by row",
            "use RelativisticPairing()",
        )


def _nothing_but_noise(penalties: Sequence[Penalty], codes: Batch) -> Batch:
    noise = {name: tensor for p in penalties for name, tensor in p.noise(codes["latent"]).items()}
    return {**codes, **noise}


def _played(player: str, contest: Contest, objective: Objective, penalties: Sequence[Penalty], draw: Draw) -> Loss:
    if player == "generator":
        return Loss(generator_loss(contest, objective))
    return discriminator_loss(contest, objective, penalties, draw)


def _expected(
    player: str, contest: Contest, weights: Tensor, losses: tuple[Objective, Sequence[Penalty]], draw: Draw
) -> Loss:
    """The expectation of a loss over pairs of nodes; of one pair, the loss itself with its parts."""
    if len(weights) == 1:
        return _played(player, contest, *losses, draw)

    def at_one(real: Tensor, fake: Tensor) -> Tensor:
        return _played(player, Contest((real[None],), (fake[None],), contest.score), *losses, draw).total

    each: Tensor = torch.func.vmap(at_one)(contest.real[0], contest.fake[0])
    return Loss((weights * each).sum())
