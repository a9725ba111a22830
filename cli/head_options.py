"""Options of heads, which `fit`, `compare` and `audit` share."""

from __future__ import annotations

from collections.abc import Callable

import click

from featx.config import CHOOSE_ON, RANK_PRECISION, SCALES

from .options import F, calibrate_option, check_positive, class_weight_option, stack, views_option


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
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        show_default=str(RANK_PRECISION),
        metavar="P",
        callback=_check_with_taxonomy,
        help="With --taxonomy: such a share of the answers at each rank is to be right.",
    ),
)
