"""Names from stdin and lines to stdout, for commands that take any number of images."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

import click

from featx.text import printable

_PIECE = 1 << 16  # bytes of stdin at a time, where NUL ends a name


def read_names(null: bool) -> Iterator[str]:
    """Names on stdin, one a line or, with `null`, each ended by a NUL; empty ones are passed over.

    A file's name may hold any byte but NUL: what is no UTF-8 comes as Python's own file functions
    have it.
    """
    for name in _split_nul() if null else sys.stdin.buffer:
        if not null:
            name = name.removesuffix(b"\n").removesuffix(b"\r")
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


def echo_lines(lines: Iterable[str], lasting: bool = False) -> bool:
    """Print lines as they come; returns False where the reader closed stdout before the end.

    With `lasting` the lines are then still taken to the last.
    """
    from tqdm import tqdm

    is_open = True
    # On a terminal a line must not run into a progress bar.
    apart = tqdm.external_write_mode if sys.stdout.isatty() else contextlib.nullcontext
    for line in lines:
        if is_open:
            try:
                with apart():
                    click.echo(printable(line))
            except BrokenPipeError:
                is_open = False
                _quieten()
        if not is_open and not lasting:
            break
    return is_open


def _quieten() -> None:
    """Let Python's own last flush of stdout go nowhere, instead of failing aloud."""
    with contextlib.suppress(OSError, ValueError):  # stdout may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
