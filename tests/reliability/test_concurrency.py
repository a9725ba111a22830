"""Several runs at once on one file."""

import errno
import os

import pytest
from interrupted import BESIDE, extract_once, run_rival

from featx.errors import LockedError


def test_four_processes_on_one_file(root, clean, tmp_path, processes):
    for attempt in range(3):
        path = tmp_path / f"{attempt}" / "F.h5"
        results = processes.Queue()
        rivals = [
            processes.Process(target=run_rival, args=(root, path, 0.02, results)) for _ in range(4)
        ]
        for rival in rivals:
            rival.start()
        said = [results.get(timeout=60) for _ in rivals]
        for rival in rivals:
            rival.join()
        assert "done" in said
        for one in set(said) - {"done"}:
            assert f"{path} is being written by process " in one
            assert "since 20" in one
        assert path.read_bytes() == clean
        assert {entry.name for entry in path.parent.iterdir()} == BESIDE


def test_a_file_system_without_locks_is_named(root, clean, tmp_path, monkeypatch):
    def no_locks(handle):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("featx.storage.locks._lock", no_locks)
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(LockedError, match=r"this file system has no locks .*--no-lock"):
        extract_once(root, path)
    extract_once(root, path, lock=False)
    assert path.read_bytes() == clean
    assert {entry.name for entry in path.parent.iterdir()} == BESIDE
