"""Options of what is trained: heads, and what they share with networks that are tuned."""

from __future__ import annotations

from collections.abc import Callable

import click

from featx.config import CHOOSE_ON, CLASS_WEIGHTS, EPOCHS, MEMORY_SHARE, RANK_PRECISION, SCALES
from featx.text import parse_bytes

from .numbers import NumberRange
from .options import F, check_positive, seed_option, stack


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
    seed_option("Of first parameters, batch order, folds and augmentation."),
    click.option(
        "--learning-rate",
        default="auto",
        show_default=True,
        metavar="auto|FLOAT",
        callback=lambda ctx, param, value: check_positive(value),
        help="Of the linear head and of fine-tuning; auto: chosen on val among three.",
    ),
)


def read_layers_option(default: str, what: str) -> Callable[[F], F]:
    """Which of the layers that features keep are read, and what by."""
    return click.option(
        "--layers",
        default=default,
        show_default=True,
        metavar="auto|SPEC",
        help=f"{what}: last, avg, max, all, or some, such as last,layer3:max; auto: chosen as C "
        "is, among the first four that are there.",
    )


head_options = stack(
    class_weight_option,
    calibrate_option,
    views_option,
    click.option(
        "-C",
        "c",
        default="auto",
        show_default=True,
        metavar="auto|FLOAT",
        callback=lambda ctx, param, value: check_positive(value),
        help="Inverse L2 penalty of logreg and svm; auto: chosen, see --choose-on.",
    ),
    click.option(
        "--scale",
        type=click.Choice(SCALES),
        default="none",
        show_default=True,
        help="How features are scaled, learned from what a head learns from; auto: chosen as C is.",
    ),
    click.option(
        "--choose-on",
        type=click.Choice(CHOOSE_ON),
        default="folds",
        show_default=True,
        help="What chooses C and the like: five folds of train and val together, or val alone.",
    ),
    click.option(
        "--refit/--no-refit",
        default=True,
        show_default=True,
        help="Once chosen, fit on train and val together.",
    ),
)


def _check_with_taxonomy(ctx: click.Context, param: click.Parameter, value: float | None) -> float:
    # A value of --config is looked at before anything else is known.
    if value is not None and ctx.params.get("taxonomy", "") is None:
        raise click.UsageError("--precision-at-least needs --taxonomy, whose ranks are to keep it.")
    return RANK_PRECISION if value is None else value


# Of commands that train heads and can have them answer by ranks.
taxonomy_options = stack(
    click.option(
        "--taxonomy",
        type=click.Path(dir_okay=False),
        is_eager=True,  # before what only goes with it
        metavar="FILE",
        help="A CSV of each class and what it is of, such as species,genus,family: predict then "
        "answers at the deepest rank that is right often enough. A fit for each of twenty folds.",
    ),
    click.option(
        "--precision-at-least",
        type=NumberRange(0, 1, min_open=True, max_open=True),
        show_default=str(RANK_PRECISION),
        metavar="P",
        callback=_check_with_taxonomy,
        help="With --taxonomy: such a share of the answers at each rank is to be right.",
    ),
)
