"""docs/reliability.md, promise by promise: killed, failing, full, shared."""

import errno
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import interrupted
import numpy as np
import pytest
from interrupted import (
    SHARD,
    SlowEngine,
    extract_once,
    patched_calls,
    run_and_die_at,
    run_limited,
    run_process,
    run_rival,
)
from shared import CLASSES, draw_photo

import featx.extraction.parts
from featx.data import images
from featx.data.hashing import hash_images
from featx.data.sources import read_inventory
from featx.errors import (
    FeatureFileError,
    FeatxError,
    ImageError,
    LockedError,
    OutputExistsError,
    StorageError,
)
from featx.extraction import request
from featx.features.checkpoints import Checkpoints
from featx.features.costs import read_image_cost
from featx.features.file import open_features, read_features

IMAGES = 6 * len(CLASSES)
log = logging.getLogger("tests")

# What lies beside F.h5 when all is done.
BESIDE = {"F.h5", "F.h5.cost.json", "F.h5.files"}


@pytest.fixture
def root(tmp_path):
    """Eighteen photographs, one of them twice and one that is none."""
    folder = tmp_path / "photos"
    for kind, name in enumerate(CLASSES):
        for i in range(5):
            draw_photo(folder / name / f"{i}.png", kind, i, size=(40, 40))
    draw_photo(folder / "cat" / "5.png", 0, 0, size=(40, 40))
    draw_photo(folder / "dog" / "5.png", 1, 5, size=(40, 40))
    (folder / "owl" / "5.png").write_text("no image")
    return folder


@pytest.fixture
def clean(root, tmp_path):
    """The bytes that an uninterrupted run writes."""
    folder = tmp_path / "clean"
    done = extract_once(root, folder / "F.h5")
    assert (done.images, done.extracted, len(done.skipped_files)) == (IMAGES - 1, IMAGES - 1, 1)
    assert {path.name for path in folder.iterdir()} == BESIDE
    return done.features.read_bytes()


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with the library loaded and without any threads of the tests'."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["interrupted"])
    with pytest.MonkeyPatch.context() as patch:
        # What a process begins with, and what it finds it by: before Python 3.13 the server does
        # not take over sys.path, and each process would import all of it again.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    return context


class Interrupted(SlowEngine):
    """Ctrl-C after so many images."""

    def __init__(self, images):
        super().__init__()
        self.most = images

    def run(self, pixels):
        if self.images >= self.most:
            raise KeyboardInterrupt
        return super().run(pixels)


def assert_whole_or_absent(path, clean):
    """Whatever happened, a reader finds the right file or none."""
    if path.exists():
        assert path.read_bytes() == clean
    else:
        with pytest.raises(FeatureFileError):
            read_features(path)


def finish(root, path, clean, engine=None):
    """Run to the end: the clean run's bytes, and nothing left beside them."""
    extract_once(root, path, engine)
    assert path.read_bytes() == clean
    assert {entry.name for entry in path.parent.iterdir()} == BESIDE


def test_every_call_that_fails_is_survived(root, clean, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, logger="featx")
    with patched_calls(lambda *_: None) as calls:
        extract_once(root, tmp_path / "counted" / "F.h5")
    total = calls[0]
    assert total > 80  # four shards, the file and what is beside it
    failed = 0
    for n in range(1, total + 1):
        path = tmp_path / f"{n}" / "F.h5"
        code = errno.ENOSPC if n % 2 else errno.EIO

        struck = []

        def fail(count, name, n=n, code=code, struck=struck):
            if count == n:
                struck.append(name)
                raise OSError(code, os.strerror(code))

        said = None
        try:
            with patched_calls(fail):
                extract_once(root, path)
        except (FeatxError, OSError) as error:
            said = str(error).lower()
        failed += said is not None
        if said is not None and struck[0] in ("write", "fsync", "replace", "write_text"):
            assert os.strerror(code).lower() in said
        assert_whole_or_absent(path, clean)
        finish(root, path, clean)
    assert failed > total / 2  # the others were about removing and reporting, which may fail
    log.info("%s", f"{total} fault points, {failed} of them ended the run")


def test_killed_before_every_call(root, clean, tmp_path, processes):
    with patched_calls(lambda *_: None) as calls:
        extract_once(root, tmp_path / "counted" / "F.h5")
    for n in range(1, calls[0] + 1):
        path = tmp_path / f"{n}" / "F.h5"
        process = processes.Process(target=run_and_die_at, args=(root, path, n))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert_whole_or_absent(path, clean)
        finish(root, path, clean)
    log.info("%s", f"killed at {calls[0]} points")


