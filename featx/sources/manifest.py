"""A manifest: a CSV file that names images, with their classes and splits."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from featx.config import IMAGE_SUFFIXES
from featx.data.dataset import Dataset
from featx.data.inventory import Found, Inventory
from featx.data.splits import NO_LABEL
from featx.decoding.crops import find_picture, name_box, split_name
from featx.decoding.file_kinds import name_kind
from featx.errors import DatasetError
from featx.sources.folders import as_label, name_split
from featx.sources.groups import tidy_group
from featx.sources.label_sets import SetReader, join_labels
from featx.sources.tables import Table, find_encoding
from featx.storage.csv_files import write_csv
from featx.storage.files import check_replaceable
from featx.storage.places import is_folder, is_place, say_packer
from featx.text import printable

MANIFEST_COLUMNS = ("path", "label", "split")
GROUP_COLUMN = "group"  # one more, where groups are known
MANIFEST_STARTS = (",".join(MANIFEST_COLUMNS), ",".join((*MANIFEST_COLUMNS, GROUP_COLUMN)))
# What file systems take: NAME_MAX and PATH_MAX of Linux, the longest there are.
_NAME_BYTES, _PATH_BYTES = 255, 4096
_DRIVE = re.compile("[A-Za-z]:/")


def write_manifest(dataset: Dataset, path: Path, overwrite: bool = False) -> None:
    """Write the CSV that `read_dataset` reads: path (relative to the root), label, split[, group].

    Raises
    ------
    OutputExistsError
        `path` is there, is no manifest of this kind, and `overwrite` is False.
    """
    if not overwrite:
        check_replaceable(path, *MANIFEST_STARTS)
    labels: Iterable[str]
    if dataset.label_sets is None:
        labels = (dataset.classes[k] if k != NO_LABEL else "" for k in dataset.targets)
    else:
        labels = (join_labels(dataset.classes, own) for own in dataset.label_sets)
    columns: list[Iterable[str]] = [dataset.paths, labels, dataset.splits.tolist()]
    names: tuple[str, ...] = MANIFEST_COLUMNS
    if dataset.groups is not None:
        names, columns = (*names, GROUP_COLUMN), [*columns, dataset.groups.tolist()]
    write_csv(path, names, zip(*columns, strict=True))


def read_manifest(
    path: Path, root: Path, group: str | None = None, multi_label: bool = False
) -> Inventory:
    """See `read_inventory`; nothing is split yet that the file does not split.

    `group` is the column that names groups.
    """
    if not is_folder(root):
        raise DatasetError(f"no such folder: {root}")
    asked = group
    try:
        with path.open(encoding=find_encoding(path), newline="") as file:
            table = Table(file, path)
            columns, named = table.columns, table.named
            if "path" not in named or ("label" not in named and not multi_label):
                hint = " (--multi-label takes a column of 0 and 1 for each label, too)"
                raise DatasetError(
                    f"{path} is not a manifest: its first line must name the columns path,label"
                    f"[,split]; it reads {','.join(columns)[:80]!r}{hint * ('path' in named)}"
                )
            if group is not None and group not in columns:
                group = named.get(group.strip().casefold())
                if group is None:
                    raise DatasetError(
                        f"{path} has no column {asked!r} to group by (--group): its first line "
                        f"names {', '.join(columns)}"
                    )
            table.check_single(*MANIFEST_COLUMNS, *([group.strip().casefold()] if group else []))
            found = Inventory(root, "manifest" if "split" in named else "none", path.stem)
            if group is None and GROUP_COLUMN in named:
                found.notes.append(
                    f"--group {GROUP_COLUMN} would keep together what its column {GROUP_COLUMN} "
                    "does; without it every image counts for itself"
                )
            sets = SetReader(columns, named, group, str(path)) if multi_label else None

            def note_set(row: dict[str, str | None], name: str, place: str) -> None:
                if sets is not None:
                    found.put_label_sets([(os.fsencode(name), sets.read(row, place))])

            lines = _read_lines(table, root, path, group, note_set if multi_label else None)
            n_images = found.add(lines)
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(
            _name_other(path)
            or f"{path} is not a CSV manifest in UTF-8: {error}; spreadsheets save one as CSV UTF-8"
        ) from error
    if double := found.find_double():
        name, first, again = double
        raise DatasetError(f"{path}, line {again}: {name} stands in line {first} already")
    found.arrange()
    if sets is not None:
        sets.settle(found)
    if n_images and not any(is_place(find_picture(root / name)) for name in found.iterate_names()):
        raise DatasetError(
            f"none of the {n_images} images of {path} is there, such as "
            f"{next(found.iterate_names())}; its paths are relative to {root}: --root names "
            "another folder"
        )
    return found


def _name_other(path: Path) -> str | None:
    """A sentence for a file that is something else altogether, where its first bytes tell that."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith(b"featx feature file\n"):
        return (
            f"{path} holds features that were extracted already: featx fit, audit and next take "
            "them; here the images are wanted, a folder or a manifest"
        )
    if other := say_packer(head, path):
        return f"{path} is no CSV manifest of images: {other}"
    if head.startswith(b"featx "):
        kind = head.split(b"\n")[0].decode("ascii", "replace")
        return f"{path} is no manifest of images: a {printable(kind)}"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return f"{path} is one picture: name the folder that holds the images, or a manifest"
    if (named := name_kind(head)) and named[0] != "damaged":
        return f"{path} is no CSV manifest of images: {named[1].removeprefix('not an image: ')}"
    return None


