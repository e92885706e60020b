"""Folder layouts: each is read with the labels that its files state, or refused with the choice named."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import DataError
from equilibria.data import Dataset, load


def shade(folder: Path, name: str, value: int) -> Path:
    """An image whose every pixel has this value, by which it is known again."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # one white pixel, so that no dark image is warned of
    pixels = np.full((6, 5), value, dtype=np.uint8)
    pixels[-1, -1] = 255
    Image.fromarray(pixels).save(path)
    return path


def labelled(data: Dataset) -> dict[int, str | None]:
    """The label of each image, by the value of its pixels."""
    rows = data.whole()
    values = ((rows["x"][:, 0, 0, 0] + 1) * 127.5).round().to(torch.int64).tolist()
    return {value: data.class_names[y] if y >= 0 else None for value, y in zip(values, rows["y"].tolist(), strict=True)}


def quiet(folder: Path, **options: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(folder, **{"held_out": 0.0, **options})


# class folders --------------------------------------------------------------------------------------------------------


def test_numeric_class_folders_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    for k in range(12):
        for i in range(2):
            shade(tmp_path, f"{k}/{i}.png", 10 * k + i)
    data = quiet(tmp_path)
    assert data.class_names == tuple(str(k) for k in range(12))
    assert labelled(data) == {10 * k + i: str(k) for k in range(12) for i in range(2)}


def test_names_that_are_not_all_numbers_are_sorted_too(tmp_path: Path) -> None:
    for k, name in enumerate(("cat", "10", "9")):
        shade(tmp_path, f"{name}/0.png", k)
    assert quiet(tmp_path).class_names == ("9", "10", "cat")


@pytest.mark.parametrize("above", ["train", "photos", "photos/train", "00000"])
def test_classes_below_a_folder_that_is_alone_are_found(above: str, tmp_path: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(3):
            shade(tmp_path, f"{above}/{name}/{i}.png", 10 * k + i)
    (tmp_path / "test").mkdir()
    data = quiet(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert labelled(data) == {10 * k + i: name for k, name in enumerate(("cat", "dog")) for i in range(3)}


def test_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    shade(tmp_path, "cat/indoor/0.png", 1)
    shade(tmp_path, "cat/1.png", 2)
    shade(tmp_path, "dog/0.png", 3)
    assert labelled(quiet(tmp_path)) == {1: "cat", 2: "cat", 3: "dog"}


@pytest.mark.parametrize("strays", [1, 2])
def test_a_stray_cover_does_not_drop_the_labels(strays: int, tmp_path: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(3):
            shade(tmp_path, f"{name}/{i}.png", 10 * k + i)
    for i in range(strays):
        shade(tmp_path, f"cover{i}.png", 100 + i)
    with pytest.warns(UserWarning, match=r"cover0\.png.*data\.classes=none"):
        data = load(tmp_path, held_out=0.0)
    assert data.class_names == ("cat", "dog") and data.size == 6
    assert f"left out: {strays} images" in data.described()
    none = quiet(tmp_path, classes="none")
    assert none.size == 6 + strays and none.spec.classes == 0
    with pytest.warns(UserWarning, match="cover0"):
        assert load(tmp_path, held_out=0.0, classes="folders").size == 6
    kept = labelled(quiet(tmp_path, unlabelled=True))
    assert [value for value, label in kept.items() if label is None] == [100 + i for i in range(strays)]


def test_many_images_beside_folders_are_no_strays_and_both_readings_are_named(tmp_path: Path) -> None:
    for i in range(8):
        shade(tmp_path, f"{i}.png", i)
    for name in ("best", "worst"):
        shade(tmp_path, f"{name}/0.png", 50)
    with pytest.warns(UserWarning, match=r"classes=folders.*classes=none"):
        data = load(tmp_path, held_out=0.0)
    assert data.size == 10 and data.spec.classes == 0


@pytest.mark.parametrize("names", [("00000", "00001"), ("00000", "01000", "02000"), ("0000", "0001")])
def test_shards_are_not_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for k, name in enumerate(names):
        shade(tmp_path, f"{name}/img{k}.png", k)
    with pytest.warns(UserWarning, match=r"data\.classes=folders"):
        data = load(tmp_path, held_out=0.0)
    assert data.spec.classes == 0 and data.size == len(names)
    assert quiet(tmp_path, classes="folders").class_names == names
    assert quiet(tmp_path, classes="none").spec.classes == 0


@pytest.mark.parametrize("names", [("0", "1"), ("10", "9"), ("2019", "2020"), ("1999", "2020")])
def test_other_numbers_are_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for k, name in enumerate(names):
        shade(tmp_path, f"{name}/img{k}.png", k)
    assert quiet(tmp_path).class_names == tuple(sorted(names, key=int))


# folders that are no classes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("train", "test"), "splits"),
        (("Train", "Val"), "splits"),
        (("train", "dev", "unlabeled"), "splits"),
        (("train", "test", "extra"), "splits"),
        (("train", "test", "notes"), "splits"),
        (("trainA", "trainB", "testA", "testB"), "pairs:"),
        (("trainA", "trainB"), "pairs:"),
        (("train_A", "train_B"), "pairs:"),
        (("images", "masks"), "aligned:"),
        (("imgs", "labels"), "aligned:"),
        (("image", "annotations", "depth"), "aligned:"),
    ],
)
def test_splits_domains_and_masks_are_refused_with_the_choice_named(
    names: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    for k, name in enumerate(names):
        for i in range(4):
            shade(tmp_path, f"{name}/{i}.png", 10 * k + i)
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path)
    assert "data.classes=folders" in caught.value.fix
    assert load(tmp_path, classes="folders", held_out=0.0).spec.classes == len(names)
    named = re.search(r"--data '([^']+)'", caught.value.fix) or re.search(r"e\.g\. (\S+)", caught.value.fix)
    assert named is not None
    opened = load(named[1], held_out=0.0)
    assert opened.size == 4 and (":" not in named[1] or opened.spec.column("other") is not None)


@pytest.mark.parametrize("names", [("train", "car", "bus"), ("A", "B"), ("images", "paintings"), ("target", "other")])
def test_one_such_name_among_others_is_a_class(names: tuple[str, ...], tmp_path: Path) -> None:
    for k, name in enumerate(names):
        shade(tmp_path, f"{name}/0.png", k)
    assert quiet(tmp_path).class_names == tuple(sorted(names))


# files of labels ------------------------------------------------------------------------------------------------------

COUNT = 12
WANTED = {10 * i: str((7 * i) % 11) for i in range(COUNT)}  # more than ten classes, so text and numbers differ in order


def numbered(folder: Path, shards: bool = False) -> list[str]:
    names = [f"{i // 4:05d}/img{i:08d}.png" if shards else f"{i}.png" for i in range(COUNT)]
    for i, name in enumerate(names):
        shade(folder, name, 10 * i)
    return names


def write_dataset_json(folder: Path, names: list[str], labels: list[str]) -> None:
    rows = [[name, int(label)] for name, label in zip(names, labels, strict=True)]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows[::-1]}))