def kill_at_random(root, clean, folder, processes, kills):
    rng = random.Random(0)
    seconds = 0.004
    killed = finished = trial = 0
    while killed < kills:
        trial += 1
        path = folder / f"{trial}" / "F.h5"
        seen = processes.RawValue("i", 0)
        rounds = rng.randint(1, 3)
        here = 0
        for _ in range(rounds):
            started = processes.Event()
            process = processes.Process(
                target=run_process, args=(root, path, seen, seconds, started)
            )
            process.start()
            assert started.wait(60)
            time.sleep(rng.uniform(0, 0.12))
            process.kill()
            process.join()
            here += process.exitcode == -signal.SIGKILL
            finished += process.exitcode == 0
            assert_whole_or_absent(path, clean)
        engine = SlowEngine(seen)
        finish(root, path, clean, engine)
        # 16 different images; a kill costs a shard at most.
        assert seen.value <= IMAGES - 2 + here * SHARD
        killed += here
    log.info("%s", f"{killed} kills, {finished} runs ended before theirs, {trial} files: all equal")


def test_killed_at_random(root, clean, tmp_path, processes):
    kill_at_random(root, clean, tmp_path / "kills", processes, kills=40)


@pytest.mark.kills
def test_killed_at_random_500_times(root, clean, tmp_path, processes):
    kill_at_random(root, clean, tmp_path / "kills", processes, kills=500)


def test_any_history_ends_in_the_same_bytes(root, clean, tmp_path, processes):
    path = tmp_path / "work" / "F.h5"
    for name in ("cat", "dog", "owl"):
        (root / name / "3.png").rename(tmp_path / f"{name}.png")
    extract_once(root, path)
    draw_photo(root / "cat" / "9.png", 0, 99, size=(40, 40))
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(0))
    (root / "cat" / "9.png").unlink()
    for name in ("cat", "dog", "owl"):
        (tmp_path / f"{name}.png").rename(root / name / "3.png")
    finish(root, path, clean)


def test_ctrl_c_says_what_is_kept(root, clean, tmp_path, caplog):
    path = tmp_path / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    assert "interrupted: 8 of 17 images are kept; the same command goes on with the rest" in (
        caplog.messages
    )
    with pytest.raises(FeatureFileError, match="not there yet: its extraction did not end"):
        read_features(path)
    caplog.set_level(logging.INFO)
    engine = SlowEngine()
    extract_once(root, path, engine)
    assert "going on: 8 images were done before this extraction was interrupted" in caplog.messages
    assert engine.images == IMAGES - 2 - 8
    assert path.read_bytes() == clean


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "swapped"])
def test_a_damaged_shard_is_computed_again(root, clean, tmp_path, caplog, damage):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    shards = sorted((tmp_path / "work" / "F.h5.parts").glob("*.h5"))
    assert len(shards) == 2
    data = bytearray(shards[0].read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        shards[0].write_bytes(data)
    elif damage == "cut":
        shards[0].write_bytes(data[:-1])
    elif damage == "gone":
        shards[0].unlink()
    else:  # each is whole, but not what its line says
        shards[0].write_bytes(shards[1].read_bytes())
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - SHARD
    assert any(m.startswith("computed again: ") and str(shards[0]) in m for m in caplog.messages)


def test_a_torn_journal_line_is_left_out(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    journal = tmp_path / "work" / "F.h5.parts" / "journal"
    journal.write_bytes(journal.read_bytes()[:-20] + b'\n["x"]\n7\n{"shard": 3}\n')
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - SHARD


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"images"', b'"imageq"'),
        (b'"images": 4', b'"images": 0'),
        (b'"cost": {', b'"cost": 5, "x": {'),
        (b'{"shard"', b"[" * 100_000),
        (b"000000", b"../../"),
    ],
)
def test_any_journal_is_survived(root, clean, tmp_path, before, after):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    journal = tmp_path / "work" / "F.h5.parts" / "journal"
    journal.write_bytes(journal.read_bytes().replace(before, after))
    finish(root, path, clean)


