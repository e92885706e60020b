"""The generated cases: the drawing, the splits, and that each loop runs; what the doctor finds is not tested here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from equilibria.base.errors import ConfigError
from equilibria.doctor.remedies import REMEDIES as OF_THE_DOCTOR
from equilibria.exam.field.case import FieldCase
from equilibria.exam.field.run import FieldRow, row_of
from equilibria.exam.generated import __main__ as program
from equilibria.exam.generated.axes import SPLITS, Axes, fits, setting_of
from equilibria.exam.generated.cases import FAULTS, case_of, cases, draw, triples, variants
from equilibria.exam.generated.cures import REMEDIES, cures_summary
from equilibria.exam.generated.fault import Needs
from equilibria.exam.generated.kit import Kit, Setting
from equilibria.exam.generated.laws import LAWS, rows_of
from equilibria.exam.generated.networks import FAMILIES
from equilibria.exam.generated.objectives import OBJECTIVES
from equilibria.exam.generated.recipes import RECIPES
from equilibria.exam.generated.style import STYLES
from equilibria.exam.generated.summary import generated_summary

AXES: tuple[tuple[str, dict[str, Any]], ...] = (("law", LAWS), ("network", FAMILIES), ("style", STYLES))
OWN = {split: {axis: {o.name for o in table.values() if o.split == split} for axis, table in AXES} for split in SPLITS}


class Silent:
    """Stands in for a doctor."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def check(self, step: int, real: Any = None) -> None:
        self.steps.append(step)


def trained(case: FieldCase, faulty: bool, steps: int) -> tuple[list[int], torch.Tensor, dict[str, Any]]:
    """The steps that the doctor was told of, the parameters of both networks, and what it was given."""
    given: list[dict[str, Any]] = []

    def attach(generator: Any, discriminator: Any, **options: Any) -> Any:
        given.append({"nets": (generator, discriminator), **options})
        return Silent()

    doctor = case.run(faulty, 0, steps, attach)
    ends = torch.cat([p.detach().flatten() for net in given[0]["nets"] for p in net.parameters()])
    return doctor.steps, ends, given[0]  # type: ignore[attr-defined]


def test_the_axes_are_wide_and_each_split_has_its_share() -> None:
    for axis, least in (("law", 10), ("network", 7), ("style", 12)):
        seen, held = len(OWN["development"][axis]), len(OWN["held-out"][axis])
        assert seen + held >= least
        assert 0.25 <= held / (seen + held) <= 0.8  # three packages' parts are held out
        assert len(OWN["unseen"][axis]) >= {"law": 8, "network": 8, "style": 10}[axis]
    assert len(FAULTS) >= 40
    for split in SPLITS:
        assert len({(law.name, family.name, style.name) for law, family, style, _ in triples(split, Needs())}) >= 30
    groups = {law.group for law in LAWS.values()}
    assert groups == {law.group for law in LAWS.values() if law.split == "unseen"}
    assert sum(len(fault.variants) >= 2 for fault in FAULTS.values()) == len(FAULTS)


def test_every_fault_has_a_way_of_its_own_in_the_unseen_split() -> None:
    for name, fault in FAULTS.items():
        assert any(variant.split == "unseen" for variant in fault.variants), name
        assert all(
            {law.split, family.split, style.split} == {"unseen"}
            for law, family, style, _ in triples("unseen", fault.needs)
        ), name


@pytest.mark.parametrize("name", FAULTS)
def test_a_doctor_gets_enough_rows_and_a_criterion_stays_where_targets_are_asked_for(name: str) -> None:
    fault = FAULTS[name]
    for axes in (a for seed in range(12) for a in draw("unseen", len(FAULTS), 0, seed) if a.fault == name):
        setting = setting_of(axes)
        for number in variants("unseen", fault):
            change = fault.variants[number].change
            sick = setting if change is None else change(setting)
            assert len(sick.shape.rows.x) >= 16
            objective = OBJECTIVES[sick.recipe.objective]
            assert objective.criterion is not None or "targets" not in STYLES[axes.style].marks
            assert not objective.paired or "paired" in STYLES[axes.style].marks


