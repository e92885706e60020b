"""What the doctor makes of what it reads in the training step: findings, their order, the loss, late failures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audited_faults import FixedCondition, NotDetached, SlopeOfTheMean, Swapped
from audited_loops import REAL, STYLES, Inverted, Pair
from equilibria.doctor import Diagnosis, DiagnosisText, Doctor, State, watch
from equilibria.doctor.audit import Reading
from equilibria.doctor.chart import Chart, Checkup
from equilibria.doctor.conclude import findings_of
from equilibria.doctor.conditions.record import RECORD
from equilibria.doctor.findings import Confidence
from equilibria.doctor.objective import Declared
from equilibria.doctor.space import space_of
from equilibria.doctor.watch import Watch
from equilibria.losses import Minimax, NonSaturating, Wasserstein


def attached(step: Any, **options: Any) -> Doctor:
    doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3, **options)
    for turn in range(1, 31):
        step()
        doctor.check(turn)
    return doctor


@pytest.mark.parametrize(
    ("made", "condition"),
    [
        (Swapped, "swapped-labels"),
        (SlopeOfTheMean, "penalty-of-wrong-norm"),
        (NotDetached, "other-players-gradient"),
    ],
)
def test_the_cause_comes_first_and_is_certain(made: type[Pair], condition: str) -> None:
    torch.manual_seed(0)
    found = attached(made()).diagnose()
    first = found.findings[0]
    assert (first.condition, first.confidence, first.onset) == (condition, Confidence.CERTAIN, 10)
    assert first.read and not first.evidence and first.remedies
    assert not found.measured, "nothing has to be tried to find a cause"
    assert f"certain   read in the training step: {first.read[:30]}" in str(found)


def test_a_label_that_is_always_the_same_is_found_with_labels_of_the_rows() -> None:
    torch.manual_seed(0)
    step = FixedCondition()
    doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3, labels=(REAL[:, 0] > 0).long())
    for turn in range(1, 21):
        step()
        doctor.check(turn)
    assert doctor.diagnose().findings[0].condition == "condition-fixed"


def test_a_sound_loop_needs_no_declaration() -> None:
    torch.manual_seed(0)
    doctor = attached(Pair())
    found = doctor.diagnose()
    assert isinstance(doctor.chart.objective.pair, NonSaturating) and not found.active
    assert not {"objective", "optimizers"} & {one.argument for one in found.not_assessed}
    assert isinstance(attached(STYLES["GradientPenalty"]()).chart.objective.pair, Wasserstein)


def test_another_loss_than_was_declared_is_a_finding() -> None:
    torch.manual_seed(0)
    declared = attached(Pair(), objective="hinge")
    assert type(declared.chart.objective.pair).__name__ == "Hinge"
    first = declared.diagnose().active[0]
    assert first.condition == "objective-disagrees" and first.confidence is Confidence.CERTAIN
    assert "nonsaturating" in first.read and "hinge" in first.read
    for told in ("nonsaturating", "saturating", "relativistic"):
        found = attached(Pair(), objective=told).diagnose()
        assert "objective-disagrees" not in {one.condition for one in found.findings}


def test_a_saturating_loss_is_read() -> None:
    class Saturating(Pair):
        def loss_g(self, fake: Tensor) -> Tensor:
            return -F.softplus(fake).mean()

    torch.manual_seed(0)
    assert isinstance(attached(Saturating()).chart.objective.pair, Minimax)


def test_a_discriminator_whose_gradient_is_0_is_stepped() -> None:
    class Flat(Pair):
        def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
            return super().loss_d(real, fake) * (0.0 if self.flat else 1.0)

        flat = False

    torch.manual_seed(0)
    step = Flat()
    doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3)
    for turn in range(1, 61):
        step.flat = turn > 24
        if step.flat:
            step.d = torch.optim.SGD(step.discriminator.parameters(), 1e-3)
        step()
        doctor.check(turn)
    found = doctor.chart.last.readings.get("discriminator-never-updated")
    assert found is None or not found.holds


def test_a_jump_of_a_rate_comes_before_what_began_with_it() -> None:
    chart = Chart(space_of(REAL, 0), Declared())
    since = {"no-gradient-path": 30, "learning-rate-jump": 30, "swapped-labels": 10}
    for step in (10, 20, 30, 40, 50):
        chart.checkups.append(
            Checkup(step, {}, readings={n: Reading(n, True, "read") for n in since if step >= since[n]})
        )
    assert [f.condition for f in findings_of(chart)] == ["swapped-labels", "learning-rate-jump", "no-gradient-path"]


def test_a_hinge_inside_its_margin_is_no_linear_loss() -> None:
    class Margin(Pair):
        def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
            return F.relu(1 - real).mean() + torch.clamp(1 + fake, min=0).mean()

        def loss_g(self, fake: Tensor) -> Tensor:
            return -fake.mean()

    torch.manual_seed(0)
    step = Margin()
    assert float(step.discriminator(REAL).detach().abs().max()) < 1
    doctor = attached(step)
    assert type(doctor.chart.objective.pair).__name__ == "Hinge" and not doctor.chart.objective.wasserstein


def test_in_the_inverted_convention_scores_are_turned_round() -> None:
    scores: list[Tensor] = []
    for made in (Pair, Inverted):
        torch.manual_seed(0)
        step = made()
        doctor = attached(step)
        assert doctor.subject.inverted is (made is Inverted)
        scores.append(doctor.subject.score(REAL[:50]))
        raw = step.discriminator(REAL[:50]).flatten()
        assert torch.equal(scores[-1], -raw if made is Inverted else raw)


def test_readings_are_stored_exactly() -> None:
    torch.manual_seed(0)
    doctor = attached(Swapped())
    rows = [json.loads(json.dumps(c.to_dict())) for c in doctor.chart.checkups]
    again = [Checkup.from_dict(row) for row in rows]
    assert [c.readings for c in again] == [c.readings for c in doctor.chart.checkups] and again[-1].readings
    del rows[0]["readings"]  # as earlier versions wrote them
    assert not Checkup.from_dict(rows[0]).readings
    found = doctor.diagnose().to_dict()
    assert str(DiagnosisText(json.loads(json.dumps(found)))) == str(doctor.diagnose())


def test_what_is_ruled_out_is_not_found_by_measurement() -> None:
    """The same measurements with and without a reading that says no."""
    torch.manual_seed(0)
    doctor = attached(Swapped())
    chart = Chart(space_of(REAL, 0), Declared())
    vitals = {"wiring/still-generator": 1.0, "gradient/declared": 1.0}
    chart.checkups = [Checkup(10 * i, vitals) for i in range(1, 4)]
    assert [f.condition for f in findings_of(chart)] == ["generator-never-updated"]
    assert findings_of(chart)[0].record == RECORD["generator-never-updated"]
    reading = doctor.chart.last.readings["generator-never-updated"]
    assert not reading.holds
    chart.checkups = [Checkup(c.step, c.vitals, readings={"generator-never-updated": reading}) for c in chart.checkups]
    assert not findings_of(chart)


def test_measured_findings_beside_a_certain_cause_are_its_effects() -> None:
    torch.manual_seed(0)
    reading = attached(Swapped()).chart.last.readings["swapped-labels"]
    chart = Chart(space_of(REAL, 0), Declared())
    vitals = {"numbers/largest": 1e9}
    chart.checkups = [Checkup(10 * i, vitals, readings={"swapped-labels": reading}) for i in range(1, 4)]
    cause, effect = findings_of(chart)
    assert (cause.condition, effect.condition) == ("swapped-labels", "overflow")
    assert effect.effect_of == "swapped-labels" and effect.confidence is Confidence.POSSIBLE
    text = str(DiagnosisText(Diagnosis(State.SICK, (cause, effect), step=30, checkups=3).to_dict()))
    assert "probably of the same cause: overflow (step 10)" in text and text.count("why ") == 1


@pytest.mark.parametrize("since", [10, 30])
def test_numbers_that_are_not_finite_come_after_a_cause_that_was_there_before(since: int) -> None:
    torch.manual_seed(0)
    reading = attached(Swapped()).chart.last.readings["swapped-labels"]
    chart = Chart(space_of(REAL, 0), Declared())
    for step in (10, 20, 30, 40):
        read = {"swapped-labels": reading} if step >= since else {}
        chart.checkups.append(Checkup(step, {"numbers/parameters": float(step >= 20)}, readings=read))
    names = [f.condition for f in findings_of(chart)]
    assert names == (["swapped-labels", "not-a-number"] if since == 10 else ["not-a-number", "swapped-labels"])


def test_three_findings_are_printed_in_full() -> None:
    torch.manual_seed(0)
    one = attached(Swapped()).diagnose().to_dict()["findings"][0]
    rows = [{**one, "condition": f"condition-{i}"} for i in range(5)]
    text = str(DiagnosisText({"state": "sick", "step": 30, "checkups": 3, "seconds": 1.0, "findings": rows}))
    assert text.count("why ") == 3 and "further       condition-3 (step 10, active), condition-4" in text


def test_lists_of_modules_say_that_the_step_is_not_read() -> None:
    trunk, head = nn.Linear(6, 8), nn.Linear(8, 1)
    both = nn.ModuleList([trunk, head])
    call = {"discriminator": lambda x, y: head(trunk(x))}
    doctor = Doctor(nn.Linear(3, 6), both, real=REAL, latent=3, call=call)
    doctor.check(10)
    assert any("the training step" in str(one) for one in doctor.diagnose().not_assessed)


# Late failures


@pytest.fixture
def close_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulses from step 60 on, four steps apart, so that a short run has as many as a long one."""
    monkeypatch.setattr(watch, "_FIRST", 60)
    monkeypatch.setattr(watch, "_APART", 4)


