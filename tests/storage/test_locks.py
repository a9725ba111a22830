import errno
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from featx.errors import LockedError
from featx.storage import locks
from featx.storage.locks import hold_lock


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


def test_a_lock_whose_name_is_gone_is_no_lock(tmp_path, monkeypatch):
    """Another process ends, and removes the file, between our opening it and locking it."""
    folder = tmp_path / "x.parts"
    opened = []

    def remove_first(handle):
        opened.append(os.fstat(handle).st_ino)
        if len(opened) == 1:
            (folder / "lock").rename(tmp_path / "gone")  # so that its inode is not used again
        real(handle)

    real = locks._lock
    monkeypatch.setattr(locks, "_lock", remove_first)
    with hold_lock(folder, tmp_path / "x"):
        assert len(opened) == 2
        assert (folder / "lock").stat().st_ino == opened[1] != opened[0]


def test_a_system_that_is_short_of_locks_takes_none_away(tmp_path, monkeypatch):
    folder = tmp_path / "x.parts"
    with hold_lock(folder, tmp_path / "x"):

        def short(handle):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        with monkeypatch.context() as patch:
            patch.setattr(locks, "_lock", short)
            with (
                pytest.raises(LockedError, match="has no locks"),
                hold_lock(folder, tmp_path / "x"),
            ):
                pass
        with (
            pytest.raises(LockedError, match="is being written"),
            hold_lock(folder, tmp_path / "x"),
        ):
            pass


def test_a_folder_that_vanishes_while_it_is_made(tmp_path, monkeypatch):
    # mkdir finds it there, and gone when it looks whether it is a folder.
    tries, mkdir = [], Path.mkdir

    def make(self, *args, **options):
        tries.append(self)
        if len(tries) == 1:
            raise FileExistsError(17, "File exists", str(self))
        return mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", make)
    with hold_lock(tmp_path / "parts", tmp_path / "F.h5"):
        assert len(tries) >= 2
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), hold_lock(tmp_path / "file", tmp_path / "F.h5"):
        pass
