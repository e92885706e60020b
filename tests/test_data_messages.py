"""Every fix that a message about data proposes works when it is pasted: on the command line, and in Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equilibria import cli
from equilibria.base.errors import EquilibriaError
from equilibria.data import DataOptions, load

TINY = ["--set", "batch=2", "--set", "networks.vector.width=8", "--set", "networks.image.width=4"]


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], bool]:
    """Whether a command gets as far as training: a game that is built, and a batch for it."""

    def check(line: list[str]) -> bool:
        reached = []

        def train(recipe: Any, data: Any, **how: Any) -> None:
            recipe.build(data.spec, 0)
            reached.append(data.batch(recipe.batch, 0, 0))
            raise EquilibriaError("far enough")

        with monkeypatch.context() as patch:
            patch.setattr("equilibria.runs.train", train)
            cli.main(line)
        return len(reached) == 1

    return check


def pictures(folder: Path, sizes: list[tuple[int, int]], mode: str = "L", suffix: str = "png") -> Path:
    folder.mkdir(parents=True)
    for i, size in enumerate(sizes):
        Image.effect_noise(size, 60).convert(mode).save(folder / f"{i:02d}.{suffix}")
    return folder


def with_a_broken_one(folder: Path) -> Path:
    broken = pictures(folder, [(8, 8)] * 12) / "05.png"
    broken.write_bytes(broken.read_bytes()[:70])
    return folder


def array(path: Path, values: Any, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (np.savez(path, x=values, **more) if path.suffix == ".npz" else np.save(path, values))
    return path


def lonely(folder: Path) -> str:
    pictures(folder / "A", [(8, 8)] * 12)
    pictures(folder / "B", [(8, 8)] * 11)
    return f"aligned:{folder / 'A'},{folder / 'B'}"


def split(folder: Path) -> Path:
    for name in ("test", "train"):
        pictures(folder / name, [(8, 8)] * 8)
    return folder


# What is given, and the options given with it.
Case = tuple[Callable[[Path], object], dict[str, Any]]
SETTINGS: dict[str, Case] = {
    "mixed sizes": (lambda t: pictures(t / "p", [(8, 8)] * 9 + [(9, 8)]), {}),
    "a broken picture": (lambda t: with_a_broken_one(t / "p"), {}),
    "no partner": (lonely, {}),
    "npz on the disk": (lambda t: array(t / "a.npz", np.zeros((12, 8, 8), np.uint8)), {"stream": "true"}),
    "floats on the disk": (lambda t: array(t / "a.npy", np.zeros((12, 8, 8), np.float32)), {"stream": "true"}),
    "pairs on the disk": (lambda t: "pairs:digits,digits-negative", {"stream": "true"}),
    "negative labels": (lambda t: array(t / "a.npz", np.zeros((12, 2)), y=np.arange(12) % 3 - 1), {}),
    "colours stacked": (lambda t: f"stacked:{pictures(t / 'p', [(8, 8)] * 12, 'RGB')}", {}),
    "crop": (lambda t: "digits", {"crop": "left"}),
    "corrupt": (lambda t: "digits", {"corrupt": "ignore"}),
    "stream": (lambda t: "digits", {"stream": "maybe"}),
    "size": (lambda t: "digits", {"size": 0}),
    "held_out": (lambda t: "digits", {"held_out": 1.0}),
    "odd sizes halved": (lambda t: f"{array(t / 'a.npy', np.zeros((12, 17, 17), np.uint8))}-halved", {}),
}


def failure(call: Callable[[], object]) -> EquilibriaError:
    with pytest.raises(EquilibriaError) as caught:
        call()
    return caught.value


def in_python(fix: str) -> dict[str, Any]:
    """The options of the ``load(source, …)`` that a fix names."""
    found = re.search(r"load\(source, ([^)]*)\)", fix)
    assert found is not None, fix
    options: dict[str, Any] = eval(f"dict({found[1]})")
    return options


def on_the_command_line(fix: str) -> list[str]:
    """Its ``--set data.NAME=VALUE``."""
    found = re.findall(r"--set data\.\S+", fix)
    return [word for part in dict.fromkeys(found) for word in shlex.split(part.rstrip(";,"))]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_proposed_works(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], begins: Callable[[list[str]], bool]
) -> None:
    make, given = SETTINGS[name]
    source = str(make(tmp_path))
    fix = failure(lambda: load(source, **given)).fix
    load(source, **{**given, **in_python(fix)}).batch(2, 0, 0)
    sets = [word for key, value in given.items() for word in ("--set", f"data.{key}={value}")]
    line = ["train", "gan", "--data", source, "--out", str(tmp_path / "out"), *TINY, *sets]
    assert cli.main(line) == 1
    said = capsys.readouterr().err
    pasted = on_the_command_line(said.split("fix:")[1])
    replaced = {word.partition("=")[0] for word in pasted}
    kept = [
        word
        for pair in zip(sets[::2], sets[1::2], strict=True)
        for word in pair
        if pair[1].partition("=")[0] not in replaced
    ]
    assert pasted and begins([*line[: len(line) - len(sets)], *kept, *pasted]), said


@pytest.mark.parametrize(
    ("source", "recipe"),
    [
        ("pairs:digits", "gan"),
        ("aligned:digits,", "gan"),
        ("few:digits", "gan"),
        ("few:digits,3", "gan"),
        ("few:digits,5000", "gan"),
        ("stacked:moons", "gan"),
        ("parallel-lines:1,2,3", "gan"),
        ("moons:x", "gan"),
        ("grid25:nan", "gan"),
        ("digit", "gan"),
        ("few:digits,100", "cgan"),
        ("moons", "cgan"),
    ],
)
def test_a_source_that_is_proposed_works(
    source: str,
    recipe: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    begins: Callable[[list[str]], bool],
) -> None:
    line = ["train", recipe, "--out", str(tmp_path / "out"), *TINY, "--data"]
    assert cli.main([*line, source]) == 1
    fix = capsys.readouterr().err.split("fix:")[1]
    found = re.search(r"(?:--data|write|did you mean) ('[^']+')", fix)
    assert found is not None, fix
    assert begins([*line, *shlex.split(found[1])]), fix


def test_paths_and_batches_that_are_proposed_work(tmp_path: Path) -> None:
    fix = failure(lambda: load(split(tmp_path / "set"))).fix
    assert load(fix.split("e.g. ")[1]).size == 7
    data = load(np.zeros((9, 2)))
    fix = failure(lambda: data.batch(20, 0, 0)).fix
    found = re.search(r"--set batch=(\d+)", fix)
    assert found is not None and data.batch(int(found[1]), 0, 0)["x"].shape == (8, 2)
    fix = failure(lambda: load(np.zeros((1, 2))).take(1, held_out=True)).fix
    assert load(np.zeros((2, 2)), **in_python(fix)).take(1, held_out=True)["x"].shape == (1, 2)


def test_the_fix_of_an_array_is_the_call_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x: Any = np.array([None, 1, 2], dtype=object)
    np.savez("o.npz", x=x)
    x = np.arange(9)
    for path, names in (("o.npz", {"np": np, "x": x}), ("t.txt", {"np": np, "x": x})):
        Path("t.txt").write_text("1,2\n")
        call = re.search(r"np\.savez?\('[^']*', .*\)", failure(lambda p=path: load(p)).fix)  # type: ignore[misc]
        assert call is not None
        eval(call[0], dict(names))
        assert load("data.npz" if "npz" in call[0] else "data.npy").size == 8
    frames: Any = np.zeros((4, 5, 5), dtype=np.uint8, order="F")
    np.save("f.npy", frames)
    fix = failure(lambda: load("f.npy", stream="true")).fix
    call = re.search(r"np\.save\(.*?\)\)", fix)
    assert call is not None
    eval(call[0], {"np": np, "x": frames})
    assert load("data.npy", options=DataOptions(stream="true")).fingerprint()["kind"] == "stream"
