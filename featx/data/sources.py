"""Where a dataset comes from: a folder, with or without splits and classes, or a manifest."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from featx.config import IMAGE_SUFFIXES, SPLITS
from featx.data.dataset import Dataset
from featx.data.inventory import Inventory
from featx.data.splits import NO_LABEL
from featx.errors import DatasetError
from featx.storage.files import check_replaceable, write_csv

MANIFEST_COLUMNS = ("path", "label", "split")
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
# What file systems take: NAME_MAX and PATH_MAX of Linux, the longest there are.
_NAME_BYTES, _PATH_BYTES = 255, 4096


def read_dataset(
    data: str | Path, split: str | None = None, root: str | Path | None = None
) -> Dataset:
    """`read_inventory`, all of it in memory."""
    return read_inventory(data, split, root).load()


def read_inventory(
    data: str | Path, split: str | None = None, root: str | Path | None = None
) -> Inventory:
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
    Inventory

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
    found.source = str(path)
    n_images = len(found)
    if not n_images and not path.is_dir():
        raise DatasetError(f"{path} names no images: nothing follows its first line")
    if not n_images:
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
        found.assign_splits(split)
    elif found.split_rule == "none" and found.classes:
        found.set_all_train()
    _check_splits(found)
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


def _scan_folder(root: Path) -> Inventory:
    folders = _subfolders(root)
    names = {folder.name for folder in folders}
    # A class may well be called "test": these are splits only where train holds class folders.
    split_form = "train" in names and _is_split(root)
    found = Inventory(root, "folders" if split_form else "none")
    if split_form:
        if {"val", "valid"} <= names:
            raise DatasetError(f"{root} has both val/ and valid/: keep one")
        for folder in folders:
            if folder.name not in _SPLIT_FOLDERS:
                found.ignore(f"{folder.name}/")
        folders = [folder for folder in folders if folder.name in _SPLIT_FOLDERS]
        parts = sorted(
            ((_SPLIT_FOLDERS[f.name], f) for f in folders), key=lambda p: SPLITS.index(p[0])
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


def _read_manifest(path: Path, root: Path) -> Inventory:
    if not root.is_dir():
        raise DatasetError(f"no such folder: {root}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise DatasetError(
                    f"{path} is not a manifest: its first line must name the columns path,label"
                    f"[,split]; it reads {','.join(columns)[:80]!r}"
                )
            found = Inventory(root, "manifest" if "split" in columns else "none", path.stem)
            n_images = found.add(_read_lines(reader, root, path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV manifest in UTF-8: {error}") from error
    if double := found.find_double():
        name, first, again = double
        raise DatasetError(f"{path}, line {again}: {name} stands in line {first} already")
    found.arrange()
    if n_images and not any((root / name).exists() for name in found.iterate_names()):
        raise DatasetError(
            f"none of the {n_images} images of {path} is there, such as "
            f"{next(found.iterate_names())}; its paths are relative to {root}: --root names "
            "another folder"
        )
    return found


def _read_lines(
    reader: csv.DictReader[str], root: Path, path: Path
) -> Iterator[tuple[str, str, str, int]]:
    """Split, label, path and number of every line of a manifest."""
    for row in reader:
        line = reader.line_num
        name = _manifest_path(row["path"] or "", root, f"{path}, line {line}")
        split = (row.get("split") or "").strip()
        if split and split not in _SPLIT_FOLDERS:
            raise DatasetError(
                f"{path}, line {line}: split is {split!r}; expected train, val or test"
            )
        label = (row["label"] or "").strip()
        if "\0" in label:
            raise DatasetError(f"{path}, line {line}: the label has a NUL character in it")
        yield _SPLIT_FOLDERS.get(split, ""), label, name, line


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


def _check_inside(found: Inventory, manifest: Path) -> None:
    """Raise DatasetError where a link leads out of the root that nobody has named."""
    home = Path(os.path.realpath(found.root))
    folders: dict[str, bool] = {}
    for name in found.iterate_names():
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


def _check_splits(found: Inventory) -> None:
    """Raise DatasetError where a split has a class that train has no image of."""
    have = found.targets_by_split()
    if not have["train"] - {NO_LABEL} and (have["val"] or have["test"]):
        raise DatasetError(f"{found.root} has no labelled train images")
    for split in ("val", "test"):
        missing = sorted(have[split] - have["train"] - {NO_LABEL})
        if missing:
            names = ", ".join(found.classes[k] for k in missing)
            raise DatasetError(
                f"{found.root}: {split} has classes that train lacks: {names}; nothing could "
                "ever learn them"
            )
