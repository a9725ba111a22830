"""Threads and memory that a process is not given are said in a sentence."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from featx.cli.limits import check_threads, describe_shortage

PROGRAM = str(Path(sys.executable).parent / "featx")


def fail(first, then):
    try:
        raise first
    except Exception:
        raise then  # noqa: B904  # as multiprocessing.pool does, while it clears up


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), "threads"),
        (MemoryError(), "not enough memory for this: allow"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "(libtorch.so: "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough"),
        (RuntimeError("std::bad_alloc"), "not enough memory"),
        (OSError("libgomp.so.1: failed to map segment"), "(libgomp.so.1: failed to map segment)"),
        (ImportError("READ THIS!\n\nE: libx.so: failed to map segment from\n"), "(E: libx.so: "),
        (ValueError("no thread of the kind"), None),
        (RuntimeError(), None),
    ],
)
def test_shortages_by_what_libraries_say(error, said, run, monkeypatch):
    found = describe_shortage(error)
    assert found is None if said is None else said in found
    with pytest.raises(AttributeError) as seen:
        fail(error, AttributeError("'DummyProcess' object has no attribute 'terminate'"))
    assert describe_shortage(seen.value) == found
    if found is not None:
        monkeypatch.setattr(
            "featx.network.catalogue.describe_weights", lambda: fail(KeyError(), error)
        )
        done = run("weights", "list")
        assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"Error: {found}\n")


def test_too_few_threads_are_found_before_libraries_ask(run, monkeypatch):
    alive = threading.active_count()
    check_threads()
    assert threading.active_count() == alive
    start, begun = threading.Thread.start, []

    def start_few(thread):
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    with pytest.raises(click.ClickException, match="ulimit -u"):
        check_threads()
    assert not any(thread.is_alive() for thread in begun)
    begun.clear()
    done = run("weights", "list")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: this process may not start the threads")


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits of Linux")
def test_an_address_space_that_holds_no_torch(photos, stored):
    line = 'ulimit -v 2000000; exec "$0" extract "$1" -o F.h5 -q'
    done = subprocess.run(
        ["sh", "-c", line, PROGRAM, photos], capture_output=True, text=True, check=False,
        env=os.environ,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: there is not enough memory for this (")
    assert done.stderr.count("\n") == 1
