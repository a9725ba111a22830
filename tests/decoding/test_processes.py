"""Processes that decode: where pixels go, what comes back, and what is left when one is killed."""

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from featx.data.loading import SHARED_BATCHES, load_shared
from featx.decoding import processes
from featx.decoding.pixel_format import Seen
from featx.decoding.processes import Decoders
from featx.errors import DatasetError, ExtractionError, ImageError

BATCH = 4


class Load:
    """What a process is told to do: nothing that needs an image."""

    def __init__(self, seen=None):
        self.seen = seen

    def __call__(self, name, number):
        if number == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == "end":
            os._exit(3)
        if number == "wrong":
            raise DatasetError("FEATX_MAX_PIXELS is 'x'")
        if number == "odd":
            raise type("Local", (Exception,), {})("of a class that does not travel")
        if number == "wait":
            time.sleep(600)
        if number % 5 == 2:
            raise ImageError(name, "broken", "damaged")
        if self.seen is not None:
            self.seen.note_samples(number)
        return np.full((2, 2, 3), number, np.uint8)


@pytest.fixture
def decoders(monkeypatch):
    """`decoders(n)`: so many processes, whose memory has room for batches of four."""
    made = []
    # Where this very file is found.
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def start(count=2, seen=None, note=lambda seconds: None):
        seen = seen or Seen()
        shape = (SHARED_BATCHES * BATCH, 2, 2, 3)
        made.append(Decoders(Load(seen), shape, count, seen, note))
        return made[-1]

    yield start
    for one in made:
        one.close()


def list_processes(decoders):
    return decoders.processes


def name_jobs(numbers):
    return ((i, (f"{i}.jpg", number)) for i, number in enumerate(numbers))


def test_batches_are_those_of_threads_in_order(decoders):
    seconds, seen = [], Seen()
    shared = decoders(seen=seen, note=seconds.append)
    batches = []
    for batch in load_shared(shared, name_jobs(range(30)), BATCH):
        assert np.shares_memory(batch.pixels, shared.places)
        batches.append((batch.rows.tolist(), batch.pixels[:, 0, 0, 0].tolist(), batch.failures))
    good = [i for i in range(30) if i % 5 != 2]
    assert [row for rows, _, _ in batches for row in rows] == good
    assert [level for _, levels, _ in batches for level in levels] == good
    failed = [(i, str(error), error.kind) for _, _, failures in batches for i, error in failures]
    assert failed == [(i, f"{i}.jpg: broken", "damaged") for i in range(2, 30, 5)]
    # What the processes met is known here.
    assert (seen.deep, seen.highest) == (len(good), 29)
    assert len(seconds) >= 8


def test_a_batch_stays_until_the_second_after_it(decoders):
    batches = load_shared(decoders(), name_jobs([0, 1, 3, 4] * 20), BATCH)
    before, now = next(batches), next(batches)
    for later in batches:
        assert before.pixels[:, 0, 0, 0].tolist() == [0, 1, 3, 4]
        before, now = now, later


def test_what_is_shared_begins_with_a_page(decoders):
    """So that what is pinned is that, whatever a driver asks."""
    assert decoders(3).places.ctypes.data % mmap.PAGESIZE == 0


def test_what_is_shared_serves_again(decoders):
    shared = decoders(1)
    for _ in range(2):
        (batch,) = load_shared(shared, name_jobs([0, 1, 3]), BATCH)
        assert batch.rows.tolist() == [0, 1, 2]
    assert list(load_shared(shared, name_jobs([]), BATCH)) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [("kill", r"was killed \(SIGKILL\)"), ("end", "ended"), ("wrong", None), ("odd", None)],
)
def test_an_end_is_an_error_with_its_image(decoders, number, said):
    shared = decoders()
    numbers = [0, 1, 3, 4, 5, number, 6, 8]
    kind = {"wrong": DatasetError, "odd": RuntimeError}.get(number, ExtractionError)
    match = {"wrong": "FEATX_MAX_PIXELS", "odd": "does not travel"}.get(
        number,
        rf"^5\.jpg: the process that decoded it {said}; what an extraction has computed is kept",
    )
    with pytest.raises(kind, match=match):
        list(load_shared(shared, name_jobs(numbers), BATCH))
    assert all(process.returncode is not None for process in list_processes(shared))


