"""A run with the doctor is bit for bit the run without: every kind of network, update and game."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import equilibria as eq
from equilibria.networks import MaxoutPair, MLPPair
from equilibria.runs.folder import RunFolder
from test_doctor_runs import POINTS, QUIET, ensemble, left, same, tiny

CASES: dict[str, tuple[Any, Any]] = {
    "r3gan-small": (replace(eq.recipe("r3gan-small"), batch=32), "ring8-U"),
    "wgan-gp": (tiny("wgan-gp"), "ring8-U"),
    "instance-noise": (tiny("instance-noise"), "ring8-U"),
    "optimistic": (tiny("optimistic"), POINTS),
    "batch-norm": (
        tiny("gan", networks=MLPPair(width=8, norm="batch", discriminator_norm="batch")),
        POINTS,
    ),
    "spectral-norm": (tiny("hinge", networks=MLPPair(width=8, spectral_norm=True)), POINTS),
    "dropout": (tiny("gan-maxout", networks=MaxoutPair(width=16, discriminator_width=8)), "digits"),
    "conditional": (tiny("r3gan-conditional"), "digits"),
    "d2gan": (tiny("d2gan"), POINTS),
    "mgan": (tiny("mgan"), POINTS),
    "aae": (tiny("aae"), "digits"),
    "cogan": (replace(eq.recipe("cogan"), batch=16), "pairs:digits,digits-negative"),
}


def native_norms() -> dict[str, nn.Module]:
    """Networks with torch's own BatchNorm, whose forward moves its running statistics."""
    torch.manual_seed(1)
    G = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    return {"generator": G, "discriminator": D}


def random_states() -> list[Any]:
    numbers = np.random.get_state(legacy=False)
    return [
        torch.get_rng_state().tolist(),
        numbers["state"]["key"].tolist(),
        numbers["state"]["pos"],
        random.getstate(),
    ]


@pytest.mark.filterwarnings("ignore:the discriminator's scores lie in")
@pytest.mark.parametrize("case", [*CASES, "native-norms", "ensemble"])
@pytest.mark.usefixtures("no_report")
def test_a_run_with_the_doctor_is_bitwise_the_run_without(case: str, tmp_path: Path) -> None:
    results = []
    for doctor in (False, True):
        row, data = CASES.get(case, (tiny("gan"), POINTS))
        row = ensemble() if case == "ensemble" else row
        own = native_norms() if case == "native-norms" else {}
        settings, out = replace(QUIET, doctor=doctor, checkpoint_every=11), tmp_path / str(doctor)
        before = random_states()
        run = eq.train(row, data, steps=21, seed=3, out=out, settings=settings, **own)
        assert random_states() == before
        results.append(left(run))
        modules = list(run.play.game.modules())
        assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules)
        assert all(p.requires_grad and p.grad is None for p in run.play.game.parameters())
        assert all(m.training for m in modules)
    assert same(*results)
    rows = RunFolder.open(tmp_path / "True", strict=False).checkups
    assert [c.step for c in rows] == [10, 20, 21] and all("samples/distance" in c.vitals for c in rows)
    told = json.loads((tmp_path / "True" / "diagnosis.json").read_text())
    assert told["state"] and told["checkups"] == 3 and "note" not in told
    assert not (tmp_path / "False" / "checkups.jsonl").exists() and not (tmp_path / "False" / "diagnosis.json").exists()
