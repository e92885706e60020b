r"""Eigenvalues of a game's Jacobian: which equilibria are stable, the speed of convergence, and the largest step size.

A flow :math:`\dot x = v(x)` is locally exponentially stable at a zero of ``v`` if every eigenvalue of :math:`v'` there
has negative real part; the step :math:`x \mapsto F(x)` is if every eigenvalue of :math:`F'` is inside the unit circle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .checks import check_map, check_points, check_positive, check_square

Map = Callable[[Tensor], Tensor]
Which = Literal["LR", "SR", "LM", "LI"]


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues of a square matrix, complex ``(n,)``, by decreasing real part.

    Raises:
        ValueError: the matrix is not square or not finite.

    Examples:
        >>> [round(value.imag, 6) for value in eigenvalues(torch.tensor([[0.0, -2.0], [2.0, 0.0]])).tolist()]
        [2.0, -2.0]
    """
    check_square(matrix)
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("the matrix has entries that are not finite; look for a loss or slope that overflowed")
    return _ordered(torch.linalg.eigvals(matrix))


def leading_eigenvalues(
    product: Map, like: Tensor, k: int = 6, which: Which = "LR", tolerance: float = 1e-10, rounds: int = 300
) -> Tensor:
    r"""Some eigenvalues of a matrix that is given by its products with vectors (restarted Arnoldi method, ARPACK).

    It needs the memory of a few dozen vectors, so it works for games with millions of parameters, where the matrix
    would have ``n^2`` entries. The start vector is fixed: the same matrix gives the same result.

    Args:
        product: ``u`` to ``J u``, ``(n,)`` to ``(n,)`` (:func:`~equilibria.theory.fields.linearise`).
        like: a tensor ``(n,)`` of the vectors' type and device.
        k: number of eigenvalues.
        which: ``"LR"`` largest real part (determines stability), ``"SR"`` smallest real part (determines the step
            size), ``"LM"`` largest modulus, ``"LI"`` largest modulus of the imaginary part (rotation).
        tolerance: relative tolerance of an eigenvalue's residual; not below the precision of ``like``.
        rounds: maximal number of restarts.

    Returns:
        Complex ``(k,)``, by decreasing real part; all ``n`` eigenvalues if ``k >= n - 1``.

    Raises:
        ValueError: ``k`` is not positive, a product is not finite or not ``(n,)``, or the method did not converge.

    Examples:
        >>> scales = torch.arange(100.0, dtype=torch.float64)
        >>> [round(value.real, 6) for value in leading_eigenvalues(lambda u: scales * u, scales, k=2).tolist()]
        [99.0, 98.0]
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    n = like.numel()
    if k < 1 or like.ndim != 1:
        raise ValueError(f"k={k} eigenvalues on vectors of shape {tuple(like.shape)}; want k >= 1 and (n,)")
    if k >= n - 1:
        basis = torch.eye(n, dtype=like.dtype, device=like.device)
        return eigenvalues(torch.stack([product(column) for column in basis], 1))
    kind = np.float64 if like.dtype == torch.float64 else np.float32

    def multiply(u: Any) -> Any:
        found = product(torch.from_numpy(np.ascontiguousarray(u, dtype=kind).reshape(-1)).to(like)).detach()
        check_map(like, found, "a product")
        if not bool(torch.isfinite(found).all()):
            raise ValueError("a product with the Jacobian is not finite; look for a loss or slope that overflowed")
        return found.cpu().numpy().astype(kind)

    start = np.random.default_rng(0).standard_normal(n).astype(kind)
    operator = LinearOperator((n, n), matvec=multiply, dtype=kind)
    krylov = min(n, max(4 * k + 1, 40))
    try:
        found = eigs(operator, k, None, None, which, start, krylov, rounds, tolerance, return_eigenvectors=False)
    except ArpackNoConvergence as failure:
        raise ValueError(
            f"{len(failure.eigenvalues)} of {k} eigenvalues converged in {rounds} restarts; "
            "ask for fewer, allow more rounds, or use a larger tolerance"
        ) from failure
    return _ordered(torch.from_numpy(np.asarray(found)))


def _ordered(values: Tensor) -> Tensor:
    by = np.lexsort((-values.imag.cpu().numpy(), -values.real.cpu().numpy()))
    return values[torch.from_numpy(by).to(values.device)]


def largest_step(spectrum: Tensor) -> float:
    r"""The step size below which :math:`x + h\,v(x)` contracts (Mescheder et al. 2017, Lemma 4).

    .. math::
        h < \min_\lambda \frac{1}{|\mathrm{Re}\,\lambda|}\,
        \frac{2}{1 + (\mathrm{Im}\,\lambda / \mathrm{Re}\,\lambda)^2}
        = \min_\lambda \frac{-2\,\mathrm{Re}\,\lambda}{|\lambda|^2}

    Zero if an eigenvalue has a real part >= 0: then no step size contracts.

    Raises:
        ValueError: no eigenvalues, or one that is not finite.

    Examples:
        >>> round(largest_step(torch.tensor([-1 + 1j, -1 - 1j])), 6)
        1.0
    """
    _check_spectrum(spectrum)
    if bool((spectrum.real >= 0).any()):
        return 0.0
    return float((-2 * spectrum.real / spectrum.abs().square()).min())


def step_radius(spectrum: Tensor, step: float) -> float:
    r"""The spectral radius of a simultaneous step, :math:`\max_\lambda |1 + h \lambda|`: its asymptotic rate per step.

    Raises:
        ValueError: as in :func:`largest_step`.

    Examples:
        >>> round(step_radius(torch.tensor([2j, -2j]), 0.5), 6)
        1.414214
    """
    _check_spectrum(spectrum)
    return float((1 + step * spectrum).abs().max())


def _check_spectrum(spectrum: Tensor) -> None:
    if spectrum.ndim != 1 or not len(spectrum) or not bool(torch.isfinite(spectrum).all()):
        raise ValueError(f"a spectrum of shape {tuple(spectrum.shape)}; want (n,), n >= 1, all finite")


def equilibrium_jacobian(k_dd: Tensor, k_dg: Tensor, slope: float, curvature: float) -> Tensor:
    r"""The Jacobian of the simultaneous flow at an equilibrium (Nagarajan & Kolter 2017, sec. 3.2).

    .. math:: J = \begin{pmatrix} 2 f''(0) K_{DD} & f'(0) K_{DG} \\ -f'(0) K_{DG}^T & 0 \end{pmatrix}, \qquad
        K_{DD} = E_p[\nabla D \nabla D^T], \quad K_{DG} = \mp\nabla_{\theta_G} E_{p_G}[\nabla_{\theta_D} D]

    in the order discriminator, generator, for :math:`V = E_p f(D) + E_{p_G} f(-D)`. Assumptions: (I) the generator
    attains the data's law and ``D = 0`` there, (IV) equal supports in a neighbourhood.

    Args:
        k_dd: ``(d, d)``.
        k_dg: ``(d, g)``.
        slope: :math:`f'(0)`; 1/2 for the logistic value, 1 for Wasserstein's.
        curvature: :math:`f''(0)`; -1/4 for the logistic value, 0 for Wasserstein's.

    Raises:
        ValueError: the blocks do not fit.

    Examples:
        Uniform data, ``G = a z``, ``D = w x^2``: eigenvalues -0.05 ± 0.3296 i.

        >>> J = equilibrium_jacobian(torch.tensor([[0.2]]), torch.tensor([[-2 / 3]]), 0.5, -0.25)
        >>> eigenvalues(J)
        tensor([-0.0500+0.3296j, -0.0500-0.3296j])
    """
    _check_blocks(k_dd, k_dg)
    corner = k_dg.new_zeros(k_dg.shape[1], k_dg.shape[1])
    upper = torch.cat([2 * curvature * k_dd, slope * k_dg], 1)
    return torch.cat([upper, torch.cat([-slope * k_dg.mT, corner], 1)], 0)


def stability_bounds(k_dd: Tensor, k_dg: Tensor, slope: float, curvature: float) -> tuple[float, float]:
    r"""Upper bounds on the real parts at a GAN equilibrium (Nagarajan & Kolter 2017, Theorem 3.1).

    .. math::
        \mathrm{Im}\,\lambda \ne 0:&\quad \mathrm{Re}\,\lambda \le f''(0)\,\lambda^+_{min}(K_{DD}) \\
        \mathrm{Im}\,\lambda = 0:&\quad \lambda \le \frac{2 f''(0) f'(0)^2 \lambda^+_{min}(K_{DD})
            \lambda^+_{min}(K_{DG}^T K_{DG})}{4 f''(0)^2 \lambda^+_{min}(K_{DD}) \lambda_{max}(K_{DD})
            + f'(0)^2 \lambda^+_{min}(K_{DG}^T K_{DG})}

    for :math:`\lambda \ne 0`, where :math:`\lambda^+_{min}` is the least *positive* eigenvalue. The theorem is about
    the continuous simultaneous flow; nothing follows for alternating steps of finite size (E28).

    E26: often printed as "f can be any concave function". It needs :math:`f''(0) < 0` and :math:`f'(0) \ne 0`:
    the Wasserstein :math:`f(t) = t` is concave, and its spectrum is imaginary.

    Two more assumptions can be read off the blocks, and are checked: :math:`K_{DD}`, a mean of outer products, has no
    negative eigenvalue; and :math:`K_{DD} u = 0` implies :math:`K_{DG}^T u = 0`, which follows from equal supports
    (:math:`u^T \nabla D = 0` on the data is then 0 on generated samples too). Without the second one the bounds are
    false: :math:`K_{DD} = \mathrm{diag}(1, 0)` with :math:`K_{DG} = (0, 1)^T` has eigenvalues :math:`\pm i f'(0)`.

    Returns:
        The bounds for complex and for real eigenvalues, both negative.

    Raises:
        ValueError: the blocks do not fit or are not finite, an assumption does not hold, or a block is zero.

    Examples:
        >>> stability_bounds(torch.tensor([[0.2]]), torch.tensor([[2 / 3]]), 0.5, -0.25)[0]
        -0.05000000074505806
    """
    if not (curvature < 0 and slope != 0):
        raise ValueError(f"f'(0)={slope}, f''(0)={curvature}: the theorem needs f'(0) != 0 and f''(0) < 0")
    check_points(k_dd=k_dd, k_dg=k_dg)
    _check_blocks(k_dd, k_dg)
    (of_d, directions), of_g = torch.linalg.eigh(k_dd), torch.linalg.eigvalsh(k_dg.mT @ k_dg)
    low_d, low_g = _least_positive(of_d, "K_DD"), _least_positive(of_g, "K_DG^T K_DG")
    _check_equilibrium(of_d, directions, k_dg)
    top = 2 * curvature * slope**2 * low_d * low_g
    return curvature * low_d, top / (4 * curvature**2 * low_d * float(of_d.max()) + slope**2 * low_g)


def _check_blocks(k_dd: Tensor, k_dg: Tensor) -> None:
    if k_dd.ndim != 2 or k_dg.ndim != 2 or k_dd.shape != (k_dg.shape[0], k_dg.shape[0]):
        raise ValueError(f"K_DD {tuple(k_dd.shape)} and K_DG {tuple(k_dg.shape)}: want (d, d) and (d, g)")
    if not torch.allclose(k_dd, k_dd.mT, rtol=1e-4, atol=1e-6 * float(k_dd.abs().max())):
        raise ValueError("K_DD is not symmetric; it is a mean of outer products of the discriminator's slopes")


def _check_equilibrium(of_d: Tensor, directions: Tensor, k_dg: Tensor) -> None:
    floor = _floor(of_d)
    if float(of_d.min()) < -floor:
        raise ValueError(f"K_DD has the eigenvalue {of_d.min().item():.3g}; a mean of outer products has none below 0")
    lost = (directions[:, of_d <= floor].mT @ k_dg).norm()
    if float(lost) > 1e2 * len(of_d) * torch.finfo(of_d.dtype).eps * float(k_dg.norm()):
        raise ValueError(
            f"K_DG has a part of size {lost.item():.3g} in directions where K_DD is zero: the supports differ, and the "
            "theorem does not apply; look at eigenvalues(equilibrium_jacobian(...))"
        )


def _floor(values: Tensor) -> float:
    return float(values.abs().max()) * len(values) * torch.finfo(values.dtype).eps


def _least_positive(values: Tensor, name: str) -> float:
    positive = values[values > _floor(values)]
    if not len(positive):
        raise ValueError(f"{name} is zero: the players do not interact at this point, and the theorem does not apply")
    return float(positive.min())


def regularised_jacobian(j_dd: Tensor, j_dg: Tensor, eta: float) -> Tensor:
    r"""The Jacobian if the generator also descends :math:`\eta\|\nabla_{\theta_D} V\|^2` (Nagarajan & Kolter 2017).

    .. math:: \begin{pmatrix} A & B \\ -B^T (I + 2\eta A) & -2\eta B^T B \end{pmatrix} \;\sim\;
        \begin{pmatrix} A - 2\eta B B^T & B \\ -B^T & 0 \end{pmatrix}, \qquad A = J_{DD},\; B = J_{DG}

    in the order discriminator, generator. The second matrix has the same eigenvalues: it is the first in the
    coordinates :math:`(a,\, b + 2\eta B^T a)`. So if :math:`A` is negative semidefinite, every :math:`\eta > 0` is
    stable: an eigenvector :math:`(a, c)` with :math:`\mathrm{Re}\,\lambda \ge 0` has :math:`A a = 0` and
    :math:`B^T a = 0`, hence :math:`\lambda c = 0` and :math:`B c = \lambda a`, which leaves only directions in which
    nothing moves (``a`` in the null space of :math:`A` and of :math:`B^T`, ``c`` in that of ``B``).

    Args:
        j_dd: ``(d, d)``, symmetric; zero for Wasserstein's value.
        j_dg: ``(d, g)``.
        eta: the weight, >= 0.

    Raises:
        ValueError: the blocks do not fit, or a negative weight.

    Examples:
        Uniform data, ``G = a z``, ``D = w x^2``, far beyond :func:`regulariser_bound`, which is 5 here.

        >>> J = regularised_jacobian(torch.tensor([[-0.1]]), torch.tensor([[-1 / 3]]), eta=500.0)
        >>> bool((eigenvalues(J).real < 0).all())
        True
    """
    _check_blocks(j_dd, j_dg)
    _check_least(eta=eta)
    lower = torch.cat([-j_dg.mT - 2 * eta * j_dg.mT @ j_dd, -2 * eta * j_dg.mT @ j_dg], 1)
    return torch.cat([torch.cat([j_dd, j_dg], 1), lower], 0)


def regulariser_bound(j_dd: Tensor) -> float:
    r"""The bound on :math:`\eta` in the theorem about the gradient-norm regulariser; it is *no threshold*.

    .. math:: \eta < 1/(2\lambda_{max}(-J_{DD}))

    (Nagarajan & Kolter 2017, sec. 4.) The condition is sufficient for local stability, and not necessary: every
    :math:`\eta > 0` is stable (:func:`regularised_jacobian`). Infinite for the Wasserstein value, whose
    :math:`J_{DD}` is zero.

    Raises:
        ValueError: the block is not square.

    Examples:
        >>> regulariser_bound(torch.tensor([[-0.1]])), regulariser_bound(torch.zeros(1, 1))
        (4.999999925494195, inf)
    """
    check_square(j_dd, "J_DD")
    top = float(torch.linalg.eigvalsh(-(j_dd + j_dd.mT) / 2).max())
    return 1 / (2 * top) if top > 0 else math.inf


def penalised_eigenvalues(gamma: float, slope: float = 0.5) -> Tensor:
    r"""Eigenvalues of the Dirac-GAN with R1 or R2, at the origin (Mescheder et al. 2018, sec. 4).

    .. math:: \lambda = -\tfrac{\gamma}{2} \pm \sqrt{\tfrac{\gamma^2}{4} - f'(0)^2}

    The square of :math:`f'(0)` is missing in R3GAN's eq. 12 as printed (Huang et al. 2024); with it, the damping is
    critical at :math:`\gamma = 2|f'(0)|`. ``gamma = 0`` is the unregularised game, :math:`\pm i f'(0)`.

    Raises:
        ValueError: a negative weight.

    Examples:
        >>> penalised_eigenvalues(1.0).tolist(), penalised_eigenvalues(0.0).imag.tolist()
        ([(-0.5+0j), (-0.5+0j)], [0.5, -0.5])
    """
    _check_least(gamma=gamma)
    return _pair(-gamma / 2, gamma**2 / 4 - slope**2)


def critical_damping(slope: float = 0.5) -> float:
    r"""The weight of R1 or R2 at which the Dirac-GAN stops rotating: :math:`\gamma = 2 |f'(0)|`, the fastest decay.

    Examples:
        >>> critical_damping()
        1.0
    """
    return 2 * abs(slope)


def noised_eigenvalues(variance: float, slope: float = 0.5, curvature: float = -0.25) -> Tensor:
    r"""Eigenvalues of the Dirac-GAN at the origin, with Gaussian noise on real *and* fake (Mescheder et al. 2018).

    .. math:: \lambda = f''(0) \sigma^2 \pm \sqrt{f''(0)^2 \sigma^4 - f'(0)^2}

    E31: texts often say that noise is added to the training data. With noise on one side only, the fitted law is the
    noised one.

    Raises:
        ValueError: a negative variance.

    Examples:
        >>> noised_eigenvalues(2.0).tolist()
        [(-0.5+0j), (-0.5+0j)]
    """
    _check_least(variance=variance)
    return _pair(curvature * variance, curvature**2 * variance**2 - slope**2)


def consensus_eigenvalues(gamma: float, slope: float = 0.5) -> Tensor:
    r"""Eigenvalues of the Dirac-GAN under consensus optimisation, at the origin: :math:`-\gamma f'(0)^2 \pm i f'(0)`.

    Raises:
        ValueError: a negative weight.

    Examples:
        >>> consensus_eigenvalues(1.0)
        tensor([-0.2500+0.5000j, -0.2500-0.5000j], dtype=torch.complex128)
    """
    _check_least(gamma=gamma)
    return _pair(-gamma * slope**2, -(slope**2))


def alternating_eigenvalues(step: float, slope: float = 0.5, turns: tuple[int, int] = (1, 1)) -> Tensor:
    r"""Eigenvalues of the map of alternating gradient steps of the Dirac-GAN at the origin (Mescheder et al. 2018).

    .. math:: \lambda = 1 - \tfrac{\alpha^2}{2} \pm \sqrt{\big(1 - \tfrac{\alpha^2}{2}\big)^2 - 1}, \qquad
        \alpha = \sqrt{n_g n_d}\, h\, |f'(0)|

    They lie on the unit circle for :math:`\alpha \le 2`: the steps neither converge nor diverge.

    Args:
        step: :math:`h`.
        slope: :math:`f'(0)`.
        turns: :math:`(n_g, n_d)` per round.

    Raises:
        ValueError: a step or a number of turns that is not positive.

    Examples:
        >>> [round(value, 9) for value in alternating_eigenvalues(0.1).abs().tolist()]
        [1.0, 1.0]
    """
    check_positive(step=step, generator_turns=turns[0], discriminator_turns=turns[1])
    middle = 1 - turns[0] * turns[1] * (step * slope) ** 2 / 2
    return _pair(middle, middle**2 - 1)


def _check_least(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number >= 0:
            raise ValueError(f"{name}={number}: must be >= 0")


def _pair(middle: float, discriminant: float) -> Tensor:
    root = complex(math.sqrt(discriminant)) if discriminant >= 0 else complex(0, math.sqrt(-discriminant))
    return torch.tensor([middle + root, middle - root], dtype=torch.complex128)
