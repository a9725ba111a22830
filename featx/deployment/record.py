"""Predictions kept: all of them in memory, or a CSV row by row."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from featx.config import BOX_COLUMNS
from featx.data.dataset import Leftovers, Skipped
from featx.decoding.crops import split_name
from featx.deployment.predict import Prediction, Predictions
from featx.deployment.refusal import Doubt
from featx.novelty.ranks import NO_ANSWER
from featx.storage.csv_files import iterate_csv, open_csv
from featx.storage.files import write_whole
from featx.text import as_text

COLUMNS = ("path", "rank", "class", "probability")  # of the CSV
STRANGER_COLUMNS = ("unknown", "p_value", "stranger_score")
SET_COLUMNS = ("set",)
ANSWER_COLUMNS = tuple(NO_ANSWER.to_dict())
LABEL_COLUMNS = ("path", "labels", "probabilities")  # of several: parted by |, and a JSON object


def collect_predictions(
    found: Iterable[Prediction | Skipped], left_out: Leftovers | None = None
) -> Predictions:
    """All of what `predict` yields, and has told `left_out` by its end."""
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for one in found:
        if isinstance(one, Prediction):
            predictions.append(one)
        else:
            skipped.append(one)
    told = () if left_out is None else left_out.list()
    return Predictions(tuple(predictions), tuple(skipped), told)


def record_predictions(
    found: Iterable[Prediction | Skipped], path: Path, columns: Sequence[str] = COLUMNS
) -> Generator[Prediction | Skipped]:
    """The same, each written into a CSV on its way; the file is there once all have passed.

    Its columns are those of `list_columns`, a row for each class that was asked for.
    """
    with write_whole(path) as temporary, open_csv(temporary, columns) as write_row:
        for one in found:
            if isinstance(one, Prediction):
                for row in _list_rows(one, columns):
                    write_row(row)
            yield one


def format_predictions(found: Iterable[Prediction], columns: Sequence[str]) -> Iterator[str]:
    """Lines of that CSV, as they come."""
    return iterate_csv(columns, (row for one in found for row in _list_rows(one, columns)))


def _list_rows(one: Prediction, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Rows of the CSV that a prediction has."""
    boxes = set(BOX_COLUMNS) <= set(columns)
    image, box = split_name(one.path) if boxes else (one.path, None)
    for cells in _list_cells(one):
        yield as_text(image), *cells, *(box or ())


def list_columns(
    unknown: float | None,
    sets: float | None,
    ranked: bool = False,
    several: bool = False,
    boxes: bool = False,
) -> tuple[str, ...]:
    """The columns of the CSV, by what was asked, and by what the model answers.

    `ranked`: by ranks, too; `several`: any number of labels.
    """
    asked = (
        (STRANGER_COLUMNS, unknown is not None), (SET_COLUMNS, sets is not None),
        (ANSWER_COLUMNS, ranked),
    )  # fmt: skip
    told = (*COLUMNS, *(name for names, wanted in asked if wanted for name in names))
    return (*(LABEL_COLUMNS if several else told), *(BOX_COLUMNS[1:] if boxes else ()))


def _list_cells(one: Prediction) -> Iterator[tuple[object, ...]]:
    """What stands behind the path in each row of a prediction."""
    if one.labels is not None:
        yield one.label, json.dumps(dict(one.top))
        return
    doubt = tuple(_list_doubt(one.doubt))
    for rank, label, probability in one.to_rows():
        yield rank, label, f"{probability:.6f}", *doubt


def _list_doubt(doubt: Doubt) -> Iterator[str]:
    """Cells of what was asked beside classes; a set is a JSON list."""
    if doubt.unknown is not None:
        yield from (str(doubt.unknown).lower(), f"{doubt.p_value:.6f}", f"{doubt.score:.6g}")
    if doubt.classes is not None:
        yield json.dumps(list(doubt.classes))
    if doubt.answer is not None:
        rank, name, probability, leaf = doubt.answer.to_dict().values()
        shown = "" if probability is None else f"{probability:.6f}"
        yield from (rank or "", name or "", shown, leaf or "")
