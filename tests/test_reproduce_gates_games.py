"""Planted errors turn the verdicts of reproductions about exact games: fields, landscapes, gaps, f-GANs, patches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from equilibria.data.laws import GaussianMixture
from equilibria.games.dirac_and_bilinear import DiracGAN
from equilibria.losses import R1, Minimax, Objective, RelativisticPairing, Wasserstein
from equilibria.metrics.transport import exact_w1
from equilibria.reproduce import farnia2020_equilibrium as equilibrium
from equilibria.reproduce import goodfellow2016_maximin as maximin
from equilibria.reproduce import grnarova2019_gap as gap
from equilibria.reproduce import huang2024r3gan_dirac as paired
from equilibria.reproduce import isola2017_patch as patches
from equilibria.reproduce import mescheder2018_dirac as dirac
from equilibria.reproduce import nowozin2016_fits as fits
from equilibria.reproduce import nowozin2016_table as table
from equilibria.reproduce import sun2020_landscape as landscape
from equilibria.reproduce.claim import Check
from equilibria.reproduce.toy_fields import flat
from equilibria.theory import fields
from equilibria.theory.divergences import F_DIVERGENCES, FDivergence
from planted_errors import Plant, hold, instead, unseen

# The Dirac-GAN -------------------------------------------------------------------------------------------------------


@pytest.mark.plants("huang2024r3gan_dirac")
def test_another_game_than_the_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pairing, penalised = RelativisticPairing(), "+ R1, γ = .4"
    assert hold([*map(paired._of_spectrum, paired.GAMES), paired._of_saturating()])
    wrong = {
        "half the penalty": (penalised, DiracGAN(pairing, (R1(gamma=0.2),))),
        "no penalty": (penalised, DiracGAN(pairing)),
        "one of two penalties": ("+ R1 and R2, γ = .4 each", DiracGAN(pairing, (R1(gamma=0.4),))),
        "another objective": ("RpGAN", DiracGAN(Wasserstein())),
        "a hidden penalty": ("RpGAN", DiracGAN(pairing, (R1(gamma=0.4),))),
    }
    missed = []
    for what, (name, game) in wrong.items():
        monkeypatch.setitem(paired.GAMES, name, (game, paired.GAMES[name][1]))
        missed += [what] if paired._of_spectrum(name).holds else []
        monkeypatch.undo()
    assert missed == []
    monkeypatch.setitem(paired.GAMES, "RpGAN, saturating", (DiracGAN(pairing), 0.0))
    assert not paired._of_saturating().holds


@pytest.mark.plants("huang2024r3gan_dirac")
def test_paths_of_games_with_and_without_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "STEPS", 1601)
    penalised = "+ R1, γ = .4"
    damped, turning = paired._radii(paired.GAMES[penalised][0]), torch.ones(1602)
    assert hold([paired._of_path("RpGAN", turning), paired._of_path(penalised, damped)])
    assert not paired._of_path("RpGAN", damped).holds and not paired._of_path(penalised, turning).holds


def last_radii(v: fields.Map, steps: int, h: float = dirac.H) -> Tensor:
    """The last radii of a linear field under the four rules, ``(1, 4)``, from powers of their steps' matrices."""
    start, one, two = torch.tensor([1.0, -1.0]).double(), torch.eye(2).double(), torch.eye(2).double().unbind()
    turn = h * fields.jacobian(v, 0 * start)
    first, then = (one + torch.diag(place) @ turn for place in two)  # the generator moves first
    optimistic = torch.cat([torch.cat([one + 2 * turn, -turn], 1), torch.cat([one, 0 * one], 1)])
    back = start  # the field of the step before is that of the start
    ends = [
        torch.linalg.matrix_power(step, steps) @ start for step in (one + turn, then @ first, one + turn + turn @ turn)
    ]
    ends.append((torch.linalg.matrix_power(optimistic, steps) @ torch.cat([start, back]))[:2])
    return torch.stack(ends).norm(dim=1)[None]


@pytest.mark.plants("mescheder2018_dirac")
def test_radii_of_another_method() -> None:
    """The field of WGAN is linear, so powers of matrices are its paths."""
    v = flat(dirac.METHODS["wgan"].game())
    found = last_radii(v, dirac.STEPS)
    assert hold(dirac._by_reference({"wgan": found}))
    wrong = {
        "fewer steps": last_radii(v, dirac.STEPS - 100), "another rate": last_radii(v, dirac.STEPS, 0.09),
        "another order of the rules": found[:, [1, 0, 2, 3]], "the GAN's": last_radii(flat(DiracGAN()), dirac.STEPS),
        "extragradient twice": found[:, [0, 1, 2, 2]],
    }  # fmt: skip
    assert [name for name, ends in wrong.items() if hold(dirac._by_reference({"wgan": ends}))] == []
    others = {key for key, _ in dirac.RADII} - {"wgan"}
    assert [key for key in others if hold(dirac._by_reference({key: found}))] == []


