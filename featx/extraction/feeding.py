"""How images come to the network: decoded in threads of this process, or in processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.config import MOST_PROCESSES, PROCESSES_SECONDS, Preprocessing
from featx.data.images import load_image
from featx.data.inventory import Image
from featx.data.loading import SHARED_BATCHES, Batch, load_batches, load_shared
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import Reading, Seen, read_colours
from featx.decoding.processes import Decoders
from featx.features.provenance import Provenance
from featx.timing import Stages

if TYPE_CHECKING:
    from featx.network.engine import Engine

log = logging.getLogger(__name__)

_PROBED = 8  # images of each thread


@dataclass(frozen=True)
class Decoding:
    """How every image of a run is decoded, as its provenance says; a process can be told it."""

    preprocessing: Preprocessing
    decode: str
    reading: Reading

    def __call__(self, path: Path, digest: str) -> npt.NDArray[np.uint8]:
        """See `load_image`."""
        return load_image(path, self.preprocessing, digest, self.decode, self.reading)


def make_decoding(provenance: Provenance, seen: Seen) -> Decoding:
    """What decodes as a provenance says, and tells `seen` what it meets."""
    return Decoding(
        Preprocessing.from_dict(provenance.preprocessing),
        read_decode(provenance.decoder),
        replace(read_colours(provenance.colours), seen=seen),
    )


@dataclass(frozen=True)
class Feed:
    """Images of one folder, decoded ahead and given out in batches.

    Attributes
    ----------
    root : Path
        What the images' paths are relative to.
    load : callable
        From an image's path and SHA-256 to its pixels; raises ImageError.
    stages : Stages
        Counts "decode", beside the run.
    num_workers : int
        Threads.
    decoders : Decoders or None
        The processes that decode instead.
    """

    root: Path
    load: Callable[[Path, str], npt.NDArray[np.uint8]]
    stages: Stages
    num_workers: int
    decoders: Decoders | None = None

    def load_batches(
        self, order: Iterable[int], find: Callable[[int], Image], batch_size: int
    ) -> Generator[Batch[np.uint8]]:
        """Batches of the images that `find` knows by their positions; see `load_shared`."""

        def locate(position: int) -> tuple[Path, str]:
            image = find(position)
            return self.root / image.path, image.digest

        def load_timed(position: int) -> npt.NDArray[np.uint8]:
            with self.stages.time_beside("decode"):
                return self.load(*locate(position))

        if self.decoders is None:
            return load_batches(load_timed, order, batch_size, self.num_workers)
        jobs = ((position, locate(position)) for position in order)
        return load_shared(self.decoders, jobs, batch_size)

    def describe(self) -> str:
        """What decodes, in words."""
        if self.decoders is not None:
            return f"{len(self.decoders)} process{'es' * (len(self.decoders) != 1)}"
        return f"{self.num_workers} thread{'s' * (self.num_workers != 1)}"


@contextmanager
def open_feed(
    root: Path,
    decoding: Decoding,
    engine: Engine,
    todo: Iterator[Image],
    count: int,
    *,
    num_workers: int,
    processes: int | None,
    stages: Stages,
) -> Iterator[Feed]:
    """Choose what decodes, and start processes where it is they; they end with the context.

    Parameters
    ----------
    root : Path
    decoding : Decoding
    engine : Engine
    todo : iterator of Image
        Some of those to come, to probe with.
    count : int
        How many there are to come.
    num_workers : int
        Threads.
    processes : int or None
        0: threads; None: processes, as many as threads otherwise but MOST_PROCESSES at most, where
        the network waits so long for threads that it pays to start them.
    stages : Stages

    Yields
    ------
    Feed
    """
    threads = Feed(root, decoding, stages, num_workers)
    if processes is None:
        prefers = _prefers_processes(threads, engine, todo, count)
        processes = min(num_workers, MOST_PROCESSES) if prefers else 0
    processes = min(processes, count)
    with ExitStack() as opened:
        feed = threads
        if processes:
            crop = decoding.preprocessing.crop
            shape = (SHARED_BATCHES * engine.batch_size, crop, crop, 3)
            seen = decoding.reading.seen or Seen()
            note = partial(stages.add_beside, "decode")
            try:
                decoders = Decoders(decoding, shape, processes, seen, note)
            except OSError as error:
                log.warning("decoding in threads, since processes cannot be had: %s", error)
            else:
                feed = replace(threads, decoders=opened.enter_context(decoders))
                if (pin := getattr(engine, "pin", None)) is not None:
                    opened.enter_context(pin(decoders.places))
        yield feed


def _prefers_processes(threads: Feed, engine: Engine, todo: Iterator[Image], count: int) -> bool:
    """Whether processes pay, by a probe: never on a CPU, whose cores the network wants itself."""
    workers = threads.num_workers
    if engine.device == "cpu" or workers < 2:
        return False
    images = list(islice(todo, min(_PROBED * workers, count)))
    waited, pixels = _time_threads(threads, images)
    if not len(pixels):
        return False
    pixels = pixels[: engine.batch_size]
    engine.run(pixels)  # the first pass sets up
    begun = time.perf_counter()
    engine.run(pixels)
    # A batch takes the same time with fewer images: it is padded.
    computed = (time.perf_counter() - begun) / engine.batch_size
    pays = pays_processes(waited, computed, count)
    log.info(
        "decoding in %s: %d threads decode %.0f images/s, the network takes %.0f",
        "processes" if pays else "threads", workers, 1 / waited, 1 / computed,
    )  # fmt: skip
    return pays


def _time_threads(threads: Feed, images: Sequence[Image]) -> tuple[float, npt.NDArray[np.uint8]]:
    """Seconds that threads take for an image, and the pixels of a batch."""
    by_position = {image.position: image for image in images}
    # What is met of the images is met once more when they are extracted.
    load = threads.load
    if isinstance(load, Decoding):
        load = replace(load, reading=replace(load.reading, seen=None))
    probe = replace(threads, load=load, stages=Stages())
    begun = time.perf_counter()
    batches = list(probe.load_batches(by_position, by_position.__getitem__, len(images)))
    return (time.perf_counter() - begun) / len(images), batches[0].pixels


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
