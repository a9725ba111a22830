"""Whatever stdout and stderr lead to: no traceback, and the exit code that it would be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "featx")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams of POSIX")


def start(words, redirect="", **environment):
    """A command through a shell, which can close streams; its two outputs are bytes."""
    return subprocess.run(
        ["sh", "-c", f'"$0" "$@" {redirect}', PROGRAM, *words],
        env=os.environ | environment, capture_output=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp932", "utf-16"])
def test_what_an_encoding_lacks_is_escaped(encoding, tmp_path):
    folder = str(tmp_path / "猫é")
    told = {"FEATX_WEIGHTS": folder, "PYTHONIOENCODING": encoding}
    done = start(["weights", "list"], **told)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = f"in {folder}\n".encode(encoding, "backslashreplace").decode(encoding)
    assert done.stdout.decode(encoding).endswith(expected)
    done = start(["info", folder], **told)
    assert done.returncode == 1
    shown = folder.encode(encoding, "backslashreplace").decode(encoding)
    expected = f"Error: {shown}: no such feature file; featx extract makes one\n"
    assert done.stderr.decode(encoding) == expected


@pytest.mark.parametrize("words", [["weights", "list", "--json"], ["fit", "--help"]])
@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        (">&-", 0, b""),
        ("2>&-", 0, b""),
        ("<&- >&- 2>&-", 0, b""),
        ("2>/dev/full", 0, b""),
        (">/dev/full", 1, b"Error: stdout: No space left on device\n"),
        (">/dev/full 2>/dev/full", 1, b""),
    ],
)
def test_streams_that_are_closed_or_full(words, redirect, code, said):
    if "full" in redirect and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = start(words, redirect)
    assert (done.returncode, done.stderr) == (code, said)


def test_notes_that_nobody_can_read_stop_no_work(feature_file, tmp_path):
    path = feature_file("first:4,2")
    for redirect in (">&- 2>&-", "2>/dev/full"):
        done = start(["fit", path, "--clf", "centroid", "-o", tmp_path / "m", "-v"], redirect)
        assert done.returncode == 0
        assert (tmp_path / "m").read_bytes()[8:9] == b"{"  # whole, and nothing of stdout's in it
        (tmp_path / "m").unlink()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_is_said_is_said_at_once(unbuffered):
    # Python's own streams keep nothing back on stderr, and nothing anywhere where it is told so.
    program = (
        "import os, sys; from featx.cli.streams import open_streams; open_streams();"
        "print('noted', file=sys.stderr); print('done'); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True, check=True,
    )  # fmt: skip
    assert (done.stderr, done.stdout) == (b"noted\n", b"done\n" if unbuffered else b"")
