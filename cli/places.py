"""Where a command writes: a file, a folder, or - for stdout where that can take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

STDOUT: Literal["-"] = "-"  # a file that is called so is ./-


Table = Path | Literal["-"] | None


class Output(click.Path):
    """A path to write to, as a Path; - only with `stdout`: STDOUT."""

    def __init__(self, *, stdout: bool = False, **options: Any) -> None:
        super().__init__(path_type=Path, **options)
        self._stdout = stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A word as it was typed, or a value of ours."""
        if value != STDOUT:
            return super().convert(value, param, ctx)
        if not self._stdout:
            self.fail("this cannot go to stdout: name a file or folder (./- is one)", param, ctx)
        return STDOUT


FILE = Output(dir_okay=False)
FOLDER = Output(file_okay=False)
TABLE = Output(dir_okay=False, stdout=True)


def check_one_output(table: Table, **flags: bool) -> None:
    """Raise UsageError where a table and something else are to go to stdout."""
    for flag, is_set in flags.items():
        if table == STDOUT and is_set:
            raise click.UsageError(f"--csv - and --{flag} are both for stdout: say either.")
