"""The command line: what it prints and where, how it stops, and that its help teaches and is quick."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import equilibria as eq
from equilibria import cli

TINY = ["--set", "batch=4", "--set", "networks.vector.width=8", "--set", "run.progress=false"]
COMMANDS = ["train", "sample", "apply", "evaluate", "diagnose", "recipes", "report", "cite", "runs"]


def points(folder: Path) -> str:
    np.save(folder / "points.npy", np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32))
    return str(folder / "points.npy")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of wgan-gp on points; tests add files beside it."""
    folder = tmp_path_factory.mktemp("cli")
    arguments = [
        "train",
        "wgan-gp",
        "--data",
        points(folder),
        "--steps",
        "2",
        "--out",
        str(folder / "runs" / "a"),
        *TINY,
    ]
    assert cli.main([*arguments, "--seed", "5", "--json"]) == 0
    return folder


def test_training_prints_json_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a b"
    code = cli.main(
        ["train", "gan", "--data", points(tmp_path), "--steps", "2", "--out", str(out), "--json", *TINY[:4]]
    )
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert code == 0 and (told["run"], told["step"], told["finished"]) == (str(out), 2, True)
    assert Path(told["report"]).read_text().startswith("<!") and "round 2/2" in said.err and "\x1b" not in said.err


def test_training_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a [b] c"
    assert cli.main(["train", "gan", "--data", points(tmp_path), "--steps", "1", "--out", str(out), *TINY]) == 0
    said = capsys.readouterr().out
    assert "gan on points: 1 rounds" in said and f"Report:  {out.resolve()}/report.html" in said and "\x1b" not in said
    command = re.search(r"Samples: equilibria (.*)", said)
    assert command and shlex.split(command[1])[:2] == ["sample", str(out)]


def test_settings_reach_recipe_data_and_run(tmp_path: Path) -> None:
    given = ["--set", "optimizer.lr=0.5", "--set", "data.held_out=0.5", "--set", "run.log_every=3"]
    given += ["--set", "run.trackers=tensorboard", "--precision", "bfloat16", "--device", "cpu", "--seed", "9"]
    pytest.importorskip("accelerate")
    out = tmp_path / "a"
    assert cli.main(["train", "gan", "--data", points(tmp_path), "--steps", "1", "--out", str(out), *TINY, *given]) == 0
    info = json.loads((out / "run.json").read_text())
    settings = info["settings"]
    assert (info["recipe"]["optimizer"]["lr"], info["data"]["options"]["held_out"], info["seed"]) == (0.5, 0.5, 9)
    assert (settings["log_every"], settings["precision"], settings["device"]) == (3, "bfloat16", "cpu")
    assert settings["trackers"] == ["tensorboard"] and list((out / "tensorboard").glob("events.*"))
    assert eq.open_run(out).data.held_out_size == 30


@pytest.mark.parametrize("name", ["s.npy", "s.npz", "s.png"])
def test_samples_in_a_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for n in (7, 9):  # the second replaces the first
        assert cli.main(["sample", str(root / "runs" / "a"), "-n", str(n), "--out", str(tmp_path / name)]) == 0
        assert f"{n} samples in " in capsys.readouterr().out
    raw = (tmp_path / name).read_bytes()
    if name == "s.png":
        assert raw[1:4] == b"PNG"
        return
    x = np.load(tmp_path / name)
    x = x["x"] if name == "s.npz" else x
    assert np.array_equal(x, eq.open_run(root / "runs" / "a").sample(9).numpy())
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_evaluation_as_json_and_as_a_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(root / "runs" / "a"), "-n", "40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["w1"]["value"] > 0 and json.loads((root / "runs" / "a" / "evaluation.json").read_text()) == told
    assert cli.main(["evaluate", str(root / "runs" / "a"), "-n", "40"]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"sliced w1 +{told['sliced_w1']['value']:.4g} +{told['sliced_w1']['floor']:.4g} +distance", said)


