"""Reproductions: each has a header and a verdict; a failed claim is shown as failed, a broken one stops nothing."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from equilibria import reproduce
from equilibria.base.errors import ConfigError
from equilibria.cli import app
from equilibria.figures.panels import panels
from equilibria.recipes.citations import entries
from equilibria.reproduce import Claim, Outcome, at_least, at_most, close, registry

CLAIM = Claim("goodfellow2014", "none", "planted", "none", "none", (1, 1))


def plant(monkeypatch: pytest.MonkeyPatch, key: str, run: object) -> None:
    """Let a module of that name be found."""
    module = types.ModuleType(f"equilibria.reproduce.{key}")
    module.CLAIM, module.run = CLAIM, run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "keys", lambda: [key])
    monkeypatch.setattr(reproduce, "keys", lambda: [key])


def outcome(*checks: reproduce.Check) -> Outcome:
    figure: Figure = panels()[0]
    return Outcome(figure, checks, {"odd": float("inf")})


@pytest.mark.parametrize("key", reproduce.keys())
def test_every_header_is_whole(key: str) -> None:
    claim = reproduce.claim_of(key)
    paper = key.split("_")[0]
    assert claim.paper in entries() and claim.paper.startswith(paper), f"{key} cites {claim.paper}"
    assert len(claim.statement) > 20 and claim.printed and claim.tolerance and claim.figure
    assert 0 < claim.budget[0] <= claim.budget[1]


def test_a_claim_that_fails_is_shown_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "nobody2000_planted", lambda quick: outcome(at_most("a", 2.0, 1.0), at_least("b", 2.0, 1.0)))
    done = CliRunner().invoke(app, ["reproduce", "nobody2000_planted", "--out", str(tmp_path)])
    assert done.exit_code == 1 and "FAILS  a: 2, should be <= 1" in done.output and "0 of 1 hold" in done.output
    told = json.loads((tmp_path / "nobody2000_planted.json").read_text())
    assert told["verdict"] == "fails" and [c["holds"] for c in told["checks"]] == [False, True]
    assert told["numbers"]["odd"] == "inf" and (tmp_path / "nobody2000_planted.png").read_bytes()[:4] == b"\x89PNG"


def test_one_that_breaks_is_told_as_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(quick: bool) -> Outcome:
        raise ValueError("no such density")

    plant(monkeypatch, "nobody2000_broken", broken)
    done = CliRunner().invoke(app, ["reproduce", "--all", "--out", str(tmp_path)])
    assert done.exit_code == 1 and "ValueError: no such density" in done.output


def test_what_is_not_finite_or_has_no_check_does_not_hold() -> None:
    nan = float("nan")
    assert not any(
        check.holds for check in (close("a", nan, 0, 1), at_most("a", nan, 1), at_least("a", float("inf"), 1))
    )
    assert not outcome().holds and outcome(close("a", 1.0, 1.1, 0.2)).holds


def test_a_wrong_name_suggests_the_right_one() -> None:
    with pytest.raises(ConfigError, match="goodfellow2014_saturation"):
        reproduce.matching("goodfelow2014_saturation")


@pytest.mark.parametrize("words", [[], ["goodfellow2014", "--all"]])
def test_wrong_calls(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert isinstance(done.exception, ConfigError)


def test_the_command_runs_one_and_lists_all(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["reproduce", "goodfellow2014_saturation", "--quick", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    listed = CliRunner().invoke(app, ["reproduce", "--list", "--json"])
    assert {row["key"] for row in json.loads(listed.output)} == set(reproduce.keys())
