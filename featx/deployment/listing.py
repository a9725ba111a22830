"""Which images are meant: files, folders and lists of both."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from featx.data.dataset import Leftovers, Skipped
from featx.decoding.crops import measure_picture
from featx.errors import DatasetError, ImageError
from featx.sources.archives import find_archives, list_members
from featx.sources.boxes import WITHOUT, BoxTable, Tally
from featx.sources.folders import LINKS, count_files, describe_left_out, look, name_unwanted
from featx.storage.files import take_path
from featx.storage.places import is_archive, is_folder


def list_paths(images: str | Path | Iterable[str | Path]) -> list[Path]:
    """One path, or several; raises ArgumentError for anything else."""
    if isinstance(images, (str, bytes, os.PathLike)) or not isinstance(images, Iterable):
        images = [images]
    return [take_path(one, "images") for one in images]


def find_images(
    named: Iterable[str | Path],
    listed: Iterable[str | Path] = (),
    note: Callable[[int], None] = lambda n: None,
    left_out: Leftovers | None = None,
) -> Iterator[Path]:
    """Images in files and folders, one after the other; of one folder's names all are in memory.

    Those of an archive come in its own order.

    Links to folders are followed where they are named, and not below. What is a file is not looked
    at.

    Parameters
    ----------
    named, listed
        See `predict`.
    note : callable
        Told how many more images there are, as soon as that is known.
    left_out : Leftovers, optional
        Is given the files in folders that are no images.

    Raises
    ------
    DatasetError
        A folder that is named has no images, nor has any below it.
    """
    left_out = Leftovers() if left_out is None else left_out
    for path in map(Path, named):
        inside = _expand_all(_find_shards(path), note, left_out)
        first = next(inside, None)
        if first is None:
            told = "".join(f"; {line}" for line in describe_left_out(left_out.list()))
            raise DatasetError(f"no images in {path}{told}")
        yield first
        yield from inside
    for path in map(Path, listed):
        yield from _expand(path, note, left_out)


def _find_shards(path: Path) -> list[Path]:
    """The archives in a folder that has nothing else; of any other path that itself."""
    archives = find_archives(path)
    alone = archives and next(_expand(path, lambda n: None, Leftovers()), None) is None
    return archives if alone else [path]


def _expand_all(
    paths: Iterable[Path], note: Callable[[int], None], left_out: Leftovers
) -> Iterator[Path]:
    for path in paths:
        yield from _expand(path, note, left_out)


def _expand(path: Path, note: Callable[[int], None], left_out: Leftovers) -> Iterator[Path]:
    if is_archive(path):
        for member in list_members(path, left_out):
            note(1)
            yield member
        return
    if not is_folder(path):
        note(1)
        yield path
        return
    waiting = [path]
    while waiting:
        here, folders = waiting.pop(), list[str]()
        count = functools.partial(_count, here, left_out)
        try:
            images = sorted(look(here, folders, count))
        except OSError:  # it counts as an image: loading that will say that it cannot be read
            note(1)
            yield here
            continue
        note(len(images))
        yield from (here / name for name in images)
        for name in sorted(folders, reverse=True):
            below = here / name
            if kind := name_unwanted(name):
                count_files(below, str(below), kind, left_out)
            elif below.is_symlink():
                left_out.add(LINKS, str(below))
            else:
                waiting.append(below)


@dataclass
class BoxCutter:
    """Cuts boxes out of pictures that come one after the other, nobody knows how many.

    Attributes
    ----------
    table : BoxTable
    homes : list of Path
        Folders that its paths may be relative to, beside this one and a picture's own.
    left_out : Leftovers
        Is given the pictures without a box.
    tally : Tally
    """

    table: BoxTable
    homes: list[Path]
    left_out: Leftovers
    tally: Tally = field(default_factory=Tally)

    def cut(self, paths: Iterable[Path]) -> Iterator[Path | ImageError]:
        """The boxes of each picture, or why one is none."""
        for path in paths:
            inside = [path.relative_to(home) for home in self.homes if home in path.parents]
            names = [one.as_posix() for one in (*inside, path, Path(path.name))]
            entries = self.table.find(*dict.fromkeys(names))
            if not entries:
                self.left_out.add(WITHOUT, str(path))
                continue
            try:
                size = measure_picture(path)
            except ImageError as error:
                yield error
                continue
            for one in self.table.cut(path.as_posix(), entries, size, self.tally):
                if isinstance(one, Skipped):
                    yield ImageError(one.path.removesuffix("/"), one.reason, one.kind)
                else:
                    yield Path(one[0])

    def describe(self) -> list[str]:
        """What one should know of the boxes, at the end."""
        unmet = self.table.describe_unmet("what was named")
        return [*self.table.notes, *self.tally.describe(), *unmet]


def _count(folder: Path, left_out: Leftovers, kind: str, name: str) -> None:
    left_out.add(kind, str(folder / name))
