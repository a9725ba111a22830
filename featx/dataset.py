"""A folder of images: what is there, which class each image has, and which split it is in."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from featx.config import IMAGE_SUFFIXES, SPLITS
from featx.errors import DatasetError
from featx.files import check_replaceable, write_csv
from featx.splits import NO_LABEL, assign_splits, find_untrainable

MANIFEST_COLUMNS = ("path", "label", "split")
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class Dataset:
    """Images by name, with their classes and splits; nothing is decoded.

    Attributes
    ----------
    root : Path
        The folder that `paths` are relative to.
    name : str
        A short name for people and file names.
    classes : tuple of str
        Class names, sorted; empty where nothing is labelled.
    paths : tuple of str
        Relative to `root`, with forward slashes, sorted within each class and split.
    targets : ndarray of shape (n_samples,), int64
        Index into `classes`; -1 means no label.
    splits : ndarray of shape (n_samples,), str
        "train", "val" or "test"; "" where the image is in none.
    split_rule : str
        Where the splits came from: "folders", "manifest", a rule such as "first:60,10", or "none".
    ignored : tuple of str
        What the scan found and left alone: files that are no images, folders within classes;
        with a slash at the end, class folders without images.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    targets: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    split_rule: str
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Dataset:
        """The same dataset with only `rows` (a mask or indices), in that order."""
        paths = tuple(np.asarray(self.paths, dtype=object)[rows])
        return replace(self, paths=paths, targets=self.targets[rows], splits=self.splits[rows])

    def counts(self) -> dict[str, int]:
        """How many images each split has; only splits that have any."""
        found = Counter(self.splits.tolist())
        return {split: found[split] for split in SPLITS if found[split]}


@dataclass(frozen=True, order=True)
class Skipped:
    """An image of which there are no features.

    Attributes
    ----------
    path : str
        Relative, with forward slashes; bytes that are not UTF-8 escaped.
    digest : str
        SHA-256 of the file's bytes, in hex; "" where that is not known.
    kind, reason : str
        See `featx.errors.ImageError`.
    """

    path: str
    digest: str
    kind: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """As it stands in JSON."""
        return {"path": self.path, "kind": self.kind, "reason": self.reason}


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
    _check_splits(found)
    return found


def fingerprint_rows(
    classes: Sequence[str],
    paths: Sequence[str] | npt.NDArray[np.str_],
    hashes: npt.NDArray[np.str_],
    targets: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
) -> str:
    """SHA-256, in hex, of which images these are: names, contents, classes and splits.

    Of the number of classes, their names, and every row's path, content hash, target and split,
    each ended by a NUL.
    """
    digest = hashlib.sha256("\0".join([str(len(classes)), *classes, ""]).encode())
    for row in zip(paths, hashes, targets, splits, strict=True):
        digest.update("\0".join([*map(str, row), ""]).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


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


def check_trainable(dataset: Dataset) -> None:
    """Raise DatasetError where no classifier can be trained on a dataset."""
    if reason := find_untrainable(dataset.classes, dataset.targets, dataset.splits):
        raise DatasetError(f"{dataset.root}: {reason}")


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
        return _make(root, rows, "folders" if split_form else "none", ignored)
    return _make(root, [("", "", name) for name in here], "none", ignored + beside)


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
    return _make(root, rows, "manifest" if has_split else "none", (), name=path.stem)


def _manifest_path(text: str, root: Path, where: str) -> str:
    """A manifest's path relative to `root`; one that leads out of it is an error."""
    if not text:
        raise DatasetError(f"{where}: the path is empty")
    if "\0" in text:
        raise DatasetError(f"{where}: the path has a NUL character in it")
    path = PurePosixPath(text)
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


def _make(
    root: Path,
    rows: Iterable[tuple[str, str, str]],
    rule: str,
    ignored: Sequence[str],
    name: str | None = None,
) -> Dataset:
    # A folder's name may be no UTF-8; classes and the data's name go into files and tables.
    rows = [(split, _as_text(label), path) for split, label, path in rows]
    rows.sort(key=lambda r: (SPLITS.index(r[0]) if r[0] else 3, r[1], r[2]))
    classes = tuple(sorted({label for _, label, _ in rows if label}))
    index = {label: i for i, label in enumerate(classes)}
    return Dataset(
        root=root,
        name=_as_text(name or root.resolve().name) or "images",
        classes=classes,
        paths=tuple(path for _, _, path in rows),
        targets=np.array([index.get(label, NO_LABEL) for _, label, _ in rows], dtype=np.int64),
        splits=np.array([split for split, _, _ in rows], dtype="<U5"),
        split_rule=rule,
        ignored=tuple(ignored),
    )


def _as_text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _check_splits(dataset: Dataset) -> None:
    """Raise DatasetError where a split has a class that train has no image of."""
    have = {split: set(dataset.targets[dataset.splits == split].tolist()) for split in SPLITS}
    if not have["train"] - {NO_LABEL} and (have["val"] or have["test"]):
        raise DatasetError(f"{dataset.root} has no labelled train images")
    for split in ("val", "test"):
        missing = sorted(have[split] - have["train"] - {NO_LABEL})
        if missing:
            names = ", ".join(dataset.classes[k] for k in missing)
            raise DatasetError(
                f"{dataset.root}: {split} has classes that train lacks: {names}; nothing could "
                "ever learn them"
            )
