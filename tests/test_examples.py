"""The examples run as they stand; the doctor takes two lines of each loop, and the loop runs without them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ELSEWHERE = {"veegan_own_file": "test_own_files.py"}  # tried there, command by command
DOCTORS = {"dcgan_loop": 1, "cyclegan_loop": 2}  # one for each generator


def run(path: Path, *options: str) -> str:
    """What a script prints; it must end well."""
    done = subprocess.run(
        [sys.executable, str(path), *options],
        cwd=path.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_tried_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.stem}' in here, path.name
        assert re.search(r"^\"\"\"[A-Z].*?\.$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("name", DOCTORS)
def test_the_doctor_takes_two_lines_of_a_loop(name: str, tmp_path: Path) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines(keepends=True)
    marks = [m[1] for line in lines if (m := re.search(r"# doctor: (.*)$", line))]
    count = DOCTORS[name]
    assert sorted(marks) == sorted(["import", *["line 1 of 2", "line 2 of 2"] * count, "ask"])
    without = [line for line in lines if "# doctor:" not in line]
    assert not re.search(r"[dD]octor", "".join(without).split('"""')[2])  # nothing else of it is in the code
    assert len(lines) - len(without) == 2 * count + 2
    (tmp_path / "without.py").write_text("".join(without), encoding="utf-8")
    told, bare = run(EXAMPLES / f"{name}.py", "--steps", "100"), run(tmp_path / "without.py", "--steps", "100")
    assert "check-ups" in told and "[100/100]" in bare
    losses = [line for line in told.splitlines() if line.startswith("[")]
    assert losses == bare.splitlines()  # and the losses are the same to the last digit


def test_the_healthy_and_the_broken_are_told_apart_at_a_glance() -> None:
    told = run(EXAMPLES / "sick_and_healthy.py", "--steps", "60")
    parts = re.split(r"^== ", told, flags=re.MULTILINE)[1:]
    assert [part.split(":")[0] for part in parts] == ["healthy", "broken", "saturating"]
    assert all("losses of generator and discriminator" in p and "of 8 modes" in p and "check-ups" in p for p in parts)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
def test_losses_alike_and_only_one_is_healthy(seed: int) -> None:
    """Final losses to within .1, 8 modes against none, and the doctor distinguishes them and names the cause."""
    spec = importlib.util.spec_from_file_location("sick_and_healthy", EXAMPLES / "sick_and_healthy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said, modes, losses = {}, {}, {}
    for name, told in module.RUNS.items():
        G, diagnosis, loss_g, loss_d = module.train(2000, seed, **told)
        said[name] = [f.condition for f in diagnosis.active][:2]
        modes[name], losses[name] = module.found(G)[0], (loss_g, loss_d)
    assert modes["healthy"] == 8 and modes["broken"] <= 1 and modes["saturating"] <= 3
    assert all(abs(a - b) < 0.1 for a, b in zip(losses["healthy"], losses["broken"], strict=True))
    assert said["healthy"] == []
    # Seen from the samples it hops, seen from the players the discriminator does not keep up: both are right.
    assert {"discriminator-too-weak", "mode-hopping"} & set(said["broken"])
    assert {"mode-collapse", "mode-dropping"} & set(said["saturating"])


def test_under_accelerate() -> None:
    pytest.importorskip("accelerate")
    for precision in ("no", "bf16"):
        told = run(EXAMPLES / "accelerate_loop.py", "--steps", "40", "--precision", precision)
        assert "4 check-ups" in told


def test_under_lightning() -> None:
    pytest.importorskip("lightning")
    assert "4 check-ups" in run(EXAMPLES / "lightning_loop.py", "--steps", "40")
