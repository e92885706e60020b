r"""Generalisation from finite samples: neural net distances, gaps to held-out data, and the size of a support.

The JSD between a continuous law and its empirical law is always ``log 2``. But a discriminator with ``p`` parameters
cannot separate the two once there are about ``p`` samples (Arora et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import check_positive

Map = Callable[[Tensor], Tensor]
Parameters = Mapping[str, Tensor]
Critic = Callable[[Parameters, Tensor], Tensor]
_CHUNK = 512


def ascend(value: Callable[[Parameters], Tensor], start: Parameters, steps: int, rate: float) -> dict[str, Tensor]:
    """The best point that Adam visits while it ascends from a start; the arguments are not changed.

    Args:
        value: maps parameters to a scalar.
        start: tensors by name.
        steps: steps of the search.
        rate: Adam's learning rate.

    Raises:
        ValueError: no parameters, a value that is not finite at the start, a negative number of steps or rate.

    Examples:
        >>> top = ascend(lambda p: -(p["x"] - 1).square(), {"x": torch.tensor(0.0)}, steps=300, rate=0.05)
        >>> round(top["x"].item(), 3)
        1.0
    """
    if not start:
        raise ValueError("no parameters to search over; give the critic's by name")
    check_positive(rate=rate)
    if steps < 0:
        raise ValueError(f"{steps} steps; want 0 or more")
    own = {name: tensor.detach().clone().requires_grad_() for name, tensor in start.items()}
    search = torch.optim.Adam(list(own.values()), lr=rate)
    best, height = {name: tensor.detach().clone() for name, tensor in own.items()}, -math.inf
    with torch.enable_grad():
        for step in range(steps + 1):
            reached = value(own)
            here = float(reached.detach())
            if step == 0 and not math.isfinite(here):
                raise ValueError(f"the value is {here} at the start; start the search where it is finite")
            if here > height:
                best, height = {name: tensor.detach().clone() for name, tensor in own.items()}, here
            if step == steps or not math.isfinite(here):
                break
            for tensor, grad in zip(own.values(), torch.autograd.grad(-reached, list(own.values())), strict=True):
                tensor.grad = grad
            search.step()
    return best


def critic_value(real: Tensor, fake: Tensor, measure: Map = logsigmoid) -> Tensor:
    r"""The value of one discriminator on two samples; 0 if its output is 1/2 everywhere (Arora et al. 2017, eq. 2).

    .. math:: E_\mu \phi(D) + E_\nu \phi(1 - D) - 2 \phi(1/2), \qquad \phi(\sigma(h)) = \psi(h)

    Args:
        real: logits ``(n,)``.
        fake: logits ``(m,)``.
        measure: :math:`\psi`, the measuring function in logits: ``logsigmoid`` for :math:`\phi = \log` (nats; the
            unrestricted supremum is then ``2 JSD``), ``torch.sigmoid`` for :math:`\phi(t) = t` (then it is total
            variation), the identity for a Wasserstein critic.

    Raises:
        ValueError: a side is empty.

    Examples:
        >>> critic_value(torch.zeros(3), torch.zeros(2))
        tensor(0.)
    """
    if not real.numel() or not fake.numel():
        raise ValueError(f"{real.numel()} real and {fake.numel()} fake logits; want at least one of each")
    undecided = measure(real.new_zeros(()))
    return measure(real).mean() + measure(-fake).mean() - 2 * undecided


class NeuralNetDistance(NamedTuple):
    """The distance, and the parameters that attain it."""

    distance: float
    parameters: dict[str, Tensor]


def neural_net_distance(
    critic: Critic,
    start: Parameters,
    samples: tuple[Tensor, Tensor],
    measure: Map = logsigmoid,
    steps: int = 200,
    rate: float = 0.01,
) -> NeuralNetDistance:
    r"""The distance that a family of critics sees between two laws (Arora et al. 2017, Definition 2).

    .. math:: d_{F,\phi}(\mu, \nu) = \sup_{D \in F} E_\mu \phi(D) + E_\nu \phi(1 - D) - 2 \phi(1/2)

    Adam searches for the supremum, so the result is a lower bound. The distance of a *restricted* family generalises
    from samples to laws; unrestricted divergences and the Wasserstein distance of empirical laws do not (E64).

    Args:
        critic: maps ``(parameters, points)`` to logits, one per point.
        start: the critic's parameters at the start of the search.
        samples: real ``(n, d)`` and fake ``(m, d)``.
        measure: see :func:`critic_value`.
        steps: steps of the search.
        rate: Adam's learning rate.

    Raises:
        ValueError: as in :func:`ascend`, samples that do not fit, or a critic that does not return one logit per row.

    Examples:
        >>> linear = lambda p, x: x @ p["w"]
        >>> real, fake = torch.ones(4, 1), -torch.ones(4, 1)
        >>> found = neural_net_distance(linear, {"w": torch.zeros(1)}, (real, fake), torch.sigmoid, 500, 0.1)
        >>> round(found.distance, 2)
        1.0
    """
    real, fake = samples
    _check_samples(critic, start, samples)
    best = ascend(lambda own: critic_value(critic(own, real), critic(own, fake), measure), start, steps, rate)
    with torch.no_grad():
        return NeuralNetDistance(float(critic_value(critic(best, real), critic(best, fake), measure)), best)


class Gap(NamedTuple):
    """One critic's distance on the samples of its fit, and on other samples of the same laws."""

    train: float
    held_out: float

    @property
    def gap(self) -> float:
        """The part of the distance that exists in the samples of the fit only."""
        return self.train - self.held_out