def test_report_and_citation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(root / "runs" / "a")]) == 0
    assert capsys.readouterr().out.strip() == str((root / "runs" / "a" / "report.html").resolve())
    assert cli.main(["cite", str(root / "runs" / "a")]) == 0
    assert capsys.readouterr().out.startswith("@") and eq.open_run(root / "runs" / "a").cite().startswith("@")


@pytest.mark.filterwarnings("default")
def test_runs_lists_what_can_be_read(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "many" / ("long" * 12)
    for name in ("good", "bad"):
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_text((root / "runs" / "a" / "run.json").read_text())
    (folder / "bad" / "run.json").write_text("{")
    (folder / "good" / "checkpoints" / "step-other").mkdir(parents=True)
    assert cli.main(["runs", str(folder), "--json"]) == 0
    said = capsys.readouterr()
    row = {"run": str(folder / "good"), "recipe": "wgan-gp", "data": "points", "seed": 5, "step": 0, "steps": 2}
    row["state"] = "unfinished"
    assert json.loads(said.out) == [row] and "bad/run.json is damaged" in said.err
    assert cli.main(["runs", str(folder)]) == 0
    assert str(folder / "good") in capsys.readouterr().out  # whole, though it is longer than a line
    assert cli.main(["runs", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out


def test_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes", "--json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == set(eq.RECIPES)
    assert cli.main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^{re.escape(name)} +\d{{4}} ", said, re.M) for name in eq.RECIPES)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["train", "--nonsense"], ["nonsense"], ["sample"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    told = said.err.splitlines()
    assert [line.split(":")[0] for line in told] == ["error", "fix"] and told[1].endswith("--help")


def test_a_defect_is_told_from_a_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by [0]")

    monkeypatch.setattr("equilibria.runs.cite", broken)
    assert cli.main(["cite", "x"]) == 70
    assert "ZeroDivisionError: by [0]" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        cli.main(["cite", "x", "--debug"])


def test_an_interrupt_outside_of_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("equilibria.runs.cite", interrupted)
    assert cli.main(["cite", "x"]) == 130
    assert "stopped:" in capsys.readouterr().err


# Help ----------------------------------------------------------------------------------------------------------------


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for line in ("train --data digits --steps 2000", "sample RUN -n 64 --out samples.png", "train --resume RUN"):
        assert f"  equilibria {line}" in said
    assert all(re.search(rf"\b{name}\b", said) for name in COMMANDS) and "--debug" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    said = capsys.readouterr().out
    examples = re.findall(rf"^ *equilibria ({command}\b.*?) *$", said, re.M)
    assert examples
    for example in examples:
        words = shlex.split(example.split(">>")[0])
        for option in (word for word in words if word.startswith("-")):
            assert option in said


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, time; t = time.process_time()\n"
        "from equilibria import cli\n"
        "assert cli.main(['--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time() - t, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stderr) < 1.0  # 0.2 s where it was written


# Signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_a_checkpoint_and_the_line_that_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    out = tmp_path / "run"
    given = ["--data", points(tmp_path), "--steps", "1000000", "--out", str(out), "--set", "run.log_every=1"]
    command = [sys.executable, "-m", "equilibria", "train", "gan", *given, *TINY]
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (out / "metrics.jsonl").exists():
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()
        time.sleep(0.05)
    child.send_signal(number)
    said, complained = child.communicate(timeout=60)
    assert child.returncode == 130, complained
    stopped = re.search(r"Stopped at round (\d+) of 1000000", said)
    line = re.search(r"^ *equilibria (train --resume .*)$", said, re.M)
    assert stopped and line and "Traceback" not in complained
    at = int(stopped[1])
    assert max((out / "checkpoints").iterdir()).name == f"step-{at:08d}"
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] == at
    assert cli.main([*shlex.split(line[1]), "--steps", str(at + 2)]) == 0
    assert "Report:" in capsys.readouterr().out
    assert [json.loads(row)["step"] for row in (out / "metrics.jsonl").read_text().splitlines()] == [*range(1, at + 3)]
