"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.config import (
    BACKBONE,
    BACKBONES,
    BATCH_SIZE,
    CLASS_WEIGHTS,
    CUDA_BATCH_SIZE,
    DEVICES,
    ENGINES,
    EPOCHS,
    FRAMINGS,
    LAST_LAYER,
    MAX_BATCH_SIZE,
    MAX_SKIPPED,
    MEMORY_SHARE,
    ON_ERROR,
    PRECISIONS,
    STORAGES,
)
from featx.text import parse_bytes

from .boxes import boxes_options
from .completion import complete_weights
from .pixels import pixel_options
from .settings import config_option

if TYPE_CHECKING:
    pass

F = TypeVar("F", bound=Callable[..., Any])


def _check_split(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from featx.data.splits import parse_split
    from featx.errors import DatasetError

    if value is not None:
        try:
            parse_split(value)
        except DatasetError as error:
            raise click.BadParameter(str(error)) from error
    return value


def _check_cv(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from featx.errors import ModelError
    from featx.training.resampling import parse_resampling

    if value is not None:
        try:
            parse_resampling(value)
        except ModelError as error:
            raise click.BadParameter(str(error)) from error
    return value


def _check_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def stack(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


backbone_option = click.option(
    "--backbone",
    type=click.Choice(list(BACKBONES)),
    default=BACKBONE,
    show_default=True,
    metavar="NAME",
    help=f"The network: {', '.join(BACKBONES)}.",
)


weights_option = click.option(
    "--weights",
    default="auto",
    shell_complete=complete_weights,
    show_default=True,
    metavar="NAME|FILE",
    help="auto, imagenet1k-v1, imagenet1k-v2, keras-imagenet, or a .safetensors or .pth file, "
    "checkpoints included.",
)

max_skipped_option = click.option(
    "--max-skipped",
    type=click.FloatRange(0, 1),
    default=MAX_SKIPPED,
    show_default=True,
    help="Fraction of images beyond which skipping means exit code 3.",
)

data_argument = click.argument("data", metavar="DATA", type=click.Path())

# At most one of them.
group_options = stack(
    click.option(
        "--group",
        metavar="COLUMN",
        help="The manifest's column of what images belong to: an animal, patient, site. --split "
        "keeps such groups whole, and intervals and tests count them, not images.",
    ),
    click.option(
        "--group-pattern",
        metavar="REGEX",
        help="Group by what the first parentheses match in the relative path, such as "
        "'(site[0-9]+)'.",
    ),
    click.option(
        "--group-time",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="Group bursts: photographs of one camera model, each at most so long after the one "
        "before (EXIF).",
    ),
    click.option(
        "--group-folder", is_flag=True, help="Group by the folder in DIR/<class>/<group>/*."
    ),
)

source_options = stack(
    click.option(
        "--split",
        metavar="SPEC",
        callback=_check_split,
        help="How to split DIR/<class>/*: first:60,10 (per class by file name: 60 train, 10 val, "
        "the rest test) or 0.7,0.1,0.2@SEED (stratified, random).",
    ),
    click.option(
        "--root", metavar="DIR", type=click.Path(), help="What a manifest's paths are relative to."
    ),
    click.option(
        "--recursive",
        is_flag=True,
        help="Take the images in all folders below a class folder for that class, too.",
    ),
    group_options,
    boxes_options,
    backbone_option,
    weights_option,
    click.option(
        "--on-error",
        type=click.Choice(ON_ERROR),
        default="skip",
        show_default=True,
        help="What to do with an image that cannot be decoded.",
    ),
    max_skipped_option,
    pixel_options,
)

data_options = stack(data_argument, source_options)

multi_label_option = click.option(
    "--multi-label",
    is_flag=True,
    help="An image may have any number of labels: the manifest's column label holds them, parted "
    "by | or ; (empty: none of them), or has a column of 0 and 1 for each instead.",
)

features_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    metavar="F.h5",
    help="The feature file.  [default: a name of its own in the cache folder]",
)

device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="auto is CUDA where there is one; mps and xpu (Apple's and Intel's GPUs) were never "
    "tried, and are held against the CPU first.",
)

num_workers_option = click.option(
    "--num-workers",
    type=click.IntRange(0),
    metavar="N",
    help="Decoding threads.  [default: as many as cores]",
)

network_option = click.option(
    "--weights", metavar="NAME|FILE", help="The network, where MODEL's is not found."
)

device_options = stack(device_option, num_workers_option)

batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1, MAX_BATCH_SIZE),
    metavar="N",
    help=f"Images of one forward pass.  [default: {BATCH_SIZE}; on CUDA {CUDA_BATCH_SIZE}]",
)

