"""Data sets by name: one file each, found by listing their folder; emoji are read as two aligned columns."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import equilibria.data.named as named
from equilibria.base.errors import ConfigError, DataError
from equilibria.data import NAMED, Column, load
from equilibria.data.fetch import fetch, main

RNG = np.random.default_rng(3)
VENDORS = ("google", "twitter")


def test_every_file_of_the_folder_gives_its_sets() -> None:
    files = {path.stem for path in Path(named.__file__).parent.glob("*.py")} - {"__init__", "base"}
    assert {"digits", "mnist", "cifar10", "emoji", "uci", "adult"} == files
    assert set(NAMED) == {"digits", "mnist", "fashion-mnist", "cifar10", "emoji", "wine", "iris", "adult"}
    for row in NAMED.values():
        assert row.about and row.licence and (row.name in {"digits", "wine", "iris"}) == (row.fetch is None)


def test_a_new_file_is_a_new_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(
        "import numpy as np\n"
        "from equilibria.data.files import Arrays\n"
        "from equilibria.data.named import Named\n"
        "def read(options):\n    return Arrays(np.zeros((9, 2)))\n"
        "SETS = (Named(name='planted', about='zeros', licence='none', read=read),)\n"
    )
    monkeypatch.setattr(named, "__path__", [*named.__path__, str(tmp_path)])
    found = named._listed()
    assert set(found) == {*NAMED, "planted"}
    monkeypatch.setitem(NAMED._entries, "planted", found["planted"])
    data = load("planted")
    assert (data.source, data.spec.shape, data.size) == ("planted", (2,), 8)


def test_a_name_may_be_spelt_otherwise_unless_it_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("Digits").source == "digits"
    Image.new("L", (4, 4)).save(tmp_path / "one.png")
    (tmp_path / "Digits").mkdir()
    (tmp_path / "one.png").rename(tmp_path / "Digits" / "one.png")
    (tmp_path / "digits").mkdir()
    assert load("Digits").source == str((tmp_path / "Digits").resolve()) and load("name:digits").source == "digits"


# Emoji ----------------------------------------------------------------------------------------------------------------


def emoji(folder: Path, count: int = 12) -> dict[str, list[np.ndarray]]:
    """Files as the packages hold them, of several modes; the pixels on white, by the formula of compositing."""
    made: dict[str, list[np.ndarray]] = {}
    for vendor in VENDORS:
        place = folder / vendor / "package" / "img" / vendor / "64"
        place.mkdir(parents=True)
        for i in range(count):
            mode = ("RGBA", "LA", "P")[i % 3]
            deep = RNG.integers(0, 256, (64, 64, 4), dtype=np.uint8)
            if mode == "P":
                image = Image.fromarray(deep[..., :3]).quantize(16)
                deep[..., :3], deep[..., 3] = np.asarray(image.convert("RGB")), 255
            elif mode == "LA":
                image = Image.fromarray(np.ascontiguousarray(deep[..., :2]), "LA")
                deep = deep[..., [0, 0, 0, 1]]
            else:
                image = Image.fromarray(deep)
            image.save(place / f"{i:03d}.png")
            opaque = deep[..., 3:].astype(float) / 255
            made.setdefault(vendor, []).append((deep[..., :3] * opaque + 255 * (1 - opaque)).transpose(2, 0, 1))
    return made


def recognised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of the folder be recognised."""
    digests = []
    for vendor in VENDORS:
        files = sorted(folder.rglob(f"{vendor}/64/*.png"))
        lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
        digests.append((vendor, hashlib.sha256("".join(lines).encode()).hexdigest()))
    row = NAMED["emoji"]
    assert row.fetch is not None
    changed = replace(row.fetch, digests=tuple(digests))  # type: ignore[call-arg]
    monkeypatch.setitem(NAMED._entries, "emoji", replace(row, fetch=changed))


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, list[np.ndarray]]]:
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    made = emoji(tmp_path / "originals")
    recognised(tmp_path / "originals", monkeypatch)
    return tmp_path / "originals", made