@pytest.mark.parametrize("style", [name for name, style in STYLES.items() if "with-loader" in style.marks | {name}])
def test_a_loader_of_fewer_rows_than_a_batch_still_deals(style: str) -> None:
    def keep(k: Kit) -> None:
        k.kept = k.kept[:24]

    kit = Kit(dataclasses.replace(setting_of(_plain(style)), steps=3), lambda *_, **__: Silent(), patch=keep)  # type: ignore[arg-type, return-value]
    STYLES[style].play(kit)
    assert kit.doctor is not None


def test_no_loop_has_slopes_around_real_rows_and_batch_norms() -> None:
    for split in SPLITS:
        for _, family, _, recipes in triples(split, Needs()):
            assert "logits-dragan" not in recipes or "batchnorm" not in family.marks


@pytest.mark.parametrize("split", SPLITS)
def test_the_drawing_depends_on_the_seed_alone_and_keeps_the_splits_apart(split: str) -> None:
    drawn = draw(split, 2 * len(FAULTS), 40, seed=1)
    assert drawn == draw(split, 2 * len(FAULTS), 40, seed=1) != draw(split, 2 * len(FAULTS), 40, seed=2)
    assert [axes.fault for axes in drawn] == [*FAULTS, *FAULTS, *[""] * 40]
    assert len({axes.kind for axes in drawn if not axes.fault}) >= 30
    names = [case.name for case in cases(split, len(FAULTS), 40, seed=1)]
    assert len(set(names)) == len(names)
    for axes in drawn:
        assert fits(axes)
        of = {next(s for s in SPLITS if getattr(axes, axis) in OWN[s][axis]) for axis, _ in AXES}
        fault = FAULTS.get(axes.fault)
        assert of <= {"development", split} and split in of
        if fault is None:
            assert of == {split}
        if fault is not None:
            assert axes.variant in variants(split, fault)
            assert (axes.onset > 0) <= fault.late
    assert sum(all(getattr(a, axis) in OWN[split][axis] for axis, _ in AXES) for a in drawn) > 0.6 * len(drawn)


@pytest.mark.parametrize("name", FAULTS)
def test_the_variants_of_a_fault_are_apart(name: str) -> None:
    fault = FAULTS[name]
    numbers = {split: set(variants(split, fault)) for split in SPLITS}
    assert all(numbers.values()) and numbers["development"] | numbers["held-out"] | numbers["unseen"] == set(
        range(len(fault.variants))
    )
    assert not numbers["unseen"] & (numbers["development"] | numbers["held-out"])
    assert numbers["development"].isdisjoint(numbers["held-out"]) or all(
        variant.split != "held-out" for variant in fault.variants
    )


def _plain(style: str) -> Axes:
    """A small healthy combination in a style."""
    for law in ("ring", "ring6-labelled"):
        for network in ("mlp-relu", "embedded"):
            for recipe in RECIPES:
                if fits(axes := Axes(law, network, style, recipe)):
                    return axes
    raise AssertionError(style)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_trains_both_players_and_checks_after_each_step(style: str) -> None:
    before = torch.get_rng_state()
    case = case_of(_plain(style))
    steps, ends, given = trained(case, False, 15)
    assert steps == list(range(1, 16)) and case.healthy and bool(torch.isfinite(ends).all())
    start = trained(case, False, 1)[1]
    players = [len(torch.nn.utils.parameters_to_vector(net.parameters())) for net in given["nets"]]
    assert all(not torch.equal(a, b) for a, b in zip(ends.split(players), start.split(players), strict=True))
    assert torch.equal(trained(case, True, 15)[1], ends)  # a healthy loop is the same in both forms
    assert torch.equal(before, torch.get_rng_state())


