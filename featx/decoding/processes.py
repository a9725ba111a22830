"""Decoding in processes, which write pixels where the network reads them.

Threads of one process wait for each other, for its interpreter lock and its memory; some 2,000
photographs a second is what eight of them reach, and sixteen are slower (docs/gpu.md).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.decoding.pixel_format import Seen
from featx.errors import ExtractionError, ImageError

Pixels = npt.NDArray[np.uint8]
Job = tuple[Any, ...]  # the arguments of what loads; the first is the image's name
Failures = list[tuple[int, ImageError]]  # by their place among the jobs

# What a process is: where it finds modules is told behind its three numbers. What keeps it from
# beginning is sent, as a line. Some schedulers interrupt all processes of a job: it is for the one
# that asks to end. Some terminals stop what writes to them from behind, as libtiff's warnings do.
_PROGRAM = """
import signal, sys
for one in (signal.SIGINT, signal.SIGTTOU):
    signal.signal(one, signal.SIG_IGN)
from multiprocessing.connection import Connection
connection, memory, number = map(int, sys.argv[1:4])
sys.path[:] = sys.argv[4:]
with Connection(connection) as asked:
    try:
        from featx.decoding.processes import work
        work(asked, memory, number)
    except (EOFError, ConnectionError):
        pass
    except Exception as error:
        asked.send(f"{type(error).__name__}: {error}")
"""
_END_SECONDS = 5.0  # for a process whose connection has ended to be gone


@dataclass(frozen=True)
class _Worker:
    """A process, the end of the connection to it that is ours, and its number."""

    process: subprocess.Popen[bytes]
    asked: Connection
    number: int

    def describe_end(self) -> str:
        """How it ended, once its connection has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)
        code = self.process.returncode
        return f"was killed ({signal.Signals(-code).name})" if (code or 0) < 0 else "ended"


class Decoders:
    """Processes that decode into memory which they share with this one.

    They are programs of their own and no forks, so that CUDA and threads stay whole; no terminal's
    Ctrl-C reaches them, and they end where the connection to this process does, whatever ends it.
    The memory is a file without a name: nothing of it is left either, and /dev/shm may be small.

    Parameters
    ----------
    load : callable
        From a job's arguments to pixels; raises ImageError. It is pickled.
    shape : tuple of int
        Of the shared memory: places, height, width, 3.
    count : int
        Processes.
    seen : Seen
        What `load` tells of; it is told what the processes have met.
    note : callable
        Is told the seconds that decoding took.

    Attributes
    ----------
    places : ndarray of that shape, uint8

    Raises
    ------
    OSError
        The machine has no memory for the places, or no room for the processes, or one of them
        cannot begin.
    """

    def __init__(
        self,
        load: Callable[..., Pixels],
        shape: tuple[int, ...],
        count: int,
        seen: Seen,
        note: Callable[[float], None],
    ) -> None:
        self._seen, self._note, self._noting = seen, note, threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="featx-decode")
        handle = _open_memory(_count_bytes(shape, count))
        try:
            self.places, self._progress = _map_memory(handle, shape, count)
            for number in range(count):
                self._workers.append(_start(handle, number))
            for worker in self._workers:
                # One pickle, so that what the copy of `load` tells of is the copy of `seen`.
                worker.asked.send((load, seen, shape, count))
            for worker in self._workers:
                _hear(worker)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(handle)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """They, for who would know what they take."""
        return [worker.process for worker in self._workers]

    def submit(self, first: int, jobs: Sequence[Job]) -> Future[Failures]:
        """Have jobs done, into the places from `first` on; places of failures are left as they are.

        The future raises ExtractionError where a process ended over one of them.
        """
        return self._threads.submit(self._decode, first, list(jobs))

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        self._threads.shutdown(wait=True, cancel_futures=True)  # whose connections have ended
        for worker in self._workers:
            worker.asked.close()

    def _decode(self, first: int, jobs: list[Job]) -> Failures:
        worker = self._idle.get()
        try:
            worker.asked.send((first, jobs))
            reply = worker.asked.recv()
        except (EOFError, OSError):
            raise self._explain(worker, jobs) from None
        finally:
            self._idle.put(worker)  # one that has ended, too: who gets it next need not wait
        if isinstance(reply, Exception):
            raise reply
        failures: Failures
        failures, counts, seconds = reply
        with self._noting:
            self._seen.add(counts)
            self._note(seconds)
        return failures

    def _explain(self, worker: _Worker, jobs: list[Job]) -> ExtractionError:
        ended = worker.describe_end()
        name = jobs[min(int(self._progress[worker.number]), len(jobs) - 1)][0]
        return ExtractionError(
            f"{name}: the process that decoded it {ended}; what an extraction has computed is "
            "kept, and the same command goes on. Where memory was short, say fewer "
            "--decode-processes; 0 decodes in threads"
        )


