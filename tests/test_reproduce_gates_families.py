"""Planted errors turn the verdicts of reproductions of energies, kernels and classifying discriminators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from equilibria.reproduce import springenberg2016_clusters as clusters
from equilibria.reproduce import zhao2017_margin as margin
from equilibria.reproduce.claim import Check
from test_reproduce_gates_trained import EIGHT, RING, around, held, source

REVERSED = EIGHT.flip(0)  # the order of classes is nobody's business

# Energies ------------------------------------------------------------------------------------------------------------


@pytest.mark.plants("zhao2017_margin")
def test_energies_that_do_not_measure_the_total_variation() -> None:
    """A perfect pair of results, and those of a wrong margin, an untrained net, a collapse and a term that is off."""
    assert RING is not None
    law, exact = RING, {m: margin.overlap(margin.APART) for m in margin.MARGINS}
    codes = torch.randn(200, 8, generator=source())
    aligned = codes + 2 * torch.ones(8)

    def look(where: Tensor = EIGHT, of: Tensor = aligned) -> margin.Look:
        return margin._judged(around(where), of, law)

    def run(
        values: dict[float, float] = exact, swept: margin.Look | None = None, pulled: margin.Look | None = None
    ) -> tuple[Check, ...]:
        plain = swept or look()
        return margin._checks(values, {m: [plain] for m in margin.MARGINS}, [pulled or look(of=codes)])

    wrong: dict[str, dict[str, Any]] = {
        "the loss is not in units of m": {"values": {m: m * v for m, v in exact.items()}},
        "total variation itself": {"values": {m: 1 - v for m, v in exact.items()}},
        "untrained": {"values": dict.fromkeys(margin.MARGINS, 1.0)},
        "one mode": {"swept": look(where=0 * EIGHT)}, "the term does nothing": {"pulled": look()},
        "the term costs modes": {"pulled": look(where=EIGHT // 2, of=codes)},
        "the term turns codes together": {"pulled": look(of=aligned + 5)},
    }  # fmt: skip
    assert held(run, wrong) == []


# Classifying discriminators ------------------------------------------------------------------------------------------


@pytest.mark.plants("springenberg2016_clusters")
def test_classes_that_are_not_the_modes() -> None:
    x, shuffled = around(EIGHT), EIGHT[torch.randperm(4000, generator=source())]

    def look(found: Tensor = REVERSED) -> clusters.Look:
        return clusters._judged(x, found, EIGHT)

    def run(with_it: clusters.Look | None = None, without: clusters.Look | None = None) -> tuple[Check, ...]:
        return clusters._checks([with_it or look()] * 2, [without or look(0 * EIGHT)])

    wrong: dict[str, dict[str, Any]] = {
        "one class": {"with_it": look(0 * EIGHT)}, "chance": {"with_it": look(shuffled)},
        "two modes to a class": {"with_it": look(EIGHT // 2)}, "the control finds them": {"without": look()},
        "six of eight modes": {"with_it": look(EIGHT.clamp(max=5))},
    }  # fmt: skip
    assert held(run, wrong) == []
