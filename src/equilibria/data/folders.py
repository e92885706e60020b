"""A folder of images: which of its files are images, and which labels they have.

Labels come from a file beside the images, or else from the folders that they are in:

- ``dataset.json`` (StyleGAN): ``{"labels": [["00000/img00000000.png", 3], …]}``, or ``null`` for none;
- ``metadata.jsonl``, ``metadata.csv`` (Hugging Face): ``file_name`` and a column of labels;
- ``labels.csv``: a column of file names and one of labels, with or without a head;
- class folders, ``cat/1.png``, also below folders that are alone (``train/cat/1.png``).

Names that are whole numbers are sorted as numbers, others as text.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..base.errors import DataError
from . import archives
from .formats import SUFFIXES, is_picture
from .label_files import FILES, labels_beside
from .notes import warn
from .options import DataOptions, setting

__all__ = ["Listing", "listed"]

_SPLITS = frozenset(
    {
        "train",
        "training",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "evaluation",
        "unlabeled",
        "unlabelled",
        "extra",
    }
)
_DOMAIN = re.compile(r"(train|training|test|val|valid)?[_-]?([AB])")
_PICTURES = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "inputs", "input", "jpegimages", "rgb"})
_MASKS = frozenset(
    {
        "masks",
        "mask",
        "labels",
        "label",
        "annotations",
        "annotation",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "gt",
        "targets",
        "target",
        "depth",
        "depths",
        "edges",
    }
)
_IMAGES = frozenset(
    {
        ".heic",
        ".heif",
        ".svg",
        ".raw",
        ".dng",
        ".cr2",
        ".nef",
        ".arw",
        ".exr",
        ".hdr",
        ".jxl",
        ".dcm",
        ".psb",
        ".nii",
        ".czi",
        ".mp4",
        ".mov",
    }
)
_SYSTEM = frozenset({"__MACOSX", "@eaDir"})  # thumbnails and attributes that systems put beside files


class Listing(NamedTuple):
    """The images under a folder.

    Attributes:
        paths: in order.
        labels: the label of each as text, None for one without a label; None where there are no labels.
        notes: what was not read, and how the labels were found.
        base: the folder that the images are named from.
    """

    paths: Sequence[Path]
    labels: Mapping[Path, str | None] | None
    notes: tuple[str, ...]
    base: Path = Path()


def listed(folder: Path, options: DataOptions) -> Listing:
    """The images under a folder (or one image file) in the order of their paths, with their labels.

    Raises:
        DataError: there are no images, the labels do not fit, or the folders are splits or domains.
    """
    if archives.is_file(folder):
        return Listing([folder], None, (), folder.parent)
    base = _alone(folder)
    return _labelled(base, options)._replace(base=base)


def _labelled(folder: Path, options: DataOptions) -> Listing:
    paths, others = _pictures(folder)
    notes = []
    if others:
        notes.append(
            "not read: " + ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in sorted(others.items()))
        )
    if options.classes == "none":
        return Listing(paths, None, tuple(notes))
    if options.classes != "folders":
        beside = labels_beside(folder, paths, options)
        if beside is not None:
            return Listing(paths, beside.labels, (*notes, beside.note))
        if options.classes == "file":
            raise DataError(f"{folder} has none of {', '.join(FILES)} with labels", setting(classes="folders"))
    found = _by_folder(folder, paths, options)
    return found._replace(notes=(*notes, *found.notes))


def _pictures(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The images under a folder, and the number of other files by suffix."""
    found: list[Path] = []
    others: Counter[str] = Counter()
    for path in _files(folder):
        if path.name.startswith(".") or (path.parent == folder and path.name in FILES):
            continue
        if not _is_pipe(path) and is_picture(path):
            found.append(path)
        else:
            others[path.suffix.lower()] += 1
    if not found:
        raise DataError(
            f"the folder {folder} has no images (of {others.total()} files none ends in {', '.join(sorted(SUFFIXES))}, "
            "and none is an image by its content)",
            "give the folder that holds the image files",
        )
    _warn_of_unread(folder, others)
    return sorted(found), others


def _files(folder: Path) -> Iterator[Path]:
    """The files under a folder, without those of hidden folders and of systems."""
    if not folder.is_dir():  # an archive
        for path in archives.files_in(folder):
            above = path.relative_to(folder).parts[:-1]
            if not any(name.startswith(".") or name in _SYSTEM for name in above):
                yield path
        return
    entered = set()
    for root, names, files in os.walk(folder, followlinks=True):
        here = os.stat(root)
        if (here.st_dev, here.st_ino) in entered:  # a link to where the walk has been
            names[:] = []
            continue
        entered.add((here.st_dev, here.st_ino))
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in _SYSTEM)
        yield from (Path(root) / name for name in files)


def _alone(folder: Path) -> Path:
    """The folder that holds all files of an archive, which is where the files of labels are."""
    while not folder.is_dir():
        first = {path.relative_to(folder).parts[:2] for path in _files(folder)}
        heads = {parts[0] for parts in first}
        if len(heads) != 1 or any(len(parts) == 1 for parts in first):
            break
        folder = folder / heads.pop()
    return folder