def generalization_gap(
    critic: Critic,
    start: Parameters,
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    steps: int = 200,
    rate: float = 0.01,
) -> Gap:
    r"""Fit a logistic critic to one pair of samples; its distance, in nats, on them and on another pair.

    The gap closes when there are more samples than parameters of the critic (:func:`sample_bound`).

    Args:
        critic: as in :func:`neural_net_distance`.
        start: its parameters.
        train: real and fake rows of the fit.
        held_out: other rows of the same two laws.
        steps: steps of the search.
        rate: Adam's learning rate.

    Raises:
        ValueError: as in :func:`neural_net_distance`.

    Examples:
        >>> linear = lambda p, x: x @ p["w"]
        >>> one = (torch.ones(4, 1), -torch.ones(4, 1))
        >>> generalization_gap(linear, {"w": torch.zeros(1)}, one, one).gap
        0.0
    """
    _check_samples(critic, start, held_out)
    fitted = neural_net_distance(critic, start, train, steps=steps, rate=rate)
    with torch.no_grad():
        other = critic_value(critic(fitted.parameters, held_out[0]), critic(fitted.parameters, held_out[1]))
    return Gap(fitted.distance, float(other))


def _check_samples(critic: Critic, start: Parameters, samples: tuple[Tensor, Tensor]) -> None:
    real, fake = samples
    if not start:
        raise ValueError("no parameters to search over; give the critic's by name")
    if not len(real) or not len(fake) or real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} rows; want (n, ...) and (m, ...)")
    with torch.no_grad():
        scores = critic(start, real)
    if scores.ndim == 0 or len(scores) != len(real):
        raise ValueError(f"{len(real)} points got scores of shape {tuple(scores.shape)}; want (n,), one logit a row")


def sample_bound(
    parameters: int, error: float, span: float, critic_lipschitz: float, measure_lipschitz: float, constant: float = 1.0
) -> float:
    r"""The number of samples from which the neural net distance generalises (Arora et al. 2017, Theorem 3.1).

    .. math:: m \ge \frac{c\, p\, \Delta^2 \log(L L_\phi p / \epsilon)}{\epsilon^2} \;\Rightarrow\;
        |d(\hat\mu, \hat\nu) - d(\mu, \nu)| \le \epsilon \text{ with probability } 1 - e^{-p}

    Assumptions: ``p`` parameters, ``D`` is ``L``-Lipschitz in them, :math:`\phi` is :math:`L_\phi`-Lipschitz with
    values in :math:`[-\Delta, \Delta]`. The theorem does not give the constant ``c``; a mixture of as many generators
    (with :math:`p` that of the generator and discriminator) has an :math:`\epsilon`-approximate equilibrium.

    Args:
        parameters: ``p``.
        error: :math:`\epsilon > 0`.
        span: :math:`\Delta`.
        critic_lipschitz: ``L``.
        measure_lipschitz: :math:`L_\phi`.
        constant: ``c``.

    Raises:
        ValueError: a number that is not positive.

    Examples:
        >>> round(sample_bound(100, 0.1, 1.0, 1.0, 1.0))
        69078
    """
    if not min(parameters, error, span, critic_lipschitz, measure_lipschitz, constant) > 0:
        raise ValueError(f"p={parameters}, error={error}, span={span}, and the Lipschitz constants must all be > 0")
    inside = critic_lipschitz * measure_lipschitz * parameters / error
    return constant * parameters * span**2 * max(0.0, math.log(inside)) / error**2


def fresh_distance(dimension: int, samples: int, fresh: int, generator: torch.Generator) -> float:
    r"""Mean distance from a fresh point of :math:`N(0, I_d/d)` to the nearest of ``samples``.

    In high dimension an empirical law is far from its own population (by :math:`W_1 \ge 1.1` with high probability
    unless the sample is exponential in ``d``, and by JSD ``log 2`` always; Arora et al. 2017, Lemma 1).

    Args:
        dimension: ``d``.
        samples: size of the sample.
        fresh: number of fresh points in the mean.
        generator: random generator of both.

    Raises:
        ValueError: a count below 1.

    Examples:
        >>> round(fresh_distance(50, 1000, 2000, torch.Generator().manual_seed(0)), 2)
        1.02
    """
    if min(dimension, samples, fresh) < 1:
        raise ValueError(f"dimension {dimension}, samples {samples}, fresh {fresh}; all must be >= 1")
    draw = torch.randn(samples + fresh, dimension, generator=generator, dtype=torch.float64) / math.sqrt(dimension)
    base = draw[:samples]
    return float(
        torch.cat([torch.cdist(part, base).min(1).values for part in torch.split(draw[samples:], _CHUNK)]).mean()
    )


