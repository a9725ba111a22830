"""The images of a folder: with or without splits, with or without classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from featx.config import IMAGE_SUFFIXES, SPLIT_SPELLINGS, SPLITS
from featx.data.inventory import Inventory
from featx.errors import DatasetError


def scan_folder(root: Path) -> Inventory:
    """See `read_inventory`; nothing is split yet."""
    folders = _subfolders(root)
    names = {folder.name for folder in folders}
    # A class may well be called "test": these are splits only where train holds class folders.
    split_form = "train" in names and _is_split(root)
    found = Inventory(root, "folders" if split_form else "none")
    if split_form:
        if {"val", "valid"} <= names:
            raise DatasetError(f"{root} has both val/ and valid/: keep one")
        for folder in folders:
            if folder.name not in SPLIT_SPELLINGS:
                found.ignore(f"{folder.name}/")
        folders = [folder for folder in folders if folder.name in SPLIT_SPELLINGS]
        parts = sorted(
            ((SPLIT_SPELLINGS[f.name], f) for f in folders), key=lambda p: SPLITS.index(p[0])
        )
        classes_of = [(split, c) for split, folder in parts for c in _subfolders(folder)]
    else:
        classes_of = [("", folder) for folder in folders]
    n_images = 0
    for split, folder in classes_of:
        prefix = folder.relative_to(root).as_posix()
        others: list[str] = []
        here = found.add(
            (split, folder.name, f"{prefix}/{name}", 0) for name in _find_images(folder, others)
        )
        for name in sorted(others):
            found.ignore(f"{prefix}/{name}")
        if not here:
            found.ignore(f"{prefix}/")
        n_images += here
    beside: list[str] = []
    if n_images:
        beside = sorted(_find_images(root, beside)) + sorted(beside)
    else:
        found.add(("", "", name, 0) for name in _find_images(root, beside))
        beside.sort()
    for name in beside:
        if name not in names:
            found.ignore(name)
    found.arrange()
    return found


def _is_split(root: Path) -> bool:
    """Whether train/ holds class folders and no images of its own."""
    train = root / "train"
    return bool(_subfolders(train)) and next(_find_images(train, []), None) is None


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e) for e in entries if _is_folder(e) and not e.name.startswith("."))


def list_images(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the images directly in `folder`, and of what else lies there, both sorted."""
    others: list[str] = []
    images = sorted(_find_images(folder, others))
    return images, sorted(others)


def _find_images(folder: Path, others: list[str]) -> Iterator[str]:
    """Names of the images directly in `folder`, as they come; the rest's are put into `others`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue  # .DS_Store, ._photo.jpg, .ipynb_checkpoints: never anyone's images
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a Path per file is slow)
            # A dangling link counts as an image: it is reported as unreadable, not passed over.
            if suffix in IMAGE_SUFFIXES and not _is_folder(entry):
                yield entry.name
            else:
                others.append(entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
