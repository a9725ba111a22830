"""Images in archives: one that is packed as a folder, shards of samples, rows of a table."""

from __future__ import annotations

import codecs
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from featx.config import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, LABEL_COLUMNS
from featx.data.dataset import Leftovers, Skipped
from featx.data.inventory import Inventory
from featx.errors import DatasetError
from featx.sources.folders import (
    BESIDE_SPLITS,
    add_folder,
    as_label,
    count_files,
    is_unlabelled,
    look,
    name_kind,
    name_split,
    name_unwanted,
    scan_folder,
)
from featx.storage.members import ArchiveError
from featx.storage.parquet import describe_unread_labels, iterate_labels
from featx.storage.places import (
    PlaceEntry,
    find_damage,
    is_archive,
    is_table,
    iterate_members,
    iterate_strays,
    read_head,
)
from featx.text import list_some

log = logging.getLogger(__name__)

PARTS_OF_SAMPLES = "other parts of samples"

_LABEL_FILES = "other files (.cls)"

_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST_SHARDS = 100_000  # that braces may stand for
_LABEL_BYTES = 255  # more are no name of a class
_LABEL_FILE_BYTES = 1 << 20  # of a cls or json: what is larger is no label
_LOOKED_AT = 100  # labels of samples, for whether there are any

_LABEL_KINDS = ("cls", "json")

# A sample is what one name up to its first dot has: WebDataset's convention.
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)


def expand_shards(path: Path) -> list[Path]:
    """The paths that one with braces stands for, as in a shell: ``a-{000..127}.tar``.

    Raises
    ------
    DatasetError
        They stand for more than anyone has.
    """
    done, waiting = list[str](), [str(path)]
    while waiting:
        text = waiting.pop()
        found = _BRACES.search(text)
        if found is None:
            done.append(text)
            continue
        first, last, words = found.groups()
        if words is None:
            n = abs(int(last) - int(first)) + 1
            if n * (len(done) + len(waiting) + 1) > _MOST_SHARDS:
                raise DatasetError(f"{path} stands for more than {_MOST_SHARDS:,} paths")
            step = 1 if int(last) >= int(first) else -1
            numbers = range(int(first), int(last) + step, step)
            fillings = [f"{number:0{len(first)}d}" for number in numbers]
        else:
            fillings = words.split(",")
        waiting += [f"{text[: found.start()]}{one}{text[found.end() :]}" for one in fillings[::-1]]
    return [Path(text) for text in done]


def has_braces(path: Path) -> bool:
    """Whether a path stands for others, being none itself."""
    return _BRACES.search(str(path)) is not None and not os.path.lexists(path)


def scan_images(path: Path, recursive: bool) -> Inventory:
    """See `read_inventory`, of a folder, an archive, a folder of archives, or several by braces.

    Raises
    ------
    DatasetError
        It cannot be read, or one of several archives is not there.
    """
    if has_braces(path):
        shards = expand_shards(path)
        gone = [str(shard) for shard in shards if not is_archive(shard)]
        if gone:
            raise DatasetError(
                f"{path}: {len(gone)} of {len(shards)} archives are not there: {list_some(gone)}"
            )
        return _scan_shards(Path(os.path.commonpath([shard.parent for shard in shards])), shards)
    if is_archive(path):
        if is_table(path) or _has_labels(path):
            return _scan_shards(path, [path])
        home = find_home(path)
        found = scan_folder(path / home if home else path, recursive)
        if home:
            _note_home(found, path, home)
        _note_archive(found, path, "./")
        _note_lost_labels(found)
        return found
    found = scan_folder(path, recursive)
    shards = [] if len(found) else find_archives(path)
    return _scan_shards(path, shards, recursive) if shards else found


def find_archives(folder: Path) -> list[Path]:
    """The archives in a folder, or where it has none in the folders in it; sorted."""
    here, below = _list_archives(folder)
    return here or sorted(path for one in below for path in _list_archives(one)[0])


def _list_archives(folder: Path) -> tuple[list[Path], list[Path]]:
    """The archives directly in a folder, sorted, and the folders in it."""
    try:
        with os.scandir(folder) as entries:
            told = [
                (Path(entry), entry.is_dir())
                for entry in entries
                if entry.name.lower().endswith(ARCHIVE_SUFFIXES) or entry.is_dir()
            ]
    except OSError:
        return [], []
    archives = sorted(path for path, below in told if not below and is_archive(path))
    return archives, [path for path, below in told if below]