def _read_lines(
    table: Table,
    root: Path,
    path: Path,
    group: str | None,
    note_set: Callable[[dict[str, str | None], str, str], None] | None = None,
) -> Iterator[Found]:
    """Split, label, path and number of every line of a manifest, and its group.

    `note_set` is told of each line with its path and
    place, where an image may have several labels; it has none of its own then.
    """
    named = table.named
    for line, row in table.read_whole():
        name = _manifest_path(row[named["path"]] or "", root, f"{path}, line {line}")
        word = (row.get(named.get("split", "")) or "").strip()
        split = name_split(word) if word else ""
        if split is None:
            raise DatasetError(
                f"{path}, line {line}: split is {word!r}; expected train, val or test"
            )
        label = ""
        if note_set is None:
            label = as_label((row[named["label"]] or "").strip())
        else:
            note_set(row, name, f"{path}, line {line}")
        if "\0" in label:
            raise DatasetError(f"{path}, line {line}: the label has a NUL character in it")
        team = tidy_group((row.get(group) or "") if group else "")
        if "\0" in team or len(team.encode()) > _PATH_BYTES:
            raise DatasetError(
                f"{path}, line {line}: the group has a NUL character in it, or more than "
                f"{_PATH_BYTES} bytes"
            )
        yield split, label, name, line, team


def _manifest_path(text: str, root: Path, where: str) -> str:
    """A manifest's path relative to `root`; one that leads out of it is an error."""
    if not text:
        raise DatasetError(f"{where}: the path is empty")
    if "\0" in text:
        raise DatasetError(f"{where}: the path has a NUL character in it")
    if "\\" in text and not os.path.lexists(root / text):  # a name may have one, on Unix
        text = text.replace("\\", "/")
    if _DRIVE.match(text):
        raise DatasetError(
            f"{where}: {text[:60]} is a path on a drive of Windows; write it relative to {root}"
        )
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
    name = path.as_posix()
    if text.isascii():
        return name
    picture, box = split_name(name)
    matched = _match_form(PurePosixPath(picture), root).as_posix()
    return matched if box is None else name_box(matched, box)


def _match_form(path: PurePosixPath, root: Path) -> PurePosixPath:
    """The path in the form of Unicode that the file system has it in; as it is where it is not."""
    found = PurePosixPath()
    for part in path.parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        there = next((form for form in forms if os.path.lexists(root / found / form)), None)
        if there is None:
            return path
        found /= there
    return found


def check_inside(found: Inventory, manifest: Path) -> None:
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
