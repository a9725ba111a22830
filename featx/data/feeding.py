"""How images come to a network: decoded in threads of this process, or in processes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.config import MOST_PROCESSES, PROCESSES_SECONDS, Preprocessing
from featx.data.images import load_augmented, load_image
from featx.data.loading import SHARED_BATCHES, Batch, load_batches, load_shared
from featx.decoding.picture import Source
from featx.decoding.pixel_format import Reading, Seen
from featx.decoding.processes import Decoders, Job
from featx.errors import ArgumentError, ExtractionError, ImageError
from featx.timing import Stages

log = logging.getLogger(__name__)

_PROBED = 8  # images of each thread


class Runner(Protocol):
    """What images are fed to: an `Engine`, or what is one to whoever feeds it.

    One may also have `submit` and `pin`, which are used where they are there: see `CudaEngine`.
    """

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def batch_size(self) -> int:
        """The most images that `run` is given."""

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Engine.run`; who computes nothing gives rows of no width."""


@dataclass(frozen=True)
class Decoding:
    """How every image of a run is decoded; a process can be told it."""

    preprocessing: Preprocessing
    decode: str = "exact"
    reading: Reading = field(default_factory=Reading)

    def __call__(
        self,
        path: Source | ImageError,
        digest: str | None = None,
        draw: Sequence[int] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """See `load_image`; where `draw` seeds a generator, `load_augmented`.

        In the place of an image there may be what is known to be wrong with it, which is raised.
        """
        if isinstance(path, ImageError):
            raise path
        if draw is None:
            return load_image(path, self.preprocessing, digest, self.decode, self.reading)
        return load_augmented(path, self.preprocessing, np.random.default_rng(draw), self.reading)


@dataclass(frozen=True)
class Feed:
    """Images, decoded ahead and given out in batches.

    Attributes
    ----------
    load : callable
        From a job's arguments, the image first, to its pixels; raises ImageError.
    stages : Stages
        Counts "decode", beside the run.
    num_workers : int
        Threads.
    decoders : Decoders or None
        The processes that decode instead.
    """

    load: Callable[..., npt.NDArray[np.uint8]]
    stages: Stages
    num_workers: int
    decoders: Decoders | None = None

    def load_batches(
        self, jobs: Iterable[tuple[int, Job]], batch_size: int, exact: bool = False
    ) -> Generator[Batch[np.uint8]]:
        """Batches of positions with what each is loaded by; see `load_batches`, `load_shared`."""
        if self.decoders is not None:
            return load_shared(self.decoders, jobs, batch_size, exact)
        under_way: dict[int, Job] = {}

        def list_positions() -> Iterator[int]:
            for position, job in jobs:
                under_way[position] = job
                yield position

        def load_timed(position: int) -> npt.NDArray[np.uint8]:
            job = under_way.pop(position)
            with self.stages.time_beside("decode"):
                return self.load(*job)

        return load_batches(load_timed, list_positions(), batch_size, self.num_workers)

    def describe(self) -> str:
        """What decodes, in words."""
        if self.decoders is not None:
            return f"{len(self.decoders)} process{'es' * (len(self.decoders) != 1)}"
        return f"{self.num_workers} thread{'s' * (self.num_workers != 1)}"


@contextmanager
def open_feed(
    decoding: Decoding,
    runner: Runner,
    some: Iterable[Job],
    count: int | None,
    *,
    num_workers: int,
    processes: int | None,
    stages: Stages,
) -> Iterator[Feed]:
    """Choose what decodes, and start processes where it is they; they end with the context.

    Parameters
    ----------
    decoding : Decoding
    runner : Runner
    some : iterable of tuple
        Some of what is to come, to probe with; taken where there is something to probe.
    count : int or None
        How many images are to come, at least; None: nobody knows.
    num_workers : int
        Threads.
    processes : int or None
        0: threads; None: processes, as many as threads otherwise but MOST_PROCESSES at most, where
        the network waits so long for threads that it pays to start them.
    stages : Stages

    Yields
    ------
    Feed

    Raises
    ------
    ArgumentError
        A number below 0.
    """
    for name, value in (("num_workers", num_workers), ("decode_processes", processes)):
        if value is not None and value < 0:
            raise ArgumentError(f"{name} is {value}: at least 0")
    threads = Feed(decoding, stages, num_workers)
    if processes is None:
        prefers = count is not None and _prefers_processes(threads, runner, some, count)
        processes = min(num_workers, MOST_PROCESSES) if prefers else 0
    if count is not None:
        processes = min(processes, count)
    with ExitStack() as opened:
        feed = threads
        if processes:
            crop = decoding.preprocessing.crop
            shape = (SHARED_BATCHES * runner.batch_size, crop, crop, 3)
            seen = decoding.reading.seen or Seen()
            note = partial(stages.add_beside, "decode")
            try:
                decoders = Decoders(decoding, shape, processes, seen, note)
            except OSError as error:
                log.warning("decoding in threads, since processes cannot be had: %s", error)
            else:
                feed = replace(threads, decoders=opened.enter_context(decoders))
                if (pin := getattr(runner, "pin", None)) is not None:
                    opened.enter_context(pin(decoders.places))
        yield feed


def run_batches(
    runner: Runner, batches: Iterable[Batch[np.uint8]], stages: Stages
) -> Iterator[tuple[Batch[np.uint8], npt.NDArray[np.float32]]]:
    """Batches with what the network gave; one that can is given the next batch meanwhile.

    `stages` counts "wait" (for decoded images) and "network". Of a batch without images the rows
    are none, of no width.
    """
    submit = getattr(runner, "submit", None)
    under_way: deque[tuple[Batch[np.uint8], Callable[[], npt.NDArray[np.float32]]]] = deque()

    def begin(pixels: npt.NDArray[np.uint8]) -> Callable[[], npt.NDArray[np.float32]]:
        if not len(pixels):
            return lambda: np.empty((0, 0), np.float32)
        return partial(runner.run, pixels) if submit is None else submit(pixels)

    def take() -> tuple[Batch[np.uint8], npt.NDArray[np.float32]]:
        batch, wait = under_way.popleft()
        with stages.time("network"):
            return batch, wait()

    for batch in stages.wait("wait", batches):
        with stages.time("network"):
            under_way.append((batch, begin(batch.pixels)))
        if submit is None or len(under_way) > 1:
            yield take()
    while under_way:
        yield take()


def check_finite(rows: npt.NDArray[np.float32], images: Sequence[object]) -> None:
    """See that a network gave numbers; a precision that is too short ends in infinity.

    Parameters
    ----------
    rows : ndarray of shape (n, n_numbers), float32
    images : sequence of n
        What each row is of, for the message.

    Raises
    ------
    ExtractionError
        A row holds NaN or infinity.
    """
    good = np.isfinite(rows).all(axis=1)
    if not good.all():
        raise ExtractionError(
            f"the network gave NaN or infinite features for {images[int(np.argmin(good))]}: check "
            "the weights, the precision and the device"
        )


def _prefers_processes(threads: Feed, runner: Runner, some: Iterable[Job], count: int) -> bool:
    """Whether processes pay, by a probe: never on a CPU, whose cores the network wants itself."""
    workers = threads.num_workers
    if runner.device == "cpu" or workers < 2:
        return False
    jobs = list(islice(some, min(_PROBED * workers, count)))
    waited, pixels = _time_threads(threads, jobs)
    if not len(pixels):
        return False
    pixels = pixels[: runner.batch_size]
    found = runner.run(pixels)  # the first pass sets up
    begun = time.perf_counter()
    runner.run(pixels)
    # A batch takes the same time with fewer images: it is padded.
    computed = (time.perf_counter() - begun) / runner.batch_size
    pays = pays_processes(waited, computed, count)
    log.info(
        "decoding in %s: %d threads decode %.0f images/s%s",
        "processes" if pays else "threads", workers, 1 / waited,
        f", the network takes {1 / computed:.0f}" if found.size else "",
    )  # fmt: skip
    return pays


def _time_threads(threads: Feed, jobs: Sequence[Job]) -> tuple[float, npt.NDArray[np.uint8]]:
    """Seconds that threads take for an image, and the pixels of a batch."""
    # What is met of the images is met once more when they are computed.
    load: Any = threads.load
    if isinstance(load, Decoding):
        load = replace(load, reading=replace(load.reading, seen=None))
    probe = replace(threads, load=load, stages=Stages())
    begun = time.perf_counter()
    batches = list(probe.load_batches(enumerate(jobs), len(jobs)))
    return (time.perf_counter() - begun) / len(jobs), batches[0].pixels


def pays_processes(waited: float, computed: float, count: int) -> bool:
    """Whether starting processes costs less than waiting for threads.

    Parameters
    ----------
    waited, computed : float
        Seconds that threads, and the network, take for an image.
    count : int
        Images.
    """
    return count * (waited - computed) > PROCESSES_SECONDS
