"""Planted errors turn the verdicts of reproductions that compute: laws, bounds, spectra, exact games.

The style is that of ``test_reproduce_gates.py``: only the part of a reproduction that the errors concern is run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Game, make_draw
from equilibria.core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled
from equilibria.data import DataSpec
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import Minimax, NonSaturating
from equilibria.networks import MLPPair
from equilibria.reproduce import arjovsky2017principled_cauchy as cauchy
from equilibria.reproduce import arjovsky2017principled_curves as curves
from equilibria.reproduce import arjovsky2017principled_reverse as reverse
from equilibria.reproduce import arjovsky2017principled_supports as supports
from equilibria.reproduce import arora2017_samples as samples
from equilibria.reproduce import gidel2019_bilinear as bilinear
from equilibria.reproduce import goodfellow2014_convergence as convergence
from equilibria.reproduce import goodfellow2014_density as density
from equilibria.reproduce import goodfellow2014_discriminator as discriminator
from equilibria.reproduce import goodfellow2014_saturation as saturation
from equilibria.reproduce.claim import Check
from planted_errors import Plant, hold, instead, unseen

LINE = DataSpec(kind="vector", shape=(1,))


# Theorem 2.6 ---------------------------------------------------------------------------------------------------------


@pytest.mark.plants("arjovsky2017principled_cauchy")
def test_updates_that_are_not_the_theorem_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cauchy, "_jacobian", functools.cache(cauchy._jacobian))
    slopes = cauchy._jacobian(64)

    def run() -> tuple[Check, ...]:
        drawn = [cauchy._updates(slopes, 2000, seed) for seed in range(5)]
        return *cauchy._of_law(drawn, cauchy._scale(64)), *cauchy._of_batches(2000)

    def normal(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Normal updates of the same quartiles."""
        return lambda jacobian, n, draw: (
            1.4826 * cauchy.cauchy_scale(jacobian) * torch.randn(n, 1, generator=draw, dtype=torch.float64)
        )

    def root_mean_square(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda jacobian: jacobian.square().sum(1).mean(0).sqrt()

    plants = {
        "normal": instead(cauchy, "noisy_updates", normal),
        "not centred": instead(cauchy, "noisy_updates", lambda real: lambda *given: real(*given).abs()),
        "a sum over codes": instead(cauchy, "noisy_updates", lambda real: lambda j, *rest: real(j, *rest) * len(j)),
        "root mean square of the columns": instead(cauchy, "cauchy_scale", root_mean_square),
        "central limit": instead(cauchy, "cauchy_scale", lambda real: lambda j: real(j) / math.sqrt(len(j))),
    }
    assert unseen(run, plants) == []


# Figures 1 to 3 of Arjovsky & Bottou ---------------------------------------------------------------------------------


class Steep(nn.Module):
    """The logit ``c x₁ + b``."""

    def __init__(self, c: float, b: float = 0.0) -> None:
        super().__init__()
        self.c, self.b = c, b

    def forward(self, x: Tensor) -> Tensor:
        return self.c * x[:, 0] + self.b


MARKS = [1, 10, 100, 1000]
SHARP, FLAT = [(1.0, -9.0), (1.0, 0.0), (6.0, 0.0), (24.0, 0.0)], [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (1.2, 0.0)]


def looks(logits: list[tuple[float, float]]) -> Tensor:
    """Measurements of one run, ``(marks, 1, 5)``, whose discriminators are given: data at 2, fakes near -2."""
    generator = nn.Linear(2, 2)
    with torch.no_grad():
        generator.weight.copy_(0.2 * torch.eye(2))
        generator.bias.copy_(torch.tensor([-2.0, 0.0]))
    latent = torch.randn(1024, 2, generator=torch.Generator().manual_seed(0))
    draw = make_draw({"real": torch.tensor([[2.0, 0.0]]).repeat(1024, 1), "latent": latent}, 0)
    spec, plane = TwoPlayer(objective=NonSaturating(), latent=Latent(size=2)), DataSpec(kind="vector", shape=(2,))
    rows = []
    for c, b in logits:
        game = spec.build(MLPPair(width=4, depth=1), plane, {"generator": generator, "discriminator": Steep(c, b)})
        rows.append([curves._measured(game, draw)])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.plants("arjovsky2017principled_curves")
def test_a_discriminator_that_does_not_do_what_the_curves_show() -> None:
    def run(plain: list[tuple[float, float]] = SHARP, mended: list[tuple[float, float]] = FLAT) -> tuple[Check, ...]:
        return *curves._plain_checks(looks(plain)[None], MARKS), curves._kept("R1", looks(mended))

    plants = {
        "log(1 - D) measured as -log D": instead(curves, "Minimax", lambda _: NonSaturating),
        "-log D measured as log(1 - D)": instead(curves, "NonSaturating", lambda _: Minimax),
    }
    assert unseen(run, plants) == []
    assert not hold(run(plain=FLAT)), "the gradient of log(1 - D) does not vanish"
    assert not hold(run(plain=[(c, -99.0) for c, _ in SHARP])), "it never separates"
    assert not hold(run(mended=SHARP)), "the regulariser does nothing"


# Theorem 2.5 ---------------------------------------------------------------------------------------------------------


@pytest.mark.plants("arjovsky2017principled_reverse")
def test_a_divergence_that_is_not_reverse() -> None:
    x = torch.linspace(-12, 14, 3001, dtype=torch.float64)
    weights = torch.full_like(x, float(x[1] - x[0]))
    p, q = reverse._modes(x, (-3.0, 3.0)), reverse._modes(x, (3.0, 9.0))

    def run() -> Sequence[Check]:
        return *reverse._of_slopes(x, weights), *reverse._weighed(x, weights, p, q, reverse._charged(p, q))

    def forward_slopes(real: Callable[..., Any]) -> Callable[..., Any]:
        """The slope of KL(p||q) - 2 JSD in the place of KL(q||p) - 2 JSD."""

        def found(log_real: Tensor, log_model: Callable[..., Tensor], theta: Tensor, *grid: Tensor) -> Any:
            slope = torch.func.grad(lambda at: (-log_real.exp() * log_model(at, grid[0]) * grid[1]).sum())(theta)
            exact = real(log_real, log_model, theta, *grid)
            return exact._replace(reverse_kl_less_two_js=slope - exact.two_js)

        return found

    other = {"reverse-kl": "kl", "kl": "reverse-kl", "js": "js"}
    plants = {
        "losses exchanged": instead(reverse, "NonSaturating", lambda _: Minimax),
        "forward for reverse": instead(reverse, "kl", lambda real: lambda a, b, w: real(b, a, w)),
        "charges of the forward one": instead(
            reverse, "contribution", lambda real: lambda name, a, b: real(other[name], a, b)
        ),
        "slopes of the forward one": instead(reverse, "generator_gradients", forward_slopes),
        "JSD for 2 JSD": instead(reverse, "js", lambda real: lambda *given: real(*given) / 2),
        "JSD added": instead(
            reverse,
            "generator_gradients",
            lambda real: (
                lambda *given: real(*given)._replace(
                    reverse_kl_less_two_js=real(*given).reverse_kl_less_two_js + 2 * real(*given).two_js
                )
            ),
        ),
    }
    assert unseen(run, plants) == []


# Lemmas 1 to 3 -------------------------------------------------------------------------------------------------------


def noised(measure: Callable[..., float]) -> Callable[..., float]:
    """The measure of the same points with noise in all directions."""

    def measured(points: Tensor, *more: float) -> float:
        noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
        return measure(points + points.std() * noise.to(points), *more)

    return measured


def cut_off(real: Tensor, fake: Tensor, net: float) -> Callable[[Tensor], Tensor]:
    """It separates the sets and slopes on them."""
    return lambda x: (30 * (torch.cdist(x, fake).amin(1) - torch.cdist(x, real).amin(1))).sigmoid()


@pytest.mark.plants("arjovsky2017principled_supports")
def test_supports_that_are_not_thin_and_discriminators_that_slope() -> None:
    def run() -> list[Check]:
        return [*supports._dimensions(300)[0], *supports._translated(3), *supports._perfect()[0]]

    wide = instead(supports, "jacobian_rank", lambda real: lambda *given, relative: real(*given, relative=relative) + 1)
    constant = instead(supports, "jacobian_rank", lambda real: lambda *given, relative: 0 * real(*given))
    plants = {
        "a rank above dim z": wide,
        "a rank of 0": constant,
        "samples with noise": instead(supports, "two_nn_dimension", noised),
        "a ball with noise": instead(supports, "pca_dimension", noised),
        "all sets are transversal": instead(supports, "intersect_transversally", lambda _: lambda *given: True),
        "shifted sets still meet": instead(supports, "set_distance", lambda _: lambda *given: 0.0),
        "a slope on the supports": instead(supports, "smooth_perfect_discriminator", lambda _: cut_off),
        "log 4 left out": instead(supports, "value", lambda real: lambda *scores: real(*scores) - math.log(4)),
    }
    assert unseen(run, plants) == []


@pytest.mark.plants("arjovsky2017principled_supports")
def test_a_wrong_distance_of_thin_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supports, "_POINTS", 1 << 13)
    monkeypatch.setattr(supports, "_SIDES", supports._SIDES[:8])
    plants = {
        "in bits": instead(supports, "js", lambda real: lambda p, q: real(p, q) / math.log(2)),
        "2 JSD": instead(supports, "js", lambda real: lambda p, q: 2 * real(p, q)),
        "0 (E5)": instead(supports, "js", lambda real: lambda p, q: 0 * real(p, q)),
        "smoothed KL": instead(supports, "kl", lambda real: lambda p, q: real(p, (p + q) / 2)),
        "none is transversal": instead(supports, "intersect_transversally", lambda _: lambda *given: False),
    }
    assert unseen(lambda: supports._cells()[0], plants) == []


