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


@pytest.fixture
def run_alone(drawn_photos, tmp_path):
    """Run alone.py where there is no network; what it found."""
    home = tmp_path / "home"
    home.mkdir()
    # Where the user has agreed to everything.
    (home / "intel").mkdir()
    (home / "intel" / "openvino_telemetry").write_text("1")

    def run(words, weights, *more):
        told = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        told["FEATX_WEIGHTS"] = str(weights)
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        done = subprocess.run(
            [*words, sys.executable, alone.__file__, drawn_photos, *more],
            env=environment | told, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        left = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
        # A cluster of Ray keeps there what its own processes know each other by.
        assert left - {".ray/auth_token"} == {"intel/openvino_telemetry"}
        return json.loads(done.stdout)

    return run


def test_every_command_is_tried_alone(app):
    tried = {line.split()[0] for line in alone.COMMANDS.strip().splitlines()}
    assert tried == app.commands.keys()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_no_command_reaches_out(run_alone, tiny_files):
    pytest.importorskip("openvino")
    words = cut_off()
    found = run_alone(words, tiny_files(False).parent)  # of the narrow network that runs there
    failed = {name for name, code in found["codes"].items() if code}
    assert failed == {"data caltech256-animals"}, [found["said"][name] for name in failed]
    assert found["tried"] == []
    if words:
        assert found["unrouted"] == 0
        assert found["control"] > 0


@pytest.mark.ray
@pytest.mark.skipif(not shutil.which("ip"), reason="the loopback has to be brought up")
def test_nor_does_a_cluster_of_this_machine_alone(run_alone, tiny_files, empty_home):
    pytest.importorskip("ray")
    if not (words := cut_off()):
        pytest.skip("no namespace of one's own is allowed")
    shutil.copy(tiny_files(True), empty_home / "W.safetensors")
    inside = [*words, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    found = run_alone(inside, empty_home, "ray")
    assert found["codes"] == {"extract photos": 0}, found["said"]
    # The kernel counts a few packets without a route of Ray's own processes, whose reports of use
    # are off: what featx's process tries is what can be told.
    assert found["tried"] == []


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
