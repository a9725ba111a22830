"""Many images, decoded ahead in threads or processes and given out in batches, in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from featx.config import Preprocessing
from featx.data.images import load_image, open_rgb
from featx.decoding.crops import find_picture
from featx.decoding.picture import Source, may_be_deep
from featx.decoding.pixel_format import Reading, Seen
from featx.decoding.processes import Decoders, Failures, Job
from featx.errors import ImageError
from featx.timing import Meter

Item = TypeVar("Item", bound=np.generic)

_LOOKED_AT = 256  # images at a time, of a pass that keeps nothing of them
# Batches that processes and whoever asks for them share: two in the asker's hands, two ahead.
SHARED_BATCHES = 4
_MOST_AT_ONCE = 8  # images that a process is given: a message costs more than it says


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """Some decoded images of a sequence.

    Attributes
    ----------
    rows : ndarray of shape (b,), int64
        Their positions in the sequence, ascending.
    pixels : ndarray of shape (b, crop, crop, 3), uint8
        Or whatever else the sequence is of.
    failures : tuple of (int, ImageError)
        Positions met on the way that could not be decoded.
    """

    rows: npt.NDArray[np.int64]
    pixels: npt.NDArray[Item]
    failures: tuple[tuple[int, ImageError], ...]


def load_batches(
    load: Callable[[int], npt.NDArray[Item]],
    order: Iterable[int],
    batch_size: int,
    num_workers: int,
) -> Generator[Batch[Item]]:
    """Decode ahead in threads (Pillow lets go of the interpreter lock) and yield full batches.

    At most two batches are decoded ahead. A batch has `batch_size` images, failures not counted;
    fewer only where it is the last, or comes with `batch_size` failures.

    Parameters
    ----------
    load : callable
        Decodes the image at a position; raises ImageError.
    order : iterable of int
        Positions, in the order wanted; taken as they are needed, in the calling thread.
    batch_size : int
    num_workers : int
        Decoding threads; 0 decodes in the calling thread.

    Yields
    ------
    Batch
    """
    rows: list[int] = []
    pixels: list[npt.NDArray[Item]] = []
    failures: list[tuple[int, ImageError]] = []
    for position, result in _decode_ahead(load, order, 2 * batch_size, num_workers):
        if isinstance(result, ImageError):
            failures.append((position, result))
        else:
            rows.append(position)
            pixels.append(result)
        if len(rows) == batch_size or len(failures) == batch_size:
            yield _make_batch(rows, pixels, failures)
            rows, pixels, failures = [], [], []
    if rows or failures:
        yield _make_batch(rows, pixels, failures)


def _make_batch(
    rows: list[int], pixels: list[npt.NDArray[Item]], failures: list[tuple[int, ImageError]]
) -> Batch[Item]:
    stacked = np.stack(pixels) if pixels else np.empty((0, 0, 0, 3), np.uint8)
    return Batch(np.array(rows, dtype=np.int64), stacked, tuple(failures))


def _decode_ahead(
    load: Callable[[int], npt.NDArray[Item]],
    order: Iterable[int],
    ahead: int,
    num_workers: int,
) -> Iterator[tuple[int, npt.NDArray[Item] | ImageError]]:
    def try_load(position: int) -> npt.NDArray[Item] | ImageError:
        try:
            return load(position)
        except ImageError as error:
            return error

    if num_workers == 0:
        for position in order:
            yield int(position), try_load(int(position))
        return
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="featx-decode")
    waiting: deque[tuple[int, Future[npt.NDArray[Item] | ImageError]]] = deque()
    try:
        for position in order:
            waiting.append((int(position), pool.submit(try_load, int(position))))
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Asked:
    """A batch that processes are at work on: its part of their memory, by first image a piece."""

    slot: int
    positions: list[int]
    pieces: list[tuple[int, Future[Failures]]]


def load_shared(
    decoders: Decoders, jobs: Iterable[tuple[int, Job]], batch_size: int, exact: bool = False
) -> Generator[Batch[np.uint8]]:
    """Have processes decode ahead, straight into the batches that are given out: nothing is copied.

    At most two batches are decoded ahead. A batch is of `batch_size` positions, those that fail
    counted, and stays as it is until the second batch after it is asked for. Boxes of a picture
    that come one after the other are one process's work, and in one batch where it has room for
    them: it may then be smaller, unless batches are to be `exact`. What ends this before the last
    batch ends the processes.

    Parameters
    ----------
    decoders : Decoders
        With places for SHARED_BATCHES batches.
    jobs : iterable of (int, tuple)
        Positions, in the order wanted, each with what the image is loaded by; taken as they are
        needed, in the calling thread.
    batch_size : int
    exact : bool
        All batches but the last have their size: a step of training is that of any other run.

    Yields
    ------
    Batch

    Raises
    ------
    ExtractionError
        A process ended over an image.
    """
    at_once = min(_MOST_AT_ONCE, max(1, batch_size // (2 * len(decoders))))
    free, held = deque(range(SHARED_BATCHES)), deque[int]()
    ahead: deque[_Asked] = deque()
    dealt = _deal(jobs, batch_size, at_once, exact)
    try:
        while True:
            while free and (batch := next(dealt, None)) is not None:
                slot, positions, pieces = free.popleft(), list[int](), []
                for piece in batch:
                    first, told = len(positions), [job for _, job in piece]
                    pieces.append((first, decoders.submit(slot * batch_size + first, told)))
                    positions += (position for position, _ in piece)
                ahead.append(_Asked(slot, positions, pieces))
            if not ahead:
                return
            asked = ahead.popleft()
            begin = asked.slot * batch_size
            yield _take_shared(asked, decoders.places[begin : begin + len(asked.positions)])
            held.append(asked.slot)
            if len(held) > 1:
                free.append(held.popleft())
    except BaseException:  # GeneratorExit and Ctrl-C among them
        decoders.close()
        raise


def _deal(
    jobs: Iterable[tuple[int, Job]], batch_size: int, at_once: int, exact: bool
) -> Iterator[list[list[tuple[int, Job]]]]:
    """Batches of pieces, each of which is a process's work: the boxes of a picture are in one."""

    def find_whole(one: tuple[int, Job]) -> object:
        position, (name, *_) = one
        picture = find_picture(name) if isinstance(name, Path) else name
        return position if picture is name else picture

    batch: list[list[tuple[int, Job]]] = []
    size = 0
    for _, together in groupby(jobs, find_whole):
        while some := list(islice(together, batch_size - size * exact)):
            if size + len(some) > batch_size:
                yield batch
                batch, size = [], 0
            if batch and len(batch[-1]) + len(some) <= at_once:
                batch[-1] += some
            else:
                batch.append(some)
            size += len(some)
            if size == batch_size:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _take_shared(asked: _Asked, pixels: npt.NDArray[np.uint8]) -> Batch[np.uint8]:
    """A batch when it is there; what was decoded moves up to where something failed."""
    positions = np.array(asked.positions, dtype=np.int64)
    good = np.ones(len(positions), dtype=bool)
    failures: list[tuple[int, ImageError]] = []
    for first, piece in asked.pieces:
        for i, error in piece.result():
            good[first + i] = False
            failures.append((asked.positions[first + i], error))
    if failures:
        kept = pixels[good]
        pixels = pixels[: len(kept)]
        pixels[:] = kept
    return Batch(positions[good], pixels, tuple(failures))


