"""Planted errors turn the verdicts of reproductions about layers of networks; nothing is trained here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.data import load
from equilibria.metrics.modes import modes
from equilibria.networks import SelfAttention, SpectralNorm
from equilibria.reproduce import salimans2016_minibatch as minibatch
from equilibria.reproduce import zhang2019_distance as distance
from equilibria.reproduce.claim import Check
from planted_errors import hold


def held(run: Callable[..., Sequence[Check]], wrong: dict[str, dict[str, Any]]) -> list[str]:
    """The wrong results with which all checks hold; they have to hold without one."""
    assert hold(run()), [check for check in run() if not check.holds]
    return [name for name, given in wrong.items() if hold(run(**given))]


class Matches(nn.Module):
    """A score from the signs of the two blobs, by a rule; with layers that are only looked at."""

    def __init__(self, rule: Callable[[Tensor, Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.rule, self.layers = rule, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            layer(x.expand(-1, 8, -1, -1))
        return self.rule(x[..., :4].sum((1, 2, 3)).sign(), x[..., 12:].sum((1, 2, 3)).sign())


@pytest.mark.plants("zhang2019_distance")
def test_attention_that_does_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "TESTED", 20)
    attention = SelfAttention(8)
    normed, twice = (SpectralNorm(nn.Conv2d(8, 4, 3)) for _ in range(2))
    normed.advance(500)
    twice.v.mul_(0.5)

    def run(
        with_it: Callable[[Tensor, Tensor], Tensor] = lambda a, b: 2 * a * b,
        without: Callable[[Tensor, Tensor], Tensor] = lambda a, b: 0.3 * a - 0.1 * b,
        layer: nn.Module = normed,
    ) -> tuple[Check, ...]:
        own, plain = distance.look(Matches(with_it, attention, layer)), distance.look(Matches(without, layer))
        return distance._checks([{0: own}], [{0: plain}])

    wrong: dict[str, dict[str, Any]] = {
        "a constant": {"with_it": lambda a, b: 0 * a}, "one blob only": {"with_it": lambda a, b: 2 * a},
        "the opposite": {"with_it": lambda a, b: -2 * a * b},
        "exchanged": {"with_it": lambda a, b: a + b, "without": lambda a, b: 2 * a * b},
        "a control that reaches": {"without": lambda a, b: 0.01 * a * b}, "not normalised": {"layer": twice},
    }  # fmt: skip
    assert held(run, wrong) == []
    real = SelfAttention.weights
    monkeypatch.setattr(SelfAttention, "weights", lambda self, x: real(self, x).transpose(1, 2))
    attention.f.weight.data.mul_(30)  # type: ignore[operator,union-attr]
    assert not hold(run()), "shares that sum to 1 over the wrong places"


@pytest.mark.plants("salimans2016_minibatch")
def test_samples_that_collapse_or_blur() -> None:
    law = load("ring8-M").law
    assert law is not None and law.modes is not None
    centres, eight = law.modes.float(), torch.arange(2000) % 8

    def at(which: Tensor, spread: float = 0.0) -> Any:
        noise = torch.randn(len(which), 2, generator=torch.Generator().manual_seed(3))
        return modes(centres[which] + spread * noise, law)

    def run(seen: Any = None, plain: Any = None) -> tuple[Check, ...]:
        one = at(torch.zeros(2000, dtype=torch.long))
        return minibatch._checks([seen or at(eight)], [plain or one], minibatch.blurred(law).high_quality)

    gaussian = minibatch.blurred(law)
    wrong: dict[str, dict[str, Any]] = {
        "one mode": {"seen": at(0 * eight)}, "three modes": {"seen": at(eight % 3)}, "a blur": {"seen": gaussian},
        "wide modes": {"seen": at(eight, spread=1.0)}, "a control that covers": {"plain": at(eight)},
        "exchanged": {"seen": at(0 * eight), "plain": at(eight)},
    }  # fmt: skip
    assert held(run, wrong) == []
    real = law.sample(20_000, torch.Generator().manual_seed(8)).double()
    assert gaussian.high_quality < 0.3 and modes(real.float(), law).high_quality > 0.9
