"""`featx completion`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class


def complete_weights(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of known weights and of stored ones; else files."""
    from featx.network.catalogue import KNOWN, list_stored

    names = {"auto": None, **KNOWN, **dict(list_stored())}
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script with which SHELL completes commands, options and their values.

    \b
    Examples:
      featx completion bash > ~/.local/share/bash-completion/completions/featx
      featx completion zsh > ~/.zfunc/_featx
      featx completion fish > ~/.config/fish/completions/featx.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, "featx", "_FEATX_COMPLETE").source())