def collision_probability(batch: int, support: int) -> float:
    r"""Probability of a repeat among ``batch`` draws from a uniform law on ``support`` atoms, exactly.

    .. math:: 1 - \prod_{i<M} (1 - i/N)

    Raises:
        ValueError: a count below 1.

    Examples:
        >>> round(collision_probability(23, 365), 4)
        0.5073
    """
    _check_counts(batch, support)
    if batch > support:
        return 1.0
    return -math.expm1(math.fsum(math.log1p(-i / support) for i in range(batch)))


def collision_bound(batch: int, support: int, mass: float = 1.0) -> float:
    r"""A lower bound on the probability of a repeat if some ``support`` atoms carry the mass :math:`\rho`.

    .. math:: P \ge 1 - E_{k \sim B(M, \rho)} \exp\Big(-\frac{k^2 - k}{2 N}\Big)

    Given that ``k`` of the draws fall on these atoms, a uniform law on them repeats least often, and then
    :math:`\prod_{i<k}(1 - i/N) \le e^{-(k^2-k)/(2N)}`. For :math:`\rho = 1` this is the bound of Arora & Zhang 2017,
    Theorem 1. For smaller :math:`\rho` they print :math:`1 - e^{-(M^2 - M)\rho/(2N)}`, which is too large: it assumes
    that all earlier draws lie on the atoms. Counterexample: :math:`N = 1, \rho = 1/2, M = 2` has a repeat with
    probability 1/4, and the printed bound is .393.

    Args:
        batch: ``M`` draws.
        support: ``N``.
        mass: :math:`\rho`.

    Raises:
        ValueError: a count below 1, or ``mass`` outside (0, 1].

    Examples:
        >>> round(collision_bound(12, 100), 3), round(collision_bound(2, 1, mass=0.5), 3)
        (0.483, 0.158)
    """
    _check_counts(batch, support)
    if not 0 < mass <= 1:
        raise ValueError(f"the mass {mass} of the atoms must lie in (0, 1]")
    if mass == 1:
        return -math.expm1(-(batch**2 - batch) / (2 * support))
    k = torch.arange(2, batch + 1, dtype=torch.float64)
    shares = _binomial(k, batch, mass)
    return float(-(shares * torch.expm1(-(k**2 - k) / (2 * support))).sum())


def birthday_batch(support: int, probability: float = 0.5) -> int:
    r"""The batch size with a repeat with probability ``P``: :math:`M = \lceil \sqrt{-2 N \log(1 - P)} \rceil`.

    To first order the probability of a repeat is :math:`1 - e^{-M^2/(2N)}`; the relative error of the exponent is about
    ``1/M``.

    Args:
        support: ``N`` atoms of equal mass.
        probability: ``P``.

    Raises:
        ValueError: ``support < 1`` or ``probability`` outside (0, 1).

    Examples:
        >>> birthday_batch(160_000), round(collision_probability(471, 160_000), 3)
        (471, 0.5)
    """
    _check_counts(1, support)
    if not 0 < probability < 1:
        raise ValueError(f"the probability {probability} must lie in (0, 1)")
    return math.ceil(math.sqrt(-2 * support * math.log1p(-probability)))


def support_from_batch(batch: int) -> int:
    r"""Rough support size at which a batch of ``s`` points has a repeat half of the time: :math:`s^2` (birthday test).

    Raises:
        ValueError: ``batch < 1``.

    Examples:
        >>> support_from_batch(400)
        160000
    """
    _check_counts(batch, 1)
    return batch**2


def kl_floor(modes: int, samples: int) -> float:
    r"""Expected KL, in nats, between the histogram of ``samples`` draws and the uniform law of these draws.

    .. math:: E\, KL(\hat u \| u) = K\, E\Big[\frac{n}{N} \log \frac{n K}{N}\Big], \quad n \sim B(N, 1/K),
        \qquad \approx \frac{K-1}{2N}

    This is the score of a perfect sampler, so smaller differences in the reverse KL of modes have no meaning.

    Args:
        modes: ``K``.
        samples: ``N``.

    Raises:
        ValueError: a count below 1.

    Examples:
        >>> round(kl_floor(1000, 26_000), 5)
        0.01934
    """
    _check_counts(samples, modes)
    if modes == 1:
        return 0.0
    n = torch.arange(1, samples + 1, dtype=torch.float64)
    share = n / samples
    return float(modes * (_binomial(n, samples, 1 / modes) * share * (share * modes).log()).sum())


def _binomial(k: Tensor, trials: int, chance: float) -> Tensor:
    log_ways = math.lgamma(trials + 1) - torch.lgamma(k + 1) - torch.lgamma(trials - k + 1)
    return (log_ways + k * math.log(chance) + (trials - k) * math.log1p(-chance)).exp()


def _check_counts(batch: int, support: int) -> None:
    if batch < 1 or support < 1:
        raise ValueError(f"{batch} draws from {support} atoms; both counts must be >= 1")
