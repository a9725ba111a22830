"""Running the network a shard at a time, so that little is lost when a run is killed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from featx.config import SHARD_IMAGES, SHARD_SECONDS, Preprocessing
from featx.contents import HashedRows
from featx.errors import CONTENT_FAULTS, ExtractionError, ImageError
from featx.images import load_image
from featx.loading import load_batches
from featx.stages import Stages
from featx.store import estimate_file

if TYPE_CHECKING:
    from featx.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Some images' features, all computed in one go.

    Attributes
    ----------
    positions : ndarray of shape (n,), int64
        Of the images in the dataset, ascending.
    X : ndarray of shape (n, n_features), float32
    failures : dict of int to ImageError
        Of images met on the way.
    seconds : float
    device : str
    """

    positions: npt.NDArray[np.int64]
    X: npt.NDArray[np.float32]
    failures: dict[int, ImageError]
    seconds: float
    device: str


@dataclass
class Computed:
    """All that `run_shards` did.

    Attributes
    ----------
    rows : dict of int to ndarray of shape (n_features,), float32
        By position.
    failures : dict of int to ImageError
    seconds : float
        Of decoding, computing and keeping.
    """

    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    failures: dict[int, ImageError] = field(default_factory=dict)
    seconds: float = 0.0


def run_shards(
    rows: HashedRows,
    todo: Sequence[int],
    engine: Engine,
    load: Callable[[int], npt.NDArray[np.uint8]],
    keep: Callable[[Shard], None],
    *,
    stages: Stages,
    num_workers: int,
    on_error: str,
    progress: bool,
) -> Computed:
    """Decode and run `todo`, giving every finished shard to `keep` before the next begins.

    A shard has at most SHARD_IMAGES images (or one batch, if that is more), and ends with the
    batch that brings it to SHARD_SECONDS seconds. Where a file cannot be read, one of the same
    contents is tried instead.

    Parameters
    ----------
    rows : HashedRows
    todo : sequence of int
        Positions in `rows`, ascending.
    engine : Engine
    load : callable
        Decodes the image at a position; raises ImageError.
    keep : callable
    stages : Stages
        Counts "wait" (for decoded images), "network" and "keep", and "decode" beside them.
    num_workers : int
    on_error : {"skip", "fail"}
    progress : bool

    Raises
    ------
    ImageError
        An image cannot be decoded and `on_error` is "fail".
    ExtractionError
        The network gave numbers that are not finite.
    """
    done = Computed()
    total = len(todo)
    begun = time.perf_counter()
    waiting = _Waiting(engine)

    def load_timed(i: int) -> npt.NDArray[np.uint8]:
        with stages.time_beside("decode"):
            return load(i)

    def keep_timed(shard: Shard) -> None:
        with stages.time("keep"):
            keep(shard)

    try:
        while todo:
            with (
                tqdm(total=len(todo), unit="image", desc="extract", disable=not progress) as bar,
                contextlib.closing(
                    load_batches(load_timed, todo, engine.batch_size, num_workers)
                ) as batches,
            ):
                for batch in stages.wait("wait", batches):
                    for position, error in batch.failures:
                        if on_error == "fail":
                            raise error
                        waiting.failures[position] = error
                    if len(batch.rows):
                        with stages.time("network"):
                            X = engine.run(batch.pixels)
                        _check_finite(X, [rows.dataset.paths[i] for i in batch.rows])
                        waiting.add(batch.rows, X)
                    bar.update(len(batch.rows) + len(batch.failures))
                    if waiting.is_full():
                        waiting.flush(keep_timed, done)
                waiting.flush(keep_timed, done)
            todo = _find_twins(rows, done)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            waiting.flush(keep_timed, done)
        log.warning(
            "interrupted: %d of %d images are kept; the same command goes on with the rest",
            len(done.rows) + len(done.failures),
            total,
        )
        raise
    done.seconds = time.perf_counter() - begun
    return done


def decode_some(
    rows: HashedRows, preprocessing: Preprocessing, most: int, decode: str = "exact"
) -> npt.NDArray[np.uint8]:
    """Pixels of the first images that can be decoded, for a probe; noise where none can.

    Returns
    -------
    ndarray of shape (n, crop, crop, 3), uint8
        n is at least 1 and at most `most`.
    """
    found = []
    for i in range(min(most, len(rows.hashes))):
        with contextlib.suppress(ImageError):
            found.append(load_image(rows.locate(i), preprocessing, decode=decode))
    if found:
        return np.stack(found)
    side = preprocessing.crop
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)


def estimate_shards(n_samples: int, n_features: int) -> int:
    """About how many bytes the shards of so many images take."""
    path = 256  # bytes; few are longer
    shards = -(-n_samples // SHARD_IMAGES)
    return estimate_file(n_samples, n_features, path) + shards * estimate_file(0, n_features, path)


def _find_twins(rows: HashedRows, done: Computed) -> list[int]:
    """Positions to try instead: files with the contents of one that could not be read."""
    away = [i for i, error in done.failures.items() if error.kind not in CONTENT_FAULTS]
    if not away:
        return []
    digests = rows.hashes.tolist()
    wanted = {digests[i] for i in away} - {digests[i] for i in done.rows}
    twins: dict[str, int] = {}
    for i, digest in enumerate(digests):
        if digest in wanted and i not in done.failures:
            twins.setdefault(digest, i)
    return sorted(twins.values())


class _Waiting:
    """What is computed and not yet kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start()

    def _start(self) -> None:
        self._begun = time.perf_counter()
        self._positions: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._parts = [np.empty((0, self._engine.feature_dim), np.float32)]
        self.failures: dict[int, ImageError] = {}

    def __len__(self) -> int:
        return sum(map(len, self._positions)) + len(self.failures)

    def add(self, positions: npt.NDArray[np.int64], X: npt.NDArray[np.float32]) -> None:
        self._positions.append(positions)
        self._parts.append(X)

    def is_full(self) -> bool:
        """Whether another batch would make it more than a killed run may repeat."""
        seconds = time.perf_counter() - self._begun
        most = SHARD_IMAGES - self._engine.batch_size
        return len(self) > 0 and (len(self) > most or seconds >= SHARD_SECONDS)

    def flush(self, keep: Callable[[Shard], None], done: Computed) -> None:
        if not len(self):
            return
        shard = Shard(
            np.concatenate(self._positions),
            np.concatenate(self._parts),
            self.failures,
            time.perf_counter() - self._begun,
            self._engine.device,
        )
        keep(shard)
        done.rows.update(zip(shard.positions.tolist(), shard.X, strict=True))
        done.failures.update(shard.failures)
        self._start()


def _check_finite(X: npt.NDArray[np.float32], names: list[str]) -> None:
    bad = ~np.isfinite(X).all(axis=1)
    if bad.any():
        raise ExtractionError(
            f"the network gave NaN or infinite features for {names[int(np.argmax(bad))]}; none of "
            "this shard was stored: check the weights and the device"
        )
