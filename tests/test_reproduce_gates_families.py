"""Planted errors turn the verdicts of reproductions of energies, kernels and classifying discriminators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from equilibria.reproduce import zhao2017_margin as margin
from equilibria.reproduce.claim import Check
from test_reproduce_gates_trained import EIGHT, RING, around, held, source

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
