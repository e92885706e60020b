"""How a diagnosis is told: what numbers should be, what stands above, what is not worth saying."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.doctor import Condition, Doctor
from equilibria.doctor.conclude import dated
from equilibria.doctor.findings import Diagnosis, Evidence, Finding, Severity, State
from equilibria.doctor.remedies import REMEDIES
from equilibria.reports.diagnosis import verdict


def finding(condition: Condition, onset: int, **fields: Any) -> Finding:
    fields.setdefault("evidence", (Evidence("scores/auc", 0.3, "near that of the probe"),))
    fields.setdefault("remedies", (REMEDIES["slope-penalty"],))
    return Finding(condition, Severity.CRITICAL, onset, cause="why", source="paper", **fields)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("near that of the probe", "should be near that of the probe"),
        ("not above 0.8", "should not be above 0.8"),
        ("0: every part has samples", "should be 0: every part has samples"),
        ("0.5 is a perfect sampler", "0.5 is a perfect sampler"),
        ("falls while training goes well", "falls while training goes well"),
        ("an independent classifier tells the sides apart", "an independent classifier tells the sides apart"),
    ],
)
def test_a_bound_is_what_a_number_should_be(rule: str, told: str) -> None:
    assert str(Evidence("scores/auc", 0.25, rule)) == f"scores/auc = 0.25 ({told})"


def test_code_that_findings_share_is_shown_once() -> None:
    pair = (finding(Condition.OSCILLATION, 10), finding(Condition.MODE_COLLAPSE, 20))
    said = str(Diagnosis(State.SICK, pair))
    first = REMEDIES["slope-penalty"].snippet.splitlines()[0]
    assert said.count(first) == 1 and said.count("(code as above)") == 1
    assert said.index(first) < said.index("(code as above)")
    assert first in str(pair[1])  # a finding by itself has it


def test_a_cause_knows_what_showed_before_it() -> None:
    told = [
        finding(Condition.OSCILLATION, 200),
        finding(Condition.MODE_COLLAPSE, 20),
        finding(Condition.MODE_DROPPING, 200),
        finding(Condition.MODE_HOPPING, 10, status="resolved"),
    ]
    earlier = [f.earlier for f in dated(told)]
    assert earlier == [((Condition.MODE_COLLAPSE, 20),), (), (), ()]


def test_what_showed_before_its_cause_is_in_words_and_on_the_page() -> None:
    late = finding(Condition.OSCILLATION, 200, earlier=((Condition.MODE_COLLAPSE, 20),))
    assert "though mode-collapse (step 20) showed before it" in str(late)
    told = Diagnosis(State.SICK, (late,), measured={"jacobian/rotation": 7.5}).to_dict()
    page = verdict(told)
    assert "Mode collapse (round 20) showed before it" in page and "should be near that of the probe" in page
    assert "jacobian/rotation" in page and "7.5" in page
    told["findings"][0]["earlier"] = [3, ["mode-collapse"], "x"]
    told["measured"] = 7
    assert "Oscillation" in verdict(told)  # the file is read without trust


class Labelled(nn.Linear):
    """A generator that can be called with labels."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(z)


def test_labels_are_missed_only_where_there_could_be_some() -> None:
    real, D = torch.randn(100, 2), nn.Linear(2, 1)
    missed = "whether labels are obeyed"
    assert missed not in Doctor(nn.Linear(2, 2), D, real=real, latent=2).diagnose().not_assessed
    assert missed in Doctor(Labelled(2, 2), D, real=real, latent=2).diagnose().not_assessed
    G = nn.Linear(2, 2)
    call = {"generator": lambda z, y: G(z)}
    assert missed in Doctor(G, D, real=real, latent=2, call=call).diagnose().not_assessed
