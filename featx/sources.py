"""Where a dataset comes from: a folder, with or without splits and classes, or a manifest."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from featx.config import IMAGE_SUFFIXES, SPLITS
from featx.dataset import Dataset, check_splits, make_dataset
from featx.errors import DatasetError
from featx.files import check_replaceable, write_csv
from featx.splits import NO_LABEL, assign_splits

MANIFEST_COLUMNS = ("path", "label", "split")
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
# What file systems take: NAME_MAX and PATH_MAX of Linux, the longest there are.
_NAME_BYTES, _PATH_BYTES = 255, 4096


def read_dataset(
    data: str | Path, split: str | None = None, root: str | Path | None = None
) -> Dataset:
    """Find the images of `data`, their classes and their splits.

    Parameters
    ----------
    data : str or Path
        ``DIR/{train,val|valid,test}/<class>/*``, ``DIR/<class>/*``, a folder of images without
        classes, or a CSV file (a manifest) with the columns path, label and, if there are splits,
        split.
    split : str, optional
        How to split what has no splits of its own. ``first:60,10``: of each class, in the order
        of file names, the first 60 train, the next 10 val, the rest test. ``0.7,0.1,0.2@SEED``:
        these fractions of each class, at random. None: everything is train.
    root : str or Path, optional
        The folder that a manifest's paths are relative to and may not leave. None: the manifest's
        own, which they may not leave by a link either.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        Nothing there, no images, one class only, a rule that the classes cannot meet, a split
        with a class that train lacks, a manifest that is not one.
    """
    path = Path(data)
    if not path.exists():
        raise DatasetError(f"no such file or folder: {path}")
    if path.is_dir():
        if root is not None:
            raise DatasetError(f"--root {root} goes with a manifest, and {path} is a folder")
        found = _scan_folder(path)
    else:
        found = _read_manifest(path, path.parent if root is None else Path(root))
        if root is None:
            _check_inside(found, path)
    if not len(found) and not path.is_dir():
        raise DatasetError(f"{path} names no images: nothing follows its first line")
    if not len(found):
        raise DatasetError(
            f"no images in {path}: looked for {', '.join(sorted(IMAGE_SUFFIXES))} in "
            f"{path.name}/<class>/ and {path.name}/{{train,val,test}}/<class>/"
        )
    if len(found.classes) == 1:
        raise DatasetError(
            f"only one class in {path} ({found.classes[0]}): a classifier needs two or more; for "
            "features without labels, name the folder that holds the images itself"
        )
    if split is not None:
        if found.split_rule != "none":
            raise DatasetError(
                f"{path} has splits of its own ({found.split_rule}); leave --split {split} out"
            )
        if not found.classes:
            raise DatasetError(f"{path} has no classes: --split {split} needs them")
        names = [PurePosixPath(name).name for name in found.paths]
        empty = [name[:-1] for name in found.ignored if name.endswith("/")]
        splits = assign_splits(split, found.classes, found.targets, names, empty)
        found = replace(found, splits=splits, split_rule=split)
    elif found.split_rule == "none" and found.classes:
        found = replace(found, splits=np.full(len(found), "train", dtype="<U5"))
    check_splits(found)
    return found


def write_manifest(dataset: Dataset, path: Path, overwrite: bool = False) -> None:
    """Write the CSV that `read_dataset` reads: path (relative to the root), label, split.

    Raises
    ------
    OutputExistsError
        `path` is there, is no manifest of this kind, and `overwrite` is False.
    """
    if not overwrite:
        check_replaceable(path, ",".join(MANIFEST_COLUMNS))
    labels = (dataset.classes[k] if k != NO_LABEL else "" for k in dataset.targets)
    write_csv(
        path, MANIFEST_COLUMNS, zip(dataset.paths, labels, dataset.splits.tolist(), strict=True)
    )


def _scan_folder(root: Path) -> Dataset:
    folders = _subfolders(root)
    names = {folder.name for folder in folders}
    # A class may well be called "test": these are splits only where train holds class folders.
    split_form = "train" in names and _is_split(root)
    rows: list[tuple[str, str, str]] = []  # split, class, path
    ignored: list[str] = []
    if split_form:
        if {"val", "valid"} <= names:
            raise DatasetError(f"{root} has both val/ and valid/: keep one")
        ignored += [f"{folder.name}/" for folder in folders if folder.name not in _SPLIT_FOLDERS]
        folders = [folder for folder in folders if folder.name in _SPLIT_FOLDERS]
        parts = sorted(
            ((_SPLIT_FOLDERS[f.name], f) for f in folders), key=lambda p: SPLITS.index(p[0])
        )
        classes_of = [(split, c) for split, folder in parts for c in _subfolders(folder)]
    else:
        classes_of = [("", folder) for folder in folders]
    for split, folder in classes_of:
        images, others = list_images(folder)
        prefix = folder.relative_to(root).as_posix()
        rows += [(split, folder.name, f"{prefix}/{name}") for name in images]
        ignored += [f"{prefix}/{name}" for name in others]
        if not images:
            ignored.append(f"{prefix}/")
    here, beside = list_images(root)
    beside = [name for name in beside if name not in names]
    if rows:
        ignored += here + beside
        return make_dataset(root, rows, "folders" if split_form else "none", ignored)
    return make_dataset(root, [("", "", name) for name in here], "none", ignored + beside)


def _is_split(root: Path) -> bool:
    """Whether train/ holds class folders and no images of its own."""
    return bool(_subfolders(root / "train")) and not list_images(root / "train")[0]


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e) for e in entries if _is_folder(e) and not e.name.startswith("."))


def list_images(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the images directly in `folder`, and of what else lies there, both sorted."""
    images, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue  # .DS_Store, ._photo.jpg, .ipynb_checkpoints: never anyone's images
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a Path per file is slow)
            # A dangling link counts as an image: it is reported as unreadable, not passed over.
            if suffix in IMAGE_SUFFIXES and not _is_folder(entry):
                images.append(entry.name)
            else:
                others.append(entry.name)
    return sorted(images), sorted(others)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _read_manifest(path: Path, root: Path) -> Dataset:
    if not root.is_dir():
        raise DatasetError(f"no such folder: {root}")
    rows: list[tuple[str, str, str]] = []
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise DatasetError(
                    f"{path} is not a manifest: its first line must name the columns path,label"
                    f"[,split]; it reads {','.join(columns)[:80]!r}"
                )
            has_split = "split" in columns
            for row in reader:
                line = reader.line_num
                name = _manifest_path(row["path"] or "", root, f"{path}, line {line}")
                if name in seen:
                    raise DatasetError(
                        f"{path}, line {line}: {name} stands in line {seen[name]} already"
                    )
                seen[name] = line
                split = (row["split"] or "").strip() if has_split else ""
                if split and split not in _SPLIT_FOLDERS:
                    raise DatasetError(
                        f"{path}, line {line}: split is {split!r}; expected train, val or test"
                    )
                label = (row["label"] or "").strip()
                if "\0" in label:
                    raise DatasetError(f"{path}, line {line}: the label has a NUL character in it")
                rows.append((_SPLIT_FOLDERS.get(split, ""), label, name))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV manifest in UTF-8: {error}") from error
    if rows and not any((root / name).exists() for _, _, name in rows):
        raise DatasetError(
            f"none of the {len(rows)} images of {path} is there, such as {rows[0][2]}; its paths "
            f"are relative to {root}: --root names another folder"
        )
    return make_dataset(root, rows, "manifest" if has_split else "none", (), name=path.stem)


def _manifest_path(text: str, root: Path, where: str) -> str:
    """A manifest's path relative to `root`; one that leads out of it is an error."""
    if not text:
        raise DatasetError(f"{where}: the path is empty")
    if "\0" in text:
        raise DatasetError(f"{where}: the path has a NUL character in it")
    path = PurePosixPath(text)
    lengths = [len(os.fsencode(part)) for part in path.parts]
    if len(os.fsencode(root / text)) >= _PATH_BYTES or max(lengths, default=0) > _NAME_BYTES:
        raise DatasetError(f"{where}: {text[:60]}… is longer than a file's name can be")
    if path.is_absolute():
        homes = [
            home
            for home in (root.absolute(), root.resolve())
            if path.is_relative_to(home.as_posix())
        ]
        if not homes:
            raise DatasetError(
                f"{where}: {text} lies outside the manifest's root, {root} (--root names another)"
            )
        path = path.relative_to(homes[0].as_posix())
    if ".." in path.parts:
        raise DatasetError(f"{where}: {text} leads out of the manifest's root, {root}")
    return path.as_posix()


def _check_inside(found: Dataset, manifest: Path) -> None:
    """Raise DatasetError where a link leads out of the root that nobody has named."""
    home = Path(os.path.realpath(found.root))
    folders: dict[str, bool] = {}
    for name in found.paths:
        folder, _, _ = name.rpartition("/")
        if folder not in folders:
            real = os.path.realpath(found.root / folder)
            folders[folder] = Path(real).is_relative_to(home)
        path = found.root / name
        inside = folders[folder] and (
            not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(home)
        )
        if not inside:
            raise DatasetError(
                f"{manifest}: {name} is a link that leads out of the manifest's root, "
                f"{found.root}; --root {found.root} says that its links may be followed"
            )
