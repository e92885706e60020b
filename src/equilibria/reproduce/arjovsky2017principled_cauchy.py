"""The updates of -log D under a noisy perfect discriminator are Cauchy, so their running mean does not converge.

Left, the share of updates larger than t, compared with the Cauchy law and with a normal law of the same quartiles; the
generator is a perceptron, the coordinate its first bias. Right, running means of such updates.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.stats import cauchy, kstest, norm
from torch import Tensor
from torch.func import functional_call

from ..base.randomness import reseed
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..networks import MLPPair
from ..theory.identities import cauchy_scale, noisy_updates
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="arjovsky2017principled",
    figure="Theorem 2.6",
    statement="With D* - D and its gradient independent white noises, every coordinate of E_z[-grad log D(G(z))] is "
    "centred Cauchy: no expectation, no variance, whatever the batch.",
    printed="a centred Cauchy law",
    derived="Cauchy(0, mean column norm of the generator's Jacobian); the mean of n updates is as wide as one",
    tolerance="Kolmogorov-Smirnov against that law: no p below .01 / 5 over 5 seeds; against a normal law of the same "
    "quartiles below 1e-6; quartile range of means of 100 updates that of one update within 25 %; spread over batches "
    "of 16, 64 and 256 codes within 10 %",
    budget=(5, 6),
    items=("T21", "E48"),
)
_SEEDS, _CODES, _COLUMN = 5, 64, 0


def run(quick: bool) -> Outcome:
    repeats = 10_000 if quick else 40_000
    slopes, scale = _jacobian(_CODES), _scale(_CODES)
    drawn = [_updates(slopes, repeats, seed) for seed in range(_SEEDS)]
    chances = _chances(drawn, scale)
    width = _normal_width(scale)
    figure, (left, right) = panels(columns=2)
    _draw_tail(left, torch.cat(drawn).abs() / scale, width / scale)
    _draw_means(right, [u / scale for u in drawn], width / scale)
    numbers = {"scale": scale, "p-values against the Cauchy law": chances, "repeats": repeats}
    return Outcome(figure, (*_of_law(drawn, scale), *_of_batches(repeats)), numbers)


def _of_law(drawn: list[Tensor], scale: float) -> tuple[Check, ...]:
    normal = max(float(kstest(u.numpy(), norm(scale=_normal_width(scale)).cdf).pvalue) for u in drawn)
    means = torch.cat(drawn).view(-1, 100).mean(1)
    return (
        at_least("smallest p-value against the Cauchy law", min(_chances(drawn, scale)), 0.01 / _SEEDS),
        at_most("largest p-value against a normal law of the same quartiles", normal, 1e-6),
        close("quartile range of means of 100 updates over that of one", _quartiles(means) / (2 * scale), 1.0, 0.25),
    )


def _of_batches(repeats: int) -> tuple[Check, ...]:
    spread = {n: _quartiles(_updates(_jacobian(n), repeats, 7)) / (2 * _scale(n)) for n in (16, 64, 256)}
    return tuple(
        close(f"quartile range over the law's, batch of {n} codes", found, 1.0, 0.1) for n, found in spread.items()
    )


def _chances(drawn: list[Tensor], scale: float) -> list[float]:
    return [float(kstest(u.numpy(), cauchy(scale=scale).cdf).pvalue) for u in drawn]


def _normal_width(scale: float) -> float:
    """The standard deviation of a normal law with the Cauchy law's quartiles, which are at ± its scale."""
    return scale / float(norm.ppf(0.75))


def _jacobian(codes: int) -> Tensor:
    """In the generator's parameters, at random codes, ``(codes, 2, parameters)``."""
    reseed(0)
    generator = MLPPair(width=8, depth=1).generator(2, (2,))
    parameters = {name: p.detach() for name, p in generator.named_parameters()}
    parameters = dict(sorted(parameters.items()))
    z = torch.randn(codes, 2)

    def row(values: dict[str, Tensor], one: Tensor) -> Tensor:
        made: Tensor = functional_call(generator, values, (one[None],))[0]
        return made

    slopes = torch.func.vmap(torch.func.jacrev(row), in_dims=(None, 0))(parameters, z)
    return torch.cat([slope.flatten(2) for slope in slopes.values()], 2).double()


def _scale(codes: int) -> float:
    return float(cauchy_scale(_jacobian(codes))[_COLUMN])


def _updates(slopes: Tensor, repeats: int, seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return noisy_updates(slopes[:, :, _COLUMN : _COLUMN + 1], repeats, noise)[:, 0]


def _quartiles(values: Tensor) -> float:
    low, high = values.quantile(values.new_tensor([0.25, 0.75]))
    return float(high - low)


def _draw_tail(axes: Axes, sizes: Tensor, width: float) -> None:
    t = np.geomspace(0.1, 1e4, 200)
    ordered = sizes.sort().values
    above = 1 - torch.arange(len(ordered)) / len(ordered)
    axes.plot(t, 2 * cauchy.sf(t), color=PALETTE[1], linewidth=3.0, alpha=0.5, label="Cauchy law of the theorem")
    axes.plot(t, 2 * norm.sf(t, scale=width), "--", color=GREY, linewidth=1.3, label="normal law, same quartiles")
    axes.plot(ordered, above, color=PALETTE[0], linewidth=1.1, label=f"{len(ordered):,} updates")
    logarithmic(axes, x=True, y=True)
    axes.set_xlim(0.1, 1e4)
    axes.set_ylim(3e-5, 30)
    label(axes, "t (in scales of the law)", "share of updates beyond ± t", "An update's tail falls like 1/t")
    legend(axes, "upper right")


def _draw_means(axes: Axes, drawn: list[Tensor], width: float) -> None:
    count = torch.arange(1, len(drawn[0]) + 1)
    for i, updates in enumerate(drawn[:3]):
        name = "−log D updates, 3 seeds" if i == 0 else None
        axes.plot(count, updates.cumsum(0) / count, color=PALETTE[0], linewidth=1.1, alpha=1 - 0.3 * i, label=name)
    noise = torch.randn(len(count), generator=torch.Generator().manual_seed(0))
    axes.plot(count, width * noise.cumsum(0) / count, color=PALETTE[1], linewidth=1.3, label="normal, same quartiles")
    axes.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    logarithmic(axes, x=True)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(-100, 100)
    axes.set_yticks([-100, -10, -1, 0, 1, 10, 100])
    label(axes, "updates averaged", "running mean (in scales of the law)", "Their mean never settles")
    legend(axes, "lower right")