def work(asked: Connection, memory: int, number: int) -> None:
    """What a process does until its connection ends: decode what it is told into its places.

    Raises
    ------
    EOFError, ConnectionError
        The connection has ended.
    """
    load, seen, shape, count = asked.recv()
    places, progress = _map_memory(memory, shape, count)
    asked.send(None)
    while True:
        first, jobs = asked.recv()
        begun, failures = time.perf_counter(), []
        reply: object
        try:
            for i, job in enumerate(jobs):
                progress[number] = i
                try:
                    places[first + i] = load(*job)
                except ImageError as error:
                    failures.append((i, error))
            reply = failures, seen.take(), time.perf_counter() - begun
        except Exception as error:
            reply = _make_portable(error)
        asked.send(reply)


def _make_portable(error: Exception) -> Exception:
    """The error, or its traceback where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _start(memory: int, number: int) -> _Worker:
    ours, theirs = Pipe()
    with theirs:
        numbers = (str(one) for one in (theirs.fileno(), memory, number))
        process = subprocess.Popen(
            [sys.executable, *_list_flags(), "-P", "-c", _PROGRAM, *numbers, *_list_folders()],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), memory),
            # No threads beside the one that decodes.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            # Out of a terminal's reach, and not out of the session: else one that is stopped would
            # outlive the process that asks.
            process_group=0,
        )
    return _Worker(process, ours, number)


def _list_flags() -> list[str]:
    """Of this interpreter; else -I and -W would hold here alone."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def _list_folders() -> list[str]:
    """What this process imports from, Python's own modules first.

    Whoever has a queue.py beside a notebook may have imported Python's before it was in sight.
    """
    own = Path(os.__file__).parent
    first = {str(own), str(own / "lib-dynload")}
    folders = [one for one in sys.path if isinstance(one, str)]  # import looks at no others
    return sorted(folders, key=lambda one: one not in first)


def _hear(worker: _Worker) -> None:
    """Wait until a process has begun.

    Raises
    ------
    ChildProcessError
        It did not.
    """
    try:
        said = worker.asked.recv()
    except (EOFError, OSError):
        said = worker.describe_end()
    if said is not None:
        raise ChildProcessError(f"one of them did not begin ({said})")


def _count_bytes(shape: tuple[int, ...], count: int) -> int:
    return 8 * (-(-int(np.prod(shape)) // 8) + count)


def _open_memory(size: int) -> int:
    """A file in memory without a name, or in the folder of temporary files; its handle."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("featx-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    try:
        # What lacks is said now: who first touches a page that is not to be had is killed.
        os.posix_fallocate(handle, 0, size) if hasattr(os, "posix_fallocate") else os.ftruncate(
            handle, size
        )
    except OSError:
        os.close(handle)
        raise
    return handle


def _map_memory(
    handle: int, shape: tuple[int, ...], count: int
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The places, from a page's beginning; and the job of those it has that each process is at."""
    size = _count_bytes(shape, count)
    memory = mmap.mmap(handle, size)
    places = np.frombuffer(memory, np.uint8, int(np.prod(shape))).reshape(shape)
    return places, np.frombuffer(memory, np.int64, offset=size - 8 * count)
