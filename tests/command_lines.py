"""The `featx …` lines of a text, and what the real command line says of one."""

import re
import shlex
from pathlib import Path

import click

# A shell's own words: the command ends there.
ENDS = {"|", "&&", "||", ";", ">", "2>", "&", "done", ")"}


def collect_lines(text):
    """Commands of indented and fenced blocks, comments cut off and continued lines joined."""
    fenced, block = False, []
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            block.append(line.strip())
    for line in "\n".join(block).replace("\\\n", " ").splitlines():
        found = re.match(r"(?:\$ |.*?[\s/;&'\"(])??(featx [a-z-].*)", line)
        if found and not line.startswith(("#", "Error", "Usage")):
            command = found.group(1)
            # The quotation that the command is a part of may end with it.
            yield command[:-1] if command.count("'") % 2 else command


def split_words(line):
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = "#"
    kept = []
    for word in words:
        if word in ENDS:
            break
        kept.append(word.rstrip(";"))
    return kept[1:]


def parse(app, words):
    """Raise what the command line would, without running anything.

    A file of settings that is named has what the command must be told.
    """
    if "--config" in words:
        file = Path(words[words.index("--config") + 1])
        file.parent.mkdir(parents=True, exist_ok=True)
        required = [p.name for p in app.commands[words[0]].params if p.required]
        file.write_text(f"[{words[0]}]\n" + "".join(f'{name} = "x"\n' for name in required))
    context = app.make_context("featx", list(words), resilient_parsing=False)
    rest = [*context._protected_args, *context.args]
    while rest:
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