def played(change: Callable[[Pair], None] | None) -> Doctor:
    torch.manual_seed(0)
    step = Pair(n=32)
    doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3)
    doctor._watch = Watch(upcoming=60)
    for turn in range(1, 211):
        if turn == 155 and change is not None:
            change(step)
        step()
        doctor.check(turn)
    return doctor


@pytest.mark.usefixtures("close_pulses")
def test_a_jump_of_a_rate_is_found_soon_after_it() -> None:
    def faster(step: Pair) -> None:
        step.g.param_groups[0]["lr"] = 0.3

    doctor = played(faster)
    first = doctor.diagnose().findings[0]
    assert first.condition == "learning-rate-jump" and 155 <= first.onset <= 175
    assert sum(c.step >= 155 for c in doctor.chart.checkups) >= 4


@pytest.mark.usefixtures("close_pulses")
def test_a_player_that_stops_is_found_soon_after_it() -> None:
    def frozen(step: Pair) -> None:
        step.d.param_groups[0]["lr"] = 0.0

    first = played(frozen).diagnose().findings[0]
    assert first.condition == "discriminator-never-updated" and 155 <= first.onset <= 210


@pytest.mark.usefixtures("close_pulses")
def test_nothing_is_brought_forward_in_a_healthy_run() -> None:
    doctor = played(None)
    assert [c.step for c in doctor.chart.checkups][-4:] == [105, 126, 152, 183] and not doctor.diagnose().active