# Faults that show only after more steps than a test has, or with other scores than those of the start.
_LATER = {"average-lacks-buffers", "statistics-slow", "rows-not-finite", "generator-in-eval", "generator-loss-flat"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_runs_in_each_split_and_changes_the_loop(name: str) -> None:
    for split in SPLITS:
        axes = next(a for a in draw(split, len(FAULTS), 0, seed=4) if a.fault == name)
        numbers = variants(split, FAULTS[name]) if split == "unseen" else [axes.variant]
        twins = []
        for number in numbers:
            case = case_of(dataclasses.replace(axes, variant=number, onset=0.5 if axes.onset else 0.0))
            steps, sick, _ = trained(case, True, 6)
            assert steps == [*range(1, 7)] and case.condition == FAULTS[name].conditions[0]
            if split == "unseen" and name not in _LATER:
                twins = twins or [trained(case, False, 6)[1]]  # the same for all variants
                sound = twins[0]
                assert sick.shape != sound.shape or not torch.equal(sick, sound), case.name


def test_a_discriminator_without_input_runs_with_a_penalty_of_its_slopes() -> None:
    for number in range(len(FAULTS["input-lost"].variants)):
        case = case_of(Axes("ring", "mlp-relu", "discriminator-first", "logits-r1", "input-lost", number))
        assert bool(torch.isfinite(trained(case, True, 3)[1]).all())


def test_laws_fill_their_groups() -> None:
    for name, law in LAWS.items():
        rows = rows_of(name)
        assert bool(torch.isfinite(rows.x).all()) and len(rows.x) >= 900
        assert (rows.y is not None) == (law.group == "labelled") and (rows.source is not None) == (law.group == "pairs")
        assert (rows.x.dim() == 4) == (law.group == "images") and bool(rows.blocks) == (law.group == "table")
        assert not rows.blocks or torch.equal(rows.x[:, -rows.blocks[-1] :].sum(1), torch.ones(len(rows.x)))
    assert len({tuple(rows_of(name).x[:9].flatten().tolist()) for name in LAWS}) == len(LAWS)


@pytest.mark.parametrize("recipe", ["critic-clipped", "critic-penalty", "relativistic-r1"])
def test_the_losses_of_a_kit_are_those_of_the_papers(recipe: str) -> None:
    kit = Kit(setting_of(Axes("ring", "mlp-relu", "discriminator-first", recipe)), lambda *_, **__: Silent())  # type: ignore[arg-type, return-value]
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, -0.5])
    value = float(kit.d_loss(real, fake))
    if recipe == "relativistic-r1":
        assert value == pytest.approx(float(torch.log1p(torch.exp(-(real - fake))).mean()))
    else:
        assert value == pytest.approx(float(fake.mean() - real.mean()))
    x, made = kit.real(), torch.zeros(kit.n, 2)
    if kit.slopes is not None:
        kit.D = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
        slope = float(next(kit.D.parameters()).detach().norm())
        weight = kit.slopes.weight
        want = weight * (0.5 * slope**2 if kit.slopes.kind == "r1" else (slope - 1) ** 2)
        assert float(kit.penalty(x, made).detach()) == pytest.approx(want, rel=1e-3)
    kit.cut()
    assert not kit.bound or max(float(p.detach().abs().max()) for p in kit.D.parameters()) <= kit.bound + 1e-6


def row(**fields: Any) -> FieldRow:
    start = FieldRow("x", "lost", "losses", 0, (), (), 0, 100, 1.0, 0.1, True, "", 1.0, ("gone",), (("fault", "f"),))
    return dataclasses.replace(start, **fields)