def list_members(archive: Path, left_out: Leftovers) -> Iterator[Path]:
    """The images of an archive in its own order, whichever folders they are in."""
    table = is_table(archive)
    for _, name in iterate_members(archive):
        unwanted = next(filter(None, map(name_unwanted, name.split("/")[:-1])), None)
        if unwanted is None and (table or _is_image(name)):
            yield archive / name
        else:
            left_out.add(unwanted or _name_kind(archive, name), str(archive / name))
    for kind, name in iterate_strays(archive):
        left_out.add(kind, str(archive / name))
    if damage := find_damage(archive):
        log.warning("%s: %s", archive, damage)


def _scan_shards(root: Path, shards: list[Path], recursive: bool = False) -> Inventory:
    """The images of several archives, whose names may tell their splits."""
    splits = [_find_split(shard.relative_to(root)) for shard in shards]
    told = len({split for split in splits if split}) > 1
    found, broken = Inventory(root, "archives" if told else "none"), 0
    for shard, split in zip(shards, splits, strict=True):
        name = shard.relative_to(root).as_posix() if shard != root else ""
        if told and not split:
            found.left_out.add(BESIDE_SPLITS, name)
            continue
        try:
            _add_shard(found, shard, name, split if told else "", recursive)
        except DatasetError as error:
            if not name:
                raise
            # One of many that cannot be read counts as one image that cannot be.
            broken += 1
            found.unread.append(Skipped(f"{name}/", "", "unreadable", str(error)))
    if broken == len(shards):
        raise DatasetError(f"{root}: {found.unread[0].path}: {found.unread[0].reason}")
    found.arrange()
    return found


def _add_shard(found: Inventory, shard: Path, name: str, split: str, recursive: bool) -> None:
    prefix = f"{name}/" if name else ""
    if is_table(shard):
        rows = _iterate_rows(shard)
        try:
            found.add((split, _tidy_label(label), prefix + one, 0) for one, label in rows)
        except ArchiveError as error:
            raise DatasetError(f"{shard}: {error}") from error
        if said := describe_unread_labels(str(shard)):
            _note_once(found, said)
    elif _has_labels(shard):
        found.add(
            (split, label, prefix + one, 0)
            for one, label in _iterate_labelled(shard, prefix, found.left_out)
        )
    else:
        home = find_home(shard, split)
        add_folder(found, f"{prefix}{home}".rstrip("/"), split, recursive)
        if home:
            _note_home(found, shard, home, prefix)
    _note_archive(found, shard, prefix or "./")


def find_home(archive: Path, split: str = "") -> str:
    """The folder that an archive was made of, if all its images lie below that: "photos".

    It is no class, having folders and no images itself, and no split but that of the archive. ""
    where classes or splits, or images, are not in one folder.
    """
    home = ""
    within = _list_inner(archive)
    while len(within) == 1:
        (name,) = within
        below = f"{home}/{name}" if home else name
        within = _list_inner(archive / below)
        if not within or is_unlabelled(name) or name_split(name) not in (None, split or None):
            break
        home = below
    return home


def count_above(root: Path, shard: Path, told: bool) -> int:
    """How many folders of a member's name stand above that of its class, of one of many archives.

    `told` is whether archives are splits.
    """
    name = shard.relative_to(root)
    return len(name.parts) + len(Path(find_home(shard, _find_split(name) if told else "")).parts)


def _list_inner(folder: Path) -> list[str]:
    """The folders in one that holds no images itself; those of systems are none."""
    folders: list[str] = []
    if any(True for _ in look(folder, folders, lambda kind, name: None)):
        return []
    return [name for name in folders if not name_unwanted(name)]


def _note_home(found: Inventory, archive: Path, home: str, prefix: str = "") -> None:
    """Note from where an archive is read, and what lies beside that."""
    _note_once(
        found, f"all images lie below {home}/: its folders are taken for those of classes or splits"
    )
    here, shown = archive, prefix
    for name in home.split("/"):
        _leave_beside(found.left_out, here, shown, name)
        here, shown = here / name, f"{shown}{name}/"


def _note_once(found: Inventory, line: str) -> None:
    """Note what may be so of thousands of archives."""
    if line not in found.notes:
        found.notes.append(line)


def _leave_beside(left_out: Leftovers, folder: Path, shown: str, home: str) -> None:
    """Count all in a folder but one folder, which is no image."""
    folders: list[str] = []
    for _ in look(folder, folders, lambda kind, name: left_out.add(kind, shown + name)):
        pass
    for name in folders:
        if name != home and (kind := name_unwanted(name)):
            count_files(folder / name, shown + name, kind, left_out)


