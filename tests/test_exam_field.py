"""The field exam: its cases can be run, and its arithmetic is that of the counts."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from equilibria.base.errors import ConfigError
from equilibria.exam.field import CASES
from equilibria.exam.field.__main__ import main
from equilibria.exam.field.run import FieldRow, field_summary, plain_row, row_text
from equilibria.exam.field.truth import sliced


class Silent:
    """Stands in for a doctor: keeps the steps that it was told of."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def check(self, step: int, real: Any = None) -> None:
        self.steps.append(step)


def test_names_are_unique_and_in_kebab_case() -> None:
    plays = [case.play for case in CASES.values()]
    assert len(set(map(id, plays))) == len(plays) >= 55
    for name, case in CASES.items():
        assert case.name == name and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert case.healthy == (case.family == "healthy") and case.about
        assert case.healthy or re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", case.condition)
    assert sum(case.healthy for case in CASES.values()) >= 15


@pytest.mark.parametrize("name", CASES)
def test_a_case_runs_in_both_forms(name: str) -> None:
    before = torch.get_rng_state()
    ends = []
    for faulty in (True, False):
        given: list[dict[str, Any]] = []

        def attach(generator: Any, discriminator: Any, *, given: Any = given, **options: Any) -> Any:
            given.append({"nets": (generator, discriminator), **options})
            return Silent()

        doctor = CASES[name].run(faulty, 0, 3, attach)
        assert doctor.steps == [1, 2, 3] and {"real", "nets"} <= set(given[0])  # type: ignore[attr-defined]
        assert given[0].keys() & {"latent", "sampler"}
        ends.append([p.detach().clone() for net in given[0]["nets"] for p in net.parameters()])
    assert torch.equal(before, torch.get_rng_state())
    if CASES[name].healthy:
        assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def row(**fields: Any) -> FieldRow:
    start = FieldRow("x", "lost", "losses", 0, (), (), 0, 100, 1.0, 0.1, True, "", 1.0)
    return dataclasses.replace(start, **fields)


ROWS = [
    row(found=(("lost", 10), ("other", 5))),
    row(found=(("other", 5), ("lost", 10)), worse=False),
    row(found=(("other", 5), ("more", 5), ("lost", 10)), repaired=(("other", 3),)),
    row(found=None, repaired=None, error="ValueError: 1"),
    row(family="dynamics", begins=60, found=(("lost", 64),)),
    row(condition="", family="healthy", found=None),
]


def test_the_counts() -> None:
    found = field_summary(ROWS)
    code = found["code"]
    assert [code[key]["hits"] for key in ("first", "first_two", "anywhere", "no_finding")] == [1, 2, 3, 0]
    assert code["first"]["of"] == 4 and found["harmful_code"]["first"]["of"] == 3
    assert found["dynamics"]["first"]["hits"] == found["dynamics"]["first"]["of"] == 1
    assert found["late"]["median_delay"] == pytest.approx(0.04)
    assert (found["false_alarms"]["hits"], found["false_alarms"]["of"]) == (1, 5)
    assert (found["false_alarms_healthy"]["hits"], found["false_alarms_healthy"]["of"]) == (0, 1)
    assert found["errors"] == 1
    assert [r.rank() for r in ROWS] == [0, 1, 2, None, 0, None]
    assert all("x: " in row_text(r) for r in ROWS) and json.dumps([plain_row(r) for r in ROWS])


def test_the_distance_is_zero_for_the_data_and_infinite_for_nan() -> None:
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    assert sliced(x, x) == pytest.approx(0.0, abs=1e-6)
    assert sliced(x + 10, x) > 5 and sliced(x * torch.nan, x) == float("inf")


def test_the_runner_writes_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CASES, "closures", dataclasses.replace(CASES["closures"], steps=3))
    given = ["--only", "closures", "--out", str(tmp_path / "o.json")]
    assert main(given) == 0
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["command"].startswith("python -m equilibria.exam.field --only closures --out ")
    assert [r["case"] for r in found["rows"]] == ["closures"] and found["date"] and "commit" in found
    assert main([*given, "--more"]) == 0  # it has its row already
    again = json.loads((tmp_path / "o.json").read_text())
    assert again == found
    assert main([*given, "--more", "--seeds", "2"]) == 0
    assert [r["seed"] for r in json.loads((tmp_path / "o.json").read_text())["rows"]] == [0, 1]
    capsys.readouterr()
    assert main(["--list"]) == 0
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == list(CASES)
    with pytest.raises(ConfigError, match="closures"):
        main(["--only", "closure"])
