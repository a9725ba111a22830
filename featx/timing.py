"""What the stages of a run cost, and which of them bounds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def add_seconds(parts: Iterable[float | None]) -> float | None:
    """The sum; None where a part is unknown, or there is none."""
    each = list(parts)
    known = [one for one in each if one is not None]
    return sum(known) if known and len(known) == len(each) else None


class Stages:
    """Wall seconds of a run's stages, in turn or one within another, and thread seconds beside.

    Attributes
    ----------
    seconds : dict of str to float
        Of what the run itself did or waited for, in the order of their first use.
    beside : dict of str to float
        Of what threads did meanwhile, summed over them.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.beside: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Count what runs inside, but for what a stage within it counts."""
        begun, before = time.perf_counter(), self.total
        try:
            yield
        finally:
            now = time.perf_counter() - begun - (self.total - before)
            self.seconds[name] = self.seconds.get(name, 0.0) + now

    def take(self) -> dict[str, float]:
        """The seconds so far; from here on they are counted anew."""
        taken, self.seconds = self.seconds, {}
        return taken

    @contextmanager
    def time_beside(self, name: str) -> Iterator[None]:
        """Count what runs inside, in any thread, as beside the run."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            now = time.perf_counter() - begun
            with self._lock:
                self.beside[name] = self.beside.get(name, 0.0) + now

    def wait(self, name: str, things: Iterable[T]) -> Iterator[T]:
        """The same things, with the time counted that each lets us wait."""
        iterator = iter(things)
        while True:
            with self.time(name):
                thing = next(iterator, None)
            if thing is None:
                return
            yield thing