def test_the_counts() -> None:
    rows = [
        row(found=(("gone", 10), ("lost", 5))),
        row(found=(("other", 5),), worse=False),
        row(found=(), repaired=(("other", 3),)),
        row(begins=60, found=(("other", 1), ("lost", 64))),
        row(family="dynamics", found=(("a", 1), ("b", 1), ("lost", 1))),
        row(condition="", also=(), axes=(("law", "ring"),), found=None, repaired=(("other", 9),), worse=False),
    ]
    found = generated_summary(rows)
    counts = {key: {k: v["hits"] for k, v in found[key].items()} for key in ("code", "late", "dynamics")}
    assert counts["code"] == {"first": 1, "first_two": 1, "later": 0, "symptom_only": 1, "nothing": 1}
    assert counts["late"] == {"first": 0, "first_two": 1, "later": 0, "symptom_only": 0, "nothing": 0}
    assert counts["dynamics"]["later"] == 1 and found["harmful_code"]["first"]["of"] == 2
    assert (found["false_alarms"]["hits"], found["false_alarms"]["of"]) == (2, 6)
    assert found["false_alarms_healthy"]["hits"] == found["false_alarms_repaired"]["hits"] == 1
    assert found["onset_delay"]["share_of_run"]["median"] == pytest.approx(0.04)
    assert found["by_fault"]["f"]["harmful"] == 4 and found["by_law"]["ring"]["false_alarms"] == 1


def test_the_command_writes_strict_json_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [dataclasses.replace(c, steps=3) for c in cases("development", 1, 1, seed=2)]
    monkeypatch.setattr(program, "cases", lambda *_: short)
    given = [
        "--split",
        "development",
        "--faulty",
        "1",
        "--healthy",
        "1",
        "--seed",
        "2",
        "--out",
        str(tmp_path / "o.json"),
    ]
    assert program.main([*given, "--only", "healthy"]) == 0
    assert program.main([*given, "--more"]) == 0
    content = json.loads((tmp_path / "o.json").read_text(), parse_constant=pytest.fail)
    assert content["command"].startswith("python -m equilibria.exam.generated --split development")
    assert {r["case"] for r in content["rows"]} == {c.name for c in short} and content["summary"]["errors"] == 0
    assert all(row_of(r).axes for r in content["rows"])
    capsys.readouterr()
    assert program.main([*given, "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="held-in"):
        draw("held-in", 1, 1)


def test_a_remedy_changes_the_sick_set_up_and_not_the_sound_one() -> None:
    axes = next(a for a in draw("development", len(FAULTS), 0, 0) if a.fault == "batch-small")
    seen: list[int] = []

    def change(setting: Setting) -> Setting:
        seen.append(setting.batch)
        return REMEDIES["larger-batch"](setting)

    case = case_of(axes, change=change)
    for faulty in (True, False):
        trained(case, faulty, 2)
    assert len(seen) == 1 and seen[0] <= 4, "it is given the set-up with the fault, once"


@pytest.mark.parametrize("name", REMEDIES)
def test_every_remedy_of_a_setting_is_a_remedy_and_leaves_a_loop_that_runs(name: str) -> None:
    assert name in OF_THE_DOCTOR
    axes = next(a for a in draw("development", len(FAULTS), 0, 0) if a.fault == "discriminator-strong")
    assert len(trained(case_of(axes, change=REMEDIES[name]), True, 3)[0]) == 3


def test_cured_is_told_by_the_share_of_harm_that_is_gone() -> None:
    def row(after: float | None, **more: Any) -> dict[str, Any]:
        given = {"condition": "oscillation", "remedy": "known-good-base", "applied": True, "right": True, "worse": True}
        return given | {"cured": after is not None and after <= 0.1 + 0.25 * 0.8} | more

    found = cures_summary([row(0.2), row(0.5), row(0.2, right=False), row(None, applied=False), row(0.2, worse=False)])
    assert (found["cured"]["hits"], found["cured"]["of"]) == (2, 3)
    assert (found["cured_where_the_cause_was_first"]["of"], found["code_or_data"]) == (2, 1)
