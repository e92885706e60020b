"""What a notebook and a prompt show: short, escaped, and never an error."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import equilibria as eq
from equilibria.metrics import Measured

QUIET = eq.Settings(device="cpu", progress=False, evaluate=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> eq.Run:
    row = eq.recipe("gan").with_settings({"networks.vector.width": "8", "batch": "16"})
    return eq.train(row, "ring8-M", steps=4, out=tmp_path_factory.mktemp("notebooks") / "a<b>", settings=QUIET)


def test_a_run_is_three_lines(run: eq.Run) -> None:
    lines = repr(run).splitlines()
    assert len(lines) == 3 and max(map(len, lines)) < 200
    assert str(run.path) in lines[0] and "gan on ring8-M, seed 0: round 4 of 4" in lines[1] and "doctor" in lines[2]


def test_a_run_shows_its_newest_samples_and_escapes_its_name(run: eq.Run) -> None:
    shown = run._repr_html_()
    assert "a&lt;b&gt;" in shown and "<b>" not in shown and "data:image/png;base64," in shown


def test_a_run_whose_folder_is_gone_can_be_printed(run: eq.Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    gone = replace(run, path=copy)
    shutil.rmtree(copy)
    assert len(repr(gone).splitlines()) == 3 and gone._repr_html_().startswith("<pre>")


def test_results_are_shown_as_their_text(run: eq.Run) -> None:
    for shown in (Measured(value=0.5, floor=0.2, unit="<i>"), run.diagnose(), eq.recipe("wgan-gp")):
        html = shown._repr_html_()
        assert html.startswith("<pre>") and "<i>" not in html
    assert "gulrajani2017" in eq.recipe("wgan-gp")._repr_html_()
