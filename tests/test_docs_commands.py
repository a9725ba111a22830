"""Every `featx …` line of README and docs is one that the real command line takes."""

import re
import shlex
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What stands for something of the reader's, and a value of its kind.
PLACEHOLDERS = {"…": "x", "I/N": "0/2", "I": "0", "N": "1", "NAME": "x", "SIZE": "1GB"}
# A launcher fills these in before featx sees them: the shard's number, of how many.
PLACEHOLDERS |= {
    "{}": "0",
    "$RANK/$WORLD_SIZE": "0/2",
    "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT": "0/2",
}
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


LINES = [(page.name, line) for page in PAGES for line in collect_lines(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_the_command_line_takes_it(page, line, app):
    parse(app, [PLACEHOLDERS.get(word, word) for word in split_words(line)])


def test_many_lines_are_found():
    assert len(LINES) > 30


@pytest.mark.parametrize(
    "line",
    [
        "featx fit F.h5 --clf forest",
        "featx fit F.h5 --colour red",
        "featx mend F.h5",
        "featx weights mend",
        "featx extract photos --split 0.7,0.9",
    ],
)
@pytest.mark.parametrize("block", ["Text.\n\n    {}  # a word\n", "Text.\n\n```sh\n$ {}\n```\n"])
def test_what_the_command_line_refuses_is_found(line, block, app):
    (found,) = collect_lines(block.format(line))
    with pytest.raises(click.UsageError):
        parse(app, split_words(found))


def test_continued_lines_are_joined_and_prose_is_left_out():
    text = "Say featx mend.\n\n    srun featx fit F.h5 \\\n        --clf logreg > out.txt\n"
    (found,) = collect_lines(text)
    assert split_words(found) == ["fit", "F.h5", "--clf", "logreg"]