def test_emoji_are_aligned_pairs_on_white(originals: tuple[Path, dict[str, list[np.ndarray]]]) -> None:
    folder, made = originals
    fetch("emoji", folder)
    data = load("emoji")
    assert data.spec.shape == (3, 64, 64) and data.source == "emoji" and not data.spec.paired
    assert data.spec.columns == (Column(name="other", kind="image", shape=(3, 64, 64)),)
    rows = data.batch(data.size or 0, 0, 0)
    whole = np.stack(made["google"])
    for x, other in zip(rows["x"], rows["other"], strict=True):
        x, other = ((one.numpy() + 1) * 127.5 for one in (x, other))
        place = np.abs(whole - x).mean((1, 2, 3)).argmin()
        assert np.abs(whole[place] - x).max() <= 1.0  # rounding of the compositing
        assert np.abs(made["twitter"][place] - other).max() <= 1.0
    assert load("emoji", size=16).spec.column("other").shape == (3, 16, 16)
    one = load("pairs:emoji@x,emoji@other")
    assert one.spec.paired and [c.name for c in one.spec.columns] == ["other"]
    assert load("aligned:emoji@x,emoji@x-edges").source == "aligned:emoji@x,emoji@x-edges"


def test_archives_are_downloaded_one_after_another(
    originals: tuple[Path, dict[str, list[np.ndarray]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = originals
    archives = tmp_path / "registry"
    archives.mkdir()
    for vendor in VENDORS:
        with tarfile.open(archives / f"emoji-datasource-{vendor}@16.0.0.tgz", "w:gz") as tar:
            tar.add(folder / vendor, arcname=".")
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "npm"
    tool.write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp "{archives}/$2.tgz" . || exit 1\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert fetch("emoji").name == "emoji.npz" and load("emoji").size == 11
    (tmp_path / "cache" / "emoji.npz").unlink()
    (archives / "emoji-datasource-twitter@16.0.0.tgz").unlink()
    with pytest.raises(DataError, match=r"npm pack emoji-datasource-twitter@16\.0\.0' failed"):
        fetch("emoji")
    assert not (tmp_path / "cache" / "emoji.npz").exists()


def test_other_emoji_are_refused(
    originals: tuple[Path, dict[str, list[np.ndarray]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = originals
    file = folder / "twitter/package/img/twitter/64/005.png"
    raw = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(raw, "PNG")
    file.write_bytes(raw.getvalue())
    with pytest.raises(DataError, match=r"12 emoji .*sha256"):
        fetch("emoji", folder)
    file.unlink()
    recognised(folder, monkeypatch)
    with pytest.raises(DataError, match="have different names"):
        fetch("emoji", folder)
    with pytest.raises(DataError, match="no folder google/64"):
        fetch("emoji", folder / "twitter")


def test_a_column_may_stand_alone(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz", x=np.zeros((9, 2)), y=np.arange(9) % 3, size=np.arange(18.0).reshape(9, 2), k=np.arange(9)
    )
    data = load(f"{tmp_path}/d.npz@size")
    assert data.spec.columns == () and data.spec.classes == 3 and load(data.source).fingerprint() == data.fingerprint()
    rows = data.take(8)
    assert torch.equal((rows["x"][:, 0] / 2).long() % 3, rows["y"])
    with pytest.raises(DataError, match="did you mean 'size'"):
        load(f"{tmp_path}/d.npz@sizes")
    with pytest.raises(DataError, match="is of kind label"):
        load(f"{tmp_path}/d.npz@k")


def test_what_can_be_fetched_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(row.about in said and row.licence in said for row in NAMED.values() if row.fetch)
    with pytest.raises(ConfigError, match="did you mean 'emoji'"):
        fetch("emojis")
    with pytest.raises(ConfigError, match="'digits' cannot be fetched"):
        fetch("digits")
