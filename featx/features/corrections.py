"""Corrected labels: a CSV of answers by content, and features with the labels that it gives."""

from __future__ import annotations

import csv
import difflib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels
from featx.config import ANSWERS
from featx.data.dataset import Dataset
from featx.data.splits import NO_LABEL
from featx.errors import DatasetError
from featx.features.content import Corrected, Features, need_one_label
from featx.sources.folders import as_label
from featx.sources.tables import Table, find_encoding
from featx.storage.files import hash_file, take_path
from featx.text import list_some, printable

log = logging.getLogger(__name__)

# Of them sha256 and one of answer and label must be there.
CORRECTION_COLUMNS = ("sha256", "path", "was", "answer", "label", "suspicion")
CORRECTIONS_NAME = "corrections.csv"  # as the review page saves it
BY_MODEL = "label"  # the suspicion that is a model's opinion of a label


@dataclass(frozen=True)
class Correction:
    """What someone who looked at a picture said of it.

    Attributes
    ----------
    digest : str
        SHA-256 of the file's bytes, in hex.
    answer : str
        Of `ANSWERS`.
    label : str
        Of "is": the class.
    path, was, suspicion : str
        Where it lay, the label that it had, and the kind of finding that made someone look; ""
        where that is not told.
    line : int
        Of the file, from 1.
    """

    digest: str
    answer: str
    label: str
    path: str
    was: str
    suspicion: str
    line: int

    @property
    def meant(self) -> str:
        """The class that the content is said to be of; "" where none is said."""
        if self.answer == "right":
            return self.was or self.label
        return self.label if self.answer == "is" else ""

    def to_row(self) -> list[str]:
        """Its cells, in the order of `CORRECTION_COLUMNS`."""
        return [self.digest, self.path, self.was, self.answer, self.label, self.suspicion]


@dataclass(frozen=True)
class Corrections:
    """A file of corrections.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of its bytes, in hex.
    rows : tuple of Correction
        Those with an answer, in its order.
    """

    path: Path
    sha256: str
    rows: tuple[Correction, ...]


def read_corrections(path: str | Path) -> Corrections:
    """Read a CSV with the columns sha256,path,was,answer,label,suspicion.

    Only sha256 and one of answer and label have to be there. An answer is right, is, unsure or
    leave out; where there is none, a label says "is", and without a label the row says nothing, as
    one that is still to be filled in.

    Raises
    ------
    DatasetError
        It cannot be read, is no such CSV, or says two things of one content; with its line.
    """
    path = take_path(path, "labels")
    try:
        sha256 = hash_file(path)
        with path.open(encoding=find_encoding(path), newline="") as file:
            rows = tuple(_read_rows(Table(file, path), path))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} is not a CSV of corrected labels in UTF-8: {error}; spreadsheets save one as "
            "CSV UTF-8"
        ) from error
    _check_agreement(rows, path)
    return Corrections(path, sha256, rows)


def _read_rows(table: Table, path: Path) -> Iterator[Correction]:
    named = table.named
    if "sha256" not in named or not named.keys() & {"answer", "label"}:
        raise DatasetError(
            f"{path} holds no corrected labels: its first line must name the columns sha256 and "
            f"label or answer ({','.join(CORRECTION_COLUMNS)} are all there are); it reads "
            f"{','.join(table.columns)[:80]!r}"
        )
    table.check_single(*CORRECTION_COLUMNS)

    def take(row: Mapping[str, str | None], column: str) -> str:
        return (row.get(named.get(column, "")) or "").strip()

    for line, row in table.read_whole():
        where = f"{path}, line {line}"
        label = as_label(take(row, "label"))
        answer = re.sub(r"[\s_-]+", " ", take(row, "answer")).casefold() or ("is" if label else "")
        if not answer:
            continue
        if answer not in ANSWERS:
            raise DatasetError(
                f"{where}: the answer is {answer[:60]!r}; expected {', '.join(ANSWERS[:-1])} or "
                f"{ANSWERS[-1]}"
            )
        digest = take(row, "sha256").lower()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise DatasetError(
                f"{where}: sha256 is {digest[:70]!r}; expected 64 hexadecimal digits, which a "
                "spreadsheet keeps in a column of text"
            )
        if answer == "is" and not label:
            raise DatasetError(f"{where}: the answer is 'is', and the column label says no class")
        if "\0" in label:
            raise DatasetError(f"{where}: the label has a NUL character in it")
        yield Correction(
            digest, answer, label, take(row, "path"), as_label(take(row, "was")),
            take(row, "suspicion"), line,
        )  # fmt: skip


