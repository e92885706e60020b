"""Code of one's own from the command line: the example file through every command, and what goes wrong with files."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import equilibria as eq
from equilibria import cli
from equilibria.base import own_files, records
from equilibria.base.errors import ConfigError, EquilibriaError, RunError
from equilibria.recipes import RECIPES, register
from equilibria.runs import seeds
from equilibria.training import checkpoint

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "veegan_own_file.py"
SMALL = [
    "--set",
    "run.sample_every=1000",
    "--set",
    "networks.width=8",
    "--set",
    "batch=8",
    "--set",
    "run.progress=false",
    "--set",
    "run.evaluate=false",
]
OFTEN = ["--set", "run.checkpoint_every=2", "--set", "run.log_every=1", "--set", "run.doctor=false"]
OWN = """
from dataclasses import replace

from equilibria import TwoPlayer, recipe, record
from equilibria.games.two_player import TwoPlayerGame


@record
class Own{n}(TwoPlayer):
    def assemble(self, modules, data):
        return TwoPlayerGame(self, modules["generator"], modules["discriminator"], data)


MINE = replace(recipe("gan"), name="mine-{n}", cite="{cite}", game=Own{n}())
REFERENCES = '''
@misc{{own{n},
  title = {{Mine}},
  year = {{2026}},
}}
'''
"""
QUIET = eq.Settings(device="cpu", progress=False, evaluate=False, doctor=False, sample_every=1000)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Files named in a test, and what they define, are unknown to the next one."""
    rows, known = dict(RECIPES), dict(records.KNOWN)
    yield
    own_files.forget()
    own_files._RUN.clear()
    for name in set(RECIPES) - set(rows):
        RECIPES.remove(name)
    for name in set(records.KNOWN) - set(known):
        del records.KNOWN[name]


def unknown(n: int) -> None:
    """As in a new process: the file is not named, and what it defines is not known."""
    own_files.forget()
    own_files._RUN.clear()
    records.KNOWN.pop(f"Own{n}", None)
    RECIPES.remove(f"mine-{n}")


def written(folder: Path, n: int, cite: str = "", name: str = "own.py") -> Path:
    (folder / name).write_text(OWN.format(n=n, cite=cite), encoding="utf-8")
    return folder / name


# The example, as its author would use it ----------------------------------------------------------------------------