def test_shards_of_images_that_are_away_are_kept(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    away = {root / "cat" / "3.png", root / "dog" / "3.png", root / "owl" / "3.png"}
    for image in away:
        image.rename(tmp_path / image.parent.name)
    extract_once(root, path)
    for image in away:
        (tmp_path / image.parent.name).rename(image)
    with (
        pytest.raises(KeyboardInterrupt),
        mock.patch.object(featx.extraction.parts._Waiting, "flush", flush_and_stop),
    ):
        extract_once(root, path)
    for image in away:
        image.rename(tmp_path / image.parent.name)
    # What a run does that finds all it needs in the file.
    inventory = hash_images(read_inventory(root, interrupted.SPLIT), "skip")
    request.clear_finished(open_features(path), inventory)
    assert list((tmp_path / "work" / "F.h5.parts").glob("0*.h5"))
    for image in away:
        (tmp_path / image.parent.name).rename(image)
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == 0


def flush_and_stop(waiting, keep, done):
    real_flush(waiting, keep, done)
    raise KeyboardInterrupt


real_flush = featx.extraction.parts._Waiting.flush


def test_a_run_killed_before_it_cleared_up_has_its_cost(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with (
        mock.patch.object(Checkpoints, "discard", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        extract_once(root, path)
    found = open_features(path)
    inventory = hash_images(read_inventory(root, interrupted.SPLIT), "skip")
    request.clear_finished(found, inventory)
    assert {entry.name for entry in path.parent.iterdir()} == BESIDE
    assert read_image_cost(found)["seconds"] > 0


def test_another_split_goes_on_with_the_same_shards(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt), mock.patch.object(interrupted, "SPLIT", "first:3,1"):
        extract_once(root, path, Interrupted(8))
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - 8


def test_another_datasets_shards_are_not_taken(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    other = tmp_path / "others"
    for kind, name in enumerate("ab"):
        for i in range(6):
            draw_photo(other / name / f"{i}.png", kind, 50 + i, size=(40, 40))
    with pytest.raises(OutputExistsError, match=r"F.h5.parts exists .*data: photos → others"):
        extract_once(other, path)
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - 8


def test_the_order_of_writing_and_syncing(root, tmp_path):
    """Data, name, folder, and only then the line that makes it count; removal last of all."""
    events = []

    def note(what, *paths):
        events.append((what, *(Path(path).name.lstrip(".") for path in paths)))

    def fsync(handle):
        note("sync", Path(f"/proc/self/fd/{handle}").readlink())
        real["fsync"](handle)

    def replace(source, target):
        note("rename", source, target)
        real["replace"](source, target)

    def unlink(path, **more):
        note("remove", path)
        real["unlink"](path, **more)

    real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink")}
    path = tmp_path / "work" / "F.h5"
    with (
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(os, "replace", replace),
        mock.patch.object(os, "unlink", unlink),
    ):
        extract_once(root, path)
    renames = [i for i, event in enumerate(events) if event[0] == "rename"]
    assert len(renames) == 9  # journal, five shards, cost, index, the file
    for i in renames:
        _, temporary, name = events[i]
        folder = "work" if name.startswith("F.h5") else "F.h5.parts"
        assert events[i - 1] == ("sync", temporary)
        assert events[i + 1] == ("sync", folder)
        if name[0].isdigit():
            assert events[i + 2] == ("sync", "journal")
    last = events.index(("sync", "work"), renames[-1])
    assert events[renames[-1]][2] == "F.h5"
    removed = [
        i for i, (what, name, *_) in enumerate(events) if what == "remove" and name[0] == "0"
    ]
    assert len(removed) == 5
    assert min(removed) > last


def test_shards_of_another_making_are_not_mixed_in(root, clean, tmp_path, monkeypatch):

    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    other = replace(interrupted.PROVENANCE, precision="bf16")
    with monkeypatch.context() as patch:
        patch.setattr(interrupted, "PROVENANCE", other)
        with pytest.raises(OutputExistsError, match=r"F.h5.parts exists .*precision: fp32 → bf16"):
            extract_once(root, path)
        engine = SlowEngine()
        assert extract_once(root, path, engine, overwrite=True).precision == "bf16"
        assert engine.images == IMAGES - 2
    finish_overwritten = extract_once(root, path, overwrite=True)
    assert finish_overwritten.features.read_bytes() == clean


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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(*words):
        return subprocess.run(["mount", *words, str(folder)], capture_output=True, check=False)

    try:
        done = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("file systems may not be mounted here")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


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


def test_a_twin_is_not_skipped_for_anothers_fault(root, clean, tmp_path):
    # cat/0.png and cat/5.png are the same bytes; the one that is tried cannot be read.
    real = images.open_rgb

    def fail_first(path, digest=None):
        if path == root / "cat" / "0.png":
            raise ImageError(str(path), "input/output error", "unreadable")
        return real(path, digest)

    path = tmp_path / "work" / "F.h5"
    with mock.patch.object(images, "open_rgb", fail_first):
        finish(root, path, clean)


def test_an_image_that_changes_during_the_run_is_not_stored_under_its_old_name(root, tmp_path):
    path = root / "cat" / "4.png"
    before = path.read_bytes()

    class Meddling(SlowEngine):
        def run(self, pixels):
            if not self.images:
                draw_photo(path, 2, 777, size=(40, 40))
            return super().run(pixels)

    done = extract_once(root, tmp_path / "F.h5", Meddling())
    (one, _) = done.skipped_files
    assert (one.path, one.kind, one.reason) == (
        "cat/4.png", "unreadable", "changed while it was being read",
    )  # fmt: skip
    path.write_bytes(before)
    done = extract_once(root, tmp_path / "F.h5")
    assert (done.extracted, len(done.skipped_files)) == (1, 1)
    X = read_features(done.features).X
    clean = read_features(extract_once(root, tmp_path / "other" / "F.h5").features).X
    assert np.array_equal(X, clean)
