"""One judgement of the doctor, the evaluation and the report: arrived only where no measure tells samples from data."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import equilibria
from equilibria.doctor import Doctor, State
from equilibria.doctor.conclude import state_of
from equilibria.doctor.conditions import View
from equilibria.doctor.diagnosis_text import DiagnosisText
from equilibria.doctor.findings import Diagnosis, Difference
from equilibria.metrics import Measured
from equilibria.recipes import recipe
from equilibria.training import Settings
from equilibria.training.checkups import differences, judge_again
from test_doctor_vitals import linear


def law(n: int, seed: int, shift: float = 0.0, width: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    return centres[torch.randint(3, (n,), generator=draw)] + width * torch.randn(n, 2, generator=draw) * 0.5 + shift


def view_of(seed: int, shift: float = 0.0, width: float = 1.0) -> View:
    """Four check-ups of a sampler that never changes; the discriminator beside it is none, and not examined here."""
    calls = iter(range(1000))

    def sampler(n: int) -> Tensor:
        return law(n, 1000 * seed + 500 + next(calls), shift, width)

    doctor = Doctor(linear(), linear(), real=law(4000, seed), sampler=sampler, seed=seed)
    for step in (1, 2, 3, 4):
        doctor.look(step)
    return View(doctor.chart, 3)


def test_a_perfect_sampler_has_arrived_and_one_that_is_near_has_not() -> None:
    perfect = [view_of(seed) for seed in range(8)]
    assert all(one.near for one in perfect)
    assert sum(not one.differences for one in perfect) >= 7, [one.differences for one in perfect]
    for shift, width in ((0.2, 1.0), (0.0, 0.7)):
        for found in (view_of(seed, shift, width) for seed in range(3)):
            assert found.near and found.differences, (shift, width, found.now.vitals)
            assert state_of(found.chart, ()) == (State.NEAR, found.differences)
    assert {state_of(one.chart, ())[0] for one in perfect if not one.differences} == {State.ARRIVED}
    moved = {one.measure for one in view_of(1, shift=0.3).differences}
    assert {"probe/auc", "samples/distance", "samples/coverage"} <= moved
    far = view_of(0, shift=2.0)
    assert not far.near and state_of(far.chart, ()) == (State.ON_THE_WAY, ())


@pytest.mark.parametrize(
    ("measured", "tells"),
    [
        (Measured(value=9.0, floor=2.2, spread=0.3, repeats=5), True),
        (Measured(value=3.6, floor=2.2, spread=0.3, repeats=5), False),  # 4.7 spreads of five repetitions
        (Measured(value=3.1, floor=2.2, spread=0.3), True),  # 3 computed spreads
        (Measured(value=0.9, floor=0.97, spread=0.01, higher=True), True),
        (Measured(value=0.99, floor=0.97, spread=0.01, higher=True), False),
        (Measured(value=0.001, floor=0.5, spread=0.29, unit="p-value", higher=True), True),
        (Measured(value=0.02, floor=0.5, spread=0.29, unit="p-value", higher=True), False),
        (Measured(value=float("nan"), floor=1.0, spread=0.1), True),
        (Measured(value=5.0), False),
        (Measured(value=1.0, floor=1.0), False),
    ],
)
def test_what_tells(measured: Measured, tells: bool) -> None:
    assert measured.tells is tells


def test_student_and_normal_limits_hold_their_level() -> None:
    """Draws of one law tell in 1 of 200 cases, with a spread of five of them and with the true one."""
    draws = torch.randn(40_000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    told = [0, 0]
    for value, *floors in draws[:8000].tolist():
        mean, spread = sum(floors) / 5, float(torch.tensor(floors).std())
        told[0] += Measured(value=value, floor=mean, spread=spread, repeats=5).tells
        told[1] += Measured(value=value, floor=0.0, spread=1.0).tells
    assert all(abs(count / 8000 - 0.005) < 0.0032 for count in told)  # 4 standard errors


def test_an_evaluation_that_tells_turns_arrived_into_near() -> None:
    arrived = Diagnosis(State.ARRIVED, (), step=5, checkups=3)
    apart = Difference("frechet", 9.0, 2.2, evaluated=True)
    assert arrived.beside(()) is arrived
    assert arrived.beside((apart,)).state is State.NEAR
    assert Diagnosis(State.SICK, ()).beside((apart,)).state is State.SICK
    text = DiagnosisText(arrived.beside((apart,)).to_dict())
    assert "frechet 9" in text.brief()[1] and "2.2" in str(text)


def test_the_folder_the_report_and_the_command_say_the_same(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = Settings(progress=False, device="cpu")
    run = equilibria.train(recipe("gan").with_settings({"batch": "16"}), "ring8-U", steps=2, out=out, settings=settings)
    stored: dict[str, Any] = json.loads((out / "diagnosis.json").read_text())
    bad = {"frechet": Measured(value=9.0, floor=2.2, spread=0.1, repeats=5), "w1": Measured(value=1.0, floor=1.0)}
    for state, evaluated, expected in (
        ("arrived", bad, "near"),
        ("near", {}, "arrived"),
        ("near", bad, "near"),
        ("sick", bad, "sick"),
        ("on the way", bad, "on the way"),
    ):
        judge_again(out, {**stored, "state": state, "findings": [], "step": 2}, 2, evaluated)
        if state in ("arrived", "near"):
            now = json.loads((out / "diagnosis.json").read_text())
            assert now["state"] == expected and [one["measure"] for one in now["differences"]] == list(evaluated)[:1]
    page = run.report().read_text()
    assert "frechet 9 (a perfect sampler: 2.2)" in page and "Near" in page
    assert "near" in repr(run)
    before = (out / "diagnosis.json").read_bytes()
    judge_again(out, {**stored, "state": "arrived", "step": 1}, 2, bad)  # of another round
    assert (out / "diagnosis.json").read_bytes() == before


def test_of_an_evaluation_only_what_tells_is_a_difference() -> None:
    scores = {"a": Measured(value=1.0, floor=0.0, spread=0.1), "b": Measured(value=0.1, floor=0.0, spread=0.1)}
    assert [one.measure for one in differences(scores)] == ["a"]