# Arora et al. 2017 ---------------------------------------------------------------------------------------------------


@pytest.mark.plants("arora2017_samples")
def test_distances_of_samples_that_are_wrong() -> None:
    plants = {
        "squared distances": instead(samples, "fresh_distance", lambda real: lambda *given: real(*given) ** 2),
        "unscaled points": instead(
            samples, "fresh_distance", lambda real: lambda d, *rest: math.sqrt(d) * real(d, *rest)
        ),
        "JSD in bits": instead(samples, "js", lambda real: lambda *laws: real(*laws) / math.log(2)),
    }
    assert unseen(lambda: samples._of_points([50]), plants) == []


@pytest.mark.plants("arora2017_samples")
def test_a_transport_that_is_not_optimal() -> None:
    def run() -> tuple[Check, ...]:
        return samples._of_transport(torch.tensor([[samples._moved(m, seed) for seed in range(1)] for m in (16, 1024)]))

    def costs(made: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
        return lambda _: lambda a, b: SimpleNamespace(cost=made(a, b))

    plants = {
        "points in the order they came": instead(samples, "assignment", costs(lambda a, b: (a - b).norm(dim=1).mean())),
        "squared costs": instead(samples, "assignment", costs(lambda a, b: (a - b).square().sum(1).mean())),
        "the nearest of all": instead(samples, "assignment", costs(lambda a, b: torch.cdist(a, b).amin(1).mean())),
        "means": instead(samples, "assignment", costs(lambda a, b: (a.mean(0) - b.mean(0)).norm())),
    }
    assert unseen(run, plants) == []


@pytest.mark.plants("arora2017_samples")
def test_a_net_that_is_measured_on_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Critics of fewer parameters, so that few points are many."""
    law = samples._law
    monkeypatch.setattr(samples, "_law", lambda n, draw, dim=8: law(n, draw, dim))
    monkeypatch.setattr(samples, "_DIM", 8)
    monkeypatch.setattr(samples, "_PARAMETERS", 8 * 4 + 9)
    monkeypatch.setattr(samples, "_SIZES", (128, 1024))
    seen, train, held = torch.tensor([[samples._fitted(m, 0)] for m in (128, 1024)]).unbind(2)
    gap = (train - held).mean(1)
    assert hold(samples._of_net(seen, gap))
    assert not hold(samples._of_net(seen, 0 * gap)), "measured on the rows of the fit"
    assert not hold(samples._of_net(seen, gap[:1].repeat(2))), "the gap does not fall"
    few, *_ = samples._fitted(16, 0)
    assert not hold(samples._of_net(torch.full_like(seen, few), gap)), "it tells a copy from the law"


# The bilinear game ---------------------------------------------------------------------------------------------------


@pytest.mark.plants("gidel2019_bilinear")
def test_another_rule_in_place_of_each() -> None:
    rounds = 8

    def run() -> tuple[Check, ...]:
        paths = {name: bilinear.played(row.rule, rounds) for name, row in bilinear.ROWS.items()}
        return *bilinear._of_maps(paths, rounds), *bilinear._closed_forms(paths, rounds)

    wrong = (
        Alternating(), Simultaneous(), Extragradient(past=True), Extragradient(), Simultaneous(), Consensus(gamma=0.25),
        Unrolled(steps=4),
    )  # fmt: skip
    plants = {
        name: instead(bilinear.ROWS, name, lambda row, rule=rule: bilinear.Row(rule, row.map))
        for name, rule in zip(bilinear.ROWS, wrong, strict=True)
    }
    twice: Plant = instead(bilinear, "SGD", lambda real: lambda lr: real(lr=2 * lr))
    assert unseen(run, plants | {"another rate": twice}) == []
    assert Optimistic() in [row.rule for row in bilinear.ROWS.values()]


# Theorem 1 and Propositions 1 and 2 of Goodfellow et al. -------------------------------------------------------------


@pytest.mark.plants("goodfellow2014_convergence")
def test_a_wrong_optimum_or_descent() -> None:
    def run() -> tuple[Check, ...]:
        draw = torch.Generator().manual_seed(0)
        data, starts = torch.rand(2, 3, 20, generator=draw, dtype=torch.float64).softmax(-1)
        falls = torch.stack([convergence._fall(p, q) for p, q in zip(data, starts, strict=True)])
        return convergence._of_laws(data, starts, falls, draw)

    plants = {
        "q/(p + q)": instead(convergence, "optimal_discriminator", lambda real: lambda p, q: real(q, p)),
        "half the logit": instead(convergence, "optimal_discriminator", lambda real: lambda p, q: real(p, q) / 2),
        "JSD for 2 JSD": instead(
            convergence, "virtual_criterion", lambda real: lambda p, q: (real(p, q) - math.log(4)) / 2
        ),
        "no log 4": instead(convergence, "virtual_criterion", lambda real: lambda p, q: real(p, q) + math.log(4)),
        "laws that do not move": instead(
            convergence, "density_descent", lambda _: lambda p, q, steps, rate: q.expand(steps + 1, -1)
        ),
    }
    assert unseen(run, plants) == []


@pytest.mark.plants("goodfellow2014_convergence")
def test_a_mean_that_stays_or_ascends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean that is far away stays far in either case: the one that starts nearby tells them apart."""
    monkeypatch.setattr(convergence, "_STEPS", 16)

    def run() -> tuple[Check, ...]:
        return convergence._of_means(*(convergence._mean_descent(at) for at in (2.0, 12.0)))

    def slopes(factor: float) -> Callable[..., Any]:
        return lambda real: lambda *given: real(*given)._replace(saturating=factor * real(*given).saturating)

    plants = {name: instead(convergence, "generator_gradients", slopes(by)) for name, by in (("0", 0.0), ("-1", -1.0))}
    assert unseen(run, plants) == []


class Fixed(nn.Module):
    """``slope x + offset``."""

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(offset))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.offset


