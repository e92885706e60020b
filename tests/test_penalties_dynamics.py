"""What the penalties are for: the spectra they give the Dirac game, and the noise that one of them stands for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from equilibria.base.schedules import Clock
from equilibria.core.game import Contest, Draw
from equilibria.losses import R1, R2, InstanceNoise, JSRegulariser, Minimax, NonSaturating, Objective, Wasserstein

NOON = Draw(tensors={}, step=torch.tensor(0), time=torch.tensor(0.0), seed=0)


def dirac_spectrum(extra: Callable[[Tensor, Tensor], Tensor], objective: Objective) -> np.ndarray:
    """Eigenvalues at 0 of the field of D(x) = psi x, p at 0, q at theta, with a term added to D's loss."""

    def field_of(at: Tensor) -> Tensor:
        def of_d(psi: Tensor) -> Tensor:
            zero = torch.zeros(1, dtype=torch.float64)
            return objective.discriminator(psi * zero, psi * at[:1]) + extra(at[:1], psi)

        of_g = torch.func.grad(lambda theta: objective.generator(at[1:] * theta))(at[:1])
        return -torch.cat([of_g, torch.func.grad(of_d)(at[1:])])

    return np.linalg.eigvals(torch.func.jacrev(field_of)(torch.zeros(2, dtype=torch.float64)).numpy())


@pytest.mark.parametrize("penalty", [R1, R2])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize(("objective", "rate"), [(Minimax(), 0.5), (NonSaturating(), 0.5), (Wasserstein(), 1.0)])
def test_dirac_spectrum(penalty: type[R1], gamma: float, objective: Objective, rate: float) -> None:
    """Mescheder et al. 2018: -gamma/2 +- sqrt(gamma^2/4 - f'(0)^2); only gamma > 0 converges."""

    def extra(theta: Tensor, psi: Tensor) -> Tensor:
        contest = Contest((torch.zeros(1, 1, dtype=torch.float64),), (theta[None],), lambda x: x @ psi)
        return penalty(gamma=gamma)(contest, NOON)

    root = np.sqrt(complex(gamma**2 / 4 - rate**2))
    expected = sorted((-gamma / 2 + root, -gamma / 2 - root), key=lambda c: (c.real, c.imag))
    found = sorted(dirac_spectrum(extra, objective), key=lambda c: (c.real, c.imag))
    # A double eigenvalue (gamma = 1, rate = 1/2) splits by the square root of rounding.
    np.testing.assert_allclose(found, expected, atol=1e-7)


NODES, NODE_WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(60))
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


def test_instance_noise_makes_the_dirac_game_converge() -> None:
    """Mescheder et al. 2018: f''(0) s^2 +- sqrt(f''(0)^2 s^4 - f'(0)^2) with noise of variance s^2 on both sides."""
    noise, clock = InstanceNoise(std=0.8), Clock(0, 0.0)

    def field_of(at: Tensor) -> Tensor:
        def expected(loss: Callable[[Tensor], Tensor]) -> Tensor:
            return (torch.func.vmap(lambda e: loss(e[None]))(NODES) * NODE_WEIGHTS).sum()

        def of_d(psi: Tensor) -> Tensor:
            zero = torch.zeros(1, dtype=torch.float64)
            return expected(
                lambda e: Minimax().discriminator(psi * noise(zero, e, clock), psi * noise(at[:1], e, clock))
            )

        def of_g(theta: Tensor) -> Tensor:
            return expected(lambda e: Minimax().generator(at[1:] * noise(theta, e, clock)))

        return -torch.cat([torch.func.grad(of_g)(at[:1]), torch.func.grad(of_d)(at[1:])])

    found = np.linalg.eigvals(torch.func.jacrev(field_of)(torch.zeros(2, dtype=torch.float64)).numpy())
    centre, root = -0.25 * 0.64, np.sqrt(complex(0.0625 * 0.64**2 - 0.25))
    np.testing.assert_allclose(sorted(found, key=lambda c: c.imag), [centre - root, centre + root], atol=1e-8)


def test_js_regulariser_is_small_noise_on_the_inputs() -> None:
    """Roth et al. 2017: at the optimal discriminator the noised loss exceeds the clean one by the penalty."""
    gamma, spread = 1e-4, 1.5

    def score(x: Tensor) -> Tensor:  # log N(x; 0, 1) - log N(x; 0.8, spread^2)
        x = x[..., 0] if x.ndim > 1 else x
        return -(x**2) / 2 + ((x - 0.8) / spread) ** 2 / 2 + math.log(spread)

    def clean_loss(shift: Tensor) -> Tensor:
        rows = torch.func.vmap(Minimax().discriminator)
        return (rows(score(NODES + shift)[:, None], score(0.8 + spread * NODES + shift)[:, None]) * NODE_WEIGHTS).sum()

    shifted = torch.stack([clean_loss(math.sqrt(gamma) * e) for e in NODES])
    excess = (shifted * NODE_WEIGHTS).sum() - clean_loss(torch.zeros((), dtype=torch.float64))

    def of_row(real: Tensor, fake: Tensor) -> Tensor:
        return JSRegulariser(gamma=gamma)(Contest((real,), (fake,), score), NOON)

    rows = torch.func.vmap(of_row)(NODES[:, None, None], (0.8 + spread * NODES)[:, None, None])
    assert (rows * NODE_WEIGHTS).sum().item() == pytest.approx(excess.item(), rel=1e-3)
