"""Checkpoints: whole or not there, at whatever operation the process dies, and never believed when they are damaged."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from equilibria.base.errors import RunError
from equilibria.core.optimizers import OPTIMIZERS, SGD, Adam, RMSprop
from equilibria.core.play import Average, Play
from equilibria.core.updates import Alternating, Optimistic
from equilibria.data import DataSpec
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.training import checkpoint, disk

PLANE = DataSpec(kind="vector", shape=(2,))


def play_of(rule: Any = None, width: int = 8, **specs: Any) -> Play:
    torch.manual_seed(0)
    game = TwoPlayer().build(MLPPair(width=width), PLANE)
    chosen = {"generator": Adam(), "discriminator": RMSprop(), **specs}

    def batches(seed: int, turn: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * seed + turn)
        return {"x": torch.randn(8, 2, generator=generator)}

    return Play(game, rule or Alternating(), chosen, batches, seed=3, horizon=10, averages=(Average(),))


def state(play: Play) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in play.tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("rule", [Alternating(), Optimistic()])
@pytest.mark.parametrize("spec", [*OPTIMIZERS.values(), SGD(momentum=0.9)], ids=lambda s: type(s).__name__)
def test_a_play_continues_to_the_bit(tmp_path: Path, rule: Any, spec: Any) -> None:
    whole, first, second = (play_of(rule, discriminator=spec) for _ in range(3))
    whole.advance(6)
    first.advance(3)
    checkpoint.save(first, tmp_path)
    saved = checkpoint.newest(tmp_path)
    assert saved is not None and (saved.round, saved.turn) == (3, first.turn)
    second.load(saved.tensors, saved.round, saved.turn)
    second.advance(3)
    assert same(state(whole), state(second))


def test_a_loaded_optimiser_has_the_strides_of_its_parameter() -> None:
    first, second = play_of(), play_of()
    for play in (first, second):
        weight = next(p for p in play.game.parameters() if p.dim() == 2)
        weight.data = weight.data.t().contiguous().t()
    first.advance(2)
    second.load({name: t.contiguous().clone() for name, t in first.tensors().items()}, 2, first.turn)
    for play in (first, second):
        play.advance(2)
    assert same(state(first), state(second))
    for who, optimizer in second.optimizers.items():
        for parameter in second.game.moved(who).values():
            entries = [v for v in optimizer.state[parameter].values() if v.shape == parameter.shape]
            assert entries and all(v.stride() == parameter.stride() for v in entries)


def damage_truncate(path: Path) -> None:
    raw = (path / "state.safetensors").read_bytes()
    (path / "state.safetensors").write_bytes(raw[: len(raw) // 2])


def damage_bit(path: Path) -> None:
    raw = bytearray((path / "state.safetensors").read_bytes())
    raw[-3] ^= 1
    (path / "state.safetensors").write_bytes(bytes(raw))


def damage_turn(path: Path) -> None:
    told = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**told, "turn": told["turn"] + 1}))


def damage_json(path: Path) -> None:
    (path / "state.json").write_text('{"format": 1, "rou')


def damage_missing(path: Path) -> None:
    (path / "state.safetensors").unlink()


def damage_swapped(path: Path) -> None:
    before = path.with_name("step-00000001")
    for name in ("state.json", "state.safetensors"):
        shutil.copy(before / name, path / name)


DAMAGES = [damage_truncate, damage_bit, damage_turn, damage_json, damage_missing, damage_swapped]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: Any) -> None:
    play = play_of()
    for _ in range(2):
        play.advance()
        checkpoint.save(play, tmp_path)
    damage(tmp_path / "step-00000002")
    with pytest.warns(UserWarning, match=r"step-00000002 is damaged"):
        saved = checkpoint.newest(tmp_path)
    assert saved is not None and saved.round == 1


@pytest.mark.filterwarnings("default")
def test_a_damaged_checkpoint_does_not_crowd_out_whole_ones(tmp_path: Path) -> None:
    play = play_of()
    for _ in range(3):
        play.advance()
        checkpoint.save(play, tmp_path, keep=2)
    damage_bit(tmp_path / "step-00000003")
    with pytest.warns(UserWarning, match="damaged"):
        saved = checkpoint.newest(tmp_path)
    assert saved is not None and saved.round == 2
    again = play_of()
    again.load(saved.tensors, saved.round, saved.turn)
    checkpoint.save(again, tmp_path, keep=1)
    assert [p.name for p in checkpoint.listed(tmp_path)] == ["step-00000002"]
    again.advance()
    checkpoint.save(again, tmp_path, keep=1)
    found = checkpoint.newest(tmp_path)
    assert found is not None and found.round == 3


def test_the_newest_are_kept_in_the_order_of_rounds(tmp_path: Path) -> None:
    play = play_of()
    for play.round in (5, 99_999_999, 100_000_000):
        checkpoint.save(play, tmp_path, keep=2)
    (tmp_path / "step-abc").mkdir()
    assert [checkpoint.round_of(p) for p in checkpoint.listed(tmp_path)] == [99_999_999, 100_000_000]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    play = play_of()
    told = checkpoint.save(play, tmp_path) / "state.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "format": 99}))
    with pytest.raises(RunError, match="format 99"):
        checkpoint.newest(tmp_path)


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    play = play_of()
    base = torch.arange(4.0)
    play.memory = {"a": base, "b": base.view(2, 2), "c": base[:2]}
    checkpoint.save(play, tmp_path)
    saved = checkpoint.newest(tmp_path)
    assert saved is not None and saved.tensors["rule/b"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("game/generator.body.0.weight"), "missing from the checkpoint"),
        (lambda t: t.update(extra=torch.zeros(1)), "not part of this game"),
        (lambda t: t.update({"opt/critic/w/step": torch.zeros(())}), "optimiser state of other players"),
        (lambda t: t.update({"opt/generator/w/step": torch.zeros(())}), "not moved by 'generator'"),
        (lambda t: t.update({k: v.double() for k, v in t.items() if k.startswith("game/")}), "float64"),
    ],
)
def test_what_does_not_fit_changes_nothing(change: Any, says: str) -> None:
    play, other = play_of(), play_of()
    other.advance(2)
    tensors, before = state(other), state(play)
    change(tensors)
    with pytest.raises(RunError, match=says):
        play.load(tensors, 2, 4)
    assert same(state(play), before) and (play.round, play.turn) == (0, 0)


def test_another_width_is_refused() -> None:
    with pytest.raises(RunError, match="in the checkpoint and"):
        play_of().load(state(play_of(width=9)), 0, 0)


# Death at every operation ------------------------------------------------------------------------------------------


def dies_at(folder: Path, k: int, save: Any) -> bool:
    """Run ``save`` in a child that is gone before its ``k``-th operation on files; whether it got that far."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    try:
        count = [0]

        def step() -> None:
            count[0] += 1
            if count[0] == k:
                os._exit(9)

        def audit(event: str, args: tuple[Any, ...]) -> None:
            if event in {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove"} and ".tmp-" in str(args):
                step()

        sys.addaudithook(audit)
        sync, write = os.fsync, disk.save_file

        def torn(tensors: dict[str, Tensor], file: Path) -> None:
            write(tensors, file)
            count[0] += 1
            if count[0] == k:
                damage_truncate(file.parent)
                os._exit(9)

        os.fsync = lambda handle: (step(), sync(handle))[1]
        disk.save_file = torn
        save()
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("over", [False, True], ids=["new round", "over a damaged one"])
def test_death_at_any_operation_leaves_whole_checkpoints(tmp_path: Path, over: bool) -> None:
    play = play_of()
    play.advance()
    checkpoint.save(play, tmp_path / "start", keep=1)
    old = state(play)
    play.advance()
    if over:
        shutil.copytree(tmp_path / "start" / "step-00000001", tmp_path / "start" / "step-00000002")
    new, k, died, seen = state(play), 0, True, set()
    while died:
        k += 1
        folder = tmp_path / str(k)
        shutil.copytree(tmp_path / "start", folder)
        died = dies_at(folder, k, lambda folder=folder: checkpoint.save(play, folder, keep=1))
        whole = []
        for path in checkpoint.listed(folder):
            try:
                whole.append(checkpoint.read(path))
            except checkpoint.DamagedError:
                assert over and path.name == "step-00000002"  # that one was damaged before
        assert whole, f"no checkpoint after death at operation {k}"
        newest = whole[-1]
        assert same(newest.tensors, old if newest.round == 1 else new)
        seen.add(newest.round)
        checkpoint.save(play, folder, keep=1)  # what the dead one left is cleared away
        aside = ["damaged-step-00000002"] if over and (folder / "damaged-step-00000002").exists() else []
        assert sorted(p.name for p in folder.iterdir()) == [*aside, "step-00000002"]
    assert seen == {1, 2} and k > 10


@pytest.mark.parametrize("error", [OSError(28, "full"), SafetensorError("I/O error: no space (os error 28)")])
def test_a_full_disk_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    play = play_of()
    checkpoint.save(play, tmp_path)
    play.advance()

    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(disk, "save_file", full)
    with pytest.raises(RunError, match=r"no space left on the device while writing .*step-00000001"):
        checkpoint.save(play, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000000"]


@pytest.mark.parametrize("fails", ["os.replace", "os.fsync"])
def test_a_text_is_replaced_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    disk.write_atomically(tmp_path / "a.json", "old")

    def full(*_: Any) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(fails, full)
    with pytest.raises(RunError, match="no space left"):
        disk.write_atomically(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