def _check_agreement(rows: Sequence[Correction], path: Path) -> None:
    """Raise DatasetError where a content is said to be two things; two copies may be left out."""
    said: dict[tuple[str, str], Correction] = {}
    for one in rows:
        first = said.setdefault((one.digest, one.path if one.answer == "leave out" else ""), one)
        if first.meant != one.meant or (not one.meant and first.answer != one.answer):
            raise DatasetError(
                f"{path}, line {one.line}: {printable(one.path or one.digest[:12])} is "
                f"{_say_answer(one)} here and {_say_answer(first)} in line {first.line}: keep one "
                "of them"
            )


def _say_answer(one: Correction) -> str:
    return repr(one.meant or one.answer)


def correct_labels(features: Features, corrections: Corrections | str | Path) -> Features:
    """The same features with corrected labels, by the content of the images; no file is changed.

    "is" gives a content another class, whatever its copies are called, and "right" the label that
    was looked at, which most have; a class that no image had is a new one. "leave out" drops an
    image: the one of that path, or where none of the content's copies has it, all of them.
    "unsure" changes nothing.

    Parameters
    ----------
    features : Features
    corrections : Corrections or path of a CSV
        See `read_corrections`.

    Returns
    -------
    Features
        Without what was left out. `Features.corrected` says what was done.

    Raises
    ------
    DatasetError
        The corrections cannot be read, contradict each other, or are of other data.

    Examples
    --------
    >>> import featx, pathlib
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> features = featx.load_features("F.h5")
    >>> rows = f"sha256,label\\n{features.hashes[0]},dog\\n"
    >>> _ = pathlib.Path("corrections.csv").write_text(rows)
    >>> corrected = featx.correct_labels(features, "corrections.csv")
    >>> corrected.corrected.changed, corrected.classes[corrected.targets[0]]
    (1, 'dog')
    """
    need_one_label(features, "--labels")
    if not isinstance(corrections, Corrections):
        corrections = read_corrections(corrections)
    where = str(features.path or features.dataset)
    settled, targets, kept = relabel(corrections, features, features.hashes, where)
    return replace(
        replace(features, targets=targets).take_rows(kept),
        classes=settled.classes,
        corrected=settled.describe(features.fingerprint),
    )


def relabel(
    corrections: Corrections, data: Features | Dataset, hashes: npt.NDArray[np.str_], where: str
) -> tuple[Settled, Labels, Labels]:
    """What corrections come to for some rows, the codes now, and which are left; see `settle`."""
    old, row_of = data.targets, index_contents(corrections)
    for row, digest in enumerate(hashes.tolist()):
        if digest in row_of:
            label = data.classes[old[row]] if old[row] >= 0 else ""
            path, split = str(data.paths[row]), str(data.splits[row])
            row_of[digest].append(Row(row, path, split, label))
    counts = np.bincount(old[old >= 0], minlength=len(data.classes)).tolist()
    held = Counter(dict(zip(data.classes, counts, strict=True)))
    settled = settle(corrections, row_of, held, where)
    place = {name: k for k, name in enumerate(settled.classes)}
    codes = [place.get(name, NO_LABEL) for name in data.classes]
    targets = np.array([*codes, NO_LABEL], dtype=np.int64)[old]  # -1 is the last
    for row, label in settled.moved.items():
        targets[row] = place[label]
    return settled, targets, np.setdiff1d(np.arange(len(old)), list(settled.dropped))


class Row(NamedTuple):
    """An image that corrections are about."""

    row: int
    path: str
    split: str
    label: str


def index_contents(corrections: Corrections) -> dict[str, list[Row]]:
    """Where the images of each content will stand."""
    return {one.digest: [] for one in corrections.rows}