def write_metadata_jsonl(folder: Path, names: list[str], labels: list[str]) -> None:
    rows = [{"file_name": n, "text": "a, b", "label": int(v)} for n, v in zip(names, labels, strict=True)]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


def write_metadata_csv(folder: Path, names: list[str], labels: list[str]) -> None:
    rows = [f'{name},"a ""caption"", long",{label}' for name, label in zip(names, labels, strict=True)]
    (folder / "metadata.csv").write_text("file_name,text,label\n" + "\n".join(rows))


def write_labels_csv(folder: Path, names: list[str], labels: list[str]) -> None:
    rows = [f"{label},{name}" for name, label in zip(names, labels, strict=True)]
    (folder / "labels.csv").write_text("\ufeffLabel,File\r\n" + "\r\n".join(rows), encoding="utf-8")


def write_two_columns(folder: Path, names: list[str], labels: list[str]) -> None:
    (folder / "labels.csv").write_text("\n".join(f"{n},{v}" for n, v in zip(names, labels, strict=True)))


def write_without_suffix(folder: Path, names: list[str], labels: list[str]) -> None:
    rows = [f"{n.removesuffix('.png')},{v}" for n, v in zip(names, labels, strict=True)]
    (folder / "labels.csv").write_text("id,breed\n" + "\n".join(rows))


WRITERS = {
    "dataset.json": write_dataset_json,
    "metadata.jsonl": write_metadata_jsonl,
    "metadata.csv": write_metadata_csv,
    "labels.csv": write_labels_csv,
    "labels.csv without a head": write_two_columns,
    "labels.csv of names without suffix": write_without_suffix,
}


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_labels_in_a_file_beside_the_images_are_read(name: str, shards: bool, tmp_path: Path) -> None:
    WRITERS[name](tmp_path, numbered(tmp_path, shards), list(WANTED.values()))
    data = quiet(tmp_path)
    assert labelled(data) == WANTED
    assert data.class_names == tuple(sorted(set(WANTED.values()), key=int))
    assert name.split()[0] in data.described() and "not read" not in data.described()
    streamed = quiet(tmp_path, stream="true")
    assert labelled(streamed) == WANTED and labelled(load(data.source, held_out=0.0)) == WANTED
    assert quiet(tmp_path, classes="file").fingerprint() == data.fingerprint()
    assert quiet(tmp_path, classes="none").spec.classes == 0


def test_dataset_json_without_labels_states_that_there_are_none(tmp_path: Path) -> None:
    numbered(tmp_path, shards=True)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": None}))
    assert quiet(tmp_path).spec.classes == 0


