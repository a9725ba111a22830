"""Running the network a part at a time, so that little is lost when a run is killed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.config import PART_IMAGES, PART_SECONDS
from featx.data.dataset import Skipped
from featx.data.feeding import Feed, check_finite, run_batches
from featx.data.inventory import Image, Inventory
from featx.decoding.processes import Job
from featx.errors import CONTENT_FAULTS, ExtractionError, ImageError
from featx.extraction.result import make_heading
from featx.features.content import Features
from featx.features.file import estimate_file
from featx.features.ledger import Ledger
from featx.features.provenance import Provenance
from featx.timing import Meter

if TYPE_CHECKING:
    from featx.network.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some images' features, all computed in one go.

    Attributes
    ----------
    images : list of Image
    X : ndarray of shape (n, n_numbers), float32
        Of these images, as `Engine.run` gives them.
    failures : list of (Image, ImageError)
        Met on the way.
    seconds : float
    device : str
    """

    images: list[Image]
    X: npt.NDArray[np.float32]
    failures: list[tuple[Image, ImageError]]
    seconds: float
    device: str


@dataclass
class Progress:
    """How much `run_parts` did: images with features, images without, seconds."""

    computed: int = 0
    failed: int = 0
    seconds: float = 0.0


def run_parts(
    ledger: Ledger,
    engine: Engine,
    feed: Feed,
    keep: Callable[[Part], None],
    *,
    refuse: Callable[[ImageError], None],
    progress: bool,
) -> Progress:
    """Decode and run what is to do, giving every finished part to `keep` before the next begins.

    A part has at most PART_IMAGES images (or one batch, if that is more), and ends with the
    batch that brings it to PART_SECONDS seconds. Where a file cannot be read, one of the same
    contents is tried instead. No more than a part is in memory.

    Parameters
    ----------
    ledger : Ledger
        Says what is to do; is told of images that fail, and by `keep` of the others.
    engine : Engine
    feed : Feed
        Its stages count "wait" (for decoded images), "network" and "keep", too.
    keep : callable
    refuse : callable
        Is told of every image that cannot be decoded, and raises where that ends the run.
    progress : bool

    Raises
    ------
    ExtractionError
        The network gave numbers that are not finite, or a process that decoded has ended.
    """
    done = Progress()
    total = left = ledger.list_todo()
    begun, stages = time.perf_counter(), feed.stages
    waiting = _Waiting(engine)
    under_way: dict[int, Image] = {}

    def list_jobs() -> Iterator[tuple[int, Job]]:
        for image in ledger.iterate_todo():
            under_way[image.position] = image
            yield image.position, name_job(ledger.inventory, image)

    def keep_timed(part: Part) -> None:
        with stages.time("keep"):
            for image, error in part.failures:
                ledger.fail(image, error)
            keep(part)

    try:
        while left:
            with (
                Meter("extract", left, progress) as meter,
                contextlib.closing(feed.load_batches(list_jobs(), engine.batch_size)) as batches,
            ):
                for batch, X in run_batches(engine, batches, stages):
                    for position, error in batch.failures:
                        refuse(error)
                        waiting.failures.append((under_way.pop(position), error))
                    images = [under_way.pop(position) for position in batch.rows.tolist()]
                    if images:
                        check_finite(X, [image.path for image in images])
                        waiting.add(images, X)
                    meter.update(len(images) + len(batch.failures))
                    if waiting.is_full():
                        waiting.flush(keep_timed, done)
                waiting.flush(keep_timed, done)
            left = ledger.list_twins()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            waiting.flush(keep_timed, done)
        log.warning(
            "interrupted: %d of %d images are kept; the same command goes on with the rest",
            done.computed + done.failed,
            total,
        )
        raise
    done.seconds = time.perf_counter() - begun
    return done


def name_job(inventory: Inventory, image: Image) -> Job:
    """What an image is loaded by: its file, and the hash that this must have."""
    return inventory.root / image.path, image.digest


def estimate_parts(n_samples: int, n_numbers: int) -> int:
    """About how many bytes the parts of so many images take."""
    path = 256  # bytes; few are longer
    parts = -(-n_samples // PART_IMAGES)
    return estimate_file(n_samples, n_numbers, path) + parts * estimate_file(0, n_numbers, path)


class _Waiting:
    """What is computed and not yet kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start()

    def _start(self) -> None:
        self._begun = time.perf_counter()
        self._images: list[Image] = []
        self._parts = [np.empty((0, self._engine.width), np.float32)]
        self.failures: list[tuple[Image, ImageError]] = []

    def __len__(self) -> int:
        return len(self._images) + len(self.failures)

    def add(self, images: list[Image], X: npt.NDArray[np.float32]) -> None:
        self._images += images
        self._parts.append(X)

    def is_full(self) -> bool:
        """Whether another batch would make it more than a killed run may repeat."""
        seconds = time.perf_counter() - self._begun
        most = PART_IMAGES - self._engine.batch_size
        return len(self) > 0 and (len(self) > most or seconds >= PART_SECONDS)

    def flush(self, keep: Callable[[Part], None], done: Progress) -> None:
        if not len(self):
            return
        part = Part(
            self._images,
            np.concatenate(self._parts),
            self.failures,
            time.perf_counter() - self._begun,
            self._engine.device,
        )
        keep(part)
        done.computed += len(part.images)
        done.failed += len(part.failures)
        self._start()


def part_features(part: Part, inventory: Inventory, provenance: Provenance) -> Features:
    """A part as the content of a feature file.

    Raises
    ------
    ExtractionError
        A feature is too large for the type that is to be stored.
    """
    images = part.images
    skipped = [
        # Without its hash a failure is not remembered: the next run tries again.
        Skipped(image.path, image.digest * (error.kind in CONTENT_FAULTS), error.kind, error.reason)
        for image, error in part.failures
    ]
    largest, limit = np.abs(part.X).max(initial=0), np.finfo(provenance.storage).max
    if largest > limit:
        raise ExtractionError(
            f"a feature is {largest:.6g} and {provenance.storage} ends at {limit:.6g}: say "
            "--storage float32"
        )
    end = part.X.shape[1] - provenance.n_columns
    return Features(
        X=part.X[:, :end],
        layers=part.X[:, end:] if provenance.n_columns else None,
        targets=np.array([image.target for image in images], dtype=np.int64),
        splits=np.array([image.split for image in images], dtype="<U5"),
        paths=np.array([image.path for image in images], dtype=np.str_),
        hashes=np.array([image.digest for image in images], dtype="<U64"),
        **vars(make_heading(inventory, provenance, tuple(sorted(skipped)))),
    )