@dataclass(frozen=True)
class Settled:
    """What corrections come to: rows with another label now, and those that are left out."""

    corrections: Corrections
    moved: dict[int, str]
    dropped: set[int]
    touched: dict[int, bool]  # of test rows: whether after a model's opinion
    unsure: int
    unknown: tuple[Correction, ...]
    before: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def new(self) -> tuple[str, ...]:
        """Classes that no image had before."""
        return tuple(name for name in self.classes if name not in self.before)

    def describe(self, fingerprint: str) -> Corrected:
        """In numbers and in words."""
        done = Corrected(
            path=self.corrections.path,
            sha256=self.corrections.sha256,
            fingerprint=fingerprint,
            changed=len(self.moved),
            left_out=len(self.dropped),
            unsure=self.unsure,
            unknown=len(self.unknown),
            test=len(self.touched),
            test_by_model=sum(self.touched.values()),
            new=self.new,
            gone=tuple(name for name in self.before if name not in self.classes),
            notes=(),
        )
        notes = tuple(_say_corrected(done, self.before, self.unknown))
        for note in notes[1:]:
            log.warning("%s", note)
        return replace(done, notes=notes)


def settle(
    corrections: Corrections, row_of: Mapping[str, Sequence[Row]], counts: Counter[str], where: str
) -> Settled:
    """Weigh all answers.

    Parameters
    ----------
    corrections : Corrections
    row_of : mapping of str to sequence of Row
        Of `index_contents`, filled.
    counts : Counter
        Images of each class before.
    where : str
        What the images are of.

    Raises
    ------
    DatasetError
        None of the corrections is of any of these images.
    """
    unknown = tuple(one for one in corrections.rows if not row_of[one.digest])
    if 0 < len(unknown) == len(corrections.rows):
        raise DatasetError(
            f"{corrections.path}: none of its {len(unknown)} contents (sha256) is among the images "
            f"of {where}: it was made of other data"
        )
    meant: dict[int, str] = {}
    dropped: set[int] = set()
    doubted: set[int] = set()
    for one in corrections.rows:
        rows = row_of[one.digest]
        if one.answer == "leave out":
            dropped |= {r.row for r in [r for r in rows if r.path == one.path] or rows}
        elif one.meant:
            meant |= {r.row: one.meant for r in rows}
        if one.suspicion == BY_MODEL:
            doubted |= {r.row for r in rows}
    every = {r.row: r for rows in row_of.values() for r in rows}
    moved = {
        row: label
        for row, label in meant.items()
        if label != every[row].label and row not in dropped
    }
    held = counts.copy()
    held.subtract(every[row].label for row in (*moved, *dropped) if every[row].label)
    held.update(moved.values())
    return Settled(
        corrections,
        moved,
        dropped,
        {row: row in doubted for row in (*moved, *dropped) if every[row].split == "test"},
        sum(len(row_of[one.digest]) for one in corrections.rows if one.answer == "unsure"),
        unknown,
        tuple(counts),
        # A class that had no images before has its place, as it had.
        tuple(sorted(name for name in held if held[name] > 0 or counts.get(name) == 0)),
    )


def _say_corrected(
    done: Corrected, classes: Sequence[str], unknown: Sequence[Correction]
) -> Iterator[str]:
    """What was done, in sentences; the first is no warning."""
    unsure = f", {done.unsure} unsure and as they were" if done.unsure else ""
    yield (
        f"Labels corrected by {done.path.name}: {done.changed} changed, {done.left_out} left out"
        f"{unsure}; files and features are as they were."
    )
    if unknown:
        some = list_some([f"line {one.line}" for one in unknown])
        yield (
            f"{done.path}: the contents of {len(unknown)} answers are not among the images "
            f"({some}): they change nothing"
        )
    for name in done.new:
        near = difflib.get_close_matches(name, classes, 1)
        hint = f"; if {printable(near[0])} was meant, correct it there" if near else ""
        yield f"{done.path}: {printable(name)} is a new class, which no image had before{hint}"
    if done.gone:
        yield f"no image is left of {list_some([*map(printable, done.gone)])}"
    if done.test_by_model:
        yield (
            f"{_count_tests(done.test_by_model)} changed, or left out, after someone had seen "
            "a model's opinion: what is measured on such labels flatters that model, and others "
            "like it"
        )
    if done.test > done.test_by_model:
        yield (
            f"{_count_tests(done.test - done.test_by_model)} changed, or left out, for another "
            "reason than a model's opinion, or for one that the corrections do not tell"
        )


def _count_tests(n: int) -> str:
    return "1 test label was" if n == 1 else f"{n} test labels were"
