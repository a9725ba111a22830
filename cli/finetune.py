"""`featx finetune`."""

from __future__ import annotations

from typing import Any

import click

from featx.config import TRAIN_BATCH_SIZE, TRAINED

from .data_options import data_options
from .head_options import calibrate_option, class_weight_option, prefix_cache_option, train_options
from .network_options import device_options
from .options import common_options, labels_option, overwrite_option
from .output import finish_skipped, say, start_speaking
from .places import FOLDER

_OF_DATA = (
    "data", "split", "root", "recursive", "group", "group_pattern", "group_time", "group_folder",
    "boxes",
)  # fmt: skip


@click.command()
@data_options
@click.option(
    "--train",
    type=click.Choice(TRAINED),
    default="fc",
    show_default=True,
    help="What moves: the new last layer; the last stage; layer4.2.conv2, layer4.2.conv3 and the "
    "last layer; everything.",
)
@train_options
@click.option("--augment", is_flag=True, help="Random rotation, crop and flip of train images.")
@class_weight_option
@calibrate_option
@labels_option
@prefix_cache_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=TRAIN_BATCH_SIZE,
    show_default=True,
    help="Images of one step.",
)
@device_options
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    metavar="RUN",
    help="The run's folder.  [default: results/NAME/TRAIN-HASH]",
)
@overwrite_option
@common_options
def finetune(as_json: bool, verbose: bool, quiet: bool, max_skipped: float, **options: Any) -> None:
    """Train the network itself on DATA: the baseline, which runs it in every epoch.

    The epoch that is kept is the best on val. RUN (default results/NAME/TRAIN-HASH) holds
    model.safetensors and history.json.

    \b
    Examples:
      featx finetune photos --split 0.7,0.1,0.2
      featx finetune photos --split 0.7,0.1,0.2 --labels corrections.csv
      featx finetune photos --split 0.7,0.1,0.2 --train layer4 --epochs 15 --augment -o run
    """
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import describe_scan
    from featx.finetuning.finetune import finetune
    from featx.sources.reading import read_dataset

    from .rendering import render_model

    dataset = read_dataset(**{name: options.pop(name) for name in _OF_DATA})
    model, skipped = finetune(dataset, progress=progress, **options)
    scan = describe_scan(dataset.left_out, dataset.notes)
    say(as_json, {**model.to_dict(), **scan}, render_model(model))
    total = sum(score.total for score in model.outcome.scores.values()) + len(skipped)
    finish_skipped(skipped, total, max_skipped)
