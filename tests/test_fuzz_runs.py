"""Every file of a run's folder, fuzzed: it is read, or refused with what is wrong and what to do."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

import equilibria as eq
from equilibria import reports
from equilibria.base.errors import EquilibriaError
from equilibria.base.records import decode, encode
from equilibria.cli.results import stored_diagnosis
from equilibria.recipes import RECIPES
from equilibria.runs import cite
from equilibria.runs.folder import RunFolder, part
from equilibria.training import checkpoint, checkups, hooks
from fuzzing import CASES, cases, changed, damaged, read, texts
from test_checkpoint import play_of, same, state

POINTS = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)).numpy()
FILES = ("run.json", "metrics.jsonl", "checkups.jsonl", "diagnosis.json", "evaluation.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few rounds, with a check-up."""
    out = tmp_path_factory.mktemp("fuzz") / "run"
    row = eq.recipe("wgan-gp").with_settings({"batch": "8", "networks.vector.width": "8"})
    eq.train(row, POINTS, steps=12, out=out, settings=eq.Settings(device="cpu", progress=False))
    return out


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Drawing a figure is no reading, and takes a second; in a long session it is done as well."""
    with pytest.MonkeyPatch.context() as patch:
        if not CASES:
            patch.setattr(reports.charts, "png", lambda *_, **__: b"")
            patch.setattr(reports.samples, "png", lambda *_, **__: b"")
        yield


@pytest.fixture(scope="module")
def whole(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES}


@given(data=st.data())
@cases(25)
def test_run_json(run: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    info = json.loads(whole["run.json"])
    info["remedies"] = [{"step": 9, "rolled_back_to": 3, "condition": "mode-collapse", "remedy": "r1", "what": "R1"}]
    (run / "run.json").write_bytes(data.draw(texts(info)))
    try:
        found = read(lambda: eq.open_run(run, POINTS))
        if found is not None:
            samples = read(lambda: found.sample(3))
            assert samples is None or len(samples) == 3
        read(lambda: cite(run))
        read(lambda: reports.render(RunFolder.open(run, strict=False)))
    finally:
        (run / "run.json").write_bytes(whole["run.json"])
    assert not [p for p in run.iterdir() if "tmp" in p.name]


@given(data=st.data(), name=st.sampled_from(FILES[1:]))
@cases(12)
def test_what_the_run_said(run: Path, whole: dict[str, bytes], data: st.DataObject, name: str) -> None:
    if name.endswith("l"):
        rows = [json.loads(line) for line in whole[name].splitlines()]
        line = st.one_of(texts(data.draw(st.sampled_from(rows))).map(lambda raw: raw.replace(b"\n", b" ")))
        raw = b"\n".join([whole[name], *data.draw(st.lists(line, min_size=1, max_size=3)), whole[name][:-9]])
    else:
        raw = data.draw(texts(json.loads(whole[name])))
    (run / name).write_bytes(raw)
    try:
        report = read(lambda: reports.render(RunFolder.open(run, strict=False)))
        assert report is not None and report.read_text(encoding="utf-8").rstrip().endswith("</html>")
        lenient = RunFolder.open(run, strict=False)
        assert all(type(row["step"]) is int for row in lenient.rows) and isinstance(lenient.checkups, tuple)
        strict = RunFolder.open(run)
        for piece in ("rows", "checkups", "diagnosis", "evaluation", "snapshots"):
            found = read(partial(getattr, strict, piece))
            assert found is None or found == getattr(lenient, piece)
        assert isinstance(stored_diagnosis(run).brief(), list) and isinstance(str(stored_diagnosis(run)), str)
        if name.endswith("l"):
            hooks.cut_rows(run / name, 12)
            assert {json.loads(line)["step"] for line in (run / name).read_text().splitlines()} >= {10}
    finally:
        (run / name).write_bytes(whole[name])


# Checkpoints ---------------------------------------------------------------------------------------------------------


def reading(folder: Path) -> dict[str, torch.Tensor] | None:
    """Load the newest checkpoint into a play, which is left as it was where that does not go."""
    play = play_of()
    before = state(play)
    saved = read(lambda: checkpoint.newest(folder))
    if saved is None:
        return None
    loaded = read(lambda: (play.load(saved.tensors, saved.round, saved.turn), True))
    if loaded is None:
        assert same(before, state(play)), "a checkpoint that was refused has changed the play"
        return None
    read(lambda: play.advance())
    return saved.tensors


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    play = play_of()
    play.advance()
    checkpoint.save(play, folder)
    play.advance()
    checkpoint.save(play, folder)
    return folder


def sealed(path: Path) -> None:
    """Make the checksum that of the damaged tensors: what is behind it has to hold as well."""
    told = json.loads((path / "state.json").read_text())
    told["sha256"] = checkpoint._digest(path / "state.safetensors", told["round"], told["turn"])
    (path / "state.json").write_text(json.dumps(told))


@given(data=st.data())
@cases(20)
def test_a_damaged_checkpoint_is_never_believed(saved: Path, data: st.DataObject) -> None:
    file = saved / "step-00000002" / data.draw(st.sampled_from(["state.safetensors", "state.json"]))
    raw, first = file.read_bytes(), checkpoint.read(saved / "step-00000001").tensors
    file.write_bytes(data.draw(damaged(raw) if file.suffix != ".json" else texts(json.loads(raw))))
    try:
        told = read(lambda: checkpoint.newest(saved))
        if told is not None and told.round == 1:
            assert same(told.tensors, first)
        elif told is not None:
            second = told.tensors
            file.write_bytes(raw)
            assert same(second, checkpoint.read(saved / "step-00000002").tensors)
    finally:
        file.write_bytes(raw)


@st.composite
def tensor_files(draw: st.DrawFn, tensors: dict[str, torch.Tensor]) -> bytes:
    """A safetensors file whose header or tensors are not those of the play."""
    raw = save(tensors)
    length = struct.unpack("<Q", raw[:8])[0]
    kind = draw(st.sampled_from(["bytes", "length", "header", "tensors"]))
    if kind == "bytes":
        return draw(damaged(raw))
    if kind == "length":
        other = draw(st.sampled_from([0, 1, length - 1, length + 1, len(raw), 2**31, 2**40, 2**63, 2**64 - 1]))
        return struct.pack("<Q", other) + raw[8:]
    if kind == "header":
        header = draw(changed(json.loads(raw[8 : 8 + length])))
        told = json.dumps(header).encode()
        return struct.pack("<Q", len(told)) + told + raw[8 + length :]
    own = dict(tensors)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(own)))
        other = draw(st.sampled_from(["nan", "dtype", "shape", "empty", "name", "player", "huge", "rule"]))
        tensor = own.pop(name)
        if other == "name":
            own[draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))] = tensor
        elif other == "player":
            own[name.replace("generator", "critic") if "generator" in name else f"opt/critic/{name}/step"] = tensor
        elif other == "rule":
            own[f"rule/{name}"], own[name] = tensor, tensor.clone()
        else:
            own[name] = {
                "nan": torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor,
                "dtype": tensor.to(draw(st.sampled_from([torch.float64, torch.int8, torch.bfloat16, torch.bool]))),
                "shape": tensor.reshape(1, *tensor.shape),
                "empty": torch.empty(0),
                "huge": torch.zeros(1).expand(1000, 1000).contiguous(),
            }[other]
    return save(own)


@given(data=st.data())
@cases(25)
def test_a_forged_checkpoint_of_right_checksum(saved: Path, data: st.DataObject) -> None:
    """Its checksum holds and its content is something else: nothing but an EquilibriaError, and no half-loaded play."""
    path = saved / "step-00000002"
    file, told = path / "state.safetensors", (path / "state.json").read_bytes()
    raw, tensors = file.read_bytes(), checkpoint.read(path).tensors
    file.write_bytes(data.draw(tensor_files(tensors)))
    try:
        sealed(path)
        reading(saved)
    finally:
        file.write_bytes(raw)
        (path / "state.json").write_bytes(told)


@given(data=st.data())
@cases(20)
def test_what_the_doctor_remembers(run: Path, data: st.DataObject) -> None:
    path = checkpoint.listed(run / "checkpoints")[-1]
    file = path / "doctor.safetensors"
    whole = file.read_bytes()
    tensors = checkups.load_file(file)
    like = checkups.Memory(start={name.partition("/")[2]: t for name, t in tensors.items() if name[:5] == "start"})
    file.write_bytes(data.draw(tensor_files(tensors)))
    try:
        found = read(lambda: like.restored(checkups.stored_memory(path), 12))
        assert found is not None and found.start.keys() == like.start.keys()
        assert all(found.start[k].dtype == like.start[k].dtype for k in like.start)
    finally:
        file.write_bytes(whole)


# Samples and settings ------------------------------------------------------------------------------------------------


@given(data=st.data())
@cases(10)
def test_kept_samples(run: Path, data: st.DataObject) -> None:
    file = max((run / "samples").glob("*.npz"))
    suffix = data.draw(st.sampled_from([".npz", ".png"]))
    whole = file.with_suffix(suffix).read_bytes()
    odd = np.array(data.draw(st.sampled_from([[], [[np.nan, 1.0]], [[1e300, -1e300]], 3, [[[[1]]]], [["a"]], [[1j]]])))
    buffer = io.BytesIO()
    np.savez(buffer, x=odd)
    raw = data.draw(st.one_of(damaged(whole), st.just(buffer.getvalue())))
    file.with_suffix(suffix).write_bytes(raw)
    try:
        assert read(lambda: reports.render(RunFolder.open(run, strict=False))) is not None
    finally:
        file.with_suffix(suffix).write_bytes(whole)


_PATHS = (
    "game networks vector width optimizer lr betas batch steps averages penalties weight update procedure components"
)
WORDS = st.sampled_from([*_PATHS.split(), "judge", "type", "discriminator_turns", "0", "1", "-1", "9" * 11, ""])
ODD_TEXTS = ["none", "true", "-1", "0", "1e400", "nan", "inf", "1e-3", "(1,2)", "[]", "1_0", "٣", "0x1"]
VALUES = st.one_of(st.sampled_from([*ODD_TEXTS, "9" * 5000]), st.text(max_size=6))


@given(st.sampled_from(sorted(RECIPES)), st.lists(WORDS, min_size=1, max_size=4), VALUES)
@cases(60)
def test_settings_by_path(name: str, path: list[str], text: str) -> None:
    row = read(lambda: RECIPES[name].with_settings({".".join(path): text}))
    if row is not None:
        again: Any = part(Path("run.json"), json.loads(json.dumps(encode(row))), eq.Recipe)
        assert again == row or text.lower() == "nan", "a recipe that is accepted and cannot be read back"


@given(st.sampled_from(sorted(RECIPES)), st.data())
@cases(20)
def test_a_changed_recipe_builds_or_says_why(name: str, data: st.DataObject) -> None:
    spec = eq.load(POINTS).spec
    value = data.draw(changed(encode(RECIPES[name])))

    def built() -> Any:
        row = decode(value)
        return row.game.build(row.networks, spec, {}) if isinstance(row, eq.Recipe) else None

    read(built)


def test_the_property_is_no_empty_one() -> None:
    """The harness lets no other error through, and wants to be told what to do."""
    with pytest.raises(KeyError):
        read(lambda: {}["x"])
    with pytest.raises(AssertionError, match="does not say what to do"):
        read(lambda: (_ for _ in ()).throw(EquilibriaError("wrong")))
    with pytest.raises(MemoryError):
        read(lambda: np.ones(2**28))
