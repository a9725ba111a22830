"""`featx predict`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .box_options import boxes_options
from .network_options import model_network_options
from .numbers import NumberRange
from .options import common_options, null_option, overwrite_option
from .output import SHOWN, echo_lines, finish_skipped, say, split_names, start_speaking
from .places import FOLDER, STDOUT, TABLE, Table, check_one_output

if TYPE_CHECKING:
    from featx.data.dataset import Skipped
    from featx.deployment.predict import Prediction
    from featx.training.model import Model


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR|- …", nargs=-1, required=True, type=click.Path())
@click.option(
    "--top", type=click.IntRange(1), default=1, show_default=True, help="Classes to give."
)
@click.option(
    "--threshold",
    type=NumberRange(0, 1),
    default=0.0,
    metavar="P",
    help="Say unknown where the most probable class has less than P.",
)
@click.option(
    "--unknown",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    metavar="RATE",
    help="Refuse such a share of images like those that MODEL knows, and more of others: they are "
    "unknown. Of heads fitted with --strangers, and of fine-tuned networks with val.",
)
@click.option(
    "--sets",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    metavar="COVERAGE",
    help="Also give the set of classes that so often holds the true one. Of heads fitted with "
    "--strangers, and of fine-tuned networks with val.",
)
@click.option(
    "--precision-at-least",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="Of models fitted with --taxonomy, which answer at the deepest rank that is right often "
    "enough: another share than that of the fit.",
)
@click.option(
    "--csv", "table", type=TABLE, metavar="F", help="Also write a CSV; - writes it to stdout."
)
@click.option(
    "--jsonl", is_flag=True, help="One JSON object on stdout for every image, as it comes."
)
@null_option
@click.option(
    "--explain",
    "maps",
    type=FOLDER,
    metavar="DIR",
    help="Also draw where each score comes from, into a new folder; see featx explain.",
)
@boxes_options
@model_network_options
@overwrite_option
@common_options
def predict(
    model: Path,
    images: tuple[str, ...],
    table: Table,
    maps: Path | None,
    unknown: float | None,
    sets: float | None,
    precision_at_least: float | None,
    jsonl: bool,
    null: bool,
    max_skipped: float,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say what MODEL (of featx fit or featx finetune) takes each image for, and how sure it is.

    Of a folder, all images in it and in the folders below. - takes a list of paths on stdin, one a
    line. Text, --jsonl and --csv are for any number of images; the one object of --json is held in
    memory until the end. A MODEL of several labels an image gives those that have their threshold.
    Where MODEL tells strangers, a last line on stderr says when the images
    together do not look like those it knows; see featx drift.

    \b
    Examples:
      featx predict model.safetensors new/*.jpg --top 3
      featx predict model.safetensors new --csv said.csv --threshold 0.8
      featx predict model.safetensors new --unknown 0.05 --sets 0.9
      featx predict ranked.safetensors new --precision-at-least 0.99
      featx predict model.safetensors new --boxes detections.json --csv said.csv
      find new -name '*.jpg' -print0 | featx predict model.safetensors - --null --jsonl
    """
    if as_json and jsonl:
        raise click.UsageError("--json is one object, --jsonl one for each image: say either.")
    check_one_output(table, json=as_json, jsonl=jsonl)
    named, listed = split_names(images, null)
    doubts: dict[str, Any] = {
        "unknown": unknown, "sets": sets, "precision_at_least": precision_at_least
    }  # fmt: skip
    if maps is not None and any(share is not None for share in doubts.values()):
        raise click.UsageError(
            "--explain does not go with --unknown, --sets and --precision-at-least."
        )
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import Leftovers
    from featx.deployment.drift import start_watch
    from featx.deployment.predict import predict
    from featx.deployment.record import (
        collect_predictions,
        format_predictions,
        list_columns,
        record_predictions,
    )
    from featx.novelty.ranks import keeps_ranks
    from featx.storage.files import check_replaceable
    from featx.training.model import MULTILABEL, read_model

    from .rendering import render_predictions, say_drift

    if isinstance(table, Path) and not overwrite:
        marks = (None, 0.1), (None, 0.1), (False, True), (False, True), (False, True)
        every = itertools.starmap(list_columns, itertools.product(*marks))
        check_replaceable(table, *map(",".join, every))
    left_out = Leftovers()
    options |= {"listed": listed, "left_out": left_out, "progress": progress}
    found: Iterable[Prediction | Skipped]
    trained = read_model(model)
    watch = start_watch(trained)
    options["watch"] = watch
    ranked, several = False, False
    if maps is None:
        ranked, several = keeps_ranks(trained), trained.kind == MULTILABEL
        found = predict(trained, named, **doubts, **options)
    else:
        found = _draw(trained, model.name, named, maps, overwrite, options)
    columns = list_columns(unknown, sets, ranked, several, options["boxes"] is not None)
    if isinstance(table, Path):
        found = record_predictions(found, table, columns)
    tally = _Tally(found)
    if as_json:
        values = collect_predictions(tally, left_out).to_dict()
        say(True, values | {"drift": watch and watch.sum_up().to_dict()}, "")
    else:
        if table == STDOUT:
            lines = format_predictions(tally.predictions(), columns)
        else:
            lines = map(_to_line, tally) if jsonl else render_predictions(tally.predictions())
        # A reader who has seen enough ends the run, but not the writing of a CSV or of maps.
        lasting = isinstance(table, Path) or maps is not None
        if not echo_lines(lines, lasting=lasting, exact=table == STDOUT) and not lasting:
            return
    if watch is not None and (drift := watch.sum_up()).found:
        click.echo(say_drift(drift), err=True)
    finish_skipped(tally.skipped, tally.total, max_skipped, tally.n_skipped)


def _draw(
    model: Model,
    name: str,
    named: list[str],
    folder: Path,
    overwrite: bool,
    options: dict[str, Any],
) -> Iterator[Prediction | Skipped]:
    """What `predict` gives, its maps drawn into a folder on the way."""
    from featx.explaining.explain import Explanation, explain
    from featx.explaining.shortcuts import EvidenceTally
    from featx.report.explain import check_map_folder, record_explanations

    check_map_folder(folder, overwrite)
    found = record_explanations(explain(model, named, **options), folder, name, EvidenceTally())
    return (one.prediction if isinstance(one, Explanation) else one for one in found)


def _to_line(one: Prediction | Skipped) -> str:
    return json.dumps(one.to_dict())


class _Tally:
    """Counts what passes, and keeps the first images that were skipped."""

    def __init__(self, found: Iterable[Prediction | Skipped]) -> None:
        self._found = found
        self.skipped: list[Skipped] = []
        self.total = self.n_skipped = 0

    def __iter__(self) -> Iterator[Prediction | Skipped]:
        from featx.data.dataset import Skipped

        for one in self._found:
            self.total += 1
            if isinstance(one, Skipped):
                self.n_skipped += 1
                self.skipped += [one] * (self.n_skipped <= SHOWN)
            yield one

    def predictions(self) -> Iterator[Prediction]:
        from featx.deployment.predict import Prediction

        return (one for one in self if isinstance(one, Prediction))