@pytest.mark.plants("mescheder2018_dirac")
def test_rates_that_theory_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirac, "STEPS", 1000)
    games = {key: method.game() for key, method in dirac.METHODS.items()}

    def linear(key: str) -> Tensor:
        """The radii of simultaneous steps along the linear part of the field; the WGAN's has no other."""
        v = dirac.METHODS[key].field(flat(games[key]))
        step = torch.eye(2).double() + dirac.H * fields.jacobian(v, torch.zeros(2, dtype=torch.float64))
        path = [torch.tensor([1.0, -1.0], dtype=torch.float64)]
        for _ in range(1000):
            path.append(step @ path[-1])
        return torch.stack(path).norm(dim=1, keepdim=True)

    def clipped(game: DiracGAN) -> Tensor:
        return dirac.paths(game, lambda v: v, steps=100).norm(dim=-1)[50:]

    found = {key: linear(key) for key in ("wgan", "noise", "consensus")}
    found["clip"] = clipped(games["clip"])
    assert hold(dirac._by_theory(found))
    wrong = {
        "wgan": found["consensus"], "noise": found["wgan"], "consensus": found["wgan"],
        "clip": clipped(games["r1-strong"]),
    }  # fmt: skip
    assert [key for key, path in wrong.items() if hold(dirac._by_theory(found | {key: path}))] == []


# f-GANs --------------------------------------------------------------------------------------------------------------


def scaled(row: FDivergence, by: float = 2.0) -> FDivergence:
    """The row of a multiple of the divergence: every identity between its entries holds again."""
    made = dataclasses.replace(row, at_one=by * row.at_one, threshold=by * row.threshold)
    return dataclasses.replace(
        made, at_zero=by * row.at_zero, at_infinity=by * row.at_infinity,
        excess=lambda p, q: by * row.excess(p, q), slope=lambda u: by * row.slope(u),
        conjugate=lambda t: by * row.conjugate(t / by), output_map=lambda v: by * row.output_map(v),
        conjugate_output=lambda v: by * row.conjugate_output(v),
    )  # fmt: skip