null_option = click.option(
    "-0", "--null", is_flag=True, help="Paths on stdin end with NUL, as find -print0 writes them."
)

cache_dir_option = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where features are kept.  [default: FEATX_CACHE, else ./cache]",
)

engine_options = stack(
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        show_default=True,
        help="What runs the network; auto takes features of any engine that are there, else the "
        "fastest that is installed and gives torch's features.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="fp32",
        show_default=True,
        help="Of the computation; auto takes bf16, on CUDA fp16, and where there is none int8, "
        "where probes find it as good and faster; fp16 and tf32 are for CUDA, int8 for OpenVINO.",
    ),
)

storage_option = click.option(
    "--storage",
    type=click.Choice(STORAGES),
    default="float32",
    show_default=True,
    help="Of the stored numbers; float16 halves the file and keeps three digits.",
)

layers_option = click.option(
    "--layers",
    default=LAST_LAYER,
    show_default=True,
    metavar="SPEC",
    help="What is kept beside the last layer's averages: all (four stages, means and maxima), avg, "
    "max, or some, such as layer2,layer3:max.",
)

rehash_option = click.option(
    "--rehash",
    is_flag=True,
    help="Read every image again instead of trusting size and times of those known.",
)

lock_option = click.option(
    "--no-lock",
    "lock",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Do without a lock, where the file system has none and nothing else writes there.",
)

extract_options = stack(
    engine_options, batch_size_option, cache_dir_option, rehash_option, lock_option
)

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace an output that holds something else."
)

calibrate_option = click.option(
    "--calibrate",
    is_flag=True,
    help="Fit a temperature for the probabilities on held-out images; it changes no prediction.",
)

class_weight_option = click.option(
    "--class-weight",
    type=click.Choice(CLASS_WEIGHTS),
    default="none",
    show_default=True,
    help="balanced: a class weighs the same whatever its number of train images.",
)

views_option = click.option(
    "--views",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Random crops and flips of each train image that heads may learn from, too.",
)

framing_option = click.option(
    "--protocol",
    type=click.Choice(FRAMINGS),
    default="none",
    show_default=True,
    help="linear-eval frames images as Kornblith et al. 2019 do.",
)

cv_option = click.option(
    "--cv",
    metavar="REPEATSxFOLDS",
    callback=_check_cv,
    help="Cross-validate on all labelled images as well: 5x5 deals them into 5 folds, 5 times "
    "over, and C is chosen anew inside each.",
)

max_memory_option = click.option(
    "--max-memory",
    metavar="SIZE",
    callback=_check_size,
    help="What fitting a head may take, such as 3GB, 500MB or 2GiB; larger features are read in "
    f"blocks.  [default: {100 * MEMORY_SHARE:.0f} % of what the process may use]",
)

prefix_cache_option = click.option(
    "--prefix-cache",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    callback=lambda ctx, param, value: value == "on",
    help="With last3 and layer4, unless augmenting: run the frozen part once and keep what it "
    "gives on disk while training.",
)

train_options = stack(
    click.option(
        "--epochs",
        type=click.IntRange(1),
        default=EPOCHS,
        show_default=True,
        help="Of the linear head and of fine-tuning.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Of first parameters, batch order, folds and augmentation.",
    ),
    click.option(
        "--learning-rate",
        default="auto",
        show_default=True,
        metavar="auto|FLOAT",
        callback=lambda ctx, param, value: check_positive(value),
        help="Of the linear head and of fine-tuning; auto: chosen on val among three.",
    ),
)

labels_option = click.option(
    "--labels",
    type=click.Path(dir_okay=False),
    metavar="C.csv",
    help="Corrected labels, as the review page of featx audit saves them: they are applied by the "
    "images' content, and no image or feature file is changed.",
)

# Of every command.
common_options = stack(
    config_option,
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
    click.option("-q", "--quiet", is_flag=True, help="Warnings and errors alone, no progress bar."),
)


def check_positive(value: str) -> float | str:
    if value == "auto":
        return value
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise click.BadParameter(f"{value!r} is neither auto nor a positive number")
    return number