class Driver:
    """Commands, each in a process of its own that is forked from this one: a command costs no import.

    This process itself knows no file of one's own, so every command starts as in a new one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, *words: Any) -> int:
        child = os.fork()
        if not child:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
            sys.argv[:] = ["equilibria", *map(str, words)]
            code = cli.main(list(map(str, words)))
            sys.stdout.flush()
            os._exit(code)
        return child

    def run(self, *words: Any, code: int = 0) -> str:
        """What a command prints, to standard error where it is to fail."""
        found = os.waitstatus_to_exitcode(os.waitpid(self.begin(*words), 0)[1])
        out, error = ((self.folder / name).read_text() for name in ("out", "err"))
        assert found == code, f"{words}: exit code {found}\n{out[-1500:]}{error[-3000:]}"
        return error if code else out


def commands(at: Driver) -> None:
    """The example trains, resumes, samples, is applied, judged, reported on and diagnosed."""
    run, own = at.folder / "run", ("--with", EXAMPLE)
    at.run("train", "own-veegan", "--data", "ring8-U", "--steps", 12, "--out", run, *own, *SMALL)
    info = json.loads((run / "run.json").read_text())
    assert [(e["file"], len(e["sha256"])) for e in info["with"]] == [(EXAMPLE.name, 64)]
    refused = at.run("sample", run, "-n", 4, "--out", at.folder / "s.npz", code=1)
    fix = next(line for line in refused.splitlines() if line.startswith("fix: ")).removeprefix("fix: ")
    words = shlex.split(fix)
    assert words[0] == "equilibria" and EXAMPLE.name in refused
    at.run(*words[1:])  # the command that it proposes works
    assert (at.folder / "s.npz").is_file()
    at.run("train", "--resume", run, "--steps", 16, *own)
    told = json.loads(at.run("diagnose", run, "--json", *own))
    assert told["state"] in {"sick", "on the way", "arrived"} and told["step"] == 16
    assert "w1" in json.loads(at.run("evaluate", run, "-n", 40, "--json", *own))
    at.run("apply", run, "reconstruct", "--given", "ring8-U", "--out", at.folder / "back.npz", *own)
    assert np.load(at.folder / "back.npz")["x"].shape == (64, 2)
    assert at.run("report", run, *own).strip().endswith("report.html")
    assert "srivastava2017" in at.run("cite", run)
    assert "own-veegan" in at.run("recipes", *own) and "own-veegan" not in at.run("recipes")
    for name in ("evaluate", "diagnose"):
        assert f"equilibria {name} {run}" in at.run(name, run, code=1)


def kill(at: Driver) -> None:
    """The example is killed and continues to the bit."""
    start = ["train", "own-veegan", "--data", "ring8-U", "--steps", 60, "--with", EXAMPLE, *SMALL, *OFTEN]
    whole, cut = at.folder / "whole", at.folder / "cut"
    at.run(*start, "--out", whole)
    child, until = at.begin(*start, "--out", cut), time.monotonic() + 100
    while not checkpoint.listed(cut / "checkpoints") and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert checkpoint.round_of(checkpoint.listed(cut / "checkpoints")[-1]) < 60, "killed too late"
    at.run("train", "--resume", cut, "--with", EXAMPLE)
    one, two = (load_file(p / "checkpoints" / "step-00000060" / "state.safetensors") for p in (whole, cut))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert (cut / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def several(at: Driver) -> None:
    """The example in two seeds, and on two processes."""
    start = ["train", "own-veegan", "--data", "ring8-U", "--steps", 6, "--with", EXAMPLE, *SMALL, *OFTEN]
    told = json.loads(at.run(*start, "--seeds", 2, "--out", at.folder / "two", "--json"))
    assert told["finished"] and sorted(told["runs"]) == ["0", "1"]
    assert EXAMPLE.name in at.run("train", "--resume", at.folder / "two", code=1)
    at.run("train", "--resume", at.folder / "two", "--with", EXAMPLE)
    at.run(*start, "--processes", 2, "--device", "cpu", "--out", at.folder / "shared")
    assert json.loads((at.folder / "shared" / "run.json").read_text())["processes"] == 2


@pytest.mark.timeout(400)
@pytest.mark.parametrize("work", [commands, kill, several], ids=lambda work: work.__name__)
def test_the_example_from_the_command_line(tmp_path: Path, work: Callable[[Driver], None]) -> None:
    done = subprocess.run(
        [sys.executable, __file__, work.__name__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


# Files that change, move, or fail ------------------------------------------------------------------------------------


def test_a_run_without_its_file_says_which_one_it_needs(tmp_path: Path) -> None:
    file = written(tmp_path, 1)
    eq.use_file(file)
    eq.train("mine-1", "ring8-U", steps=1, out=tmp_path / "run", settings=QUIET)
    unknown(1)
    with pytest.raises(RunError) as raised:
        eq.open_run(tmp_path / "run")
    assert "own.py" in str(raised.value) and f"equilibria.use_file({str(file)!r})" in raised.value.fix
    exec(raised.value.fix, {"equilibria": eq})
    assert eq.open_run(tmp_path / "run").sample(2).shape == (2, 2)
    unknown(1)
    file.rename(tmp_path / "moved.py")
    with pytest.raises(RunError) as raised:
        eq.resume(tmp_path / "run", steps=2)
    assert str(file) in raised.value.fix
    eq.use_file(tmp_path / "moved.py")  # the same bytes under another name
    assert eq.resume(tmp_path / "run", steps=2).finished


def test_a_file_that_has_changed_is_warned_of(tmp_path: Path) -> None:
    file = written(tmp_path, 2)
    eq.use_file(file)
    eq.train("mine-2", "ring8-U", steps=1, out=tmp_path / "run", settings=QUIET)
    eq.open_run(tmp_path / "run")
    before = own_files.in_use()[0].sha256
    file.write_text(file.read_text() + "\n# another comment\n")
    eq.use_file(file)
    with pytest.warns(UserWarning, match="changed") as told:
        run = eq.open_run(tmp_path / "run")
    assert before[:12] in str(told[0].message) and own_files.in_use()[0].sha256[:12] in str(told[0].message)
    assert run.sample(2).shape == (2, 2) and len(own_files.in_use()) == 1


def test_runs_name_the_files_of_their_own_command_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["train", "gan", "--data", "ring8-U", "--steps", "1", "--set", "run.progress=false"]
    assert cli.main([*start, "--out", str(tmp_path / "a"), "--with", str(written(tmp_path, 3))]) == 0
    assert cli.main([*start, "--out", str(tmp_path / "b")]) == 0
    found = [json.loads((tmp_path / name / "run.json").read_text())["with"] for name in ("a", "b")]
    assert [len(one) for one in found] == [1, 0]
    capsys.readouterr()
    unknown(3)
    assert eq.open_run(tmp_path / "a").sample(1).shape == (1, 2), "the file is not needed to read this run"


def test_a_citation_of_ones_own_is_found_and_an_unknown_one_is_refused_first(tmp_path: Path) -> None:
    eq.use_file(written(tmp_path, 4, cite="own4"))
    run = eq.train("mine-4", "ring8-U", steps=1, out=tmp_path / "run", settings=QUIET)
    assert "Mine" in run.cite()
    eq.use_file(written(tmp_path, 5, cite="nowhere", name="five.py"))
    with pytest.raises(ConfigError, match="nowhere"):
        eq.train("mine-5", "ring8-U", steps=1, out=tmp_path / "no", settings=QUIET)
    assert not (tmp_path / "no").exists()


def test_seeds_remember_the_file(tmp_path: Path) -> None:
    eq.use_file(written(tmp_path, 6))
    seeds.train_seeds("mine-6", "ring8-U", seeds=1, steps=1, out=tmp_path / "s", settings=QUIET)
    unknown(6)
    with pytest.raises(RunError, match=r"own\.py"):
        seeds.resume_seeds(tmp_path / "s")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x = 1\nraise ValueError('so')", ["ValueError", "line 2", "so"]),
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("import sys\nsys.exit(3)", ["SystemExit", "line 2"]),
        ("import no_such_module_at_all", ["no_such_module_at_all", "line 1"]),
    ],
)
def test_a_file_that_fails_says_where(tmp_path: Path, content: str, says: list[str]) -> None:
    file = tmp_path / "bad.py"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        eq.use_file(file)
    assert all(word in raised.value.what for word in [*says, str(file)]) and f"python {file}" in raised.value.fix
    assert not own_files.in_use() and not any(name.startswith("own_bad_") for name in sys.modules)


@pytest.mark.parametrize("name", ["missing.py", "folder", "text.txt"])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").touch()
    with pytest.raises(ConfigError) as raised:
        eq.use_file(tmp_path / name)
    assert name in raised.value.what and ".py" in raised.value.fix


def test_a_recipe_of_ones_own_does_not_replace_one_of_the_package() -> None:
    other = eq.recipe("gan").with_settings({"batch": "3"})
    with pytest.raises(EquilibriaError) as raised:
        register(other, "mine")
    assert "'gan'" in raised.value.what and eq.recipe("gan").batch != 3


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("torch._dynamo", "scipy.stats", "matplotlib.figure", "sklearn.cluster", "sklearn.metrics"):
        importlib.import_module(name)  # what a command imports on its way, once for all that are forked from here
    globals()[sys.argv[1]](Driver(Path(sys.argv[2])))
