"""A check-up that goes wrong, and networks that give it nothing to measure, never stop a user's loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from equilibria.doctor import Doctor

LATENT = 4
POINTS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))


class Breaks(nn.Module):
    """A discriminator that works until it is told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.broken = nn.Linear(2, 1), False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken:
            raise RuntimeError("out of order")
        out: torch.Tensor = self.layer(x)
        return out


def test_a_check_up_that_fails_never_stops_the_loop() -> None:
    D = Breaks()
    doctor = Doctor(nn.Linear(LATENT, 2), D, real=POINTS, latent=LATENT)
    assert doctor.check(10) is not None
    D.broken = True
    with pytest.warns(UserWarning, match="check-up at step 20 failed.*out of order"):
        assert doctor.check(20) is None
    assert doctor.check(5000) is None
    (gone,) = [one for one in doctor.diagnose(deep=False).not_assessed if one.what.startswith("everything after")]
    assert "out of order" in gone.reason


@pytest.mark.parametrize("score", [lambda x: x.detach().sum(1), lambda x: 0 * x.sum(1) + 1.0])
def test_a_score_that_is_deaf_to_its_input_is_examined(score: Any) -> None:
    doctor = Doctor(
        nn.Linear(LATENT, 2), nn.Linear(2, 1), real=POINTS, latent=LATENT, call={"discriminator": lambda x, y: score(x)}
    )
    assert doctor.look(10).vitals["slopes/between"] == 0
