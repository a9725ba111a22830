"""Killed, interrupted or failing at any point: the same command goes on to the same bytes."""

import errno
import logging
import os
import random
import signal
import time
from pathlib import Path
from unittest import mock

import interrupted
import pytest
from interrupted import (
    BESIDE,
    IMAGES,
    SHARD,
    Interrupted,
    SlowEngine,
    assert_whole_or_absent,
    extract_once,
    finish,
    patched_calls,
    run_and_die_at,
    run_process,
)
from shared import draw_photo

from featx.data.hashing import hash_images
from featx.errors import FeatureFileError, FeatxError
from featx.extraction import request
from featx.features.checkpoints import Checkpoints
from featx.features.costs import read_full_cost
from featx.features.file import open_features, read_features
from featx.sources.reading import read_inventory

log = logging.getLogger("tests")
# Of the points where a run may end, make test takes a few, make test-all every one, in two parts.
POINTS = pytest.mark.parametrize(
    ("first", "step"),
    [(5, 17), *(pytest.param(first, 2, marks=pytest.mark.slow) for first in (1, 2))],
)


@POINTS
def test_every_call_that_fails_is_survived(root, clean, memory, caplog, first, step):
    caplog.set_level(logging.CRITICAL, logger="featx")
    with patched_calls(lambda *_: None) as calls:
        extract_once(root, memory / "counted" / "F.h5")
    total = calls[0]
    assert total > 80  # four shards, the file and what is beside it
    failed, tried = 0, range(first, total + 1, step)
    for n in tried:
        path = memory / f"{n}" / "F.h5"
        code = errno.ENOSPC if n // 2 % 2 else errno.EIO

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
    assert failed > len(tried) / 2  # the others were about removing and reporting, which may fail
    log.info("%s", f"{len(tried)} fault points, {failed} of them ended the run")


@POINTS
def test_killed_before_every_call(root, clean, memory, processes, first, step):
    with patched_calls(lambda *_: None) as calls:
        extract_once(root, memory / "counted" / "F.h5")
    tried = range(first, calls[0] + 1, step)
    for n in tried:
        path = memory / f"{n}" / "F.h5"
        process = processes.Process(target=run_and_die_at, args=(root, path, n))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert_whole_or_absent(path, clean)
        finish(root, path, clean)
    log.info("%s", f"killed at {len(tried)} points")


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


@pytest.mark.parametrize("kills", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_random(root, clean, tmp_path, processes, kills):
    kill_at_random(root, clean, tmp_path / "kills", processes, kills)


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
    assert read_full_cost(found.load())["seconds"] > 0


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
