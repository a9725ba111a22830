"""What the system denies a process, in a sentence: threads, and memory."""

from __future__ import annotations

import os
import threading

import click

_THREADS_A_CORE = 3  # numpy's, scipy's and torch's own
_NO_THREADS = (
    "this process may not start the threads that it needs: allow it more (ulimit -u, a container's "
    "limit on processes), or make do with fewer by OMP_NUM_THREADS=1 and --num-workers 1"
)
_NO_MEMORY = (
    "failed to map segment",  # the loader of shared libraries
    "cannot allocate memory",
    "can't allocate memory",  # torch
    "bad_alloc",
    "bad allocation",
)


def check_threads() -> None:
    """See that libraries will get their threads, by starting as many and letting them go.

    Where they do not, no exception tells: OpenBLAS interrupts its process as Ctrl-C does, and
    OpenMP ends it.
    """
    can_tell = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if can_tell else os.cpu_count() or 1
    if os.environ.get("OMP_NUM_THREADS") == "1":
        cores = 1
    gate = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(_THREADS_A_CORE * cores):
            thread = threading.Thread(target=gate.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise click.ClickException(_NO_THREADS) from error
    finally:
        gate.set()
        for thread in started:
            thread.join()


def describe_shortage(error: BaseException) -> str | None:
    """What was lacking, where an error or what led to it says so; None where it is another one.

    Libraries have no class of their own for it.
    """
    cause: BaseException | None = error
    while cause is not None:
        said = str(cause).strip()
        if "can't start new thread" in said:
            return _NO_THREADS
        if isinstance(cause, MemoryError) or any(one in said.lower() for one in _NO_MEMORY):
            # The line that says it: numpy puts advice on other things before.
            lines = said.splitlines() or [""]
            line = next((x for x in lines if any(one in x.lower() for one in _NO_MEMORY)), lines[0])
            told = f" ({line.strip():.200})" if line else ""
            return (
                f"there is not enough memory for this{told}: allow the process more (ulimit -v, "
                "a container's limit), or do less at a time by --batch-size, --num-workers and "
                "--max-memory"
            )
        cause = cause.__cause__ or cause.__context__
    return None
