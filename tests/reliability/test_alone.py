"""featx calls nobody, forks nobody who would, and leaves nothing in the user's home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import alone
import pytest

# Makes the user unknown to the system, as in a container that runs under any number.
NOBODY = """
import pwd
def getpwuid(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
"""
# One process for several commands: what they load takes seconds.
RUN = """
import json, sys
from click.testing import CliRunner
from featx.cli.main import main
said = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, words, prog_name="featx")
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    said.append([done.exit_code, done.stderr])
json.dump(said, sys.stdout)
"""


def cut_off():
    """What gives a command a network namespace without routes, where that is allowed."""
    words = ["unshare", "-rn"]
    can = shutil.which(words[0]) and not subprocess.run([*words, "true"], check=False).returncode
    return words if can else []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_no_command_reaches_out(drawn_photos, tiny_files, tmp_path):
    pytest.importorskip("openvino")
    home = tmp_path / "home"
    home.mkdir()
    words = cut_off()
    told = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told["FEATX_WEIGHTS"] = str(tiny_files(False).parent)  # of the narrow network that runs there
    # Where the user has agreed to everything.
    (home / "intel").mkdir()
    (home / "intel" / "openvino_telemetry").write_text("1")
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [*words, sys.executable, alone.__file__, drawn_photos],
        env=environment | told, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    failed = {name for name, code in found["codes"].items() if code}
    assert failed == {"data caltech256-animals"}, [found["said"][name] for name in failed]
    assert found["tried"] == []
    assert [str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()] == [
        "intel/openvino_telemetry"
    ]
    if words:
        assert found["unrouted"] == 0
        assert found["control"] > 0


def test_what_reaches_out_is_seen():
    seen = list(alone.TRIED)
    with pytest.raises(OSError, match="no network"):
        alone.refuse("socket.connect", (None, ("example.org", 80)))
    alone.refuse("socket.connect", (None, "/run/socket"))
    assert [*seen, "socket.connect ('example.org', 80)"] == alone.TRIED


@pytest.mark.skipif(os.name != "posix", reason="users of POSIX")
def test_a_user_without_a_home(photos, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NOBODY)
    given = {
        k: v for k, v in os.environ.items() if k not in ("HOME", "FEATX_WEIGHTS", "TORCH_HOME")
    }
    expected = [
        (["weights", "list"], 1, "set FEATX_WEIGHTS (or HOME) to a folder\n"),
        (["cache", "list"], 0, ""),
        (["extract", str(photos)], 1, "set FEATX_WEIGHTS (or HOME) to a folder\n"),
        (["doctor", "--quick"], 1, ""),
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([words for words, *_ in expected])],
        env=given | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    for (words, code, end), found in zip(expected, json.loads(done.stdout), strict=True):
        assert found[0] == code, words
        assert found[1].endswith(end)
        assert found[1].count("\n") <= 1
    assert not Path("~").exists()
