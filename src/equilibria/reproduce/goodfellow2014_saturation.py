"""The generator's two losses where the discriminator recognises fakes: one slope vanishes, the other does not.

Both are compared at the same ``d = D(G(z))`` and in the logit, through which the gradient reaches a network. The slopes
are computed by automatic differentiation of the training objectives, not of formulas written here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..figures.panels import GREY, PALETTE, label, legend, panels
from ..losses import Minimax, NonSaturating, Objective
from ..theory.identities import slopes_in_logits
from .claim import Check, Claim, Outcome, at_least, at_most

CLAIM = Claim(
    paper="goodfellow2014",
    figure="section 3, last paragraph",
    statement="Early in training log(1 - D(G(z))) saturates; maximising log D(G(z)) gives a strong gradient instead.",
    printed="log(1 - D) saturates where D(G(z)) is near 0; no number",
    derived="slopes in the logit: -sigma(h), going to 0, and -sigma(-h), going to -1, as h falls",
    tolerance="1e-6 at D(G(z)) = .001, .01, .1, .5",
    budget=(1, 1),
    items=("T1", "E49"),
)


def run(quick: bool) -> Outcome:
    d = torch.tensor([0.001, 0.01, 0.1, 0.5], dtype=torch.float64)
    logits = torch.linspace(-10, 4, 281, dtype=torch.float64)
    saturating, nonsaturating = _slopes(Minimax(), d.logit()), _slopes(NonSaturating(), d.logit())
    figure, (share, left, right) = panels(columns=3, width=3.5)
    shares = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
    names = ("log(1 − d), saturating", "−log d, non-saturating")
    for objective, name, colour in zip((Minimax(), NonSaturating()), names, PALETTE, strict=False):
        share.plot(shares, _losses(objective, shares.logit()), color=colour, linewidth=1.4, label=name)
        left.plot(logits, _losses(objective, logits), color=colour, linewidth=1.4, label=name)
        right.plot(logits, _slopes(objective, logits), color=colour, linewidth=1.4, label=name)
    share.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    label(
        share,
        "d = D(G(z)) of a fake",
        "generator's loss (nats)",
        "At d = 0 only −log d grows without limit",
    )
    label(
        left,
        "logit h of a fake, d = σ(h)",
        "generator's loss (nats)",
        "Recognised fakes (left): log(1 − d) is flat",
    )
    label(
        right,
        "logit h of a fake",
        "slope of the loss (nats per unit of h)",
        "Recognised fakes (left): its slope vanishes",
    )
    legend(share, "upper right")
    table = {f"D(G(z)) = {x:g}": [float(a), float(b)] for x, a, b in zip(d, saturating, nonsaturating, strict=True)}
    return Outcome(
        figure, _checks(d, saturating, nonsaturating), {"slopes in the logit: saturating, non-saturating": table}
    )


def _checks(d: Tensor, saturating: Tensor, nonsaturating: Tensor) -> tuple[Check, ...]:
    exact = slopes_in_logits(d.logit())
    return (
        at_most("largest error of the saturating slope", _error(saturating, exact.saturating), 1e-6),
        at_most("largest error of the non-saturating slope", _error(nonsaturating, exact.nonsaturating), 1e-6),
        at_least("ratio of the slopes at D(G(z)) = .001", float(nonsaturating[0] / saturating[0]), 998.0),
    )


def _losses(objective: Objective, logits: Tensor) -> Tensor:
    return torch.stack([objective.generator(h[None], None) for h in logits])


def _slopes(objective: Objective, logits: Tensor) -> Tensor:
    return torch.stack([torch.func.grad(lambda h: objective.generator(h[None], None))(h) for h in logits])


def _error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