@pytest.mark.plants("goodfellow2014_density")
def test_laws_that_do_not_meet_and_a_discriminator_that_tells_them_apart() -> None:
    def ends(generator: tuple[float, float], logit: tuple[float, float]) -> tuple[Check, ...]:
        def make(seed: int) -> Game:
            own = {"generator": Fixed(*generator), "discriminator": nn.Sequential(Fixed(*logit), nn.Flatten(0))}
            return TwoPlayer(latent=Latent(size=1)).build(MLPPair(width=2, depth=1), LINE, own)

        play = SimpleNamespace(game=Ensemble(make, range(1)))
        return density._checks([density._ends(play, 0)])  # type: ignore[arg-type]

    assert hold(ends((1.0, 0.0), (0.0, 0.0)))
    wrong = {
        "moved": ((1.0, 0.3), (0.0, 0.0)), "collapsed": ((0.0, 0.0), (0.0, 0.0)), "wide": ((1.5, 0.0), (0.0, 0.0)),
        "D has a slope": ((1.0, 0.0), (0.5, 0.0)), "D says real": ((1.0, 0.0), (0.0, 2.0)),
    }  # fmt: skip
    assert [name for name, given in wrong.items() if hold(ends(*given))] == []


@pytest.mark.plants("goodfellow2014_discriminator")
def test_a_discriminator_that_is_not_the_optimal_one() -> None:
    x, *_ = discriminator._laws()
    exact = -1.3 * x + 1.3**2 / 2  # log p/q of N(0, 1) and N(1.3, 1)

    def run(scores: Tensor = exact) -> tuple[Check, ...]:
        return discriminator._checks(*discriminator._missed([scores]))

    plants = {
        "q/(p + q)": instead(discriminator, "optimal_discriminator", lambda real: lambda p, q: real(q, p)),
        "JSD for 2 JSD": instead(
            discriminator, "virtual_criterion", lambda real: lambda *given: (real(*given) - math.log(4)) / 2
        ),
        "half of the value": instead(discriminator, "value_of_laws", lambda real: lambda *given: real(*given) / 2),
    }
    assert unseen(run, plants) == []
    untrained = discriminator._scores(discriminator._play(1, 1), x, 1)[0]
    wrong = {
        "untrained": untrained, "labels exchanged": -exact, "half the logit": exact / 2, "unequal shares": exact + 0.5,
        "one above": torch.zeros_like(x), "far off": exact.where(x < 3.5, torch.zeros(()).double()),
    }  # fmt: skip
    assert [name for name, scores in wrong.items() if hold(run(scores))] == []


@pytest.mark.plants("goodfellow2014_saturation")
def test_slopes_of_another_loss() -> None:
    d = torch.tensor([0.001, 0.01, 0.1, 0.5], dtype=torch.float64)

    def run() -> tuple[Check, ...]:
        slopes = (saturation._slopes(loss(), d.logit()) for loss in (saturation.Minimax, saturation.NonSaturating))
        return saturation._checks(d, *slopes)

    plants = {
        "the saturating one twice": instead(saturation, "NonSaturating", lambda _: Minimax),
        "the other one twice": instead(saturation, "Minimax", lambda _: NonSaturating),
        "slopes in D": instead(
            saturation, "_slopes", lambda real: lambda loss, h: real(loss, h) / (h.sigmoid() * (-h).sigmoid())
        ),
        "ascent": instead(saturation, "_slopes", lambda real: lambda *given: -real(*given)),
    }
    assert unseen(run, plants) == []
