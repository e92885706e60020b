"""Planted errors turn the verdicts of reproductions that train networks; nothing is trained here.

A perfect result is made by hand and measured by the reproduction's own code, and so is each result that a wrong
implementation would have: an untrained network, one mode, labels in another order, a translator that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from equilibria.data import load
from equilibria.data.laws import GaussianMixture
from equilibria.games.inference import Category
from equilibria.metrics.modes import modes
from equilibria.metrics.neighbours import birthday as support
from equilibria.networks import ConvPair
from equilibria.reproduce import arora2018_birthday as birthday
from equilibria.reproduce import chen2016_modes as codes
from equilibria.reproduce import creswell2018_inverse as inverse
from equilibria.reproduce import denton2015_pyramid as pyramid
from equilibria.reproduce import goodfellow2014_helvetica as helvetica
from equilibria.reproduce import goodfellow2014_parzen as parzen
from equilibria.reproduce import goodfellow2016_maximin as maximin
from equilibria.reproduce import hoang2018_ring as mixture
from equilibria.reproduce import huang2024r3gan_modes as paired
from equilibria.reproduce import isola2017_emoji as emoji
from equilibria.reproduce import liu2016_digits as coupled
from equilibria.reproduce import makhzani2015_codes as matched
from equilibria.reproduce import makhzani2015_labels as labels
from equilibria.reproduce import metz2017_frames as unrolled
from equilibria.reproduce import nguyen2017_ring as two
from equilibria.reproduce import radford2016_arithmetic as arithmetic
from equilibria.reproduce import radford2016_features as features
from equilibria.reproduce import zhao2020_few as few
from equilibria.reproduce import zhu2017_digits as cycle
from equilibria.reproduce.claim import Check
from equilibria.reproduce.clouds import off_modes
from planted_errors import hold, instead, unseen

RING = load("ring8-M").law
assert RING is not None and RING.modes is not None
CENTRES = RING.modes.float()


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def around(which: Tensor) -> Tensor:
    """Points at the modes of the ring with these numbers, ``(n, 2)``."""
    assert RING is not None
    return CENTRES[which] + 0.5 * RING.std * torch.randn(len(which), 2, generator=source())


def held(run: Callable[..., Sequence[Check]], wrong: dict[str, dict[str, Any]]) -> list[str]:
    """The wrong results with which all checks hold; they have to hold without one."""
    assert hold(run()), [check for check in run() if not check.holds]
    return [name for name, given in wrong.items() if hold(run(**given))]


# Rings ---------------------------------------------------------------------------------------------------------------

EIGHT = torch.arange(4000) % 8
SHUFFLED = EIGHT[torch.randperm(4000, generator=source())]


@pytest.mark.plants("chen2016_modes")
def test_a_category_that_says_nothing() -> None:
    code = Category(name="c1", classes=8)

    def look(category: Tensor = EIGHT, where: Tensor = EIGHT, read: Tensor = EIGHT, sure: float = 12.0) -> codes.Look:
        logits, drawn = (torch.nn.functional.one_hot(which, 8).float() for which in (read, category))
        assert RING is not None
        return codes._judged(around(where), category, float(code.information(drawn, sure * logits)), RING)

    def run(with_it: codes.Look | None = None, without: codes.Look | None = None) -> tuple[Check, ...]:
        return codes._checks([with_it or look()], [without or look(category=SHUFFLED, sure=0.0)])

    wrong: dict[str, dict[str, Any]] = {
        "one mode": {"with_it": look(where=0 * EIGHT)}, "another order": {"with_it": look(category=SHUFFLED)},
        "seven modes": {"with_it": look(where=EIGHT.clamp(max=6))}, "Q is blind": {"with_it": look(sure=0.0)},
        "Q reads another": {"with_it": look(read=SHUFFLED)}, "the control names them": {"without": look()},
        "twice the bound": {"with_it": look()._replace(bound=2 * look().bound)},
        "weight 0 in both": {"with_it": look(category=SHUFFLED, sure=0.0)},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("hoang2018_ring")
def test_generators_that_do_not_specialise() -> None:
    def look(index: Tensor = EIGHT, where: Tensor = EIGHT) -> mixture.Look:
        assert RING is not None
        return mixture._judged(around(where), index, RING)

    def run(with_it: mixture.Look | None = None, without: mixture.Look | None = None) -> tuple[Check, ...]:
        return mixture._checks([with_it or look()], [without or look(index=SHUFFLED)])

    wrong = {
        "alike": {"with_it": look(index=SHUFFLED)}, "one mode": {"with_it": look(where=0 * EIGHT)},
        "two to each mode": {"with_it": look(where=EIGHT // 2)}, "the control as well": {"without": look()},
        "in bits": {"with_it": look()._replace(share=look().share / 0.693)},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("goodfellow2014_helvetica")
def test_schedules_that_collapse_in_the_wrong_order() -> None:
    assert RING is not None
    covered, one, blob = (
        helvetica._Run([1], [], [[modes(made, RING).captured] * 5])
        for made in (around(EIGHT), around(0 * EIGHT), 0.3 * torch.randn(4000, 2, generator=source()))
    )

    def run(for_g: helvetica._Run = one, for_d: helvetica._Run = covered) -> tuple[Check, ...]:
        return helvetica._checks({"1 : 1": covered, "1 : 20": for_g, "20 : 1": for_d})

    wrong = {
        "neither collapses": {"for_g": covered}, "both collapse": {"for_d": one},
        "untrained": {"for_g": blob, "for_d": blob},
        "exchanged": {"for_g": covered, "for_d": one},
        "two seeds of five": {"for_g": one._replace(captured=[[1, 1, 8, 8, 8]])},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("metz2017_frames", "nguyen2017_ring")
@pytest.mark.parametrize("module", [unrolled, two])
def test_a_ring_that_is_covered_by_neither_or_by_both(module: Any) -> None:
    """The plain game is judged by its samples too: one that is not trained has few modes as well, and does not move."""
    covered, half, one = (around(EIGHT), around(EIGHT // 2), around(0 * EIGHT))
    blob = 0.3 * torch.randn(4000, 2, generator=source())
    law = RING
    assert law is not None

    def run(ours: Tensor = covered, plain: Tensor = one, seeds: int = 5, turn: float = 1.0) -> tuple[Check, ...]:
        equal = [modes(ours, law)] * seeds + [modes(plain, law)] * (5 - seeds)
        hops = [plain[None], torch.stack([plain[:, 0] - turn * plain[:, 1], plain[:, 1] + turn * plain[:, 0]], 1)[None]]
        more = unrolled._hopping(hops, law) if module is unrolled else off_modes(plain, law)
        checks: tuple[Check, ...] = module._checks(equal, [modes(plain, law)] * 5, more)
        return checks

    wrong: dict[str, dict[str, Any]] = {
        "the plain game twice": {"ours": one}, "both cover it": {"plain": covered}, "half of the modes": {"ours": half},
        "untrained": {"ours": blob, "plain": blob}, "exchanged": {"ours": one, "plain": covered},
        "two seeds of five": {"seeds": 2}, "the plain game is not trained": {"plain": blob, "turn": 0.0},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("huang2024r3gan_modes")
@pytest.mark.parametrize("budget", [paired.FULL[0], paired.QUICK[0]])
def test_samples_that_are_not_clean(budget: paired.Budget) -> None:
    law = load(budget.law).law
    assert isinstance(law, GaussianMixture) and law.modes is not None
    exact = law.sample(paired.SAMPLES, source())
    blurred = exact + 2 * law.std * torch.randn(exact.shape, generator=source(1))
    nearest = torch.cdist(exact, law.modes.to(exact)).argmin(1)

    def track(made: Tensor) -> paired.Track:
        return paired.Track([1], [[modes(made, law)]], made)

    def run(ours: Tensor = exact, control: Tensor = blurred) -> list[Check]:
        return paired._checks(budget, track(ours), track(control))

    wrong = {
        "blurred": {"ours": blurred}, "a mode is lost": {"ours": exact[nearest > 0]},
        "one mode": {"ours": exact[nearest == 0]}, "no better than the control": {"ours": blurred, "control": exact},
        "untrained": {"ours": torch.randn(exact.shape, generator=source(2))},
        "the control is cleaner": {"control": law.modes.float()},
    }  # fmt: skip
    if budget.law == "grid25":
        wrong["uneven"] = {"ours": torch.cat([exact, exact[nearest < 12].repeat(3, 1)])}
    assert held(run, wrong) == []


@pytest.mark.plants("goodfellow2016_maximin")
def test_a_generator_that_is_not_at_the_highest_score() -> None:
    side = maximin.SIDE
    scores = -(side[:, None] - 0.6).square() - (side[None] + 0.3).square()
    cloud = 0.5 * torch.randn(1, 200, 2, generator=source())
    top = torch.tensor([0.6, -0.3])

    def course(last: Tensor) -> maximin.Course:
        return maximin.Course([0, 1], torch.stack([cloud, last]))

    spread, point = course(cloud), course(top + 0.01 * cloud)

    def run(frozen: maximin.Course = point, both: maximin.Course = spread) -> tuple[Check, ...]:
        return maximin._checks(frozen, both, [scores])

    wrong = {
        "it stays": {"frozen": spread}, "at the lowest score": {"frozen": course(-top + 0.01 * cloud)},
        "x and y exchanged": {"frozen": course(top.flip(0) + 0.01 * cloud)},
        "nearby": {"frozen": course(top + 0.1 * cloud)},
        "both collapse": {"both": point}, "roles exchanged": {"frozen": spread, "both": point},
    }  # fmt: skip
    assert held(run, wrong) == []


# Digits --------------------------------------------------------------------------------------------------------------


def digits(n: int = 600, held_out: bool = False) -> dict[str, Tensor]:
    return load("digits").take(n, held_out=held_out)


@pytest.mark.plants("goodfellow2014_parzen")
def test_an_estimate_without_the_weakness() -> None:
    rows = parzen._rows(load("digits"))
    chosen = rows.train[:120]

    def run(centres: Tensor | None = None, few: int = 12) -> tuple[Check, ...]:
        kernels = parzen.kmeans(rows.train, chosen, rounds=2) if centres is None else centres
        estimates = [parzen.parzen(k, rows.validation, rows.test[:200]) for k in (kernels, chosen, chosen[:few])]
        return parzen._checks(*estimates)

    def uneven(by: float) -> Callable[..., Any]:
        return lambda real: lambda kernels, *rest: real(kernels, *rest) + by * torch.tensor(float(len(kernels))).log()

    plants = {
        "no mean over kernels": instead(parzen, "_log_densities", uneven(1.0)),
        "no normalisation in the width": instead(
            parzen, "_log_densities", lambda real: lambda k, rows, widths: real(k, rows, widths) + widths.log()[:, None]
        ),
        "centres that do not move": instead(parzen, "kmeans", lambda _: lambda rows, centres, **given: centres),
        "one centre": instead(parzen, "kmeans", lambda _: lambda rows, *_, **given: rows.mean(0).expand(120, -1)),
    }
    assert unseen(run, plants) == []
    assert held(run, {"no more samples": {"few": 120}}) == []


class Maps:
    """A trained game that is known by its maps only."""

    def __init__(self, **maps: Callable[[Tensor], Tensor]) -> None:
        self.maps = maps

    def apply(self, name: str, rows: dict[str, Tensor], seed: int = 0) -> Tensor:
        return self.maps[name](rows["other" if name in ("to_x", "reconstruct_other") else "x"])


def subspace(rows: Tensor, size: int = 12) -> Callable[[Tensor], Tensor]:
    """The projection onto the mean and the first components of the rows: a generator whose inverse is known."""
    mean = rows.flatten(1).mean(0)
    basis = torch.linalg.svd(rows.flatten(1) - mean, full_matrices=False).Vh[:size]
    return lambda x: (mean + (x.flatten(1) - mean) @ basis.T @ basis).view_as(x)


@pytest.mark.plants("creswell2018_inverse")
def test_codes_that_do_not_tell_what_was_learned() -> None:
    rows, test = digits(), digits(180, held_out=True)
    known = rows["y"] != inverse.LEFT_OUT
    learned, everything = subspace(rows["x"][known]), subspace(rows["x"])
    untrained = subspace(torch.randn(100, 1, 8, 8, generator=source()), 3)
    left_out = subspace(rows["x"][~known])

    def run(
        generator: Callable[[Tensor], Tensor] = learned, near: float = 1e-5, again: Any = None
    ) -> tuple[Check, ...]:
        play = Maps(reconstruct=again or generator, start_errors=lambda x: torch.full((len(x), 4), near))
        samples = generator(test["x"][:48]) + 1e-3 * torch.randn(48, 1, 8, 8, generator=source(1))
        return inverse._checks([inverse._found(play, play, samples, test)])  # type: ignore[arg-type]

    wrong: dict[str, dict[str, Any]] = {
        "starts that miss": {"near": 1.0}, "an untrained generator": {"generator": untrained},
        "the class was not left out": {"generator": everything}, "another class was": {"generator": left_out},
        "nearly the identity": {"again": lambda x: x + 1e-3}, "the mean": {"again": lambda x: 0 * x},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("arora2018_birthday")
def test_supports_that_are_not_the_square_of_the_batch() -> None:
    def run(times: int = 1) -> tuple[Check, ...]:
        return birthday._of_known({n: birthday._first_half(times * n) for n in (100, 1000)})

    def adjacent(row: Tensor) -> Tensor:
        return torch.cat([row[1:] == row[:-1], torch.tensor([True])]).int().argmax() + 2

    plants = {
        "a repeat of the first only": instead(
            birthday, "_first_repeat", lambda _: lambda row: (row == row[0]).int()[1:].argmax() + 2
        ),
        "neighbours only": instead(birthday, "_first_repeat", lambda _: adjacent),
        "the square root": instead(birthday, "birthday_batch", lambda _: lambda n: round(n**0.5)),
        "without the logarithm": instead(birthday, "collision_probability", lambda _: lambda s, n: s * s / (2 * n)),
    }
    assert unseen(run, plants) == []
    assert held(run, {"four times the support": {"times": 4}}) == []


@pytest.mark.plants("arora2018_birthday")
def test_repeats_that_do_not_show_a_collapse() -> None:
    points = torch.randn(1000, 32, generator=source())
    few = points[torch.randint(6, (1000,), generator=source())]
    atoms = torch.randn(4000, 32, generator=source(1))
    many = atoms[torch.randint(4000, (1000,), generator=source(2))]

    def run(healthy: Tensor = points, collapsed: Tensor = few, near: float = 1e-3) -> tuple[Check, ...]:
        tests = {"healthy": healthy, "collapsed": collapsed}
        return birthday._of_trained({name: [support(rows, near)] for name, rows in tests.items()})

    wrong = {
        "both collapse": {"healthy": few}, "neither does": {"collapsed": points},
        "exchanged": {"healthy": few, "collapsed": points},
        "hardly collapsed": {"collapsed": many}, "hardly healthy": {"healthy": points[:100].repeat(10, 1)},
        "all points are near": {"near": 100.0}, "untrained": {"healthy": 1e-5 * points},
    }  # fmt: skip
    assert held(run, wrong) == []  # type: ignore[arg-type]


@pytest.mark.plants("makhzani2015_codes")
@pytest.mark.parametrize("name", matched.PRIORS)
def test_codes_of_another_law(name: str) -> None:
    data, prior = load("digits"), matched.PRIORS[name]
    other = next(law for law in matched.PRIORS.values() if law is not prior)

    def match(codes: Callable[[int], Tensor]) -> matched.Match:
        game: Any = SimpleNamespace(
            draw=lambda batch: batch, encode=lambda draw: codes(len(draw["x"])),
            get_submodule=lambda name: lambda z: torch.zeros(len(z), 1, 8, 8),
        )  # fmt: skip
        return matched._match(game, data, prior)

    def run(
        with_it: Callable[[int], Tensor] = prior.codes, without: Callable[[int], Tensor] = other.codes
    ) -> tuple[Check, ...]:
        return matched._checks({name: ([match(with_it)], match(without))})

    wrong = {
        "the other prior": {"with_it": other.codes}, "one point": {"with_it": lambda n: 0 * prior.codes(n)},
        "moved": {"with_it": lambda n: prior.codes(n) + prior.codes(n).std()},
        "half as wide": {"with_it": lambda n: prior.codes(n) / 2},
        "rows in a ring": {"with_it": lambda n: torch.nn.functional.normalize(prior.codes(n))},
        "the control as well": {"without": prior.codes}, "exchanged": {"with_it": other.codes, "without": prior.codes},
    }  # fmt: skip
    assert held(run, wrong) == []  # type: ignore[arg-type]


@pytest.mark.plants("liu2016_digits")
def test_pairs_that_do_not_correspond() -> None:
    x = digits(200)["x"]
    other = x[torch.randperm(200, generator=source())]

    def run(tied: tuple[Tensor, Tensor] = (x, -x), untied: tuple[Tensor, Tensor] = (x, -other)) -> tuple[Check, ...]:
        return coupled._checks(coupled._look([tied]), coupled._look([untied]))

    one = x[:1].repeat(200, 1, 1, 1)
    wrong = {
        "not tied": {"tied": (x, -other)}, "the same sign": {"tied": (x, x)}, "one pair": {"tied": (one, -one)},
        "tied in both": {"untied": (x, -x)}, "exchanged": {"tied": (x, -other), "untied": (x, -x)},
        "half of them tied": {"untied": (x, torch.cat([-x[:100], -other[100:]]))},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.fixture(scope="module")
def judge() -> Callable[[Tensor], Tensor]:
    """The class of the nearest training digit."""
    rows = digits(1400)
    return lambda x: rows["y"][torch.cdist(x.flatten(1), rows["x"].flatten(1)).argmin(1)]


@pytest.mark.plants("zhu2017_digits")
def test_translators_that_lose_the_digit_or_the_way_back(judge: Callable[[Tensor], Tensor]) -> None:
    rows = digits(150, held_out=True)
    rows["other"] = -digits(150)["x"]

    def end(there: Callable[[Tensor], Tensor], again: Callable[[Tensor], Tensor] = lambda x: x) -> cycle.End:
        play: Any = Maps(to_other=there, to_x=there, reconstruct=again, reconstruct_other=again)
        return cycle._lost(play, rows), cycle._kept(play, rows, SimpleNamespace(predict=judge))  # type: ignore[arg-type]

    def noised(x: Tensor) -> Tensor:
        return -x + 0.7 * torch.randn(x.shape, generator=source())

    def run(with_it: cycle.End | None = None, without: cycle.End | None = None) -> tuple[Check, ...]:
        return cycle._checks([with_it or end(lambda x: -x)], [without or end(noised, noised)])

    wrong = {
        "the identity": {"with_it": end(lambda x: x)}, "a constant": {"with_it": end(lambda x: 0 * x, lambda x: 0 * x)},
        "other digits": {"with_it": end(lambda x: -x.roll(1, 0))},
        "no way back": {"with_it": end(lambda x: -x, lambda x: 0 * x)},
        "upside down": {"with_it": end(lambda x: -x.flip(2))},
        "the control keeps as many": {"without": end(lambda x: -x)},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("makhzani2015_labels")
def test_labels_that_are_not_found(judge: Callable[[Tensor], Tensor]) -> None:
    """The seed's training with plays that know the classes, or guess them."""
    data, test = load("digits"), digits(180, held_out=True)
    rows = digits(1400)
    examples = {k: rows["x"][rows["y"] == k] for k in range(10)}

    class Known:
        """It errs on a given share of rows, and draws digits of the class asked for."""

        def __init__(self, error: float, shift: int = 0) -> None:
            self.error, self.shift, self.round = error, shift, 0

        def advance(self, rounds: int) -> None:
            self.round += rounds

        def apply(self, name: str, given: dict[str, Tensor]) -> Tensor:
            lost = torch.arange(len(given["y"])) < self.error * len(given["y"])
            return torch.where(lost, (given["y"] + 1) % 10, given["y"])

        def sample(self, n: int, seed: int, classes: Tensor) -> Tensor:
            return examples[(int(classes[0]) + self.shift) % 10][:n]

    def run(error: float = 0.1, control: float = 0.25, shift: int = 0) -> tuple[Check, ...]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(labels, "_play", lambda data, seed, rounds, alone: Known(control if alone else error, shift))
            found = labels._train(data, SimpleNamespace(predict=judge), 0, 6)  # type: ignore[arg-type]
        return labels._checks([found])

    assert len(test["y"]) == 180
    wrong = {
        "untrained": {"error": 0.9, "control": 0.9}, "no better than the control": {"error": 0.25},
        "hardly better": {"error": 0.22}, "worse": {"error": 0.3, "control": 0.25},
        "names in another order": {"shift": 1},
        "a bad control": {"error": 0.3, "control": 0.9},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("radford2016_features")
def test_features_that_are_no_better_than_pixels() -> None:
    """Rows of two classes that no line tells apart, except by a feature."""
    x = torch.rand(240, 1, 8, 8, generator=source()) * 2 - 1
    side = (x[:, 0, :4].mean((1, 2)) * x[:, 0, 4:].mean((1, 2)) > 0).long()
    product = (x[:, 0, :4].mean((1, 2)) * x[:, 0, 4:].mean((1, 2)))[:, None]
    pixels = x.flatten(1)

    def score(rows: Tensor, y: Tensor = side) -> float:
        return features._score(rows[:120], rows[120:], y[:120], side[120:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "CONSTANTS", (1e-2, 1e-1))
        alone = score(pixels)
        both = torch.cat([pixels, 20 * product], 1)

        def run(found: float | None = None) -> tuple[Check, ...]:
            return features._checks(alone, [score(product) if found is None else found])

        net = ConvPair(width=4, norm="batch").discriminator((1, 16, 16)).eval()
        for parameter in net.parameters():
            torch.nn.init.zeros_(parameter)
        dead = features.features(net, torch.nn.functional.interpolate(x, scale_factor=2))
        wrong = {
            "pixels": {"found": alone}, "dead convolutions": {"found": score(dead)},
            "labels in another order": {"found": score(product, side[torch.randperm(240, generator=source(1))])},
        }  # fmt: skip
        assert both.shape[1] == 65 and held(run, wrong) == []


def strokes(code: Tensor) -> Tensor:
    """Digits of one stroke, whose first two numbers are its thickness and its slant, ``(n, 1, 16, 16)``."""
    down, across = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    middle = 7.5 - 0.5 * code[:, 1, None, None].clamp(-1.5, 1.5) * (down - 7.5)
    width = 1.5 + 0.5 * code[:, 0, None, None].clamp(-2, 2)
    return (2 * (1 - ((across - middle).abs() / width)).clamp(0, 1) - 1)[:, None]


@pytest.mark.plants("radford2016_arithmetic")
def test_arithmetic_that_does_not_add_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes whose attributes are clear in their mean only: each is read with a disturbance of its own."""
    monkeypatch.setattr(arithmetic, "TRIALS", 40)
    latent = torch.randn(1500, 12, generator=source())
    real = arithmetic.attributes(strokes(latent))
    turn = torch.linalg.qr(torch.randn(12, 12, generator=source(3))).Q

    def bent(play: object, code: Tensor) -> Tensor:
        """Attributes of a code, disturbed by waves that grow with its other numbers."""
        waves = 0.9 * (3 * code[:, 2:4]).sin() * code[:, 4:].square().mean(1, keepdim=True)
        return strokes(torch.cat([code[:, :2] + waves, code[:, 2:]], 1))

    def untrained(play: object, code: Tensor) -> Tensor:
        return strokes(2 * (40 * code @ turn).sin())

    def run(generator: Callable[..., Tensor] = bent, signs: str = "right", pools: str = "own") -> tuple[Check, ...]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arithmetic, "generated", generator)
            if signs == "wrong":
                exchanged = instead(arithmetic, "sums", lambda real: lambda at: [(b, a, c) for a, b, c in real(at)])
                exchanged(patch)
            if pools == "random":
                patch.setattr(arithmetic, "KINDS", ("random codes", "single codes", "means of three"))
            shares, _ = arithmetic._measured(None, real, latent, source(1))  # type: ignore[arg-type]
        return arithmetic._checks([shares])

    wrong = {
        "untrained": {"generator": untrained},
        "a sum for a difference": {"signs": "wrong"},
        "exchanged": {"pools": "random"},
    }
    assert held(run, wrong) == []


# Translations and pyramids -------------------------------------------------------------------------------------------


@pytest.mark.plants("isola2017_emoji")
def test_translations_that_are_not_sharper() -> None:
    rows = digits(100)
    rows["other"] = rows["x"]
    soft = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def sharpness(translate: Callable[[Tensor], Tensor]) -> float:
        return emoji._sharpness(Maps(translate=translate), rows)  # type: ignore[arg-type]

    def run(
        translate: Callable[[Tensor], Tensor] = lambda x: x, plain: Callable[[Tensor], Tensor] = soft
    ) -> tuple[Check, ...]:
        own = emoji._own(translate(rows["x"]), rows)
        return emoji._checks([sharpness(translate)], [sharpness(plain)], [own])

    noise = torch.rand(rows["x"].shape, generator=source())
    wrong: dict[str, dict[str, Any]] = {
        "blurred as well": {"translate": soft}, "both are sharp": {"plain": lambda x: x},
        "exchanged": {"translate": soft, "plain": lambda x: x}, "noise": {"translate": lambda x: x + 2 * noise},
        "one colour": {"translate": lambda x: 0 * x},
        "sharp images of other rows": {"translate": lambda x: x.roll(5, 0)},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("zhao2020_few")
def test_few_images_that_are_known_by_heart_all_the_same() -> None:
    x = digits(300)["x"]
    train, kept = x[:100], x[100:]
    near = kept + 0.1 * torch.randn(kept.shape, generator=source())
    Score = Callable[[Tensor], Tensor]

    def of(train_score: float, held_score: float) -> Score:
        """Scores of training images, of held-out ones, and 0 of anything else."""

        def score(images: Tensor) -> Tensor:
            from_train, from_kept = (
                torch.cdist(images.flatten(1), own.flatten(1)).amin(1) < 1e-3 for own in (train, kept)
            )
            return train_score * from_train.float() + held_score * (from_kept & ~from_train).float()

        return score

    general, by_heart = of(1.0, 0.8), of(1.0, 0.0)

    def run(
        changed: Score = general, plain: Score = by_heart, covers: Tensor = near, control: Tensor = near[:60]
    ) -> tuple[Check, ...]:
        own, other = few.look(changed, train, kept, covers), few.look(plain, train, kept, control)
        return few._checks({True: [own], False: [other]}, quick=False)

    wrong: dict[str, dict[str, Any]] = {
        "by heart in both": {"changed": by_heart}, "by heart in neither": {"plain": general},
        "exchanged": {"changed": by_heart, "plain": general}, "no more is covered": {"control": near},
        "one image": {"covers": near[:1].expand(len(near), -1, -1, -1)},
    }  # fmt: skip
    assert held(run, wrong) == []


@pytest.mark.plants("denton2015_pyramid")
def test_a_pyramid_whose_bands_are_not_those_of_the_image() -> None:
    x, others = digits()["x"][:60], digits()["x"][60:]
    real, plain = ([part.double() for part in pyramid.parts(images, 1)] for images in (x, others))
    small = plain[0][:, None]
    noise = 0.1 * torch.randn(8, *real[1].shape, generator=source(), dtype=torch.float64)

    def trial(bands: Tensor, fixed: float = 0.0, fresh: float = 0.4, error: float = 1e-7) -> tuple[Check, ...]:
        windows = {
            "pyramid": [small, bands], "enlarged": [small, *pyramid.enlarged_details(x, 1)],
            "plain GAN": [small, plain[1][:, None]],
        }  # fmt: skip
        each = {name: pyramid.log_densities(centres, real) for name, centres in windows.items()}
        return pyramid._checks([pyramid.Trial(each, {}, {"fresh": [fresh], "fixed": [fixed]}, error, {}, [])])

    def run(bands: Tensor | None = None, **more: float) -> tuple[Check, ...]:
        return trial(real[1] + noise if bands is None else bands, **more)

    wrong: dict[str, dict[str, Any]] = {
        "bands of other images": {"bands": (real[1] + noise).roll(1, 1)},
        "no bands": {"bands": pyramid.enlarged_details(x, 1)[0]},
        "the wrong sign": {"bands": -real[1] + noise}, "untrained": {"bands": 20 * noise},
        "noise that does nothing": {"fresh": 0.0}, "noise that is not held": {"fixed": 0.4},
        "no inverse": {"error": 0.1},
    }  # fmt: skip
    assert held(run, wrong) == []