def test_all_killed_between_images_is_an_error_and_no_hang(decoders):
    shared = decoders()
    batches = load_shared(shared, name_jobs([0, 1, 3, 4] * 50), BATCH)
    next(batches)
    for process in list_processes(shared):
        process.kill()
    with pytest.raises(ExtractionError, match="was killed"):
        list(batches)


def test_who_stops_asking_ends_them_whatever_they_are_at(decoders):
    shared = decoders()
    batches = load_shared(shared, name_jobs([0, 1, 3, 4, "wait", "wait", "wait"]), BATCH)
    next(batches)
    batches.close()
    assert all(process.returncode == -signal.SIGKILL for process in list_processes(shared))


@pytest.mark.parametrize("stopped", [False, True])
def test_they_end_with_the_process_that_asked(stopped):
    """Killed, it clears nothing up: the connection ends, and so do they; memory has no name."""
    code = f"""
import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]
from test_processes import *
shared = Decoders(Load(), (16, 2, 2, 3), 2, Seen(), abs)
batches = load_shared(shared, name_jobs([0, 1, 3, 4] * 9), BATCH)
next(batches)
print(*(one.pid for one in list_processes(shared)), flush=True)
if {stopped}:
    os.kill(list_processes(shared)[0].pid, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGKILL)
"""
    before = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").is_dir() else set()
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False, timeout=60,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    numbers = [int(word) for word in done.stdout.splitlines()[-1].split()]
    assert len(numbers) == 2
    deadline = time.monotonic() + 30
    while any(is_alive(number) for number in numbers):
        assert time.monotonic() < deadline, "they outlived it"
        time.sleep(0.02)
    if before:
        assert not [one for one in set(Path("/dev/shm").iterdir()) - before if "featx" in one.name]


def is_alive(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody may be there to ask how it ended


def test_they_find_what_this_process_has_found(monkeypatch, tmp_path, decoders):
    """Whatever lies in the folders that modules come from, and whatever is no folder there."""
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the one that is meant')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", tmp_path, *sys.path])
    (batch,) = load_shared(decoders(1), name_jobs([8]), BATCH)
    assert batch.rows.tolist() == [0]


def test_one_that_cannot_begin_is_said(monkeypatch, capfd):
    """Here: the module of what it is to call is not in sight."""
    monkeypatch.setattr(Load, "__module__", "nowhere_at_all")
    monkeypatch.setitem(sys.modules, "nowhere_at_all", sys.modules[__name__])
    with pytest.raises(OSError, match=r"did not begin \(ModuleNotFoundError: "):
        Decoders(Load(), (16, 2, 2, 3), 2, Seen(), print)
    assert capfd.readouterr().err == ""


def test_one_that_is_killed_as_it_begins_is_said(monkeypatch):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(processes, "_PROGRAM", kill)
    with pytest.raises(OSError, match=r"did not begin \(was killed \(SIGKILL\)\)"):
        Decoders(Load(), (16, 2, 2, 3), 1, Seen(), print)


def test_an_interrupt_is_for_the_process_that_asks(decoders):
    shared = decoders(1)
    batches = load_shared(shared, name_jobs([0, 1, 3, 4] * 9), BATCH)
    next(batches)
    shared.processes[0].send_signal(signal.SIGINT)
    assert len(list(batches)) == 8


def test_no_memory_is_said(monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        Decoders(Load(), (16, 2, 2, 3), 2, Seen(), print)


def test_a_file_serves_where_no_memory_has_handles(monkeypatch, decoders):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    (batch,) = load_shared(decoders(1), name_jobs([8]), BATCH)
    assert batch.pixels[0, 0, 0, 0] == 8
