"""A check-up that goes wrong, and networks that give it nothing to measure, never stop a user's loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equilibria.doctor import Doctor, answering, conclude

LATENT = 4
POINTS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
FEW = POINTS[:32].repeat(1, 2)  # (n, 4)


class Calls(nn.Module):
    """A linear layer, and what a loop does with it."""

    def __init__(self, a: int, b: int, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.body = nn.Linear(a, b), forward

    def forward(self, x: Tensor) -> Any:
        return self.body(self.layer, x)


def reasons(doctor: Doctor) -> dict[str, str]:
    return {one.what: one.text for one in doctor.diagnose(deep=False).not_assessed}


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


PATHS: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda h: F.one_hot(h.argmax(1), 4).float(),
    "detach": lambda h: h.detach(),
    "data": lambda h: h.data,
    "round": lambda h: h.round(),
}


@pytest.mark.parametrize("how", PATHS)
def test_a_generator_without_a_gradient_path(how: str) -> None:
    doctor = Doctor(Calls(2, 4, lambda layer, z: PATHS[how](layer(z))), nn.Linear(4, 1), real=FEW, latent=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [doctor.check(10 * i) for i in range(1, 5)]
    assert all(one is not None and one["slopes/real"] > 0 for one in found)
    if how == "round":
        assert found[0] is not None and found[0]["gradient/declared"] == 0
    else:
        assert all(one is not None and "gradient/declared" not in one.vitals for one in found)
        assert "at steps 10, 20 and 30" in reasons(doctor)["the generator's gradient"]
    if how == "argmax":
        doctor.diagnose()


class Refuses(torch.autograd.Function):
    """The identity; its backward pass raises."""

    calls = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        Refuses.calls += 1
        raise RuntimeError("out of order")


def test_a_group_that_fails_leaves_out_that_group_and_ends_after_three() -> None:
    D = Calls(4, 1, lambda layer, x: Refuses.apply(layer(x)))
    doctor = Doctor(nn.Linear(2, 4), D, real=FEW, latent=2)
    counts = []
    for step in (10, 20, 30, 40, 50):
        before = Refuses.calls
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = doctor.check(step)
        counts.append(Refuses.calls - before)
        assert found is not None and found["scores/spread"] > 0 and found["motion/generator"] == 0
        assert "slopes/real" not in found.vitals
    assert all(counts[:3]) and counts[3:] == [0, 0]
    lines = [one for one in doctor.diagnose(deep=False).not_assessed if one.what == "slopes of the score"]
    assert len(lines) == 1 and "at steps 10, 20 and 30" in lines[0].text and "out of order" in lines[0].text


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e19, 3e38])
def test_a_diverged_run_is_diagnosed(value: float) -> None:
    for share in (0.3, 1.0):
        torch.manual_seed(0)
        G, D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4)), nn.Linear(4, 1)
        doctor = Doctor(G, D, real=FEW, latent=2, holdout=FEW)
        doctor.check(10)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")
            for p in G.parameters():
                p[torch.rand(p.shape) < share] = value
            assert doctor.check(20) is not None and doctor.check(30) is not None
            said = doctor.diagnose()
        assert said.step == 30 and {"overflow", "not-a-number"} & {one.condition for one in said.findings}


def test_a_diagnosis_always_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = Doctor(nn.Linear(2, 4), nn.Linear(4, 1), real=FEW, latent=2)
    for step in (10, 20, 30):
        doctor.check(step)
    whole = doctor.diagnose(deep=False)
    assert [one.condition for one in whole.findings] == ["generator-never-updated", "discriminator-never-updated"]

    class Broken:
        condition = "oscillation"

        def read(self, *given: Any) -> Any:
            raise IndexError("index 0 is out of bounds")

    more = (*conclude.rules(), Broken())
    for module in (conclude, answering):
        monkeypatch.setattr(module, "rules", lambda: more)
    said = doctor.diagnose(deep=False)
    assert [one.condition for one in said.findings] == [one.condition for one in whole.findings]
    assert said.state == whole.state and said.step == 30
    lines = {one.what: one.text for one in said.not_assessed}
    assert "index 0" in lines["oscillation"] and "index 0" in lines["a part of the diagnosis"]
    monkeypatch.setattr(answering, "state_of", Broken().read)
    assert doctor.diagnose(deep=False).findings == said.findings
