"""The images of a folder, with or without splits and classes: every file is one, or is counted."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from featx.config import (
    IMAGE_SUFFIXES,
    OTHER_FILES,
    SPLIT_SPELLINGS,
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    UNLABELLED_FOLDERS,
)
from featx.data.dataset import LeftOut, Leftovers, Skipped
from featx.data.inventory import Inventory
from featx.errors import DatasetError
from featx.storage.places import PlaceEntry, read_head, scan_place
from featx.text import as_text, list_some, say_error

# Kinds of what is left out: images by where they lie,
NESTED = "images in subfolders of class folders"
BESIDE_CLASSES = "images beside class folders"
BESIDE_SPLITS = "images outside the splits' folders"
# and all else by what it is; `OTHER_FILES` has more.
UNNAMED = "images without an image's suffix"
OF_SYSTEMS = "files of systems and programs"
HIDDEN = "hidden files"
LINKS = "links to folders"
CLOSED = "folders of systems that cannot be read"
UNKNOWN = "files without a suffix"

# What to do about images that are left out.
_HINTS = {
    NESTED: "; --recursive reads them",
    BESIDE_CLASSES: "; an image's class is the folder that it is in",
    BESIDE_SPLITS: f"; splits are called {', '.join(SPLIT_SPELLINGS)}",
    UNNAMED: f"; call them {', '.join(sorted(IMAGE_SUFFIXES))}",
}

_SHOWN = 12  # kinds in a sentence
_KINDS = {suffix: kind for kind, suffixes in OTHER_FILES.items() for suffix in suffixes}
_SUFFIX = re.compile(r".*(\.\w{1,12})", re.DOTALL)
# How images begin whatever they are called: the marks that their formats prescribe.
_BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|"
    rb"....ftyp(heic|heix|hevc|mif1|msf1|avif|avis)|\xff\x0a|\0\0\0\x0cJXL ",
    re.DOTALL,
)


def scan_folder(root: Path, recursive: bool = False) -> Inventory:
    """See `read_inventory`; nothing is split yet that folders do not split.

    Raises
    ------
    DatasetError
        The folder cannot be read, or has two folders for one split.
    """
    try:
        folders = _list_folders(root)
    except OSError as error:
        raise DatasetError(f"{root} cannot be read: {say_error(error)}") from error
    splits = _find_splits(root, folders)
    found = Inventory(root, "folders" if splits else "none")
    scan = _Scan(found, recursive)
    if splits:
        for name in folders:
            if name in splits:
                scan.add_split(splits[name], name)
            elif is_unlabelled(name):
                scan.add_class("train", name, name)
            elif scan.enters(name, name):
                scan.leave_out(name, BESIDE_SPLITS)
        scan.leave_beside("", BESIDE_SPLITS)
    else:
        scan.add_classes("", "", folders)
    found.arrange()
    if scan.joined:
        found.notes.append(
            "class folders whose names differ in their form of Unicode alone (NFC, NFD) are taken "
            f"for one: {list_some(list(scan.joined))}"
        )
    if len(found.classes) > 1 and all(map(name_split, found.classes)):
        found.notes.append(
            f"{' and '.join(found.classes)} are taken for classes, since no class folders are in "
            "them: where they are splits, put the images into train/<class>/ and so on, or name "
            "them with their labels in a CSV file"
        )
    return found


def add_folder(found: Inventory, folder: str, split: str, recursive: bool) -> None:
    """Add the images of a folder, one of several that have class folders, to an inventory."""
    _Scan(found, recursive).add_split(split, folder)


def name_split(word: str) -> str | None:
    """The split that a folder's or a manifest's word stands for; None where it stands for none."""
    return SPLIT_SPELLINGS.get(as_label(word).casefold())


def is_unlabelled(folder: str) -> bool:
    """Whether the images of a folder of that name have no class yet."""
    return folder.casefold() in UNLABELLED_FOLDERS


def as_label(name: str) -> str:
    """A class's name in the one form of Unicode (NFC) that names are compared in."""
    return unicodedata.normalize("NFC", as_text(name))


