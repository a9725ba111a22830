"""A hook of mkdocs: what the site has beside the pages of docs/.

cli.md is made of what each command of the app prints for --help. iframe-worker.js lets the search
work where the site is opened from a file, wide.css gives what is printed on a terminal its room.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

WIDTH = 80  # what a block of the page shows without scrolling


def walk_commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """Yield a context for the command and for every one below it."""
    settings = {**command.context_settings, "terminal_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from walk_commands(command.commands[below], below, context)


def render_help(app: click.Command) -> str:
    """Return the page: a heading and the help of every command."""
    parts = ["# What --help says\n\nWhat every command takes, as it prints it itself.\n"]
    for context in walk_commands(app, "featx"):
        text = context.get_help().replace("\n", "\n    ")
        parts.append(f"## {context.command_path}\n\n    {text}\n")
    return "\n".join(parts)


def on_files(files: Any, config: Any) -> None:
    """Add the page, the script and the style sheet to the site's."""
    from featx.cli.main import main
    from mkdocs.structure.files import File

    files.append(File.generated(config, "cli.md", content=render_help(main)))
    for name in ("iframe-worker.js", "wide.css"):
        content = Path(__file__).with_name(name).read_text("utf-8")
        files.append(File.generated(config, f"assets/{name}", content=content))
