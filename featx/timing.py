"""What the stages of a run cost, which of them bounds it, and how far a long one is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from featx.config import PROGRESS_SECONDS
from featx.text import format_bytes, format_duration

T = TypeVar("T")

log = logging.getLogger(__name__)


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
            self.add_beside(name, time.perf_counter() - begun)

    def add_beside(self, name: str, seconds: float) -> None:
        """Count what another process did beside the run."""
        with self._lock:
            self.beside[name] = self.beside.get(name, 0.0) + seconds

    def wait(self, name: str, things: Iterable[T]) -> Iterator[T]:
        """The same things, with the time counted that each lets us wait."""
        iterator = iter(things)
        while True:
            with self.time(name):
                thing = next(iterator, None)
            if thing is None:
                return
            yield thing


class Meter:
    """How far a long run is: a bar on stderr or, where none is shown, a line of the log at times.

    A line is due PROGRESS_SECONDS after the start or the line before: what is done of all, how
    much a second, and about how long the rest will take.

    Parameters
    ----------
    what : str
        The work, in a word.
    total : int or None
        Of `unit`, as far as that is known; may be set later.
    shown : bool
        Show a bar.
    unit : {"image", "fit", "byte"}
    leave : bool
        Leave the bar where it is when all is done.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        shown: bool,
        *,
        unit: str = "image",
        leave: bool = True,
    ) -> None:
        self.total, self.done = total, 0
        self._what, self._unit = what, unit
        scaled = {"unit": "B", "unit_scale": True} if unit == "byte" else {"unit": unit}
        self._bar: tqdm[Any] | None = (
            tqdm(total=total, desc=what, leave=leave, **scaled) if shown else None
        )
        self._begun = self._said = time.perf_counter()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int) -> None:
        """So many more are done."""
        self.done += n
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.update(n)
        elif (now := time.perf_counter()) - self._said >= PROGRESS_SECONDS:
            self._said = now
            log.info("%s", self._describe(now - self._begun))

    def watch(self, things: Iterable[T]) -> Iterator[T]:
        """The same things, each counted when the next is asked for."""
        with self:
            for thing in things:
                yield thing
                self.update(1)

    def note(self, text: str) -> None:
        """Say something behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """No more will be done."""
        if self._bar is not None:
            self._bar.close()

    def _describe(self, seconds: float) -> str:
        pace = self.done / seconds
        if self._unit == "byte":
            name, noun, speed = format_bytes, "", f"{format_bytes(int(pace))}/s"
        else:
            noun = f" {self._unit}s"
            name, speed = "{:,}".format, f"{pace:.3g}{noun}/s"
        if self.total is None or not self.done:
            return f"{self._what}: {name(self.done)}{noun}, {speed}"
        rest = self.total - self.done
        left = f", about {format_duration(rest / pace)} left" if rest > 0 else ""
        return f"{self._what}: {name(self.done)} of {name(self.total)}{noun}, {speed}{left}"