def test_metadata_without_labels_leaves_the_folders(tmp_path: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        shade(tmp_path, f"{name}/0.png", k)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "cat/0.png", "text": "a cat"}\n')
    assert labelled(quiet(tmp_path)) == {0: "cat", 1: "dog"}
    with pytest.raises(DataError, match="classes=folders"):
        load(tmp_path, classes="file")


def test_a_file_of_labels_goes_before_folders(tmp_path: Path) -> None:
    for i in range(6):
        shade(tmp_path, f"{'ab'[i % 2]}/{i}.png", i)
    (tmp_path / "labels.csv").write_text(
        "file,label\n" + "\n".join(f"{'ab'[i % 2]}/{i}.png,{i // 3}" for i in range(6))
    )
    assert labelled(quiet(tmp_path)) == {i: str(i // 3) for i in range(6)}
    assert labelled(quiet(tmp_path, classes="folders")) == {i: "ab"[i % 2] for i in range(6)}


def test_two_files_that_agree_are_read_and_others_refused(tmp_path: Path) -> None:
    names = numbered(tmp_path)
    write_labels_csv(tmp_path, names, list(WANTED.values()))
    write_metadata_jsonl(tmp_path, names, list(WANTED.values()))
    assert labelled(quiet(tmp_path)) == WANTED
    write_labels_csv(tmp_path, names, ["3"] * COUNT)
    with pytest.raises(DataError, match=r"metadata\.jsonl.*labels\.csv"):
        load(tmp_path)


def test_images_without_a_label_are_refused_or_kept_unlabelled(tmp_path: Path) -> None:
    names = numbered(tmp_path)
    write_labels_csv(tmp_path, names[:-2], list(WANTED.values())[:-2])
    with pytest.raises(DataError, match=r"2 of 12 images.*data\.unlabelled=true"):
        load(tmp_path)
    found = labelled(quiet(tmp_path, unlabelled=True))
    assert found == WANTED | {100: None, 110: None}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("labels.csv", "file,label\ngone.png,1\n", r"gone\.png"),
        ("labels.csv", "a,b,c\n0.png,1,2\n", "a, b, c"),
        ("labels.csv", "", "empty"),
        ("labels.csv", "file,label\n0.png,1\n0.png,2\n", "two labels"),
        ("labels.csv", "file,label,more\n0.png\n", "short"),
        ("dataset.json", '{"labels": [["0.png", [0.1, 0.2]]]}', "list"),
        ("dataset.json", '{"labels": [1, 2]}', "list"),
        ("dataset.json", '{"labels":', "dataset.json"),
        ("metadata.jsonl", '{"file_name": "0.png"', "line 1"),
        ("metadata.jsonl", "[1]\n", "line 1"),
        ("labels.csv", "\x00\xff", "labels.csv"),
    ],
)
def test_files_of_labels_that_do_not_fit_are_named(name: str, text: str, says: str, tmp_path: Path) -> None:
    numbered(tmp_path)
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path)
    assert name in caught.value.what
    assert quiet(tmp_path, classes="none").size == COUNT


def test_labels_given_in_another_order_than_the_paths_are_warned_of(tmp_path: Path) -> None:
    numbered(tmp_path)  # 0.png, 1.png, 10.png, 11.png, 2.png, …
    with pytest.warns(UserWarning, match=r"1, 10, 11, 2.*labels\.csv"):
        load(tmp_path, labels=list(range(COUNT)))


# other files ----------------------------------------------------------------------------------------------------------


def test_what_systems_put_beside_images_is_not_read(tmp_path: Path) -> None:
    for i in range(3):
        shade(tmp_path, f"{i}.png", i)
    for name in ("__MACOSX/1.png", ".thumbs/1.png", "@eaDir/0.png/thumb.jpg", ".ipynb_checkpoints/0.png"):
        shade(tmp_path, name, 99)
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    data = quiet(tmp_path)
    assert data.size == 3 and "1 .db, 1 .ini" in data.described()


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    shade(tmp_path, "set/cat/0.png", 1)
    shade(tmp_path, "set/dog/0.png", 2)
    os.symlink(tmp_path / "set", tmp_path / "set" / "cat" / "loop")
    assert labelled(quiet(tmp_path / "set")) == {1: "cat", 2: "dog"}


def test_the_line_names_rows_shape_classes_counts_and_order(tmp_path: Path) -> None:
    for k, (name, count) in enumerate((("2", 3), ("10", 5))):
        for i in range(count):
            shade(tmp_path, f"{name}/{i}.png", 10 * k + i)
    said = load(tmp_path, held_out=0.25).described()
    for part in ("6 training rows", "2 held out", "5 x 6 pixels", "gray", "2 classes", "2: 3, 10: 5", "x / 127.5 - 1"):
        assert part in said, said
    assert "\n" not in said
