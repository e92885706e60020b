r"""SAGAN: two blobs that must match, farther apart than any unit of a convolutional discriminator sees.

Images of 16 x 16 pixels have a blob of sign a at the left border and one of sign b at the right, each at a row of its
own. Real images have a = b, false ones a = -b. No unit of the convolutional pair sees both, so its score is a sum
:math:`D(a, b) = u(a) + w(b)`. Both marginal laws are the same in the two sets, so no such score has a hinge loss below

.. math:: E[1 - D]_+ + E[1 + D]_+ \ge 2 - E_{\text{real}} D + E_{\text{false}} D = 2,

that of a constant 0. With one self-attention layer the loss falls to 0.

The rate is five times that of the recipe, so that a minute is enough, and the weights change faster than one power
iteration a step follows: the largest singular value of a layer then rises to 1.27 while the loss falls. Here ten
iterations are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..base.randomness import reseed
from ..figures.panels import PALETTE, label, legend, panels
from ..losses import Hinge
from ..networks import ConvPair, SelfAttention, SpectralNorm, advance_spectral_norms
from .claim import Check, Claim, Outcome, at_least, at_most

CLAIM = Claim(
    paper="zhang2019",
    figure="sections 3 and 4 (why attention: dependencies beyond the reach of convolutions)",
    statement="A spectrally normalised discriminator with self-attention tells whether two distant blobs match, "
    "and the same network without the layer cannot.",
    printed="in words, and a better Inception score and FID on ImageNet",
    derived="without attention the hinge loss is at least 2 for any weights, and the interaction of the blobs is 0",
    tolerance="with attention: hinge loss .2 or less and AUC .99 or more in every seed; without: loss 2 or more and no "
    "interaction beyond rounding; rows of attention sum to 1 (1e-5); the largest singular value of each layer in "
    "[.95, 1.05], at the end and at eight times before. 3 seeds, 400 rounds; quick: 1 seed",
    budget=(50, 160),
)
SIDE, BLOB, BATCH, ROUNDS, TESTED, RATE = 16, 4, 32, 400, 500, 2e-3
POWER = 10


def image(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Images ``(n, 1, 16, 16)`` with blobs of signs ``a`` and ``b`` ``(n,)``, from rows ``(n, 2)`` on.

    Examples:
        >>> image(torch.ones(1), -torch.ones(1), torch.tensor([[0, 12]]))[0, 0, ::12, ::12]
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    at = torch.arange(SIDE)
    down = [(at >= rows[:, i, None]) & (at < rows[:, i, None] + BLOB) for i in range(2)]
    across = (at < BLOB, at >= SIDE - BLOB)
    parts = [s[:, None, None] * d[:, :, None] * c for s, d, c in zip((a, b), down, across, strict=True)]
    return sum(parts[1:], parts[0])[:, None]


def _blobs(n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randint(SIDE - BLOB + 1, (n, 2), generator=source)
    return torch.randint(2, (n,), generator=source) * 2.0 - 1, rows


@dataclass(frozen=True)
class Look:
    """What a discriminator does on test images.

    Attributes:
        loss: the hinge loss.
        auc: the probability that a real image has the higher score.
        interaction: the largest |D(+,+) + D(-,-) - D(+,-) - D(-,+)| over positions.
        rows: the largest |sum of a row of attention - 1|; 0 without attention.
        values: the least and the greatest of the largest singular values of the normalised layers.
    """

    loss: float
    auc: float
    interaction: float
    rows: float
    values: tuple[float, float]


Looks = dict[int, Look]
"""What was measured, by round."""


@torch.no_grad()
def look(net: nn.Module) -> Look:
    """Measure a discriminator on all four pairs of signs at the same random rows."""
    source = torch.Generator().manual_seed(99)
    _, rows = _blobs(TESTED, source)
    one = torch.ones(TESTED)
    inputs: list[tuple[SelfAttention, Tensor]] = []
    parts = [part for part in net.modules() if isinstance(part, SelfAttention)]
    hooks = [part.register_forward_pre_hook(lambda part, args: inputs.append((part, args[0]))) for part in parts]
    pp, mm, pm, mp = (net(image(a * one, b * one, rows)) for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1)))
    for hook in hooks:
        hook.remove()
    real, false = torch.cat([pp, mm]), torch.cat([pm, mp])
    sums = [float((part.weights(x).sum(2) - 1).abs().max()) for part, x in inputs]
    tops = [_largest(part) for part in net.modules() if isinstance(part, SpectralNorm)] or [1.0]
    return Look(
        float(Hinge().discriminator(real, false)),
        float((real[:, None] > false).float().mean()),
        float((pp + mm - pm - mp).abs().max()),
        max(sums, default=0.0),
        (min(tops), max(tops)),
    )


def _largest(layer: SpectralNorm) -> float:
    """The largest singular value of the weight that a layer uses, by a full decomposition."""
    weight = layer.weight().detach().double().numpy()
    return float(np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0])


def run(quick: bool) -> Outcome:
    found: dict[int, list[Looks]] = {1: [], 0: []}
    for seed in range(1 if quick else 3):
        for attention in found:
            found[attention].append(_train(attention, seed))
    return Outcome(_draw(found), _checks(found[1], found[0]), {"seeds": _numbers(found)})


def _train(attention: int, seed: int) -> Looks:
    reseed(seed)
    net = ConvPair(width=16, spectral_norm=True, attention=attention).discriminator((1, SIDE, SIDE))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.0, 0.9))
    source, looks = torch.Generator().manual_seed(seed), {0: look(net)}
    for step in range(1, ROUNDS + 1):
        a, rows = _blobs(BATCH, source)
        loss = Hinge().discriminator(net(image(a, a, rows)), net(image(a, -a, rows)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance_spectral_norms(net, POWER)
        if step % (ROUNDS // 8) == 0:
            looks[step] = look(net)
    return looks


def _checks(with_it: list[Looks], without: list[Looks]) -> tuple[Check, ...]:
    ends, others = ([list(looks.values())[-1] for looks in seeds] for seeds in (with_it, without))
    alone = [look for looks in without for look in looks.values()]
    both = [*alone, *(look for looks in with_it for look in looks.values())]
    return (
        at_most("with attention: greatest hinge loss over seeds", max(one.loss for one in ends), 0.2),
        at_least("with attention: least AUC over seeds", min(one.auc for one in ends), 0.99),
        at_least("without: least hinge loss over seeds", min(one.loss for one in others), 2 - 1e-3),
        at_most("without: greatest interaction, untrained as well", max(one.interaction for one in alone), 1e-4),
        at_most("greatest |sum of a row of attention - 1|", max(one.rows for one in both), 1e-5),
        at_least("least of the largest singular values", min(one.values[0] for one in both), 0.95),
        at_most("greatest of the largest singular values", max(one.values[1] for one in both), 1.05),
    )


def _numbers(found: dict[int, list[Looks]]) -> list[dict[str, Any]]:
    return [
        {
            "attention": attention,
            "seed": seed,
            **{k: np.round(v, 5).tolist() for k, v in vars(list(looks.values())[-1]).items()},
        }
        for attention, seeds in found.items()
        for seed, looks in enumerate(seeds)
    ]


def _draw(found: dict[int, list[Looks]]) -> Figure:
    figure, axes = panels(width=3.6, height=2.8)
    for colour, (attention, seeds) in zip(PALETTE, found.items(), strict=False):
        for i, looks in enumerate(seeds):
            name = "with self-attention" if attention else "without"
            losses = [one.loss for one in looks.values()]
            axes[0].plot(list(looks), losses, color=colour, linewidth=1.4, label=None if i else name)
    axes[0].axhline(2, color="#555555", linewidth=0.9, linestyle=":", label="the least without attention")
    axes[0].set(ylim=(0, 3.4))
    label(axes[0], "round", "hinge loss on test images", "Matching blobs, 8 pixels apart")
    legend(axes[0], "upper right", columns=1)
    return figure
