"""Options of many commands, and what groups of options are made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from featx.config import MAX_SKIPPED

from .numbers import NumberRange
from .settings import config_option

F = TypeVar("F", bound=Callable[..., Any])


def stack(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


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


def seed_option(what: str) -> Callable[[F], F]:
    """The seed, of what is random in the command."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help=what,
    )


null_option = click.option(
    "-0", "--null", is_flag=True, help="Paths on stdin end with NUL, as find -print0 writes them."
)

max_skipped_option = click.option(
    "--max-skipped",
    type=NumberRange(0, 1),
    default=MAX_SKIPPED,
    show_default=True,
    help="Fraction of images beyond which skipping means exit code 3.",
)

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace an output that holds something else."
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
