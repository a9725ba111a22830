"""Files that say where in pictures something is: CSV, a MegaDetector's JSON, COCO."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from featx.config import (
    BOX_COLUMNS,
    BOX_FILE_BYTES,
    BOX_SHARES,
    DETECTED,
    DETECTION_CATEGORY,
    DETECTION_CONFIDENCE,
)
from featx.errors import DatasetError
from featx.sources.json_lists import LongList, read_json
from featx.sources.tables import Table, find_beyond, find_encoding
from featx.storage.files import open_regular
from featx.text import format_bytes, list_some, say_error

_T = TypeVar("_T")
_MOST_PIXELS = 1e9  # of a side or a place: no picture is so large
_SHOWN = 40  # characters of what a file says


class Entry(NamedTuple):
    """A box as a file has it.

    Attributes
    ----------
    path : str
        Of the picture, as it is written; "" where none is.
    numbers : (float, float, float, float)
        Left, top, width and height.
    shares : bool
        They are shares of the picture's width and height, and pixels otherwise.
    label : str
        Its class; "" where it has none of its own.
    place : str
        Where in the file it stands: "line 3", "images[0].detections[2]".
    fault : str
        Why it is none, in a few words; "" where it is one.
    drawn : (int, int)
        Width and height of the picture that it was drawn in; 0 where they are not told.
    """

    path: str
    numbers: tuple[float, float, float, float]
    shares: bool
    label: str
    place: str
    fault: str = ""
    drawn: tuple[int, int] = (0, 0)


class BoxReader:
    """Goes through a file of boxes, whichever of the known kinds it is.

    Parameters
    ----------
    path : Path
    min_confidence : float or None
        Of detections; None: what the file says is typical of its detector, else
        DETECTION_CONFIDENCE.
    category : str or None
        Number or name of the boxes wanted, or "all"; None: DETECTION_CATEGORY of detections, all
        that are drawn.

    Attributes
    ----------
    passed_over : Counter
        What was not wanted, by words that say it in the plural, once the file was gone through.
    """

    def __init__(self, path: Path, min_confidence: float | None, category: str | None) -> None:
        self.path = path
        self.passed_over: Counter[str] = Counter()
        self._least, self._category = min_confidence, category

    def __iter__(self) -> Iterator[Entry]:
        """Every box, one that is at fault included.

        Raises
        ------
        DatasetError
            It is no file of boxes.
        """
        try:
            with open_regular(self.path) as file:
                head = file.read(64).decode(find_encoding(self.path), "replace")
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {say_error(error)}") from error
        if not head.lstrip().startswith(("{", "[")):
            yield from self._read_csv()
            return
        told = self._load_json()
        if isinstance(told, LongList):
            self._refuse_results(told)
            yield from self._read_detections(told, {})
        elif "annotations" in told:
            yield from self._read_coco(told)
        elif isinstance(told.get("images"), LongList):
            yield from self._read_detections(told["images"], told)
        else:
            raise DatasetError(
                f"{self.path} holds no boxes: expected a CSV file with the columns "
                f"{','.join(BOX_COLUMNS)}[,label], a MegaDetector's JSON (images with detections), "
                "or COCO (images, annotations, categories)"
            )

    def _refuse(self, kind: str, **given: object) -> None:
        """Raise DatasetError where what a kind of file does not know was asked for."""
        asked = [f"--{name}" for name, value in given.items() if value is not None]
        if asked:
            named = " and ".join(asked).replace("_", "-")
            raise DatasetError(f"{self.path} is {kind}, whose boxes have none: leave {named} out")

    def _refuse_results(self, told: LongList) -> None:
        """Raise DatasetError where it is COCO's: https://cocodataset.org/#format-results."""
        if {"image_id", "bbox"} <= _to_dict(next(iter(told), None)).keys():
            raise DatasetError(
                f"{self.path} is a list of COCO's results, which has numbers of pictures and not "
                'their names: expected COCO with "images" and "categories", whose "annotations" '
                "the list can be"
            )

    def _read_csv(self) -> Iterator[Entry]:
        self._refuse("a CSV file", min_confidence=self._least, category=self._category)
        try:
            with self.path.open(encoding=find_encoding(self.path), newline="") as file:
                table = Table(file, self.path)
                named = table.named
                shares = set(BOX_SHARES) <= named.keys()
                numbers = BOX_SHARES if shares else BOX_COLUMNS[1:]
                if not {"path", *numbers} <= named.keys():
                    raise DatasetError(
                        f"{self.path} has no boxes: its first line must name the columns "
                        f"{','.join(BOX_COLUMNS)}[,label], in pixels, or path,"
                        f"{','.join(BOX_SHARES)} in shares of the picture; it reads "
                        f"{','.join(table.columns)[:80]!r}"
                    )
                table.check_single("path", *numbers, "label")
                for line, row in table:
                    # Where semicolons part columns, commas are decimal.
                    said = [(row[named[one]] or "").strip() for one in numbers]
                    if table.delimiter != ",":
                        said = [one.replace(",", ".") for one in said]
                    label = (row.get(named.get("label", "")) or "").strip()
                    path = (row[named["path"]] or "").strip()
                    fault = find_beyond(row)
                    yield _make_entry(path, said, shares, label, f"line {line}", fault)
        except (UnicodeError, csv.Error) as error:
            raise DatasetError(f"{self.path} is not a CSV file in UTF-8: {error}") from error

    def _load_json(self) -> LongList | dict[str, Any]:
        size = self.path.stat().st_size
        if size > BOX_FILE_BYTES:
            raise DatasetError(
                f"{self.path}: {format_bytes(size)} of JSON, whose text is kept in memory, and "
                f"more than {format_bytes(BOX_FILE_BYTES)}; a CSV file ({','.join(BOX_COLUMNS)}) "
                "is read line by line, whatever its size"
            )
        try:
            return read_json(self.path.read_text(find_encoding(self.path)))
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(f"{self.path} is not JSON in UTF-8 or UTF-16: {error}") from error

    def _read_detections(self, images: Iterable[Any], told: Mapping[str, Any]) -> Iterator[Entry]:
        """Of MegaDetector: its batch format, or the list with corners in pixels that `told` lacks.

        https://lila.science/megadetector-output-format (version 1.6), and the command-line tool's:
        https://microsoft.github.io/MegaDetector/output_format/
        """
        names = _take(told.get("detection_categories"), dict) or DETECTED
        wanted = self._choose(names, self._category or DETECTION_CATEGORY)
        least = self._find_typical(told) if self._least is None else self._least
        many = f"detections of less than {least:g} confidence (--min-confidence)"
        for i, image in enumerate(images):
            image = _take(image, dict)
            path = str(image.get("file") or "")
            # Null where the detector could not read the picture.
            for j, one in enumerate(_take(image.get("detections"), list)):
                one, place = _take(one, dict), f"images[{i}].detections[{j}]"
                category = str(one.get("category", ""))
                if wanted is not None and category not in wanted:
                    self.passed_over["detections of other categories (--category)"] += 1
                    continue
                numbers = _take(one.get("bbox"), list)
                said = one.get("conf", one.get("confidence"))
                if math.isnan(conf := _to_number(said)):
                    fault = f"expected a confidence, found {_show(said)}"
                elif conf < least:
                    self.passed_over[many] += 1
                    continue
                else:
                    fault = ""
                if not told and len(numbers) == 4:
                    left, top, right, bottom = map(_to_number, numbers)
                    numbers = [left, top, right - left, bottom - top]
                yield _make_entry(path, numbers, bool(told), "", place, fault)

    def _find_typical(self, told: Mapping[str, Any]) -> float:
        """The confidence to begin from, by what the file says of its detector."""
        about = _to_dict(_to_dict(told.get("info")).get("detector_metadata"))
        typical = about.get("typical_detection_threshold")
        least = DETECTION_CONFIDENCE if typical is None else _to_number(typical)
        if not 0 <= least <= 1:
            raise DatasetError(
                f"{self.path}: its typical_detection_threshold is {_show(typical)}, expected 0 to "
                "1; say the least confidence wanted by --min-confidence"
            )
        return least

    def _read_coco(self, told: Mapping[str, Any]) -> Iterator[Entry]:
        """https://cocodataset.org/#format-data: pixels, from the picture's upper left corner."""
        self._refuse("COCO's", min_confidence=self._least)
        images = self._index(
            told, "images", lambda one: (str(one.get("file_name") or ""), _to_size(one))
        )
        names = self._index(told, "categories", lambda one: _to_name(one.get("name")))
        wanted = self._choose(names, self._category or "all")
        for i, one in enumerate(map(_to_dict, _take(told["annotations"], LongList))):
            category, place = _to_key(one.get("category_id")), f"annotations[{i}]"
            if wanted is not None and category not in wanted:
                self.passed_over["annotations of other categories (--category)"] += 1
            elif one.get("bbox") is None:
                self.passed_over["annotations without a box"] += 1
            elif one.get("iscrowd"):
                self.passed_over["annotations of crowds"] += 1
            else:
                path, drawn = images.get(_to_key(one.get("image_id")), ("", (0, 0)))
                label, nameless = names.get(category, ""), category and names
                fault = "" if label or not nameless else f"its category {category} has no name"
                numbers = _take(one["bbox"], list)
                entry = _make_entry(path, numbers, False, label, place, fault)
                yield entry._replace(drawn=drawn)

    def _index(
        self, told: Mapping[str, Any], kind: str, read: Callable[[dict[str, Any]], _T]
    ) -> dict[str, _T]:
        """What COCO says of each of a kind, by its number; one for two things is refused."""
        found: dict[str, _T] = {}
        for one in map(_to_dict, _take(told.get(kind), LongList)):
            if key := _to_key(one.get("id")):
                said = read(one)
                if found.setdefault(key, said) != said:
                    raise DatasetError(
                        f"{self.path}: two of its {kind} have the id {key}, and nothing tells "
                        "which of them a box is of; of files that were joined, number one anew"
                    )
        return found

    def _choose(self, names: Mapping[str, str], category: str) -> set[str] | None:
        """Numbers of the category that is wanted; None where all are."""
        if category.casefold() == "all":
            return None
        found = {
            number
            for number, name in names.items()
            if category in (number, name) or category.casefold() == str(name).casefold()
        }
        if not found:
            known = [f"{name} ({number})" for number, name in names.items()]
            raise DatasetError(
                f"{self.path} has no category {category!r}: --category takes one of "
                f"{list_some(known, 20) or 'none that it names'}, or all"
            )
        # Of a list that names them in words.
        return found | {str(names[number]) for number in found}


