"""What benchmarks share: ways that take turns, seconds of a call, a script in its own process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).parent

K = TypeVar("K")
T = TypeVar("T")


def take_turns(
    ways: Mapping[K, Callable[[], T]], rounds: int, *, warming: int = 0
) -> dict[K, list[T]]:
    """What each way gives in each round, but for the first `warming`, which fill caches.

    All have their turn before any has its next, and every other round goes backwards, so that
    whatever else the machine does meets them alike.
    """
    found: dict[K, list[T]] = {name: [] for name in ways}
    for number in range(warming + rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            given = ways[name]()
            found[name] += [given] * (number >= warming)
    return found


def take_medians(found: Mapping[K, Sequence[float]]) -> dict[K, float]:
    """The median of each."""
    return {name: statistics.median(each) for name, each in found.items()}


def time_call(
    call: Callable[[], T], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, T]:
    """Seconds that a call takes, and what it gives."""
    begun = clock()
    found = call()
    return clock() - begun, found


def run_script(*words: object, python: str = sys.executable) -> Any:
    """Run one of the scripts here; what its last line says, and its largest process's memory."""
    path, *rest = map(str, words)
    process = subprocess.Popen(
        [python, str(HERE / path), *rest], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    out = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{path} {' '.join(rest)} failed; run it by hand to see why")
    found = json.loads(out.strip().splitlines()[-1])
    return {**found, "peak MB": usage.ru_maxrss / 1000} if isinstance(found, dict) else found
