"""The measures that reproductions of structured games decide by, against other libraries and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.metrics import mutual_info_score

from equilibria.data import GaussianMixture
from equilibria.reproduce.clouds import cloud
from equilibria.reproduce.hoang2018_ring import information
from equilibria.reproduce.liu2016_digits import agreement
from equilibria.reproduce.tolstikhin2017_coverage import coverage


@pytest.mark.parametrize("seed", range(3))
def test_information_is_the_mutual_information(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    index = torch.randint(8, (500,), generator=source)
    mode = torch.where(torch.rand(500, generator=source) < 0.6, index % 5, torch.randint(5, (500,), generator=source))
    assert information(index, mode, 8, 5) == pytest.approx(mutual_info_score(index.numpy(), mode.numpy()), abs=1e-12)


def test_agreement_is_the_mean_correlation_with_the_negative() -> None:
    first, second = torch.randn(2, 7, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = zip(first.numpy(), second.numpy(), strict=True)
    wanted = np.mean([np.corrcoef(a.ravel(), -b.ravel())[0, 1] for a, b in pairs])
    assert agreement(first, second) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_coverage_is_the_mass_inside_a_level_set(shift: float) -> None:
    """N(0, I) against N(shift, I): the level set of 95 % is a disc, and the mass in it a noncentral chi-squared."""
    source = torch.Generator().manual_seed(1)
    made, real = torch.randn(8000, 2, generator=source), torch.randn(6000, 2, generator=source)
    real[:, 0] += shift
    wanted = stats.ncx2.cdf(stats.chi2.ppf(0.95, 2), 2, shift**2) if shift else 0.95
    assert coverage(made, real, bandwidth=0.2) == pytest.approx(wanted, abs=0.02)


def test_a_cloud_counts_what_it_does_not_show() -> None:
    law = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], std=0.1)
    made = torch.tensor([[0.0, 0.0], [50.0, 0.0], [math.nan, 0.0]])
    axes = Figure().add_subplot()
    cloud(axes, made, law, source=torch.tensor([0, 1, 7]))
    assert [text.get_text() for text in axes.texts] == ["2 of 3 outside"]
    bare = Figure().add_subplot()
    cloud(bare, made[:1], law)
    assert not bare.texts