def test_the_watch_is_rarely_off_on_noise_and_sure_on_a_jump() -> None:
    """Independent draws of two laws, one with heavy tails: how often a jump is seen; and a shift by 20 spreads."""
    draw = torch.Generator().manual_seed(0)
    alarms = 0
    for _ in range(50):
        normal = torch.randn(200, 6, generator=draw)
        quiet = Watch()
        for row in torch.cat([normal, normal.flip(1).pow(3) / 4], 1).tolist():
            alarms += quiet.take({str(i): value for i, value in enumerate(row)})
    assert alarms <= 30  # of 10,000 pulses
    loud = Watch()
    assert not any(loud.take({"a": math.sin(i)}) for i in range(20))
    assert not loud.take({"a": 20.0}) and loud.take({"a": 21.0})
    assert not any(loud.take({"a": math.sin(i)}) for i in range(20))
    assert not loud.take({"a": 20.0}) and not loud.take({"a": -20.0}) and not loud.take({"a": 0.0})
    assert not loud.take({"a": math.nan}) and loud.take({"a": math.nan})


@pytest.mark.parametrize("training", [True, False])
def test_a_check_up_between_a_forward_and_its_backward_pass_breaks_nothing(training: bool) -> None:
    norm = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6)).train(training)
    step = Pair(generator=norm)
    gradients = []
    for checked in (False, True):
        torch.manual_seed(0)
        doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3)
        loss = step.loss_g(step.discriminator(step.generator(step.z())))
        if checked:
            doctor.look(10)
        step.g.zero_grad()
        loss.backward()
        gradients.append([p.grad.clone() for p in step.generator.parameters() if p.grad is not None])
    assert gradients[0] and all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_where_the_formula_is_not_seen_a_hinge_is_not_taken_for_a_linear_loss() -> None:
    class ByHand(Pair):
        """Gradients are taken by ``torch.autograd.grad`` and put into ``.grad``."""

        def __call__(self) -> None:
            x, fake = self.x(), self.generator(self.z())
            on, off = self.discriminator(x), self.discriminator(fake.detach())
            self.step(self.discriminator, self.d, F.relu(1 - on).mean() + F.relu(1 + off).mean())
            self.step(self.generator, self.g, -self.discriminator(fake).mean())

        def step(self, net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
            own = list(net.parameters())
            for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
                p.grad = g
            optimizer.step()

    torch.manual_seed(0)
    found = attached(ByHand(), objective="hinge")
    assert not found.diagnose().active
    torch.manual_seed(0)
    assert not attached(ByHand()).chart.objective.wasserstein
