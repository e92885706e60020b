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
sines conv1d separate-backward hinge-r1 sigmoid-on-a-critic 3
digits batchnorm discriminator-first pixels-logits sigmoid-twice 3
orders gated warm-up logits sigmoid-lost 4
swissroll weight-normed accumulation logits-dragan generator-sign 3
returns mixer loss-objects probabilities generator-not-stepped 4
returns mixer generator-functions probabilities-r1-lazy generator-frozen 2
clouds batchnorm inverted-labels logits wrong-parameters 5
cells skips scaled-loss pixels-critic-penalty no-clearing-generator 3
visits grown frozen-and-thawed critic-penalty penalty-of-wrong-norm 5
visits grown next-of-iterator hinge-two generator-loss-flat 1
zigzag rezero norms-and-slopes-logged squares generator-sign 1
checkerboard batch-spread state-of-training relativistic-r1 batch-small 7
predators linear-units sums-of-rows critic-penalty same-batch 6
dusks patches epochs pixels-critic-penalty sigmoid-on-a-critic 5
lissajous batch-spread sums-of-rows critic-penalty penalty-of-wrong-norm 6
regimes-labelled norm-by-class classes-of-the-data logits graph-cut 6
seasons norm-after average-after-warm-up critic-penalty-three average-lacks-buffers 4
"""
LONGER = """
mornings rezero average-of-snapshots hinge-two units-dead 2
targets maxout noisy-labels logits-dragan loader-skewed 5
"""


@pytest.mark.parametrize(
    ("row", "steps"), [(row, n) for rows, n in ((CASES, 24), (LONGER, 60)) for row in rows.strip().splitlines()]
)
def test_the_fault_is_the_first_finding_and_its_twin_has_none(row: str, steps: int) -> None:
    law, network, style, recipe, fault, variant = row.split()
    case = case_of(Axes(law, network, style, recipe, fault, int(variant)))
    found = run_case(replace(case, steps=steps, truth=lambda attached: 0.0), 1)
    assert found.error == "" and found.rank() == 0
    assert found.repaired == ()
