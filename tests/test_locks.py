import json
import logging
import os
import socket

import pytest

from featx.errors import LockedError
from featx.locks import hold_lock


def test_one_at_a_time(tmp_path):
    folder, what = tmp_path / "F.h5.parts", tmp_path / "F.h5"
    with hold_lock(folder, what):
        owner = json.loads((folder / "lock").read_bytes())
        assert (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        with (
            pytest.raises(
                LockedError,
                match=rf"F.h5 is being written by process {os.getpid()} on {socket.gethostname()}, "
                r"since 20..-..-.. ..:..:..*; wait until that ends, or end it$",
            ),
            hold_lock(folder, what),
        ):
            pass
        # Whoever failed to get it has not taken it away.
        assert (folder / "lock").exists()
    assert not folder.exists()
    with hold_lock(folder, what):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_what_a_dead_process_left_does_not_block(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "F.h5.parts"
    folder.mkdir()
    owner = {"host": "far", "pid": 7, "since": "2026-01-01 12:00:00+00:00"}
    (folder / "lock").write_text(json.dumps(owner))
    with hold_lock(folder, tmp_path / "F.h5"):
        pass
    assert caplog.messages == [
        f"{tmp_path / 'F.h5'}: going on after process 7 on far, since 2026-01-01 12:00:00+00:00, "
        "which ended before it was done"
    ]
    folder.mkdir()
    (folder / "lock").write_bytes(b"\xff rubbish")
    with hold_lock(folder, tmp_path / "F.h5"):
        pass


def test_a_lock_whose_name_is_gone_is_no_lock(tmp_path):
    # Another process removed the file between our opening it and locking it.
    folder = tmp_path / "x.parts"
    with hold_lock(folder, tmp_path / "x"):
        (folder / "lock").unlink()
        with hold_lock(folder, tmp_path / "x"):
            assert json.loads((folder / "lock").read_bytes())["pid"] == os.getpid()