def look(
    folder: Path, folders: list[str], leave_out: Callable[[str, str], object]
) -> Iterator[str]:
    """Names of the images directly in a folder, as they come.

    Parameters
    ----------
    folder : Path
    folders : list of str
        Is given the names of the folders in it.
    leave_out : callable
        Told kind and name of every other file.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    with scan_place(folder) as entries:
        for entry in entries:
            name = entry.name
            # A dangling link counts as an image: it is reported as unreadable, not passed over.
            if _is_folder(entry):
                folders.append(name)
            elif name[name.rfind(".") :].lower() in IMAGE_SUFFIXES and name[0] != ".":
                yield name
            else:
                leave_out(name_kind(entry), name)


def list_images(folder: Path) -> list[str]:
    """Names of the images directly in `folder`, sorted."""
    return sorted(look(folder, [], lambda kind, name: None))


def name_unwanted(folder: str) -> str | None:
    """As what the files of a folder of that name are left out, wherever it lies; or None."""
    name = folder.casefold()
    if name in SYSTEM_FOLDERS or name.startswith(".trash"):
        return OF_SYSTEMS
    return HIDDEN if name.startswith(".") else None


def name_wrapped(root: Path) -> str | None:
    """The one folder in a folder, where folders are in that: what unpacking often leaves."""
    try:
        inner = [name for name in _list_folders(root) if not name_unwanted(name)]
        below = _list_folders(root / inner[0]) if len(inner) == 1 else []
    except OSError:  # is said where the images are read
        return None
    return inner[0] if any(not name_unwanted(name) for name in below) else None


def count_files(folder: Path, shown: str, kind: str, left_out: Leftovers) -> None:
    """Count all files in a folder and below as one kind, under the folder's name as it is shown."""
    waiting = [(folder, shown)]
    while waiting:
        here, shown = waiting.pop()
        try:
            with scan_place(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((here / entry.name, f"{shown}/{entry.name}"))
                    else:
                        left_out.add(kind, f"{shown}/{entry.name}")
        except OSError:
            left_out.add(CLOSED, f"{shown}/")


def describe_left_out(kinds: Sequence[LeftOut]) -> list[str]:
    """What is left out, a sentence for each kind of images and one for all else."""
    lines = [f"{one}{_HINTS[one.kind]}" for one in kinds if one.kind in _HINTS]
    rest = sorted((one for one in kinds if one.kind not in _HINTS), key=lambda one: -one.count)
    told = [str(one) for one in rest[:_SHOWN]]
    if more := rest[_SHOWN:]:
        told.append(f"{sum(one.count for one in more)} of {len(more)} other kinds (see --json)")
    return [f"left out: {line}" for line in (*lines, "; ".join(told)) if line]


def name_kind(entry: os.DirEntry[str] | PlaceEntry) -> str:
    """What a file is that is no image by its name."""
    name = entry.name.casefold()
    if name in SYSTEM_FILES or name.startswith("._"):
        return OF_SYSTEMS
    if name.startswith("."):
        return HIDDEN
    matched = _SUFFIX.fullmatch(name)
    suffix = matched[1] if matched else ""
    if suffix in _KINDS:
        return f"{_KINDS[suffix]} ({suffix})"
    try:
        begins = read_head(Path(entry), 12)
    except OSError:
        begins = b""
    if _BEGINNINGS.match(begins):
        return UNNAMED
    return f"other files ({suffix})" if suffix else UNKNOWN


def _list_folders(folder: Path) -> list[str]:
    with scan_place(folder) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str] | PlaceEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _find_splits(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """Splits by the names of their folders; none where folders of such names are classes."""
    splits = {name: split for name in folders if (split := name_split(name))}
    trains = [name for name, split in splits.items() if split == "train"]
    # A class may well be called "test": these are splits only where train holds class folders, or
    # where nothing else is there that could be a class.
    if not trains and any(name not in splits and not name_unwanted(name) for name in folders):
        return {}
    if not any(_holds_classes(root / name) for name in trains or splits):
        return {}
    for split, count in Counter(splits.values()).items():
        if count > 1:
            double = [f"{name}/" for name in splits if splits[name] == split]
            raise DatasetError(
                f"{root} has both {' and '.join(double)}, which are one split ({split}): keep one"
            )
    return splits


def _holds_classes(folder: Path) -> bool:
    """Whether a folder holds class folders, and no more images of its own than they have."""
    try:
        inner = [name for name in _list_folders(folder) if not name_unwanted(name)]
        strays = len(list_images(folder)) if inner else 0
        for name in inner if strays else ():
            strays -= len(list_images(folder / name))
    except OSError:  # is said where the images are read
        return False
    return bool(inner) and strays <= 0


class _Scan:
    """Puts the images of folders into an inventory, and counts all else that lies there.

    Folders are named by their paths relative to the root, which is "".
    """

    def __init__(self, found: Inventory, recursive: bool) -> None:
        self._found = found
        self._recursive = recursive
        self._names: dict[str, str] = {}  # by label, that of its first folder
        self.joined: dict[str, None] = {}  # labels of folders whose names differ

    def add_split(self, split: str, folder: str) -> None:
        """The images of a split's class folders, or those without classes."""
        try:
            folders = _list_folders(self._found.root / folder)
        except OSError as error:
            self._note_unreadable(folder, error)
        else:
            self.add_classes(split, folder, folders)

    def add_classes(self, split: str, home: str, folders: Sequence[str]) -> None:
        """The images of class folders, or where these have none those beside them."""
        entered = [(_join(home, name), name) for name in folders]
        if sum([self.add_class(split, folder, name) for folder, name in entered]):
            self.leave_beside(home, BESIDE_CLASSES)
        else:
            self._found.add((split, "", name, 0) for name in self._read(home, []))

    def add_class(self, split: str, folder: str, name: str) -> int:
        """The images of one class folder, or of one without labels; a link to one is followed."""
        if kind := name_unwanted(name):
            count_files(self._found.root / folder, folder, kind, self._found.left_out)
            return 0
        label = "" if is_unlabelled(name) else as_label(name)
        n_images = self._found.add((split, label, image, 0) for image in self._read_class(folder))
        if not label:
            return n_images
        if not n_images:
            self._found.empty.append(folder)
        elif self._names.setdefault(label, name) != name:
            self.joined[label] = None
        return n_images

    def leave_beside(self, home: str, kind: str) -> None:
        """Leave out the images directly in a folder."""
        for name in self._read(home, []):
            self._found.left_out.add(kind, name)

    def leave_out(self, folder: str, kind: str) -> None:
        """Leave out the images in a folder and below."""
        for name in self._walk(folder):
            self._found.left_out.add(kind, name)

    def enters(self, folder: str, name: str) -> bool:
        """Whether images may lie in a folder; if not, its files are counted.

        A link is not followed: what it leads to may lie here, too.
        """
        if kind := name_unwanted(name):
            count_files(self._found.root / folder, folder, kind, self._found.left_out)
        elif os.path.islink(os.path.join(self._found.root, folder)):  # noqa: PTH114, PTH118
            self._found.left_out.add(LINKS, folder)
        else:
            return True
        return False

    def _read_class(self, folder: str) -> Iterator[str]:
        folders: list[str] = []
        yield from self._read(folder, folders)
        for name in sorted(folders):
            below = _join(folder, name)
            if self.enters(below, name):
                if self._recursive:
                    yield from self._walk(below)
                else:
                    self.leave_out(below, NESTED)

    def _walk(self, folder: str) -> Iterator[str]:
        """Paths of the images in a folder and below."""
        waiting = [folder]
        while waiting:
            here, folders = waiting.pop(), list[str]()
            yield from self._read(here, folders)
            waiting += [
                below
                for name in sorted(folders, reverse=True)
                if self.enters(below := _join(here, name), name)
            ]

    def _read(self, folder: str, folders: list[str]) -> Iterator[str]:
        """Paths of the images directly in a folder, as they come; see `look`."""
        prefix, left_out = folder and f"{folder}/", self._found.left_out
        try:
            for name in look(
                self._found.root / folder,
                folders,
                lambda kind, name: left_out.add(kind, prefix + name),
            ):
                yield prefix + name
        except OSError as error:
            self._note_unreadable(folder, error)

    def _note_unreadable(self, folder: str, error: OSError) -> None:
        """A folder that cannot be read counts as one file that cannot be."""
        self._found.unread.append(
            Skipped(as_text(f"{folder}/"), "", "unreadable", say_error(error))
        )


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