@pytest.mark.plants("nowozin2016_table")
@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_a_wrong_row_of_the_table(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    pairs = [(table._counts(draw), table._counts(draw)) for _ in range(2)]
    push = 0.1 * torch.randn(10, 6, generator=draw, dtype=torch.float64)
    row, other = F_DIVERGENCES[name], F_DIVERGENCES["pearson" if name != "pearson" else "kl"]
    wrong: dict[str, dict[str, Any]] = {
        "conjugate": {"conjugate": lambda t: row.conjugate(t) + 0.01},
        "conjugate of the output": {"conjugate_output": lambda v: 1.01 * row.conjugate_output(v)},
        "slope": {"slope": lambda u: -row.slope(u)},
        "output map": {"output_map": lambda v: row.output_map(v) - 0.01},
        "score": {"optimal_score": lambda r: row.optimal_score(-r)},
        "threshold": {"threshold": row.threshold + 1},
        "f": {"excess": lambda p, q: row.excess(p, q) / 2},
    }
    plants: dict[str, Plant] = {
        what: instead(F_DIVERGENCES, name, lambda row, changed=changed: dataclasses.replace(row, **changed))
        for what, changed in wrong.items()
    }
    plants["another row"] = instead(F_DIVERGENCES, name, lambda _: dataclasses.replace(other, name=name))
    plants["twice the row"] = instead(F_DIVERGENCES, name, scaled)
    assert unseen(lambda: table._checks([name], pairs, push), plants) == []


@pytest.mark.plants("nowozin2016_fits")
def test_fits_of_another_divergence() -> None:
    """The direct minimisers stand for perfectly trained generators."""
    names = fits._SHOWN
    law = GaussianMixture([[-fits._HALF], [fits._HALF]], fits._STD, fits._SHARES)
    target = law.log_prob(fits._X).exp()
    direct = {name: fits._direct(name, target, *fits._START) for name in names}

    def run(trained_on: Sequence[str] = names, wide: float = 1.0, moved: float = 0.0) -> list[Check]:
        rows = [direct[other] for other in trained_on]
        made = [fits._Fit(r.centres[0] + torch.zeros(2) + moved, wide * r.std + torch.zeros(2)) for r in rows]
        learned = dict(zip(names, made, strict=True))
        near = [check for name in names for check in fits._near(name, learned[name], direct[name])]
        return [*near, *fits._of_fits(learned, fits._table(target, learned))]

    plants = {
        "D_f(q, p) for D_f(p, q)": instead(
            fits, "f_divergence", lambda real: lambda name, p, q, w: real(name, q, p, w)
        ),
    }
    assert unseen(run, plants) == []
    wrong: dict[str, dict[str, Any]] = {
        "directions exchanged": {"trained_on": names[::-1]}, "one for all": {"trained_on": ("js",) * 3},
        "too wide": {"wide": 1.2}, "moved": {"moved": 0.2},
    }  # fmt: skip
    assert [name for name, given in wrong.items() if hold(run(**given))] == []
    start = fits._Fit(torch.full((2,), fits._START[0]), torch.full((2,), fits._START[1]))
    # Untrained: the start is almost the minimiser of KL, so that this divergence alone does not show it.
    assert [name for name in names if hold(fits._near(name, start, direct[name]))] == ["kl"]
    untrained = dict.fromkeys(names, start)
    assert not hold(fits._of_fits(untrained, fits._table(target, untrained)))


# Bad minima ----------------------------------------------------------------------------------------------------------


@pytest.mark.plants("sun2020_landscape")
def test_a_landscape_with_other_minima(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, "SIZES", (2, 3))
    values = landscape.VALUES

    def run() -> Sequence[Check]:
        bad = {name: [landscape._bad_minima(n, value) for n in (2, 3)] for name, value in values.items()}
        stuck = {name: [len(landscape.trapped(n, value)) for n in (2, 3)] for name, value in values.items()}
        return landscape._of_counts(bad, stuck)

    plants = {
        "pairing in place of the separable": instead(values, "separable", lambda _: values["paired"]),
        "the separable in place of pairing": instead(values, "paired", lambda _: values["separable"]),
        "n^n": instead(landscape, "landscape_count", lambda real: lambda n: real(n)._replace(collapsed=n**n)),
    }
    assert unseen(run, plants) == []


@pytest.mark.plants("sun2020_landscape")
@pytest.mark.parametrize(("name", "other"), [("paired", Minimax()), ("separable", RelativisticPairing())])
def test_losses_with_other_suprema(name: str, other: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, "OBJECTIVES", {name: landscape.OBJECTIVES[name]})
    plants = {"another loss": instead(landscape.OBJECTIVES, name, lambda _: other)}
    assert unseen(lambda: landscape._of_suprema((2,)), plants) == []


@pytest.mark.plants("sun2020_landscape")
def test_another_measure_of_pairs() -> None:
    plants = {
        "half of JSD": instead(landscape, "js", lambda real: lambda *laws: real(*laws) / 2),
        "another loss of pairs": instead(landscape, "RelativisticPairing", lambda _: Minimax),
    }
    assert unseen(landscape._pairing_measures, plants) == []


# Patches -------------------------------------------------------------------------------------------------------------


@pytest.mark.plants("isola2017_patch")
def test_a_discriminator_with_another_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SIDE", 64)

    def run() -> list[Check]:
        return [check for layers in (1, 2) for check in patches._of_sides(layers, patches._positive(layers))]

    def deeper(real: Any) -> Callable[..., Any]:
        return lambda layers, **given: real(layers=layers + 1, **given)

    plants = {
        "one layer more": instead(patches, "PatchGAN", deeper),
        "one layer counted twice": instead(
            patches, "receptive_field", lambda real: lambda net: tuple(2 * side for side in real(net))
        ),
        "a norm over all pixels": instead(patches, "_positive", lambda _: whole_image),
    }
    assert unseen(run, plants) == []


def whole_image(layers: int) -> Any:
    """The same layers, whose scores see the mean of the image as well."""
    net = patches.PatchGAN(width=2, layers=layers, norm="none").build((3, 64, 64)).double()
    net.register_forward_pre_hook(lambda module, given: (given[0] + given[0].mean((2, 3), keepdim=True),))
    return net


# No equilibrium ------------------------------------------------------------------------------------------------------


@pytest.mark.plants("farnia2020_equilibrium")
def test_a_gaussian_example_that_has_an_equilibrium() -> None:
    shifts = torch.linspace(0, 6, 61, dtype=torch.float64)

    def run() -> tuple[Check, ...]:
        curve = equilibrium.gaussian_generator_value(shifts, s=2.0)
        return equilibrium._of_gaussian(curve, equilibrium.shifted(0.05, 120))

    plants = {
        "fakes exchanged with data": instead(equilibrium, "gaussian_logit", lambda real: lambda x, s: -real(x, s)),
        "ascent": instead(equilibrium, "SHIFT_RATE", lambda rate: -rate),
        "a constant discriminator": instead(equilibrium, "gaussian_logit", lambda real: lambda x, s: 0 * real(x, s)),
        "another width": instead(equilibrium, "gaussian_generator_value", lambda real: lambda u, s: real(u, s=s * s)),
        "in bits": instead(
            equilibrium, "gaussian_generator_value", lambda real: lambda u, s: real(u, s=s) / math.log(2)
        ),
    }
    assert unseen(run, plants) == []


@pytest.mark.plants("farnia2020_equilibrium")
def test_a_generator_that_does_not_get_worse() -> None:
    """Samples that are moved away from the data by each look, with the exact distances."""
    law = maximin.boxed_ring().law
    assert law is not None
    real, made = (law.sample(60, torch.Generator().manual_seed(seed)) for seed in range(2))

    def drift(ways: Sequence[float], losses: Sequence[float] = (1.0, 0.5, 0.0)) -> equilibrium.Drift:
        far = torch.tensor([[exact_w1(made + way, real)] * 2 for way in ways])
        return equilibrium.Drift([0, 1, 2], torch.tensor(losses)[:, None].repeat(1, 2), far)

    def run(plain: equilibrium.Drift, proximal: equilibrium.Drift) -> tuple[Check, ...]:
        return equilibrium._of_ring({"plain": plain, "proximal": proximal, "mixed": plain})

    worse, still = drift((0.0, 0.5, 1.0)), drift((0.0, 0.1, 0.1))
    assert hold(run(worse, still))
    wrong = {
        "the plain game twice": (worse, worse), "games exchanged": (still, worse), "not trained": (still, still),
        "the loss rises": (drift((0.0, 0.5, 1.0), (0.0, 0.5, 1.0)), still),
        "it improves": (drift((1.0, 0.5, 0.0)), still),
    }  # fmt: skip
    assert [name for name, pair in wrong.items() if hold(run(*pair))] == []


# The duality gap -----------------------------------------------------------------------------------------------------


@pytest.mark.plants("grnarova2019_gap")
def test_a_gap_that_is_none() -> None:
    searched = gap.searched_gaps(1)

    def run() -> tuple[Check, ...]:
        return gap._of_laws(gap.discrete_gaps(20), gap.known_gaps(5), searched)

    plants = {
        "JSD for 2 JSD": instead(gap, "js", lambda real: lambda *laws: real(*laws) / 2),
        "4 JSD": instead(gap, "js", lambda real: lambda *laws: 2 * real(*laws)),
        "no log 4": instead(gap, "virtual_criterion", lambda real: lambda p, q: real(p, q) + math.log(4)),
        "labels exchanged": instead(gap, "value_of_laws", lambda real: lambda h, p, q: real(-h, p, q)),
    }
    assert unseen(run, plants) == []
    with pytest.MonkeyPatch.context() as patch:
        instead(gap, "duality_gap", lambda real: lambda *given, **size: real(*given, **size | {"steps": 1}))(patch)
        assert not hold(gap._of_laws(gap.discrete_gaps(20), gap.known_gaps(5), gap.searched_gaps(1))), "no search"


@pytest.mark.plants("grnarova2019_gap")
def test_a_gap_that_does_not_tell_runs_apart() -> None:
    """Samples of ever more modes and of one mode; a gap that is at its bound, with 5 % above it."""
    law = maximin.boxed_ring().law
    assert law is not None and law.modes is not None
    rows = law.sample(2000, torch.Generator().manual_seed(0))
    nearest = torch.cdist(rows, law.modes.to(rows)).argmin(1)

    def course(held: Sequence[int], factor: float = 1.05, more: float = 0.02) -> gap.Course:
        bound = torch.tensor([[2 * gap.histogram_jsd(rows[nearest < n], law)] * 2 for n in held])
        return gap.Course(list(range(len(held))), factor * bound + more, bound, bound)

    growing, one = (2, 4, 8), (1, 1, 1)
    assert hold(gap._of_training(course(growing), course(one)))
    wrong = {
        "it does not fall": (course(one), course(one)), "exchanged": (course(one), course(growing)),
        "below the bound": (course(growing, 0.9, 0.0), course(one)),
        "all converge": (course(growing), course((8, 8, 8), 1.0, 0.01)),
    }  # fmt: skip
    assert [name for name, pair in wrong.items() if hold(gap._of_training(*pair))] == []
