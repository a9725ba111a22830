"""Places without room, or where nothing may be written."""

import pytest
from interrupted import IMAGES, SHARD, SlowEngine, extract_once, finish, run_limited

from featx.errors import StorageError


def test_a_limit_on_file_sizes(root, clean, tmp_path, processes):
    path = tmp_path / "work" / "F.h5"
    results = processes.Queue()
    process = processes.Process(target=run_limited, args=(root, path, 20_000, results))
    process.start()
    assert "may write files of 20 kB at most (ulimit -f)" in results.get(timeout=60)
    process.join()
    # What is one file's limit is not held against all files together.
    process = processes.Process(target=run_limited, args=(root, path, 100_000, results))
    process.start()
    assert results.get(timeout=60) == "done"
    process.join()
    finish(root, path, clean)


def test_a_full_disk_is_said_before_the_start(root, clean, small_disk):
    folder, _ = small_disk
    engine = SlowEngine()
    for size in (150_000, 200_000, 262_144):  # too little for shards, for the file, for a byte
        (folder / "ballast").write_bytes(bytes(size))
        with pytest.raises(
            StorageError,
            match=r"F.h5: about [\d.]+ kB are needed and [\d.]+ (kB|bytes) are free in .*make room",
        ):
            extract_once(root, folder / "F.h5", engine)
        assert engine.images == 0
        assert [path.name for path in folder.iterdir()] == ["ballast"]


def test_a_disk_that_fills_up_loses_nothing_kept(root, clean, small_disk, monkeypatch):
    folder, _ = small_disk
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(256_000 - 40_960))
    monkeypatch.setattr("featx.extraction.extract.check_space", lambda *_: None)
    with pytest.raises(
        StorageError,
        match=r"no space left on device: about [\d.]+ kB are needed and [\d.]+ k?B?.* are free; .*"
        r"kept in .*F.h5.parts; make room, and the same command goes on",
    ):
        extract_once(root, folder / "F.h5")
    kept = len(list((folder / "F.h5.parts").glob("*.h5")))
    assert kept >= 1
    ballast.unlink()
    engine = SlowEngine()
    extract_once(root, folder / "F.h5", engine)
    assert (folder / "F.h5").read_bytes() == clean
    assert engine.images <= IMAGES - 2 - kept * SHARD


def test_a_read_only_place_is_said_before_the_start(root, clean, small_disk):
    folder, mount = small_disk
    assert mount("-o", "remount,ro").returncode == 0
    engine = SlowEngine()
    with pytest.raises(OSError, match="Read-only file system"):
        extract_once(root, folder / "F.h5", engine)
    assert engine.images == 0


def test_a_finished_file_can_be_used_from_a_read_only_place(stored, photos, small_disk):
    from featx.extraction.extract import extract

    folder, mount = small_disk
    mount("-o", "remount,size=10m")
    extract(photos, cache_dir=folder)
    assert mount("-o", "remount,ro").returncode == 0
    assert extract(photos, cache_dir=folder).extracted == 0