def _note_lost_labels(found: Inventory) -> None:
    """Note labels of WebDataset's form that no image is beside."""
    lost = [one for one in found.left_out.list() if one.kind == _LABEL_FILES]
    if lost and not found.classes:
        found.notes.append(
            f"labels that no image is beside are not read ({lost[0].count} .cls): WebDataset's "
            "1.jpg and 1.cls are called alike up to the first dot, and follow each other"
        )


def _iterate_rows(table: Path) -> Iterator[tuple[str, str]]:
    """Name and label of each row of a table, but for those whose names are left out."""
    labels = enumerate(iterate_labels(str(table)))
    for number, name in iterate_members(table):
        yield name, next(label for row, label in labels if row == number)


def _note_archive(found: Inventory, archive: Path, shown: str) -> None:
    """Note what an archive holds that no folder does, and where it is damaged."""
    prefix = shown.removeprefix("./")
    for kind, name in iterate_strays(archive):
        found.left_out.add(kind, prefix + name)
    if damage := find_damage(archive):
        # As a folder that cannot be read does, what is lost counts as one image that cannot be.
        found.unread.append(Skipped(shown, "", "unreadable", damage))


def _find_split(shard: Path) -> str:
    """The split that an archive's folder, or a word of its name, stands for; "" where none does."""
    words = [*shard.parts[:-1], *re.split("[-_.]", shard.name)]
    return next((split for word in words if (split := name_split(word))), "")


# -- samples: files of one name, such as 1.jpg and 1.cls


Sample = list[tuple[str, str]]  # of each member what follows the sample's name, and all of it


def _iterate_samples(archive: Path) -> Iterator[Sample]:
    """The members of each sample; 1.jpg and 1.JPG are two of one."""
    keyed = ((_KEY.fullmatch(name), name) for _, name in iterate_members(archive))
    for _, group in itertools.groupby(keyed, lambda one: one[0][1] if one[0] else one[1]):
        yield [(found[2].lower() if found else "", name) for found, name in group]


def _has_labels(archive: Path) -> bool:
    """Whether labels are beside images and not in folders' names; samples without may be first."""
    told = (
        sample
        for sample in _iterate_samples(archive)
        if any(kind in _LABEL_KINDS for kind, _ in sample)
        and any(_is_image(name) for _, name in sample)
    )
    return any(_read_label(archive, sample) is not None for sample in islice(told, _LOOKED_AT))


def _iterate_labelled(archive: Path, prefix: str, left_out: Leftovers) -> Iterator[tuple[str, str]]:
    """Name and label of each image of an archive of samples."""
    for sample in _iterate_samples(archive):
        images = {kind for kind, name in sample if _is_image(name)}
        # Beside 1.jpg is 1.seg.png something else; alone it is the image.
        images = {kind for kind in images if "." not in kind} or images
        label = (_read_label(archive, sample) or "") if images else ""
        for kind, name in sample:
            if kind in images:
                yield name, label
            elif kind not in _LABEL_KINDS or not images:
                what = PARTS_OF_SAMPLES if _is_image(name) else _name_kind(archive, name)
                left_out.add(what, prefix + name)


def _read_label(archive: Path, sample: Sample) -> str | None:
    """What a sample's cls or json says; None where neither is there, or json has no label."""
    named = dict(reversed(sample))  # of 1.cls and 1.CLS the first
    for kind in _LABEL_KINDS:
        if kind in named:
            try:
                data = read_head(archive / named[kind], _LABEL_FILE_BYTES)
            except OSError:
                return ""
            if kind == "cls":
                return _tidy_label(os.fsdecode(data.removeprefix(codecs.BOM_UTF8)))
            value = _find_label(data)
            if isinstance(value, (str, int)):
                return _tidy_label(str(value))
    return None


def _find_label(data: bytes) -> Any:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    values = (
        {str(name).casefold(): value for name, value in told.items()}
        if isinstance(told, dict)
        else {}
    )
    return next((values[name] for name in LABEL_COLUMNS if name in values), None)


def _tidy_label(text: str) -> str:
    label = as_label(text.strip())
    return "" if "\0" in label or len(label.encode()) > _LABEL_BYTES else label


def _is_image(name: str) -> bool:
    base = name[name.rfind("/") + 1 :]
    return base[base.rfind(".") :].lower() in IMAGE_SUFFIXES and base[0] != "."


def _name_kind(archive: Path, name: str) -> str:
    return name_kind(PlaceEntry(name[name.rfind("/") + 1 :], str(archive / name), False))
