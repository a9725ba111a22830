import os
import shutil
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path
from textwrap import indent

import click
import pytest
from click.testing import CliRunner
from command_lines import collect_lines, parse, split_words

import featx
from featx.errors import WeightsError

TABLES = {
    ("--csv", "featx predict"), ("--csv", "featx audit"), ("--csv", "featx next"),
    ("--output", "featx card"),
}  # fmt: skip


def commands(group, name="featx"):
    for word, command in sorted(group.commands.items()):
        yield f"{name} {word}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")


def test_every_command_has_help_and_is_in_the_docs(app, run):
    docs = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    for words, command in commands(app):
        assert command.help, words
        assert run(*words.split()[1:], "--help").exit_code == 0
        assert f"`{words}" in docs, words
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                # What is an option is said.
                assert parameter.help, f"{words} {parameter.name}"


def test_no_range_of_numbers_takes_nan(app):
    """It is smaller than nothing and larger than nothing, so that it would switch a limit off."""
    ranges = [
        (words, parameter)
        for words, command in commands(app)
        for parameter in command.params
        if isinstance(parameter.type, click.FloatRange)
    ]
    assert {"max_skipped", "threshold", "margin"} <= {one.name for _, one in ranges}
    for words, parameter in ranges:
        with pytest.raises(click.BadParameter, match="'nan' is not a number"):
            pytest.fail(f"{words} {parameter.type.convert('nan', None, None)}")


def test_every_helps_examples_are_commands_that_featx_takes(app):
    for words, command in commands(app):
        if isinstance(command, click.Group):
            continue
        _, _, examples = cleandoc(command.help).partition("\b\nExamples:\n")
        lines = [line for line in collect_lines(indent(examples, "    ")) if line]
        assert lines, words
        for line in lines:
            parse(app, split_words(line))
            assert max(map(len, examples.splitlines())) <= 90, words
        assert words in lines[0], words


def test_what_is_written_to_is_no_file_called_dash(app, run):
    """Tables go to stdout; all else is refused before anything else is looked at."""
    read = {
        "--boxes", "--config", "--labels", "--plan", "--prevalence", "--root", "--taxonomy"
    }  # fmt: skip
    refused = 0
    for words, command in commands(app):
        for option in command.params:
            if not isinstance(option, click.Option) or not isinstance(option.type, click.Path):
                continue
            if (name := option.opts[-1]) in read or (name, words) in TABLES:
                continue
            needed = ["x"] * sum(p.required for p in command.params if p.nargs)
            done = run(*words.split()[1:], *needed, name, "-")
            assert done.exit_code == 2, f"{words} {name}"
            assert "this cannot go to stdout" in " ".join(done.stderr.split()), f"{words} {name}"
            refused += 1
    assert refused > 15


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("featx ext", {"extract"}),
        ("featx weights pa", {"path"}),
        ("featx fit --clf s", {"svm"}),
        ("featx weights path k", {"keras-imagenet"}),
        ("featx extract x --weights imagenet1k", {"imagenet1k-v1", "imagenet1k-v2"}),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="shells of POSIX")
def test_words_are_completed(app, line, expected):
    script = CliRunner().invoke(app, ["completion", "bash"], prog_name="featx").stdout
    assert "_FEATX_COMPLETE=bash_complete" in script
    words = line.split()
    asked = {"_FEATX_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": len(words) - 1}
    program = Path(sys.executable).parent / "featx"
    env = os.environ | {name: str(value) for name, value in asked.items()}
    done = subprocess.run([program], env=env, check=True, capture_output=True, text=True)
    assert {one.partition(",")[2] for one in done.stdout.splitlines()} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shells_script_is_one_that_it_reads(run, shell):
    script = run("completion", shell).stdout
    assert "featx" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, check=True, text=True)


def test_every_command_but_groups_speaks_json(app):
    for words, command in commands(app):
        names = {option for p in command.params for option in p.opts}
        # A script for a shell is that alone.
        if not isinstance(command, click.Group) and words != "featx completion":
            assert {"--json", "--quiet", "--verbose"} <= names, words


def test_errors_are_one_sentence_and_exit_1(run):
    done = run("extract", "nowhere")
    assert done.exit_code == 1
    assert done.stderr == "Error: no such file or folder: nowhere\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract"], "Missing argument 'DATA'"),
        (["extract", "x", "--split", "half"], "cannot read the split rule 'half'"),
        (["extract", "x", "--device", "tpu"], "'tpu' is not one of"),
        (["extract", "x", "--batch-size", "0"], "0 is not in the range"),
        (["fit", "F.h5", "-C", "zero"], "'zero' is neither auto nor a positive number"),
        (["fit", "F.h5", "--clf", "forest"], "'forest' is not one of"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_wrong_usage_exits_2(run, words, message):
    done = run(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_what_the_machine_refuses_names_the_file(run, photos, stored, tmp_path):
    (tmp_path / "file").write_text("x")
    done = run("extract", photos, "--cache-dir", tmp_path / "file" / "below", "-q")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_stays_a_traceback(run, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("featx.network.catalogue.describe_weights", broken)
    with pytest.raises(ZeroDivisionError):
        run("weights", "list")


def test_an_errors_own_lines_are_lines_and_a_names_are_none(run, monkeypatch):
    def fail(*_, **__):
        raise WeightsError("none can be had:", "  forged\nError: name")

    monkeypatch.setattr("featx.network.catalogue.describe_weights", fail)
    result = run("weights", "list")
    assert result.stderr == "Error: none can be had:\n  forged\\nError: name\n"


def test_ctrl_c_is_a_line_and_exit_130(run, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.network.catalogue.describe_weights", stopped)
    done = run("weights", "list")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("words", [["weights", "list"], ["weights", "list", "--json"], ["--help"]])
def test_a_closed_stdout_is_quiet(words):
    reading, writing = os.pipe()
    os.close(reading)
    program = Path(sys.executable).parent / "featx"
    try:
        done = subprocess.run(
            [program, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1


def test_as_a_module_and_as_a_program(empty_home):
    for start in (
        [sys.executable, "-m", "featx.cli"],
        [str(Path(sys.executable).parent / "featx")],
    ):
        done = subprocess.run([*start, "--version"], check=True, capture_output=True, text=True)
        assert done.stdout == f"featx, version {featx.__version__}\n"
