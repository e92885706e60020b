"""Images in a zip: the same rows as in a folder, nothing unpacked, and bombs refused."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import DataError
from equilibria.data import Dataset, load

RNG = np.random.default_rng(0)


def folder_of(place: Path, names: list[str]) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(place / name)
    return place


def zipped(folder: Path, archive: Path, within: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, within + path.relative_to(folder).as_posix())
    return archive


def same(one: Dataset, other: Dataset) -> None:
    assert one.fingerprint() == other.fingerprint() and one.class_names == other.class_names
    for name, rows in one.whole().items():
        assert torch.equal(rows, other.whole()[name])


NAMES = [f"{label}/{i}.png" for label in ("cat", "dog") for i in range(4)]


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("within", ["", "photos/", "a/b/"])
def test_a_zip_is_read_as_its_folder(within: str, stream: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", NAMES)
    archive = zipped(folder, tmp_path / "photos.zip", within)
    kept = sorted(tmp_path.rglob("*"))
    found = load(archive, stream=stream)
    same(found, load(folder, stream=stream))
    assert found.class_names == ("cat", "dog") and sorted(tmp_path.rglob("*")) == kept
    first = ((found.whole()["x"][0] + 1) * 127.5).round().numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(first, np.asarray(Image.open(folder / "cat/0.png")))
    same(load(found.source, stream=stream), found)


@pytest.mark.parametrize("within", ["", "set/"])
def test_labels_in_a_file_in_the_zip_are_read(within: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", [f"00000/img{i}.png" for i in range(5)])
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"00000/img{i}.png", i % 2] for i in range(5)]}))
    data = load(zipped(folder, tmp_path / "s.zip", within), held_out=0.0)
    assert data.whole()["y"].tolist() == [0, 1, 0, 1, 0] and "dataset.json" in data.described()


def test_folders_in_a_zip_are_named_and_choices_work(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pix", [f"{part}/{i}.png" for part in ("trainA", "trainB") for i in range(4)])
    archive = zipped(folder, tmp_path / "pix.zip")
    with pytest.raises(DataError, match="pairs:") as caught:
        load(archive)
    named = caught.value.fix.split("'")[1]
    assert load(named).spec.column("other") is not None
    same(load(f"{archive}/trainB"), load(folder / "trainB"))
    same(load(f"aligned:{archive}/trainA,{folder}/trainB"), load(f"aligned:{folder}/trainA,{folder}/trainB"))
    with pytest.raises(DataError, match=r"no file or folder .*trainC"):
        load(f"{archive}/trainC")


def test_what_systems_put_into_zips_is_not_read(tmp_path: Path) -> None:
    archive = zipped(folder_of(tmp_path / "p", ["0.png", "1.png"]), tmp_path / "p.zip", "p/")
    raw = (tmp_path / "p/0.png").read_bytes()
    with zipfile.ZipFile(archive, "a") as file:
        for name in ("__MACOSX/p/._0.png", "p/.hidden/0.png", "p/notes.txt", "../evil.png", "/etc/evil.png"):
            file.writestr(name, raw if name.endswith("evil.png") else b"text")
    data = load(archive, held_out=0.0, classes="none")
    assert data.size == 3  # the absolute name is one inside the archive
    assert "1 .txt" in data.described()


def big(archive: Path, count: int) -> Path:
    """A zip with a file of ``count`` zeros, which is a thousand times smaller."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.png", "w") as out:
        for _ in range(count >> 20):
            out.write(bytes(1 << 20))
    return archive


def test_a_file_that_unpacks_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equilibria.data.archives.MOST", 1 << 22)
    archive = big(tmp_path / "bomb.zip", 8 << 20)
    assert archive.stat().st_size < 1 << 14
    with pytest.raises(DataError, match=r"a\.png has 8,388,608 bytes unpacked"):
        load(archive)


def test_a_file_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    archive = big(tmp_path / "liar.zip", 4 << 20)
    raw = bytearray(archive.read_bytes())
    raw = raw.replace(struct.pack("<I", 4 << 20), struct.pack("<I", 100))
    archive.write_bytes(raw)
    with pytest.raises(DataError, match="liar"):
        load(archive)


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    archive = zipped(folder_of(tmp_path / "p", ["0.png"]), tmp_path / "p.zip", method=zipfile.ZIP_STORED)
    with zipfile.ZipFile(archive, "a") as file:
        for i in range(20):  # every further name points to the bytes of the first
            info = zipfile.ZipInfo(f"x{i}.png")
            for field in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(info, field, getattr(file.infolist()[0], field))
            file.filelist.append(info)
            file.NameToInfo[info.filename] = info
        file._didModify = True
    with pytest.raises(DataError, match="overlap"):
        load(archive)


@pytest.mark.parametrize("damage", ["cut", "flipped", "not a zip", "encrypted", "empty"])
def test_a_damaged_zip_is_one_line(damage: str, tmp_path: Path) -> None:
    archive = zipped(folder_of(tmp_path / "p", ["0.png", "1.png"]), tmp_path / "p.zip", method=zipfile.ZIP_STORED)
    raw = bytearray(archive.read_bytes())
    if damage == "cut":
        raw = raw[:-30]
    elif damage == "flipped":
        raw[200] ^= 255
    elif damage == "encrypted":
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                raw[info.header_offset + 6] |= 1
        raw[raw.index(b"PK\1\2") + 8] |= 1
    elif damage == "empty":
        with zipfile.ZipFile(archive, "w"):
            pass
        raw = bytearray(archive.read_bytes())
    else:
        raw = bytearray(b"PK\3\4 and then text")
    archive.write_bytes(raw)
    with pytest.raises(DataError, match=r"p\.zip") as caught:
        load(archive)
    assert "\n" not in str(caught.value)


def test_an_archive_that_changes_is_read_again(tmp_path: Path) -> None:
    archive = zipped(folder_of(tmp_path / "p", NAMES), tmp_path / "p.zip")
    first = {how: load(archive, stream=how).fingerprint() for how in ("true", "false")}
    zipped(folder_of(tmp_path / "other", NAMES), archive)
    assert all(load(archive, stream=how).fingerprint() != was for how, was in first.items())


def test_names_with_backslashes_are_paths(tmp_path: Path) -> None:
    """Some tools on Windows write them."""
    folder = folder_of(tmp_path / "p", NAMES)
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        for name in NAMES:
            info = zipfile.ZipInfo(name)
            info.filename = name.replace("/", "\\")
            file.writestr(info, (folder / name).read_bytes())
    same(load(tmp_path / "w.zip"), load(folder))


def test_an_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    archive = zipped(folder_of(tmp_path / "p", ["0.png", "1.png"]), tmp_path / "p.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("?", b"")
    raw = bytearray(archive.read_bytes())
    for mark, length in ((b"PK\3\4", 26), (b"PK\1\2", 28)):  # in its own head, and in the list at the end
        start = raw.rindex(mark)
        assert raw[start + length] == 1
        raw[start + length] = 0
        del raw[raw.index(b"?", start)]
    end = raw.rindex(b"PK\5\6")
    size, place = struct.unpack_from("<II", raw, end + 12)
    struct.pack_into("<II", raw, end + 12, size - 1, place - 1)
    archive.write_bytes(raw)
    assert [info.filename for info in zipfile.ZipFile(archive).infolist()] == ["0.png", "1.png", ""]
    assert load(archive, held_out=0.0).size == 2
