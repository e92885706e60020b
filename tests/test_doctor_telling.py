"""How a diagnosis is told: what numbers should be, what stands above, what is not worth saying."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.doctor import Doctor, NotAssessed
from equilibria.doctor.conclude import dated
from equilibria.doctor.diagnosis_text import DiagnosisText
from equilibria.doctor.evidence import Comparison, Evidence, Limit
from equilibria.doctor.findings import Diagnosis, Finding, Severity, State
from equilibria.doctor.remedies import REMEDIES
from equilibria.reports import render


def finding(condition: str, onset: int, **fields: Any) -> Finding:
    fields.setdefault("evidence", (Evidence("scores/auc", 0.3, "~", "probe/auc", "it should keep up"),))
    fields.setdefault("remedies", (REMEDIES["slope-penalty"],))
    return Finding(condition, Severity.CRITICAL, onset, cause="why", source="paper", **fields)


def page(diagnosis: dict[str, Any], folder: Path) -> str:
    """The report of a run that has nothing but a diagnosis."""
    run = SimpleNamespace(path=folder, info={}, rows=(), evaluation={}, diagnosis=diagnosis, snapshots=(), notes=())
    run.best, run.points = (), lambda: None
    return render(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("comparison", "limit", "words"),
    [
        ("<", 0.8, "below 0.8"),
        (">", 1e-6, "above 1e-6"),
        ("=", 0, "should be 0"),
        ("~", "probe/auc", "about probe/auc"),
        ("in", (0.25, 0.75), "between 0.25 and 0.75"),
    ],
)
def test_evidence_names_its_comparison_and_limit(comparison: Comparison, limit: Limit, words: str) -> None:
    shown = str(Evidence("scores/auc", 0.125, comparison, limit, "the sides differ"))
    assert shown.startswith("scores/auc = 0.125 (") and words in shown and "the sides differ" in shown


def test_context_has_no_limit() -> None:
    assert str(Evidence("scores/auc", 0.125, meaning="above 7, it says")) == "scores/auc = 0.125 (above 7, it says)"


@pytest.mark.parametrize(
    "fields",
    [("!", 1.0), ("<", None), (None, 1.0), ("in", 1.0), ("<", (0.0, 1.0))],
)
def test_evidence_is_one_of_a_closed_set_of_comparisons(fields: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="comparison"):
        Evidence("scores/auc", 0.1, *fields)


def test_evidence_goes_to_json_and_back() -> None:
    for comparison, limit in ((">", 0.5), ("~", "probe/auc"), ("in", (0.0, 1.0)), (None, None)):
        one = Evidence("scores/auc", 0.1, comparison, limit, "meaning")  # type: ignore[arg-type]
        assert Evidence.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert Evidence("scores/auc", math.nan, ">", 0.5).to_dict()["value"] is None
    missing = NotAssessed("memorisation", "holdout", "real rows")
    assert NotAssessed.read(json.loads(json.dumps([missing.to_dict(), 3]))) == (missing,)


def test_a_diagnosis_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    """Evidence was a rule in words, and what was not assessed a mapping of words."""
    old = {
        "condition": "mode-collapse",
        "severity": "critical",
        "status": "active",
        "onset": 20,
        "evidence": [{"vital": "samples/spread", "value": 0.1, "rule": "should be about 1: as far apart as rows"}],
        "cause": "why",
        "source": "paper",
        "remedies": [],
    }
    told = {
        "state": "sick",
        "step": 20,
        "findings": [old],
        "not_assessed": {"whether labels are obeyed": "pass labels="},
    }
    text = DiagnosisText(told)
    assert not text.problems and str(text.findings[0].evidence[0]).startswith(
        "samples/spread = 0.1 (should be about 1:"
    )
    for shown in (page(told, tmp_path), str(text)):
        assert "should be about 1: as far apart as rows" in shown
        assert "hether labels are obeyed: pass labels=" in shown


def test_code_that_findings_share_is_shown_once() -> None:
    pair = (finding("oscillation", 10), finding("mode-collapse", 20))
    said = str(Diagnosis(State.SICK, pair))
    first = REMEDIES["slope-penalty"].snippet.splitlines()[0]
    assert said.count(first) == 1 and said.count("(code as above)") == 1
    assert said.index(first) < said.index("(code as above)")
    assert first in str(pair[1])  # a finding by itself has it


def test_a_cause_knows_what_showed_before_it() -> None:
    told = [
        finding("oscillation", 200),
        finding("mode-collapse", 20),
        finding("mode-dropping", 200),
        finding("mode-hopping", 10, status="resolved"),
    ]
    earlier = [f.earlier for f in dated(told)]
    assert earlier == [(("mode-collapse", 20),), (), (), ()]


def test_what_showed_before_its_cause_is_in_words_and_on_the_page(tmp_path: Path) -> None:
    late = finding("oscillation", 200, earlier=(("mode-collapse", 20),))
    assert "mode-collapse (step 20)" in str(late)
    told = Diagnosis(State.SICK, (late,), measured={"jacobian/rotation": 7.5}).to_dict()
    seen = page(told, tmp_path)
    assert "mode-collapse (round 20)" in seen
    assert "should be about probe/auc: it should keep up" in seen
    assert "jacobian/rotation" in seen and "7.5" in seen
    told["findings"][0]["earlier"] = [3, ["mode-collapse"], "x"]
    told["measured"] = 7
    assert "Oscillation" in page(told, tmp_path)  # the file is read without trust


def test_the_terminal_the_summary_and_the_page_have_the_same_words(tmp_path: Path) -> None:
    diagnosis = Diagnosis(State.SICK, (finding("oscillation", 200), finding("mode-hopping", 10, status="resolved")))
    text = DiagnosisText(diagnosis.to_dict())
    assert str(diagnosis) == str(text) and not text.problems and str(diagnosis.findings[0]) in str(text)
    others = text.brief()[1:]
    assert len(others) == 1, "what is resolved asks for nothing"
    remedy, evidence = REMEDIES["slope-penalty"], diagnosis.findings[0].evidence[0]
    seen, whole = html.unescape(page(diagnosis.to_dict(), tmp_path)), " ".join(str(text).split())
    assert evidence.text in seen and evidence.text in whole
    for shown in (others[0], seen, whole):
        assert remedy.what in shown and "200" in shown


DAMAGE: dict[str, Any] = {
    "state": 7, "step": "x", "seconds": math.inf, "findings": [3], "measured": [], "note": {}, "checkups": True,
}  # fmt: skip
IN_A_FINDING: dict[str, Any] = {
    "condition": 3, "severity": None, "onset": [], "evidence": [{"vital": "a"}], "remedies": "x", "cause": 1,
}  # fmt: skip


@pytest.mark.parametrize(("key", "inside"), [*((key, False) for key in DAMAGE), *((key, True) for key in IN_A_FINDING)])
def test_damage_is_left_out_and_named(key: str, inside: bool) -> None:
    form = Diagnosis(State.SICK, (finding("oscillation", 200),), step=200).to_dict()
    (form["findings"][0] if inside else form)[key] = (IN_A_FINDING if inside else DAMAGE)[key]
    text = DiagnosisText(form)
    assert text.problems and isinstance(str(text), str) and isinstance(text.brief(), list)
    assert not DiagnosisText(Diagnosis(State.SICK, (finding("oscillation", 200),)).to_dict()).problems


class Labelled(nn.Linear):
    """A generator that can be called with labels."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(z)


def test_labels_are_missed_only_where_there_could_be_some() -> None:
    real, D = torch.randn(100, 2), nn.Linear(2, 1)

    def misses(doctor: Doctor) -> bool:
        return "labels" in {one.argument for one in doctor.diagnose().not_assessed}

    assert not misses(Doctor(nn.Linear(2, 2), D, real=real, latent=2))
    assert misses(Doctor(Labelled(2, 2), D, real=real, latent=2))
    G = nn.Linear(2, 2)
    call = {"generator": lambda z, y: G(z)}
    assert misses(Doctor(G, D, real=real, latent=2, call=call))
