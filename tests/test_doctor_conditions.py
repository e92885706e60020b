"""Conditions of training, in charts made by hand: each beside a chart that differs in one number and has no finding."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call

from audited_loops import REAL, STYLES, Critic, Pair, audited, holds
from equilibria.doctor.audit import Audit, Reading
from equilibria.doctor.audit.average import average_reading
from equilibria.doctor.chart import Chart, Checkup
from equilibria.doctor.conclude import _caused, findings_of
from equilibria.doctor.findings import Confidence, Finding, Severity
from equilibria.doctor.objective import Declared
from equilibria.doctor.space import space_of
from equilibria.doctor.vitals.samples import closeness_to_seen, ranges
from equilibria.losses import NonSaturating

SOUND = {
    **{"samples/distance": 0.5, "samples/spread": 0.6, "samples/size": 0.8, "cells/missing": 0.0, "probe/auc": 0.99},
    **{"scores/auc": 0.8, "scores/spread": 0.5, "scores/certainty": 1.0, "slopes/between": 0.5, "slopes/largest": 1.0},
    **{"gradient/declared": 0.5, "gradient/nonsaturating": 0.5, "gradient/snr": 20.0, "gradient/agreement": 0.95},
    **{"motion/generator": 2e-3, "motion/discriminator": 2e-3, "latent/dependence": 0.5, "wiring/gain": 0.02},
    **{"samples/low": -2.0, "samples/high": 2.0, "real/low": -2.0, "real/high": 2.0, "samples/at-edge": 0.01},
    **{"real/outside": 0.0, "real/at-edge": 0.01, "real/column-offset": 0.5, "real/column-ratio": 2.0},
    **{"samples/closer": 1.0, "samples/closer-by-chance": 0.8, "scores/seen-unseen-auc": 0.5},
    **{"size/generator": 1.0, "size/discriminator": 1.0, "numbers/parameters": 0.0, "numbers/outputs": 0.0},
}
Series = float | list[float]


def found(count: int = 20, penalty: float = 0.0, share: float = 1.0, **series: Series) -> list[str]:
    """Conditions of a chart; ``_`` in a name is ``/``, ``__`` is a hyphen."""
    chart = Chart(space_of(REAL, 0), Declared(NonSaturating()), {"floor/distance": 0.05})
    for i in range(count):
        # far from the data and steadily coming closer: no other condition holds
        values = SOUND | {"samples/distance": 0.9 * 0.96**i}
        for name, value in series.items():
            key = name.replace("__", "-").replace("_", "/")
            values[key] = value[i % len(value)] if isinstance(value, list) else value
        read = {"penalty-of-wrong-norm": {"weight": penalty}, "adversarial-term-missing": {"share": share}}
        readings = {name: Reading(name, False, numbers=own) for name, own in read.items() if any(own.values())}
        chart.checkups.append(Checkup(10 * (i + 1), values, readings=readings))
    return [f.condition for f in findings_of(chart) if f.status == "active"]


def test_a_sound_chart_has_no_finding() -> None:
    assert found() == []


def test_a_generator_that_hardly_moves_while_the_other_wins() -> None:
    assert found(scores_auc=0.97, motion_generator=2e-5)[:1] == ["discriminator-too-strong"]
    assert found(scores_auc=0.97) == [], "the generator moves"
    assert found(motion_generator=2e-5) == [], "the discriminator does not win"


def test_a_discriminator_that_moves_a_tenth_as_fast_and_ranks_rows_wrong() -> None:
    assert found(scores_auc=0.3, motion_discriminator=2e-4)[:1] == ["discriminator-too-weak"]
    assert "discriminator-too-weak" not in found(scores_auc=0.3)
    near = [0.35] * 20  # far, and not very far
    assert found(scores_auc=0.4, motion_discriminator=2e-4, samples_distance=near)[:1] == ["discriminator-too-weak"]
    assert found(scores_auc=0.7, motion_discriminator=2e-4, samples_distance=near) == []


def test_a_discriminator_that_cannot_separate_rows_even_alone() -> None:
    assert found(learn_discriminator=0.6, scores_auc=0.7)[:1] == ["discriminator-too-weak"]
    assert found(learn_discriminator=0.95, scores_auc=0.7) == []


def test_players_that_lead_in_turn_are_not_a_weak_discriminator() -> None:
    turns = {"scores_auc": [0.1, 0.3, 0.6, 0.9, 0.6, 0.2], "samples_distance": 0.8}
    assert "discriminator-too-weak" not in found(**turns)
    assert "discriminator-too-weak" in found(scores_auc=0.4, samples_distance=0.8)


def test_a_score_that_a_penalty_has_flattened() -> None:
    assert found(penalty=500.0, scores_spread=0.004)[:1] == ["lipschitz-too-tight"]
    assert "lipschitz-too-tight" not in found(scores_spread=0.004), "no penalty was read"
    assert "lipschitz-too-tight" not in found(penalty=0.5, scores_spread=0.004), "it is flat for another reason"
    assert "lipschitz-too-tight" not in found(penalty=500.0)


def test_the_weight_of_a_penalty_is_read() -> None:
    torch.manual_seed(0)
    read = {r.condition: r for r in audited(STYLES["GradientPenalty"]()).readings}
    assert read["penalty-of-wrong-norm"].numbers["weight"] == pytest.approx(10, rel=1e-3)


def test_one_batch_that_has_another_gradient_than_large_batches() -> None:
    # the cosine 0.6 is a signal over noise of 0.56, that of large batches is 20
    assert found(gradient_agreement=0.6)[:1] == ["noisy-generator-gradient"]
    assert found(gradient_agreement=0.6, gradient_snr=2.0) == [], "large batches are noisy too"
    assert found(gradient_agreement=-0.6) == [], "another direction is no noise"
    assert found(gradient_agreement=0.6, share=0.5) == [], "the loop's gradient is that of other terms too"


def test_the_share_of_the_adversarial_term_is_read() -> None:
    class Drawn(Pair):
        def loss_g(self, fake: Tensor) -> Tensor:
            return super().loss_g(fake) + self.weight * self.made.abs().mean()

        def __post_init__(self) -> None:
            super().__post_init__()
            self.weight = 1.0
            self.generator.register_forward_hook(lambda net, given, made: setattr(self, "made", made))

    def share(step: Pair) -> float:
        return {r.condition: r for r in audited(step).readings}["adversarial-term-missing"].numbers["share"]

    torch.manual_seed(0)
    assert share(Pair()) == pytest.approx(1, abs=1e-5)
    assert 0.02 < share(Drawn()) < 0.9


def test_samples_that_are_closer_to_the_seen_rows_than_rows_of_the_law() -> None:
    assert found(samples_closer=0.6)[:1] == ["discriminator-overfitted"]
    assert found(samples_closer=0.6, **{"samples_closer__by__chance": 0.5}) == [], "chance with so few unseen rows"


def test_a_generator_that_cannot_come_closer_alone() -> None:
    assert found(learn_generator=0.4)[:1] == ["generator-lacks-capacity"]
    assert found(learn_generator=0.1) == []


def test_columns_with_another_origin_or_scale() -> None:
    for name in ("real_column__offset", "real_column__ratio"):
        assert found(**{name: 30.0})[:1] == ["data-range-mismatch"]
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    moved = ranges(x + torch.tensor([0.0, 10.0, 0.0]), x)
    assert moved["real/column-offset"] == pytest.approx(10, rel=0.1) and moved["real/column-ratio"] < 1.2
    assert ranges(x * torch.tensor([1.0, 50.0, 1.0]), x)["real/column-ratio"] == pytest.approx(50, rel=0.1)
    table = torch.cat([x, (torch.rand(400, 1) < 0.02).float()], 1)  # a rare value of a category
    assert ranges(table, table)["real/column-ratio"] < 20 and ranges(table, table)["real/column-offset"] < 5
    digits = torch.from_numpy(load_digits().data).float() / 8 - 1  # pixels near the border hardly vary
    assert ranges(digits, digits)["real/column-ratio"] < 20 and ranges(digits, digits)["real/column-offset"] < 5
    half = ranges(x * torch.tensor([1.0, 50.0, 50.0]), x)
    assert half["real/column-ratio"] < 2, "which columns are the odd ones is not known"


def test_codes_and_rows_that_are_scaled_away() -> None:
    assert found(latent_dependence=1e-5, samples_spread=0.001)[:1] == ["latent-ignored"]
    assert "latent-ignored" not in found(latent_dependence=[1e-5] * 15 + [0.3] * 5), "it is used by now"
    assert "discriminator-blind" in found(scores_spread=[1e-7] * 12 + [1e-3] * 8)
    assert "discriminator-blind" not in found(scores_spread=[1e-7] * 6 + [1e-3] * 14), "only its start"


def test_dead_units_after_far_too_large_steps_are_their_effect() -> None:
    chart = Chart(space_of(REAL, 0), Declared(NonSaturating()), {"floor/distance": 0.05})
    for i in range(20):
        values = SOUND | {"samples/distance": 1.2, "scores/auc": 0.95, "motion/generator": 0.6 if i == 0 else 1e-3}
        readings = {"dead-units": Reading("dead-units", True, "all rows are equal")}
        chart.checkups.append(Checkup(10 * (i + 1), values, readings=readings))
    first, *others = findings_of(chart)
    dead = next(f for f in others if f.condition == "dead-units")
    assert first.condition == "divergence"
    assert (dead.effect_of, dead.confidence) == ("divergence", Confidence.PROBABLE)
    for checkup in chart.checkups:
        checkup.vitals["motion/generator"] = 1e-3
    assert findings_of(chart)[0].condition == "dead-units"


def test_a_blind_discriminator_is_the_effect_of_an_older_weakness_and_of_nothing_else() -> None:
    blind, weak = (
        Finding(name, Severity.CRITICAL, since, (), "", "")
        for name, since in (("discriminator-blind", 60), ("discriminator-too-weak", 20))
    )
    assert [f.effect_of for f in _caused([blind, weak])] == ["discriminator-too-weak", ""]
    assert [f.effect_of for f in _caused([blind, replace(weak, onset=60)])] == ["", ""], (
        "then the blind one comes first"
    )
    assert [f.effect_of for f in _caused([blind, replace(weak, status="resolved")])] == ["", ""]
    tight = replace(weak, condition="lipschitz-too-tight", onset=60)
    assert [f.effect_of for f in _caused([blind, tight])] == ["lipschitz-too-tight", ""]


def test_closeness_to_the_seen_rows_against_its_definition() -> None:
    draw = torch.Generator().manual_seed(3)
    seen, unseen, fake = (torch.randn(n, 2, generator=draw) for n in (30, 600, 300))
    space = space_of(seen)
    z = space(seen), space(unseen)
    ratio, deviation = closeness_to_seen(space, space(fake), *z)
    assert abs(ratio - 1) < 3 * deviation and 0 < deviation < 0.2
    near = seen[torch.randint(30, (300,), generator=draw)] + 0.01
    assert closeness_to_seen(space, space(near), *z)[0] < 0.6
    far = closeness_to_seen(space, space(fake + 3), *z)[0]
    assert far > 3
    alike = closeness_to_seen(space, z[1][:300], z[0], z[1][:2])  # two unseen rows: subsets of one
    assert math.isfinite(alike[0])


class OneNorm(Critic):
    """One norm of the slopes of all rows: within a step it is a zero-centred penalty of another weight."""

    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.norm()


class Growing(Critic):
    """A zero-centred penalty whose weight grows: its weights differ from step to step as well."""

    turn = 0

    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        self.turn += 1
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).sum(), m, create_graph=True)[0]
        return 0.1 * self.turn * slopes.square().sum(1).mean()


@pytest.mark.parametrize(("made", "wrong"), [(OneNorm, True), (Growing, False)])
def test_a_norm_of_the_whole_batch_is_told_from_a_weight_that_changes(made: type[Critic], wrong: bool) -> None:
    torch.manual_seed(0)
    step = made()
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, step.real)
    for _ in range(4):
        audit.arm()
        for _ in range(2):
            step()
        last = audit.read()
    assert last is not None
    one = next(r for r in last.readings if r.condition == "penalty-of-wrong-norm")
    assert one.holds is wrong
    assert not wrong or " 1" in one.text


@pytest.mark.parametrize("kept", ["running_var", "running_mean", "num_batches_tracked", ""])
def test_a_copy_that_lacks_a_part_of_the_statistics(kept: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))
    fresh = copy.deepcopy(net)
    for _ in range(5):
        net(torch.randn(16, 3) + 1)
    average = copy.deepcopy(net)
    norm = average[1]
    assert isinstance(norm, nn.BatchNorm1d) and isinstance(fresh[1], nn.BatchNorm1d)
    if kept:
        getattr(norm, kept).copy_(getattr(fresh[1], kept))
    held = {**dict(average.named_parameters()), **dict(average.named_buffers())}
    by_call = average_reading(lambda n: functional_call(fresh.eval(), held, torch.randn(n, 3)), net)
    found = average_reading(lambda n: average.eval()(torch.randn(n, 3)), net)
    assert by_call == found
    assert found is not None and found.holds is (kept in ("running_var", "running_mean")), "a count is in no output"


def test_a_rate_that_falls_below_rounding_is_no_missing_step() -> None:
    torch.manual_seed(0)
    step = Pair()
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, step.real)
    found: set[str] = set()
    for turn in range(6):
        audit.arm()
        for _ in range(2):
            step()
        last = audit.read()
        assert last is not None
        found = {one.condition for one in last.readings if one.holds}
        if turn == 2:
            for group in step.g.param_groups:
                group["lr"] = 1e-14
    assert found == {"step-below-rounding"}


def test_six_windows_of_a_sound_critic() -> None:
    torch.manual_seed(0)
    step = STYLES["GradientPenalty"]()
    assert not holds(audited(step, windows=6, real=step.real))
