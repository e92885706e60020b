"""Faults in ways of writing a step in which they were once not read: each is named from some training steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equilibria.exam.field.run import run_case
from equilibria.exam.generated.axes import Axes
from equilibria.exam.generated.cases import case_of

CASES = """
gauss6 layernorm smoothed-labels logits-dragan same-batch 3
gauss6 layernorm zeros-kept probabilities same-batch 1
pinwheel skips game-gradient softplus-r1 sigmoid-twice 0
gauss6 batchnorm with-loader critic-clipped leftover-gradient 2
swissroll residual average-with-buffers hinge-r1 sigmoid-on-a-critic 2
sensors weight-normed stateless logits-r1 sigmoid-lost 1
ring-to-corners skips stateless critic-penalty penalty-off-the-segment 2
parcel gated accumulation critic-penalty penalty-off-the-segment 3
ring mlp-relu smoothed-labels logits-r1 input-lost 0
lopsided weight-normed numpy-batches probabilities-r1-lazy input-lost 1
"""


@pytest.mark.parametrize("row", CASES.strip().splitlines())
def test_the_fault_is_the_first_finding_and_its_twin_has_none(row: str) -> None:
    law, network, style, recipe, fault, variant = row.split()
    case = case_of(Axes(law, network, style, recipe, fault, int(variant)))
    found = run_case(replace(case, steps=24, truth=lambda attached: 0.0), 1)
    assert found.error == "" and found.rank() == 0
    assert found.repaired == ()
