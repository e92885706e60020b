"""Mode coverage against naive loops, and its floors against many perfect samples."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.data import law as named
from equilibria.metrics.measured import Measured, table
from equilibria.metrics.modes import label_modes, modes


@dataclass
class Mixture:
    modes: Tensor | None
    std: float | None
    weights: Tensor | list[float] | None = None

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        assert self.modes is not None and self.std is not None
        w = torch.ones(len(self.modes)) if self.weights is None else torch.as_tensor(self.weights).float()
        which = torch.multinomial(w, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.modes.shape[1], generator=generator)
        return self.modes[which] + self.std * noise


def grid(side: int = 3, std: float = 0.05, weights: list[float] | None = None, dim: int = 2) -> Mixture:
    axis = torch.arange(side, dtype=torch.float32) * 2
    return Mixture(torch.cartesian_prod(*[axis] * dim), std, weights)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(x: Tensor, law: Mixture, threshold: float) -> tuple[int, float, float]:
    """The definition, point by point."""
    assert law.modes is not None and law.std is not None
    k = len(law.modes)
    w = [1 / k] * k if law.weights is None else [float(v) / sum(map(float, law.weights)) for v in law.weights]
    hits = [0] * k
    for point in x.tolist():
        far = [math.dist(point, c) / law.std for c in law.modes.tolist()]
        nearest = far.index(min(far))
        if far[nearest] < threshold:
            hits[nearest] += 1
    total = sum(hits)
    kl = sum(h / total * math.log(h / total / v) for h, v in zip(hits, w, strict=True) if h)
    return sum(h > 0 for h in hits), total / len(x), kl


@pytest.mark.parametrize("law", [grid(), grid(std=0.9), grid(weights=[1, 2, 3, 4, 5, 6, 7, 8, 9]), grid(2, dim=3)])
@pytest.mark.parametrize("threshold", [1.0, 3.0])
def test_values_follow_the_definition(law: Mixture, threshold: float) -> None:
    assert law.modes is not None
    x = law.sample(300, draws(0)) + 0.05 * torch.randn(300, law.modes.shape[1], generator=draws(1))
    got = modes(x, law, threshold)
    captured, share, kl = by_hand(x, law, threshold)
    assert (got.captured, got.total, got.n) == (captured, len(law.modes), 300)
    assert got.high_quality == pytest.approx(share, abs=1e-12)
    assert got.reverse_kl == pytest.approx(kl, abs=1e-12)
    assert sum(got.counts) == round(share * 300)


@pytest.mark.parametrize(
    ("law", "n"),
    [
        (grid(), 1000),
        (grid(), 30),
        (grid(weights=[1, 1, 1, 1, 1, 1, 1, 1, 20]), 200),
        (grid(2, dim=3), 500),
        (grid(std=0.7), 400),
    ],
    ids=["many", "few", "unequal", "3-d", "overlapping"],
)
def test_floor_is_what_perfect_samplers_score(law: Mixture, n: int) -> None:
    seeds = 200
    runs = [by_hand(law.sample(n, draws(1000 + s)), law, 3.0) for s in range(seeds)]
    floor = modes(law.sample(n, draws(0)), law).floor
    for name, scores in zip(("captured", "high_quality", "reverse_kl"), np.array(runs).T, strict=True):
        # The floor of overlapping components is itself a mean over 40 samples.
        error = scores.std(ddof=1) * math.sqrt(1 / seeds + (1 / 40 if law.std == 0.7 else 0))
        assert abs(scores.mean() - getattr(floor, name)) < 4 * error + 1e-9, name
        if name != "captured":
            assert getattr(floor, f"{name}_sd") == pytest.approx(scores.std(ddof=1), rel=0.6), name


@pytest.mark.parametrize(
    ("name", "kl"),
    [("ring8-U", 0.0014), ("ring8-M", 0.0014), ("ring8-P", 0.0014), ("grid25", 0.0049)],
)
def test_floors_of_the_shared_laws(name: str, kl: float) -> None:
    law = named(name)
    got = modes(law.sample(2500, draws(0)), law)
    assert got.floor.high_quality == pytest.approx(1 - math.exp(-4.5), abs=1e-12)
    assert got.floor.reverse_kl == pytest.approx(kl, abs=1e-4)
    assert got.captured == got.total == round(got.floor.captured)
    assert got.high_quality == pytest.approx(got.floor.high_quality, abs=4 * got.floor.high_quality_sd)


def test_stacked_digits_floor_is_that_of_the_literature() -> None:
    got = label_modes(torch.randint(1000, (26_000,), generator=draws(0)), torch.full((1000,), 1e-3))
    assert got.floor.reverse_kl == pytest.approx(0.0194, abs=2e-4)
    assert got.reverse_kl == pytest.approx(got.floor.reverse_kl, abs=4 * got.floor.reverse_kl_sd)


def test_collapse_loses_log_k_and_garbage_all_quality() -> None:
    law = grid()
    assert law.modes is not None
    collapsed = modes(law.modes[:1].expand(50, 2), law)
    assert (collapsed.captured, collapsed.high_quality) == (1, 1.0)
    assert collapsed.reverse_kl == pytest.approx(math.log(9))
    garbage = modes(torch.full((50, 2), 1.0), law)
    assert (garbage.captured, garbage.high_quality) == (0, 0.0)
    assert garbage.reverse_kl == pytest.approx(math.log(9))
    diverged = torch.cat([law.modes[:1].expand(25, 2), torch.full((25, 2), math.nan)])
    assert modes(diverged, law).high_quality == 0.5


def test_samples_do_not_touch_the_global_generator() -> None:
    law = grid(std=0.7)
    x = law.sample(50, draws(0))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    modes(x, law)
    assert torch.equal(before, torch.get_rng_state())


def test_json_and_text() -> None:
    law = grid()
    got = modes(law.sample(500, draws(0)), law)
    told = json.loads(json.dumps(got.to_dict()))
    assert told["reverse_kl"]["floor"] == got.floor.reverse_kl and told["counts"] == list(got.counts)
    assert str(got).startswith("modes 9/9 (9), high quality")
    lines = table(got.measured()).splitlines()
    assert len(lines) == 4 and len({line.index("|") for line in lines}) == 1
    assert Measured(value=math.inf).to_dict()["value"] is None


def test_refusals() -> None:
    law = grid()
    with pytest.raises(DataError, match="no modes"):
        modes(torch.zeros(3, 2), Mixture(None, None))
    with pytest.raises(ShapeError, match="2 dimensions"):
        modes(torch.zeros(3, 4), law)
    with pytest.raises(ShapeError, match="at least one row"):
        modes(torch.zeros(0, 2), law)
    with pytest.raises(ConfigError, match="threshold"):
        modes(torch.zeros(3, 2), law, threshold=0.0)
    with pytest.raises(DataError, match="positive weight"):
        modes(torch.zeros(3, 2), grid(weights=[0, 1, 1, 1, 1, 1, 1, 1, 1]))
    with pytest.raises(DataError, match="outside"):
        label_modes(torch.tensor([0, 5]), torch.full((5,), 0.2))
