"""An extraction to be interrupted, here or in a process of its own, and what is left of it."""

import os
import resource
import signal
import time
from pathlib import Path
from unittest import mock

import h5py
import pytest
from shared import CLASSES, PROVENANCE, CountingEngine

import featx.extraction.parts
from featx.data.hashing import hash_images
from featx.errors import FeatureFileError, FeatxError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
from featx.sources.reading import read_inventory

SHARD = 4  # images: a batch
SPLIT = "first:2,1"
IMAGES = 6 * len(CLASSES)
# What lies beside F.h5 when all is done.
BESIDE = {"F.h5", "F.h5.cost.json", "F.h5.files"}


class SlowEngine(CountingEngine):
    """Counts what it sees where other processes can read it, and takes its time."""

    def __init__(self, seen=None, seconds=0.0):
        super().__init__()
        self.seen, self.seconds = seen, seconds

    def run(self, pixels):
        time.sleep(self.seconds)
        if self.seen is not None:
            self.seen.value += len(pixels)
        return super().run(pixels)


class Interrupted(SlowEngine):
    """Ctrl-C after so many images."""

    def __init__(self, images):
        super().__init__()
        self.most = images

    def run(self, pixels):
        if self.images >= self.most:
            raise KeyboardInterrupt
        return super().run(pixels)


def extract_once(root, output, engine=None, **options):
    """One whole extraction of the photographs with small shards."""
    inventory = hash_images(read_inventory(root, SPLIT), "skip")
    defaults = {"output": output, "cache_dir": Path("cache"), "num_workers": 0}
    with mock.patch.object(featx.extraction.parts, "PART_IMAGES", SHARD):
        request = Request(data=root, **(defaults | options))
        return extract_inventory(inventory, engine or SlowEngine(), PROVENANCE, request)


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


def run_process(root, output, seen, seconds, started):
    """The body of a process that is killed at a moment it does not know."""
    started.set()
    extract_once(root, output, SlowEngine(seen, seconds))


def run_rival(root, output, seconds, results):
    """The body of one of several processes at work on one output."""
    try:
        extract_once(root, output, SlowEngine(None, seconds))
        results.put("done")
    except FeatxError as error:
        results.put(str(error))


def run_limited(root, output, limit, results):
    """The body of a process that may not write large files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        extract_once(root, output)
        results.put("done")
    except FeatxError as error:
        results.put(str(error))


def run_and_die_at(root, output, n):
    """The body of a process that kills itself just before its n-th call to the system or HDF5."""
    with patched_calls(lambda count, name: count == n and os.kill(os.getpid(), signal.SIGKILL)):
        extract_once(root, output)


def patched_calls(before):
    """Have `before(count, name)` called before every write, fsync, rename and HDF5 call."""
    calls = [0]

    def watch(function, name):
        def watched(*args, **kwargs):
            calls[0] += 1
            before(calls[0], name)
            return function(*args, **kwargs)

        return watched

    stack = _Patches(calls)
    for owner, name in (
        (os, "write"),
        (os, "fsync"),
        (os, "replace"),
        (os, "unlink"),
        (os, "mkdir"),
        (os, "rmdir"),
        (os, "ftruncate"),
        (Path, "write_text"),
        (h5py.h5f, "create"),
        (h5py.h5f, "open"),
        (h5py.h5d, "create"),
        (h5py.File, "close"),
    ):
        stack.patches.append(mock.patch.object(owner, name, watch(getattr(owner, name), name)))
    return stack


class _Patches:
    def __init__(self, calls):
        self.calls, self.patches = calls, []

    def __enter__(self):
        for patch in self.patches:
            patch.start()
        return self.calls

    def __exit__(self, *_):
        for patch in self.patches:
            patch.stop()
