"""Runs of an earlier version, kept in tests/old_runs: each opens, samples, evaluates, reports and continues as it did.

What they came to under the code that made them is in expected.json (its README says how it was computed).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import equilibria as eq
from equilibria import metrics

KEPT = Path(__file__).with_name("old_runs")
EXPECTED = json.loads((KEPT / "expected.json").read_text(encoding="utf-8"))
EACH = pytest.mark.parametrize("name", EXPECTED["runs"])


def digest(*tensors: Tensor) -> str:
    return hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in tensors)).hexdigest()


def same_arithmetic() -> bool:
    """Whether this machine rounds as the one did on which the expected numbers were computed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 64, generator=generator)
    kernel = torch.randn(8, 4, 3, 3, generator=generator)
    images = torch.randn(16, 4, 8, 8, generator=generator)
    parts = (x @ x, F.conv2d(images, kernel, padding=1), F.softplus(x), x.exp().sum(1), x.var(0))
    return digest(*parts) == EXPECTED["arithmetic"]


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exact transport between 2,500 points takes most of a minute, and is not what is tested here."""
    monkeypatch.setattr("equilibria.metrics.Suite", partial(metrics.Suite, exact=50, linear=500))
    yield


@pytest.fixture
def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT / name, tmp_path / name))


def labels(name: str) -> list[int] | None:
    return [0, 1, 2, 3, 4, 5] if name.endswith("conditional") else None


@EACH
def test_it_opens_samples_evaluates_and_reports(name: str, copied: Path) -> None:
    run, wanted = eq.open_run(copied), EXPECTED["runs"][name]
    drawn = run.sample(6, seed=1, labels=labels(name))
    if same_arithmetic():
        assert digest(drawn) == wanted["sample"]
    judged = run.evaluate(60, classify=False)
    assert judged and all(one.value == one.value for one in judged.values())
    page = run.report().read_text(encoding="utf-8")
    assert run.recipe.name in page and page.rstrip().endswith("</html>")
    told = copied / "diagnosis.json"
    for finding in json.loads(told.read_text(encoding="utf-8"))["findings"] if told.exists() else ():
        assert finding["evidence"][0]["vital"] in page and finding["evidence"][0]["rule"] in page
        assert finding["remedies"][0]["what"] in page
    assert run.rows()[-1]["step"] <= run.play.round


@EACH
@pytest.mark.timeout(240)
def test_it_resumes_to_the_bit(name: str, copied: Path) -> None:
    wanted = EXPECTED["runs"][name]
    run = eq.resume(copied, steps=wanted["steps"])
    assert run.finished and run.play.round == wanted["round"]
    last = [*sorted(copied.glob("stages/*")), copied][0 if name != "adagan" else -2]
    rows = [json.loads(line) for line in (last / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    row = next(r for r in reversed(rows) if "loss/generator" in r)
    assert {key: row[key] for key in wanted["last"]} == pytest.approx(wanted["last"], rel=0.05)
    if same_arithmetic():
        for folder, tensors in wanted["states"].items():
            found = load_file(copied / folder / "state.safetensors")
            assert {key: digest(found[key])[:16] for key in tensors} == tensors