def _make_entry(
    path: str, numbers: Sequence[Any], shares: bool, label: str, place: str, fault: str = ""
) -> Entry:
    """A box of four numbers, or what is wrong with it."""
    found = tuple(map(_to_number, numbers))
    left, top, width, height = found if len(found) == 4 else (0.0, 0.0, 0.0, 0.0)
    if not path:
        fault = "no picture is named"
    elif len(found) != 4 or not all(map(math.isfinite, found)):
        fault = f"expected four numbers, found {_show(*numbers)}"
    elif max(map(abs, found)) > _MOST_PIXELS:
        fault = f"larger than any picture: {_show(*numbers)}"
    elif width < 0 or height < 0:
        fault = f"a side is negative: {_show(*numbers)}"
    elif not width or not height:
        fault = f"of no area: {_show(*numbers)}"
    elif "\0" in path or "\0" in label:
        fault = "there is a NUL character in its path or label"
    return Entry(path, (left, top, width, height), shares, label, place, fault)


def _to_number(value: Any) -> float:
    """NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _to_key(value: Any) -> str:
    """COCO's number of something, which some write as 7.0; "" where it has none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _to_size(one: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of one of COCO's pictures; 0, 0 where they are not told."""
    width, height = _to_number(one.get("width")), _to_number(one.get("height"))
    told = 0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS
    return (round(width), round(height)) if told else (0, 0)


def _to_name(value: Any) -> str:
    """A category's; "" where it has none."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _show(*said: Any) -> str:
    """What a file says, no longer than a message can hold."""
    shown = ("nothing" if one is None else str(one)[:_SHOWN] for one in said[:5])
    return ", ".join(shown) or "nothing"


def _take(value: Any, kind: type[Any]) -> Any:
    """The value, or an empty one where it is of another kind."""
    return value if isinstance(value, kind) else kind()


def _to_dict(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = _take(value, dict)
    return found
