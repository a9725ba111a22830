"""Images through a model's network, as many as there are: a batch at a time, judged in order."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from featx.data.dataset import Leftovers, Skipped
from featx.data.images import load_image
from featx.data.loading import decode_some, load_batches
from featx.decoding.pixel_format import Seen
from featx.deployment.classifier import Network
from featx.deployment.listing import find_images, list_paths
from featx.errors import DatasetError, ImageError
from featx.features.provenance import Choice, Provenance
from featx.machine import count_cores
from featx.network.engine import Engine, choose_device
from featx.network.engine_choice import make_engine, usual_batch
from featx.sources.folders import describe_left_out
from featx.text import as_text
from featx.timing import Meter

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Judged:
    """Some images that the network has seen.

    Attributes
    ----------
    paths : tuple of Path
    pixels : ndarray of shape (b, crop, crop, 3), uint8
    rows : ndarray of shape (b, width), float32
        What the engine gave; see `Engine.run`.
    """

    paths: tuple[Path, ...]
    pixels: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.float32]


Judge = Callable[[Judged], Sequence[T]]  # what is said of each image of a batch


@dataclass(frozen=True)
class Sources:
    """Which images are meant; see `predict`.

    Attributes
    ----------
    named : list of Path
        All of them are there.
    listed : iterable of paths
    left_out : Leftovers
    """

    named: list[Path]
    listed: Iterable[str | Path]
    left_out: Leftovers


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the network runs; see `predict`."""

    device: str = "auto"
    engine: str = "auto"
    precision: str = "fp32"
    batch_size: int | None = None
    num_workers: int | None = None
    progress: bool = False


def name_sources(
    images: str | Path | Sequence[str | Path],
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
) -> Sources:
    """The images that are meant.

    Raises
    ------
    DatasetError
        One that is named is not there.
    """
    named = list_paths(images)
    for path in named:
        if not path.exists():
            raise DatasetError(f"no such image: {path}")
    return Sources(named, listed, Leftovers() if left_out is None else left_out)


def stream_images(
    network: Network,
    sources: Sources,
    judge: Judge[T],
    how: RunOptions,
    title: str,
    places: bool = False,
) -> Generator[T | Skipped]:
    """Decode and run all, a batch at a time, and give out what is said of each, in order.

    Parameters
    ----------
    network : Network
    sources : Sources
    judge : callable
    how : RunOptions
    title : str
        Of the bar.
    places : bool
        See `Engine`.

    Yields
    ------
    T or Skipped
        A Skipped is a file that is no image.

    Raises
    ------
    DatasetError
        A folder without images, or nothing at all.
    ImageError
        At the end: not one of the files is an image.
    DeviceError
    """
    preprocessing = network.weights.preprocessing
    place = choose_device(how.device).type
    wanted = how.batch_size or usual_batch(place)
    choice = _choose(network, how)
    workers = count_cores() if how.num_workers is None else how.num_workers

    def run() -> Generator[T | Skipped]:
        with Meter(title, None, how.progress) as meter:

            def note(n: int) -> None:
                meter.total = (meter.total or 0) + n  # a list's length is known when it ends

            paths = find_images(sources.named, sources.listed, note, sources.left_out)
            first = list(itertools.islice(paths, wanted))
            if not first:
                raise DatasetError("no images: the list is empty")
            runner = make_engine(
                network.weights,
                lambda most: decode_some(
                    first, preprocessing, most, network.decode, network.reading
                ),
                engine=choice.engine,
                precision=choice.precision,
                device=how.device,
                batch_size=min(wanted, len(first)),
                layers=network.layers,
                places=places,
            )
            every = itertools.chain(first, paths)
            yield from _run(every, network, runner, workers, judge, meter.update)
            for line in describe_left_out(sources.left_out.list()):
                log.warning("%s", line)

    return run()


def _choose(network: Network, how: RunOptions) -> Choice:
    """An engine's choice; what it leaves open is what a head's features were computed by."""
    choice = Choice(
        engine=how.engine, precision=how.precision, decode=network.decode,
        backbone=network.weights.backbone,
    )  # fmt: skip
    try:
        made = Provenance(**network.provenance)
    except TypeError:  # a fine-tuned network's, which had no features
        return choice
    return replace(choice, storage=made.storage).settle(made)


def _run(
    paths: Iterable[Path],
    network: Network,
    engine: Engine,
    num_workers: int,
    judge: Judge[T],
    count: Callable[[int], object],
) -> Generator[T | Skipped]:
    under_way: dict[int, Path] = {}
    preprocessing, decode = network.weights.preprocessing, network.decode
    seen = Seen()
    reading = replace(network.reading, seen=seen)

    def list_positions() -> Iterator[int]:
        for position, path in enumerate(paths):
            under_way[position] = path
            yield position

    def load(position: int) -> npt.NDArray[np.uint8]:
        return load_image(under_way[position], preprocessing, None, decode, reading)

    first_failure: ImageError | None = None
    judged_any = False
    batches = load_batches(load, list_positions(), engine.batch_size, num_workers)
    with contextlib.closing(batches):
        for batch in batches:
            results: dict[int, T | Skipped] = {}
            for position, error in batch.failures:
                del under_way[position]
                first_failure = first_failure or error
                results[position] = Skipped(as_text(error.path), "", error.kind, error.reason)
            if len(batch.rows):
                judged_any = True
                positions = batch.rows.tolist()
                here = tuple(under_way.pop(position) for position in positions)
                found = judge(Judged(here, batch.pixels, engine.run(batch.pixels)))
                results |= zip(positions, found, strict=True)
            count(len(results))
            for position in sorted(results):
                yield results[position]
    seen.warn(reading)
    if first_failure is not None and not judged_any:
        raise first_failure