def _warn_of_unread(folder: Path, others: Counter[str]) -> None:
    known = {suffix: n for suffix, n in others.items() if suffix in _IMAGES}
    if known:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in sorted(known.items()))
        warn(f"files of {folder} that the installed Pillow does not open are not read: {kinds}; convert them to PNG")


def _is_pipe(path: Path) -> bool:
    """Whether reading may wait for ever: a pipe, a socket, a device. A link to nowhere is none of these."""
    return path.exists() and not path.is_file()


def _by_folder(folder: Path, paths: Sequence[Path], options: DataOptions) -> Listing:
    """The labels that are the names of folders, at the first level that has several."""
    base = folder
    while True:
        parts = {path: path.relative_to(base).parts for path in paths}
        inner = {path: part[0] for path, part in parts.items() if len(part) > 1}
        names = sorted(set(inner.values()), key=in_order)
        if len(names) != 1 or len(inner) < len(paths):
            break
        base = base / names[0]
    if len(names) < 2:
        return Listing(paths, None, ())
    if options.classes == "auto":
        _refuse_layout(base, names)
        if _are_shards(names):
            warn(
                f"the subfolders {names[0]}, {names[1]}, … of {base} are taken for parts of one set, not for classes; "
                f"if they are classes, {setting(classes='folders')}"
            )
            return Listing(paths, None, (f"{len(names)} numbered subfolders are not classes",))
    strays = [path for path in paths if path not in inner]
    if not strays:
        return Listing(paths, inner, ())
    return _beside(base, paths, inner, strays, options)


def _beside(
    base: Path, paths: Sequence[Path], inner: Mapping[Path, str], strays: Sequence[Path], options: DataOptions
) -> Listing:
    """Images beside class folders: a few are left out, or have no label; of many, the folders are no classes."""
    fewest = min(Counter(inner.values()).values())
    place = f"{len(strays)} images of {base} are beside its subfolders, for example {strays[0].name}"
    if options.classes == "auto" and len(strays) >= fewest and 10 * len(strays) > len(paths):
        warn(
            f"{place}, so the subfolders are not taken for classes; if they are, {setting(classes='folders')}; "
            f"to state that they are not, {setting(classes='none')}"
        )
        return Listing(paths, None, ("subfolders are not classes",))
    if options.unlabelled:
        return Listing(paths, {path: inner.get(path) for path in paths}, (f"{len(strays)} images without a label",))
    warn(
        f"{place}; the subfolders are the classes, and these images are left out; to read all images without labels, "
        f"{setting(classes='none')}"
    )
    kept = [path for path in paths if path in inner]
    return Listing(kept, inner, (f"left out: {len(strays)} images beside the class folders",))


def _refuse_layout(base: Path, names: Sequence[str]) -> None:
    """Refuse folders that are parts of a data set, or domains, and not classes."""
    lower = {name.lower(): name for name in names}
    splits = [name for low, name in lower.items() if low in _SPLITS]
    as_classes = f"if they are classes, {setting(classes='folders')}"
    if len(splits) > 1:
        first = max(splits, key=lambda n: n.lower().startswith("train"))
        raise DataError(
            f"the subfolders of {base} are {', '.join(names)}, which are splits, not classes",
            f"{as_classes}; otherwise give one of them, e.g. {base / first}",
        )
    domains = {name: found for name in names if (found := _DOMAIN.fullmatch(name)) and found[1]}
    if len(domains) == len(names) and {found[2] for found in domains.values()} == {"A", "B"}:
        a = max((n for n in names if domains[n][2] == "A"), key=lambda n: n.lower().startswith("train"))
        b = next((n for n in names if n == a[:-1] + "B"), next(n for n in names if domains[n][2] == "B"))
        raise DataError(
            f"the subfolders of {base} are {', '.join(names)}, which are two domains, not classes",
            f"name both, as --data 'pairs:{base / a},{base / b}', or one of them; {as_classes}",
        )
    pictures, masks = ([n for low, n in lower.items() if low in known] for known in (_PICTURES, _MASKS))
    if pictures and masks and len(pictures) + len(masks) == len(names):
        both = f"{base / pictures[0]},{base / masks[0]}"
        raise DataError(
            f"the subfolders of {base} are {', '.join(names)}, images and what belongs to them, not classes",
            f"name both, as --data 'aligned:{both}', or one of them; {as_classes}",
        )


def _are_shards(names: Sequence[str]) -> bool:
    """Whether folders are numbered parts of one set: 00000, 01000, …"""
    width = len(names[0])
    if not all(name.isdecimal() and len(name) == width for name in names):
        return False
    return width >= 5 or (width == 4 and min(names).startswith("00"))


def in_order(name: str) -> tuple[int, int, str]:
    """The key by which classes are sorted: whole numbers as numbers, before text.

    Examples:
        >>> sorted(["10", "cat", "2"], key=in_order)
        ['2', '10', 'cat']
    """
    return (0, int(name), name) if name.isdecimal() and name.isascii() else (1, 0, name)