def decode_some(
    paths: Iterable[Source],
    preprocessing: Preprocessing,
    most: int,
    decode: str = "exact",
    reading: Reading | None = None,
) -> npt.NDArray[np.uint8]:
    """Pixels of the first images that can be decoded, for a probe; noise where none can.

    Returns
    -------
    ndarray of shape (n, crop, crop, 3), uint8
        n is at least 1 and at most `most`.
    """
    found: list[npt.NDArray[np.uint8]] = []
    for path in paths:
        if len(found) == most:
            break
        with contextlib.suppress(ImageError):
            found.append(load_image(path, preprocessing, decode=decode, reading=reading))
    if found:
        return np.stack(found)
    side = preprocessing.crop
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)


def find_depth(paths: Iterable[Path], reading: Reading, num_workers: int) -> str:
    """How deep samples of 16 bits go in these images: "used N", or "full" where that is the same.

    Only images that may have such samples are decoded; one that cannot be is passed over.
    """
    seen = Seen()
    reading = replace(reading, profiles="ignore", seen=seen)
    under_way: dict[int, Path] = {}

    def list_positions() -> Iterator[int]:
        for position, path in enumerate(paths):
            under_way[position] = path
            yield position

    def look(position: int) -> npt.NDArray[np.uint8]:
        path = under_way.pop(position)
        if may_be_deep(find_picture(path)):
            with contextlib.suppress(ImageError):
                open_rgb(path, reading=reading)
        return np.empty(0, np.uint8)

    with Meter("depth", None, False) as meter:
        for batch in load_batches(look, list_positions(), _LOOKED_AT, num_workers):
            meter.update(len(batch.rows))
    bits = seen.used_bits()
    return "full" if bits == 16 else f"used {bits}"
