"""Measures of trained networks that are independent of the doctor; lower is healthier."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .sources import digits

_N = 1000
_LINES = 128


@dataclass(frozen=True)
class Attached:
    """What a loop gave to the doctor: the networks, the real rows, and the other arguments."""

    generator: nn.Module
    discriminator: nn.Module
    real: Tensor
    options: dict[str, Any]

    def samples(self, n: int = _N) -> tuple[Tensor, Tensor | None]:
        """``n`` samples as the loop draws them, and the labels asked for."""
        labels = self.options.get("labels")
        y = None if labels is None else labels[torch.randint(len(labels), (n,))]
        with torch.no_grad():
            if "sampler" in self.options:
                return self.options["sampler"](n), y
            latent = self.options["latent"]
            z = latent(n) if callable(latent) else torch.randn(n, latent)
            call = self.options.get("call", {}).get("generator")
            if call is not None:
                return call(z, y), y
            return (self.generator(z) if y is None else self.generator(z, y)), y

    def scores(self, x: Tensor) -> Tensor:
        """The discriminator's scores, ``(n,)``."""
        with torch.no_grad():
            out = self.discriminator(x)
        return out.reshape(len(x), -1).mean(1).double()


def distance(run: Attached) -> float:
    r"""Sliced W1 between samples and data over the root mean square of the data's deviation, along 128 lines."""
    made, _ = run.samples(min(_N, len(run.real)))
    return sliced(made, run.real)


def distance_in_evaluation(run: Attached) -> float:
    """The same with the generator in evaluation mode, as it is used after training."""
    run.generator.eval()
    return distance(run)


def sliced(made: Tensor, real: Tensor) -> float:
    """Sliced W1 over the root mean square of the data's deviation; infinite if a sample is not finite."""
    real = real.float().flatten(1)
    made = made.float().flatten(1)
    if not bool(torch.isfinite(made).all()):
        return math.inf
    rows = torch.Generator().manual_seed(5)
    real = real[torch.randperm(len(real), generator=rows)[: len(made)]]
    made = made[: len(real)]
    lines = nn.functional.normalize(torch.randn(real.shape[1], _LINES, generator=rows), dim=0)
    apart = ((made @ lines).sort(0).values - (real @ lines).sort(0).values).abs().mean()
    return float(apart / (real - real.mean(0)).square().mean().sqrt())


def wrong_label(run: Attached) -> float:
    """Share of samples whose nearest real row has another label than the one asked for."""
    made, y = run.samples(500)
    if y is None or not bool(torch.isfinite(made).all()):
        return math.inf
    known = run.options["labels"]
    near = torch.cdist(made.flatten(1), run.real.flatten(1)).argmin(1)
    same = known[near] == y if known.dim() == 1 else known[near].argmax(1) == y.argmax(1)
    return 1 - float(same.float().mean())


def steepness(run: Attached) -> float:
    """The distance from 1 of the critic's slope between samples and data, as the logarithm of its median."""
    made, _ = run.samples(300)
    real = run.real[torch.randint(len(run.real), (len(made),))]
    u = torch.rand(len(made), *[1] * (real.dim() - 1))
    between = (u * real + (1 - u) * made).requires_grad_()
    (slope,) = torch.autograd.grad(run.discriminator(between).sum(), between)
    return abs(math.log(max(1e-12, float(slope.flatten(1).norm(dim=1).median()))))


def slope_on_data(run: Attached) -> float:
    """The mean square of the discriminator's slope on real rows, which R1 penalises."""
    real = run.real[:500].clone().requires_grad_()
    (slope,) = torch.autograd.grad(run.discriminator(real).sum(), real)
    return float(slope.flatten(1).square().sum(1).mean())


def missed_modes(run: Attached, modes: int = 8) -> float:
    """Share of the modes of the ring that get less than a fifth of their samples."""
    made, _ = run.samples()
    angle = torch.arange(modes) * 2 * math.pi / modes
    near = torch.cdist(made, torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    counts = torch.bincount(near.indices[near.values < 0.25], minlength=modes)
    return float((counts < len(made) / modes / 5).float().mean())


def copies(fresh: Callable[[], Tensor]) -> Callable[[Attached], float]:
    """Makes a measure: the share of samples nearer to a training row than one fresh row in twenty is."""

    def measure(run: Attached) -> float:
        made, _ = run.samples(500)
        train = run.real.flatten(1)
        own = torch.cdist(made.flatten(1), train).min(1).values
        other = torch.cdist(fresh().flatten(1), train).min(1).values
        return float((own < other.quantile(0.05)).float().mean())

    return measure


def gap(fresh: Callable[[], Tensor]) -> Callable[[Attached], float]:
    """Makes a measure: by how much the AUC of the scores of training rows against fresh rows exceeds 1/2."""

    def measure(run: Attached) -> float:
        seen, unseen = run.scores(run.real[:500]), run.scores(fresh()[:500])
        return float((seen[:, None] > unseen[None]).double().mean()) - 0.5

    return measure


def fresh_digits() -> Tensor:
    """Digits outside the first thousand."""
    return digits()[0][1000:]


def blur(run: Attached) -> float:
    """By how much neighbouring pixels differ less in samples than in the data: 0 for none, 1 for constant images."""
    made, _ = run.samples(500)
    step = [x.reshape(-1, 8, 8).diff(dim=2).abs().mean() for x in (made, run.real)]
    return max(0.0, 1 - float(step[0] / step[1]))


__all__ = ["Attached", "distance", "distance_in_evaluation"]
