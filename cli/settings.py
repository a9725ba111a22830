"""`--config FILE.toml`: the settings of a command, from a file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from featx.storage.files import open_regular

_NOT_IN_A_FILE = {"config", "help"}


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether an option was typed, or stands in the file of --config."""
    given = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return ctx.get_parameter_source(name) in given


def _take_settings(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Make what the file says of the command its defaults: what is typed wins."""
    if value is not None and not ctx.resilient_parsing:
        ctx.default_map = dict(_read_settings(ctx, value))


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.toml",
    expose_value=False,
    is_eager=True,
    callback=_take_settings,
    help="Take settings from the file's table for this command; what is typed wins.",
)


def _read_settings(ctx: click.Context, path: Path) -> Iterable[tuple[str, Any]]:
    """Values by parameter, each looked at as if it had been typed.

    Click itself would pass over unknown keys and take true for 1.
    """
    names = _name_command(ctx)
    known = {key: one for one in ctx.command.params for key in _list_keys(one)}
    for key, value in _read_table(ctx.find_root(), path, names).items():
        where = f"{path}: [{'.'.join(names)}] {key}"
        if key not in known:
            raise click.UsageError(
                f"{where}: featx {' '.join(names)} has no such setting{_suggest(key, known)}"
            )
        found = known[key]
        said = _as_typed(found, key, value, where)
        if said is None:  # a flag that is not set
            continue
        try:
            found.process_value(ctx, said)
        except click.BadParameter as error:
            raise click.UsageError(f"{where}: {error.message}") from error
        assert found.name is not None
        yield found.name, said


def _name_command(ctx: click.Context) -> list[str]:
    """The words after featx."""
    names: list[str] = []
    while ctx.parent is not None:
        names.insert(0, str(ctx.info_name))
        ctx = ctx.parent
    return names


def _list_keys(param: click.Parameter) -> list[str]:
    """What a parameter is called in a file: a long option, -C, or an argument's name."""
    if param.name in _NOT_IN_A_FILE:
        return []
    if isinstance(param, click.Argument):
        return [str(param.name)]
    options = [*param.opts, *param.secondary_opts]
    return [one.lstrip("-") for one in options if one.startswith("--")] or [
        one.lstrip("-") for one in options
    ]


def _read_table(root: click.Context, path: Path, names: list[str]) -> Mapping[str, Any]:
    try:
        with open_regular(path) as file:
            table: Any = tomllib.loads(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: no UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{path}: no TOML: {error}") from error
    assert isinstance(root.command, click.Group)
    commands = root.command.commands
    for key in table:
        if key not in commands:
            raise click.UsageError(
                f"{path}: [{key}]: featx has no such command{_suggest(key, commands)}"
            )
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise click.UsageError(f"{path} has no table [{'.'.join(names)}]")
    return table


def _as_typed(param: click.Parameter, key: str, value: Any, where: str) -> Any:
    """A value as the command line would have it; None for a flag that is not set."""
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool):
            raise click.UsageError(f"{where}: true or false, not {value!r}")
        if param.secondary_opts:
            return value == (f"--{key}" in param.opts)
        # --no-lock sets False; click's own word for an ordinary flag differs by version.
        return (param.flag_value is not False) if value else None
    several = param.multiple or param.nargs == -1
    if several and isinstance(value, list):
        return tuple(_as_word(param, one, where) for one in value)
    word = _as_word(param, value, where)
    return (word,) if several else word


def _as_word(param: click.Parameter, value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise click.UsageError(f"{where}: a string or a number, not {_describe(value)}")
    if "\0" in str(value):
        raise click.UsageError(f"{where}: it has a NUL character in it")
    if isinstance(value, str) and isinstance(param.type, click.Path) and value.startswith("~"):
        return str(Path(value).expanduser())  # as a shell has it
    return str(value)


def _describe(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    return str(value)  # a date, a time


def _suggest(word: str, known: Iterable[str]) -> str:
    """What may have been meant, for the end of a sentence; "" where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
