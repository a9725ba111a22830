"""Where a dataset comes from: a folder, with or without splits and classes, or a manifest."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from featx.config import IMAGE_SUFFIXES
from featx.data.dataset import Dataset
from featx.data.inventory import Inventory
from featx.data.splits import NO_LABEL
from featx.errors import DatasetError
from featx.sources.archives import has_braces, scan_images
from featx.sources.boxes import Boxes, cut_inventory, take_boxes
from featx.sources.folders import describe_left_out, name_wrapped
from featx.sources.group_splits import split_groups
from featx.sources.groups import Grouping, choose_grouping, note_divided, note_groups
from featx.sources.label_sets import note_sets, split_sets
from featx.sources.manifest import check_inside, read_manifest
from featx.storage.files import take_path
from featx.storage.places import is_folder
from featx.text import list_some

log = logging.getLogger(__name__)


def read_dataset(
    data: str | Path,
    split: str | None = None,
    root: str | Path | None = None,
    *,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    multi_label: bool = False,
    boxes: str | Path | Boxes | None = None,
) -> Dataset:
    """`read_inventory`, all of it in memory.

    Of the four that group images at most one is given.

    Parameters
    ----------
    data, split, root, recursive, multi_label
        See `read_inventory`.
    group : str, optional
        The manifest's column that says what an image belongs to: an animal, a patient, a site.
    group_pattern : str, optional
        A regular expression that is searched in the relative path; its first group names it.
    group_time : float, optional
        Photographs of one camera model are one group while each was taken at most so many seconds
        after the one before (EXIF DateTimeOriginal).
    group_folder : bool
        ``DIR/<class>/<group>/*``; folders of one name in several classes are one group.
    boxes : path or Boxes, optional
        A file of boxes in the pictures, each of which is an image in the place of the picture.
    """
    grouping = choose_grouping(group, group_pattern, group_time, group_folder)
    return read_inventory(
        data,
        split,
        root,
        recursive=recursive,
        grouping=grouping,
        multi_label=multi_label,
        boxes=take_boxes(boxes),
    ).load()


def take_dataset(
    data: str | Path | Dataset,
    split: str | None = None,
    root: str | Path | None = None,
    grouping: Grouping | None = None,
    *,
    recursive: bool = False,
    boxes: str | Path | Boxes | None = None,
    quiet: bool = False,
) -> Dataset:
    """A dataset as it is, or what `read_inventory` finds in data."""
    if isinstance(data, Dataset):
        return data
    return read_inventory(
        data,
        split,
        root,
        recursive=recursive,
        grouping=grouping,
        boxes=take_boxes(boxes),
        quiet=quiet,
    ).load()


def read_inventory(
    data: str | Path,
    split: str | None = None,
    root: str | Path | None = None,
    *,
    recursive: bool = False,
    grouping: Grouping | None = None,
    multi_label: bool = False,
    boxes: Boxes | None = None,
    quiet: bool = False,
) -> Inventory:
    """Find the images of `data`, their classes and their splits, and say what is left out.

    Parameters
    ----------
    data : str or Path
        ``DIR/{train,val,test}/<class>/*`` (splits in any spelling of `config.SPLIT_SPELLINGS`; a
        split without class folders is unlabelled), ``DIR/<class>/*``, a folder of images without
        classes, or a CSV file (a manifest) with the columns path, label and, if there are splits,
        split; an archive of such a folder (.tar, .tar.gz, .zip), of WebDataset's samples or in
        Parquet; a folder of archives, or several by braces: ``shard-{000..127}.tar``.
    split : str, optional
        How to split what has no splits of its own. ``first:60,10``: of each class, in the order
        of file names, the first 60 train, the next 10 val, the rest test. ``0.7,0.1,0.2@SEED``:
        these fractions of each class, at random. None: everything is train.
    root : str or Path, optional
        The folder that a manifest's paths are relative to and may not leave. None: the manifest's
        own, which they may not leave by a link either.
    recursive : bool
        Take the images in all folders below a class folder for that class, too; where folders are
        groups, that is so.
    grouping : Grouping, optional
        How it is told which images belong together. ``--split`` then keeps groups whole. Boxes of
        a picture belong together unless told otherwise.
    multi_label : bool
        An image may have any number of labels: a manifest's column label holds several, parted by |
        or ; (empty: none of them), or instead of it there is a column of 0 and 1 for each label.
        ``--split`` then keeps each label's share; see `deal_sets`.
    boxes : Boxes, optional
        The images are these boxes in the pictures of `data`.
    quiet : bool
        Leave what is found besides images in the inventory, and say nothing of it.

    Returns
    -------
    Inventory

    Raises
    ------
    DatasetError
        Nothing there, no images, one class only, a rule that the classes cannot meet, a split
        with a class that train lacks, a manifest that is not one, images without a group.
    """
    path = take_path(data, "data")
    in_folder = is_folder(path) or has_braces(path)
    if not in_folder and not path.exists():
        raise DatasetError(f"no such file or folder: {path}")
    if not (in_folder or path.is_file()):
        raise DatasetError(
            f"{path} is neither a folder nor an archive nor a manifest, which are regular files"
        )
    if in_folder:
        if root is not None:
            raise DatasetError(f"--root {root} goes with a manifest, and {path} is a folder")
        if multi_label:
            raise DatasetError(
                f"--multi-label goes with a manifest, and {path} is a folder, whose class folders "
                "give each image one label"
            )
        if grouping is not None and grouping.by == "column":
            raise DatasetError(
                f"{grouping} names a column of a manifest, and {path} is a folder: its images are "
                "grouped by --group-pattern, --group-time or --group-folder"
            )
        by_folder = grouping is not None and grouping.by == "folder"
        found = scan_images(path, recursive or by_folder)
    elif recursive:
        raise DatasetError(f"--recursive goes with a folder, and {path} is a manifest")
    else:
        if grouping is not None and grouping.by == "folder":
            raise DatasetError(
                f"{grouping} goes with a folder, and {path} is a manifest: --group names a column"
            )
        column = grouping.value if grouping is not None and grouping.by == "column" else None
        home = path.parent if root is None else take_path(root, "root")
        found = read_manifest(path, home, column, multi_label)
        if root is None:
            check_inside(found, path)
    found.source = str(path)
    if boxes is not None:
        if multi_label:
            raise DatasetError("--boxes does not go with --multi-label: a box has one label")
        if found.has_boxes():
            raise DatasetError(f"{path} names boxes itself: --boxes goes with whole pictures")
        found = cut_inventory(found, boxes)
    if grouping is None and found.has_boxes():
        grouping = Grouping("picture")
    _note_classes(found)
    if not quiet:
        _say([*describe_left_out(found.left_out.list()), *found.notes], found.source)
    n_images = len(found)
    if not n_images and not in_folder:
        raise DatasetError(f"{path} names no images: nothing follows its first line")
    if not n_images:
        raise DatasetError(
            f"no images in {path}: looked for {', '.join(sorted(IMAGE_SUFFIXES))} in "
            f"{path.name}/<class>/ and {path.name}/{{train,val,test}}/<class>/"
            + "".join(f"; {line}" for line in describe_left_out(found.left_out.list()))
            + _list_lost(found)
            + (f"; all lies in {inner}/: give that" if (inner := name_wrapped(path)) else "")
        )
    if len(found.classes) == 1 and not found.multilabel:
        raise DatasetError(
            f"only one class in {path} ({found.classes[0]}): a classifier needs two or more; for "
            "features without labels, name the folder that holds the images itself"
            + _list_lost(found)
        )
    known = len(found.notes)
    try:
        _split(found, split, grouping)
    finally:
        if not quiet:
            _say(found.notes[known:], found.source)
    return found


def _split(found: Inventory, split: str | None, grouping: Grouping | None) -> None:
    """Find out which images belong together, and who is in which split."""
    if grouping is not None:
        note_groups(found, grouping)
    if split is not None:
        if found.split_rule != "none":
            raise DatasetError(
                f"{found.source} has splits of its own ({found.split_rule}); leave --split {split} "
                "out"
            )
        if not found.classes:
            raise DatasetError(
                f"{found.source} has no classes: --split {split} needs them"
                + "".join(f"; {line}" for line in found.notes)
            )
        if grouping is not None:
            split_groups(found, split, grouping)
        elif found.multilabel:
            split_sets(found, split)
        else:
            found.assign_splits(split)
    elif found.split_rule == "none" and found.classes:
        found.set_all_train()
    if found.multilabel:
        note_sets(found)
    else:
        _check_splits(found)
    if grouping is not None:
        note_divided(found)


def _list_lost(found: Inventory) -> str:
    """What could not be read, as far as that is known before images are."""
    return "".join(f"; {one.path} {one.reason}" for one in found.unread)


def _say(notes: Iterable[str], source: str) -> None:
    for line in notes:
        log.warning("%s: %s", source, line)


def _note_classes(found: Inventory) -> None:
    """Note unlabelled images among labelled ones, and classes that differ in case alone."""
    unlabelled = found.count(f"SELECT count(*) FROM images WHERE target = {NO_LABEL}")
    if found.classes and unlabelled and not found.multilabel:
        first = next(found.iterate_names(f"WHERE target = {NO_LABEL}"))
        found.notes.append(
            f"images without a label: {unlabelled} (such as {first}); they get features, and "
            "nothing is learned from them or measured on them"
        )
    if found.empty and found.classes:
        found.notes.append(f"class folders without images: {list_some(found.empty)}")
    alike: dict[str, list[str]] = {}
    for name in found.classes:
        alike.setdefault(name.casefold(), []).append(name)
    double = [" and ".join(names) for names in alike.values() if len(names) > 1]
    if double:
        found.notes.append(f"classes that differ in case alone stay apart: {list_some(double)}")


def _check_splits(found: Inventory) -> None:
    """Raise DatasetError where a split has a class that train has no image of."""
    have = found.targets_by_split()
    if not have["train"] - {NO_LABEL} and (have["val"] or have["test"]):
        raise DatasetError(f"{found.root} has no labelled train images")
    for split in ("val", "test"):
        missing = sorted(have[split] - have["train"] - {NO_LABEL})
        if missing:
            names = ", ".join(found.classes[k] for k in missing)
            learned = {found.classes[k].casefold() for k in have["train"] - {NO_LABEL}}
            if any(found.classes[k].casefold() in learned for k in missing):
                names += " (train has one in another case)"
            hint = (
                "; images whose class is not known go into a folder called unlabelled"
                if found.split_rule == "folders"
                else ""
            )
            raise DatasetError(
                f"{found.root}: {split} has classes that train lacks: {names}; nothing could "
                f"ever learn them{hint}"
            )
