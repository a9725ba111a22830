"""How a command speaks: text, JSON, notes, exit codes; names from stdin and lines to stdout."""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.text import printable

from .places import STDOUT, Table

if TYPE_CHECKING:
    from featx.data.dataset import Leftovers, Skipped
    from featx.extraction.result import Extraction

SHOWN = 10  # skipped images named one by one
_PIECE = 1 << 16  # bytes of stdin at a time, where NUL ends a name


class _StderrHandler(logging.Handler):
    """Writes notes to stderr without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "Warning: " if record.levelno >= logging.WARNING else ""
        tqdm.write(prefix + printable(record.getMessage()), file=sys.stderr)


def start_speaking(verbose: bool, quiet: bool) -> bool:
    """Send featx's notes to stderr, with --verbose warnings, too; returns whether to show bars."""
    log = logging.getLogger("featx")
    for handler in [h for h in log.handlers if isinstance(h, _StderrHandler)]:
        log.removeHandler(handler)
    log.addHandler(_StderrHandler())
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        log.debug("%s: %s", category.__name__, message)

    # Libraries' remarks are for who looks for a fault; what users should know featx says itself.
    warnings.showwarning = show
    warnings.simplefilter("default" if verbose else "ignore")
    # Pillow's, on damaged metadata, name no file and change no pixel.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return not quiet and sys.stderr.isatty()


def say(as_json: bool, values: dict[str, Any], text: str) -> None:
    """Print the result, as the one JSON object or as text."""
    if as_json:
        # ASCII only: file names may hold what a terminal or a pipe cannot take.
        click.echo(json.dumps(values))
    else:
        click.echo(printable(text, keep="\n"))


def say_written(
    as_json: bool,
    values: dict[str, Any],
    text: str,
    report: Path | None,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Print a result of which a page may have been written, and write its table, if asked for.

    A table on stdout stands there instead of the result.
    """
    from featx.storage.csv_files import iterate_csv, write_csv

    if table == STDOUT:
        echo_lines(iterate_csv(columns, rows), exact=True)
        return
    if isinstance(table, Path):
        write_csv(table, columns, rows)
    values = {**values, "csv": table and str(table), "report": report and str(report)}
    written = [str(path) for path in (table, report) if path is not None]
    tail = f"\n\nwritten: {', '.join(written)}" if written else ""
    say(as_json, values, text + tail)


def finish_skipped(
    skipped: Sequence[Skipped], total: int, max_skipped: float, count: int | None = None
) -> None:
    """Name the images that were skipped on stderr; exit with 3 where they are too many.

    `count` is their number, where `skipped` has the first of them alone.
    """
    n_skipped = len(skipped) if count is None else count
    for one in skipped[:SHOWN]:
        click.echo(printable(f"skipped {one.path}: {one.reason}"), err=True)
    if n_skipped > SHOWN:
        click.echo(f"skipped {n_skipped - SHOWN} more (--json lists them all)", err=True)
    if total and n_skipped / total > max_skipped:
        click.echo(
            f"{n_skipped} of {total} images were skipped, more than --max-skipped "
            f"{max_skipped:g} allows: exit code 3",
            err=True,
        )
        click.get_current_context().exit(3)


def finish_extraction(done: Extraction, max_skipped: float) -> None:
    """The same of an extraction."""
    skipped = done.skipped_files
    finish_skipped(skipped, done.images + len(skipped), max_skipped)


def describe_skipped(skipped: Sequence[Skipped], left_out: Leftovers) -> dict[str, Any]:
    """What the JSON says of files that were skipped, and of those that are no images."""
    return {
        "skipped": len(skipped),
        "skipped_files": [one.to_dict() for one in skipped],
        "left_out": [one.to_dict() for one in left_out.list()],
    }


def split_names(images: Sequence[str], null: bool) -> tuple[list[str], Iterable[str]]:
    """What is named as an argument, and what a list on stdin names, where "-" asks for it."""
    if "-" in images:
        return [image for image in images if image != "-"], read_names(null)
    if null:
        raise click.UsageError("--null is about a list on stdin, and that is named by -.")
    return list(images), ()


def read_names(null: bool) -> Iterator[str]:
    """Names on stdin, one a line or, with `null`, each ended by a NUL; empty ones are passed over.

    A file's name may hold any byte but NUL: what is no UTF-8 comes as Python's own file functions
    have it.
    """
    for number, name in enumerate(_split_nul() if null else sys.stdin.buffer):
        if not null:
            name = name.removesuffix(b"\n").removesuffix(b"\r")
        if not number:  # Windows' editors begin a text with a mark
            name = name.removeprefix(codecs.BOM_UTF8)
        if b"\0" in name:
            raise click.UsageError("The list on stdin has NUL in its lines: say --null.")
        if name:
            yield os.fsdecode(name)


def _split_nul() -> Iterator[bytes]:
    stream, left = sys.stdin.buffer, b""
    while piece := stream.read(_PIECE):
        *whole, left = (left + piece).split(b"\0")
        yield from whole
    yield left


def echo_lines(lines: Iterable[str], lasting: bool = False, exact: bool = False) -> bool:
    """Print lines as they come; returns False where the reader closed stdout before the end.

    With `lasting` the lines are then still taken to the last. With `exact` nothing in them is
    escaped but on a terminal.
    """
    from tqdm import tqdm

    is_open = True
    # On a terminal a line must not run into a progress bar.
    shown = sys.stdout.isatty()
    apart = tqdm.external_write_mode if shown else contextlib.nullcontext
    for line in lines:
        if is_open:
            try:
                with apart():
                    if exact and not shown:
                        click.echo(line, color=True)  # else click takes terminals' codes out
                    else:
                        click.echo(printable(line))
            except BrokenPipeError:
                is_open = False
        if not is_open and not lasting:
            break
    return is_open
