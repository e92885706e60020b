"""Fixtures for the tests and for the doctests in src: every case starts from one seed and leaves no trace."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# Cases are drawn from the test's own name: a failure is the same on every machine. No deadline: CI shares its cores.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=25)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def _global_state() -> dict[str, Any]:
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "thread count": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "numpy error handling": np.geterr(),
        "working directory": os.getcwd(),
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_default_dtype(state["default dtype"])
    torch.set_default_device(state["default device"])
    torch.set_grad_enabled(state["grad mode"])
    torch.autograd.set_detect_anomaly(state["anomaly mode"])
    torch.set_num_threads(state["thread count"])
    torch.use_deterministic_algorithms(state["deterministic algorithms"])
    np.seterr(**state["numpy error handling"])
    os.chdir(state["working directory"])


@pytest.fixture(autouse=True)
def leaves_no_trace() -> Iterator[None]:
    """Seed every generator before the case; fail it if it changes a global setting of torch, numpy or the process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    before = _global_state()
    yield
    after = _global_state()
    changed = [f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]
    if changed:
        _restore(before)
        pytest.fail("the test left a global setting changed: " + "; ".join(changed), pytrace=False)
