"""The doctor's exam: its truth, its arithmetic, its cases, and a few of them sat from end to end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from equilibria.base.errors import ConfigError
from equilibria.doctor import CONDITIONS, REMEDIES
from equilibria.exam import CASES, HEALTHY, Case, CaseResult, Loop, Plan, markdown, prepare, run_exam, summary
from equilibria.exam.cases import DIGITS, RING, both, fault, loop_with, nets_with
from equilibria.exam.loop import FAULTS, play
from equilibria.exam.matrix import confusion, interval
from equilibria.exam.remedied import apply_remedy
from equilibria.exam.results import examined, recovered, run_healthy, run_planted, verified
from equilibria.exam.truth import MEASURES, agreement, fresh, generalisation, novelty, quality

# Arithmetic ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "of"), [(0, 36), (0, 1), (36, 36), (1, 40), (7, 9), (190, 190), (61, 133)])
def test_intervals_are_those_of_the_exact_binomial_test(hits: int, of: int) -> None:
    wanted = stats.binomtest(hits, of).proportion_ci(0.95, method="exact")
    assert interval(hits, of) == pytest.approx((wanted.low, wanted.high))


def test_nothing_is_known_from_no_run() -> None:
    assert interval(0, 0) == (0.0, 1.0)


SWAPPED = Case("swapped", ("swapped-labels",), RING, fault("swapped-labels"))
LATE = both(fault("overflow"), loop_with(steps=200))  # the fault begins at half time
SHORT = Case("short", ("mode-collapse", "mode-hopping"), RING, LATE)


def sat(name: str, *said: tuple[str, int], truth: float = 0.1, **fields: Any) -> CaseResult:
    return CaseResult(name, 0, truth, fields.pop("control", 0.9), said, "sick", **fields)


SICK = (
    sat("swapped", ("swapped-labels", 10), cured=0.85, remedy="real-is-one"),  # the control, by definition
    sat("swapped", ("mode-collapse", 20), ("swapped-labels", 40), cured=0.2),
    sat("swapped", ("mode-collapse", 20), ("divergence", 20), ("swapped-labels", 40)),  # third is too late
    sat("swapped"),
    sat("swapped", ("swapped-labels", 10), truth=0.88),  # as good as its control: not sick
    sat("swapped", ("swapped-labels", 10), control=0.2),  # its control is not healthy
    sat("short", ("mode-hopping", 130), cured=0.81),
    sat("short", ("mode-collapse", 90), ("mode-hopping", 95), cured=0.8),
)
WELL = (sat("ring", control=math.nan), sat("ring", control=math.nan), sat("ring", ("overflow", 5), control=math.nan))


def test_the_onset_of_a_fault_is_where_it_begins() -> None:
    assert (SWAPPED.onset, SHORT.onset) == (0, 100)


def test_what_counts_as_sick_and_as_recovered() -> None:
    assert [verified(s) for s in SICK] == [True] * 4 + [False] * 2 + [True] * 2
    assert [recovered(s) for s in SICK] == [True, False, False, False, False, False, True, False]


def test_the_summary_of_sittings() -> None:
    found = summary((SWAPPED, SHORT), SICK, WELL)
    assert (found["sensitivity"]["hits"], found["sensitivity"]["of"]) == (4, 6)
    assert (found["false_alarms"]["hits"], found["false_alarms"]["of"]) == (1, 3)
    assert (found["first_finding"]["hits"], found["first_finding"]["of"]) == (3, 6)
    assert (found["cures_by_definition"]["hits"], found["cures_by_definition"]["of"]) == (1, 1)
    assert (found["other_cures"]["hits"], found["other_cures"]["of"]) == (1, 3)
    assert found["unverified"] == [("swapped", 2)]
    first, second = found["cases"]
    assert (first["played"], first["verified"], first["named"]) == (6, 4, 2)
    assert (first["tried"], first["cured"]) == (2, 1) and (second["tried"], second["cured"]) == (2, 1)
    assert first["instead"] == ["mode-collapse", "nothing"] and second["instead"] == []
    assert first["onset"] in {10, 40} and second["onset"] in {30, -10}  # errors against where it began
    assert found["alarms"] == [{"run": "ring", "seed": 0, "said": [("overflow", 5)]}]
    assert found["confusion"] == {
        "healthy": {"nothing": 2, "overflow": 1},
        "mode-collapse or mode-hopping": {"mode-collapse": 1, "mode-hopping": 1},
        "swapped-labels": {"mode-collapse": 1, "nothing": 1, "swapped-labels": 2},
    }
    json.dumps(found)
    page = markdown(found, 5, "held-out")
    assert "4 of 6 (66.7 %, 95 % interval 22.3 to 95.7 %)" in page
    assert "| swapped | swapped-labels | 2 of 4 (2 not sick) |" in page
    assert "1 x mode-collapse, 1 x nothing" in page


def test_the_confusion_of_an_empty_exam() -> None:
    assert confusion({}, [], []) == {"healthy": {}}
    told = summary((), [], [])
    assert told["sensitivity"]["share"] is None and told["sensitivity"]["interval"] == [0.0, 1.0]
    markdown(told, 5, "held-out")


# Truth ---------------------------------------------------------------------------------------------------------------


class Dealing(nn.Module):
    """In place of a generator: rows that a function deals."""

    def __init__(self, deal: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.deal = deal

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.deal(len(z)) if y is None else self.deal(y)  # type: ignore[arg-type]


def measured(measure: Callable[..., float], deal: Callable[..., Tensor], loop: Loop = RING) -> float:
    run = prepare(loop)
    run.generator = Dealing(deal)
    return measure(run)


@pytest.mark.parametrize("loop", [RING, replace(RING, scale=5.0), DIGITS], ids=["ring", "scaled", "digits"])
def test_quality_is_one_for_the_law_and_zero_for_its_mean(loop: Loop) -> None:
    rows = fresh(loop, 7).float()
    rows = rows[torch.arange(400) % len(rows)]
    shape = prepare(loop).real.shape[1:]
    assert measured(quality, lambda n: rows[:n].view(n, *shape), loop) > 0.9
    assert measured(quality, lambda n: rows.mean(0).expand(n, -1).view(n, *shape), loop) < 0.02
    assert measured(quality, lambda n: (rows[:n] + 100 * loop.scale).view(n, *shape), loop) == 0.0
    assert measured(quality, lambda n: torch.full((n, *shape), torch.nan), loop) == 0.0


def test_half_of_the_modes_is_half_as_good() -> None:
    rows = fresh(RING, 7).float()
    half = rows[rows[:, 0] > 0]
    found = measured(quality, lambda n: half[torch.randint(len(half), (n,))])
    assert 0.2 < found < 0.7


def test_agreement_is_one_for_those_who_obey() -> None:
    loop = replace(RING, conditional=True)
    run = prepare(loop)
    assert run.labels is not None
    rows = {k: run.real[run.labels == k] for k in range(run.classes)}
    assert measured(agreement, lambda y: torch.stack([rows[int(k)][0] for k in y]), loop) > 0.95
    assert measured(agreement, lambda y: run.real[torch.randperm(len(run.real))[: len(y)]], loop) < 0.1


def test_copies_are_not_new() -> None:
    loop = replace(DIGITS, points=64)
    run = prepare(loop)
    assert measured(novelty, lambda n: run.real[torch.randint(64, (n,))], loop) < 0.01
    unseen = fresh(loop, 9).float().view(-1, 1, 8, 8)
    assert measured(novelty, lambda n: unseen[torch.randint(len(unseen), (n,))], loop) > 0.9


def test_a_discriminator_that_knows_its_rows_does_not_generalise() -> None:
    loop = replace(DIGITS, points=64)
    run = prepare(loop)
    run.discriminator = Dealing(lambda n: torch.zeros(n))
    assert generalisation(run) == 1.0

    class Knowing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -torch.cdist(x.flatten(1), run.real.flatten(1)).min(1).values

    run.discriminator = Knowing()
    assert generalisation(run) < 0.05


def test_a_run_that_is_no_number_has_no_quality() -> None:
    run = prepare(RING)
    with torch.no_grad():
        next(run.discriminator.parameters()).fill_(math.nan)
    assert [measure(run) for measure in MEASURES.values()] == [0.0] * len(MEASURES)


# Cases ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", CASES)
def test_every_condition_that_asks_for_something_is_planted(half: str) -> None:
    cases = CASES[half]
    assert len({c.name for c in cases}) == len(cases) >= 30 and len(HEALTHY[half]) >= 15
    planted = {condition for case in cases for condition in case.conditions} | {"discrete-column"}  # field exam
    assert planted == {name for name, rule in CONDITIONS.items() if rule.test is not None} - {"finished"}
    for case in cases:
        assert case.sick != case.healthy and case.measure in MEASURES, case.name
        assert not case.healthy.faults and set(case.sick.faults) <= set(FAULTS), case.name
        assert replace(case.sick, seed=3).seed == 3


def test_the_halves_share_no_loop() -> None:
    loops = [{repr(loop) for loop in [*HEALTHY[h].values(), *(c.healthy for c in CASES[h])]} for h in CASES]
    shared = loops[0] & loops[1]
    assert not shared, shared


def test_the_halves_plant_the_same_diseases_and_share_no_seed() -> None:
    assert {c.name for c in CASES["developed"]} == {c.name for c in CASES["held-out"]}
    first = [Plan(half=half).first_seed for half in CASES]
    assert abs(first[0] - first[1]) >= 50


def test_a_remedy_that_does_not_concern_a_loop_leaves_it() -> None:
    sick = fault("swapped-labels")(RING)
    assert apply_remedy(sick, "real-is-one") == RING
    assert apply_remedy(sick, "zero-gradients") == sick and apply_remedy(sick, "stop") == sick
    assert apply_remedy(nets_with(latent=1)(DIGITS), "larger-latent").nets.latent > 1
    for name in REMEDIES:
        assert isinstance(apply_remedy(sick, name), Loop)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"half": "developd"}, r"half 'developd' of the exam.*did you mean 'developed'"),
        ({"only": ("ringg",), "half": "developed"}, r"no case 'ringg' in the developed half.*did you mean 'ring'"),
        ({"seeds": 0}, "seeds=0.*at least 1"),
        ({"processes": -1}, "processes=-1"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Plan(**told)


@pytest.mark.parametrize("name", FAULTS)
def test_every_mistake_changes_the_loop(name: str) -> None:
    loop = replace(RING, points=64, steps=4, nets=replace(RING.nets, norm="batch"), conditional=True)
    weights = []
    for one in (loop, fault(name)(loop)):
        run = play(one)
        kept = [*run.generator.state_dict().values(), *run.discriminator.state_dict().values()]
        weights.append(torch.cat([t.flatten().double() for t in kept]))
    assert not torch.equal(*weights)


# Sat from end to end -------------------------------------------------------------------------------------------------


def first_two(loop: Loop) -> set[str]:
    _, doctor = examined(loop)
    return {f.condition for f in doctor.diagnose().active[:2]}


@pytest.mark.parametrize(
    ("name", "loop", "steps"),
    [
        ("generator-never-updated", fault("generator-not-stepped")(RING), 60),
        ("discriminator-never-updated", fault("discriminator-not-stepped")(RING), 60),
        ("double-sigmoid", fault("double-sigmoid")(RING), 40),
        ("wrong-player-trained", fault("shared-optimizer")(RING), 40),
        ("parameters-not-optimised", fault("half-optimised")(RING), 60),
        ("swapped-labels", fault("swapped-labels")(RING), 300),
    ],
)
def test_mistakes_in_the_loop_are_named_soon(name: str, loop: Loop, steps: int) -> None:
    assert name in first_two(replace(loop, steps=steps, seed=200))


@pytest.mark.parametrize("steps", [60, 150, 400])
def test_a_healthy_run_is_left_alone_while_it_begins(steps: int) -> None:
    assert first_two(replace(RING, steps=steps, seed=201)) == set()


RING_SHORT = replace(RING, steps=250)
QUICK = Case("swapped-labels", ("swapped-labels",), RING_SHORT, fault("swapped-labels"))


def test_a_disease_from_end_to_end() -> None:
    controls: dict[str, float] = {}
    sick, again = (run_planted(QUICK, 204, controls) for _ in range(2))
    assert replace(sick, seconds=0.0) == replace(again, seconds=0.0) and len(controls) == 1
    assert sick.said[0][0] == "swapped-labels" and verified(sick) and sick.truth < 0.1
    assert sick.remedy == "real-is-one" and recovered(sick)
    assert sick.cured == pytest.approx(sick.control)  # with the labels put right it is the healthy loop
    well = run_healthy("ring", RING_SHORT, 203)
    assert well.said == () and math.isnan(well.control) and well.state == "on the way"
    found = summary([QUICK], [sick], [well])
    assert found["sensitivity"]["share"] == 1.0 and found["false_alarms"]["share"] == 0.0
    json.dumps([sick.to_dict(), well.to_dict()])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_diseases_and_a_healthy_run_at_full_length() -> None:
    only = ("generator-not-stepped", "swapped-labels", "double-sigmoid", "ring")
    found = run_exam(Plan(half="developed", seeds=1, healthy_seeds=1, only=only, processes=1))
    assert found["sensitivity"]["hits"] == found["sensitivity"]["of"] >= 2
    assert found["false_alarms"]["hits"] == 0
    assert found["cure_rate"]["hits"] == found["cure_rate"]["of"]
