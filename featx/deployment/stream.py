"""Images through a model's network, as many as there are: a batch at a time, judged in order."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from featx.data.dataset import Leftovers, Skipped
from featx.data.feeding import Decoding, Feed, check_finite, open_feed, run_batches
from featx.data.loading import decode_some
from featx.decoding.crops import find_picture
from featx.decoding.pixel_format import Seen
from featx.decoding.processes import Job
from featx.deployment.classifier import Network
from featx.deployment.listing import BoxCutter, find_images, list_paths
from featx.errors import DatasetError, ImageError
from featx.features.provenance import Choice, Provenance
from featx.machine import count_cores
from featx.network.engine import Engine, choose_device
from featx.network.engine_choice import make_engine, usual_batch
from featx.sources.archives import expand_shards, has_braces
from featx.sources.boxes import Boxes, BoxTable, take_boxes
from featx.sources.folders import describe_left_out
from featx.storage.places import is_folder, is_place
from featx.text import as_text
from featx.timing import Meter, Stages

log = logging.getLogger(__name__)

T = TypeVar("T")

# Of images in folders, so many are looked for before it is chosen what decodes for a GPU: of more
# the choice would be the same.
_LOOKED_AHEAD = 20_000


@dataclass(frozen=True)
class Judged:
    """Some images that the network has seen.

    Attributes
    ----------
    paths : tuple of Path
    pixels : ndarray of shape (b, crop, crop, 3), uint8
        They stay so until the next images are asked for.
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
    boxes : Boxes or None
        The images are these boxes in those that are named and listed.
    """

    named: list[Path]
    listed: Iterable[str | Path]
    left_out: Leftovers
    boxes: Boxes | None = None

    def iterate(
        self, note: Callable[[int], None]
    ) -> tuple[Iterator[Path | ImageError], BoxCutter | None]:
        """All of them, or why a box is none, and what cuts boxes; see `find_images`."""
        if self.boxes is None:
            return find_images(self.named, self.listed, note, self.left_out), None
        homes = [path for path in self.named if is_folder(path)]
        cutter = BoxCutter(BoxTable(self.boxes, Path()), homes, self.left_out)
        return cutter.cut(find_images(self.named, self.listed, left_out=self.left_out)), cutter

    def describe(self, cutter: BoxCutter | None) -> list[str]:
        """What one should know of them all, at the end."""
        said = describe_left_out(self.left_out.list())
        return said if cutter is None else [*said, *cutter.describe()]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the network runs; see `predict`."""

    device: str = "auto"
    engine: str = "auto"
    precision: str = "fp32"
    batch_size: int | None = None
    num_workers: int | None = None
    decode_processes: int | None = None
    progress: bool = False

    def count_workers(self) -> int:
        """Decoding threads."""
        return count_cores() if self.num_workers is None else self.num_workers


def name_sources(
    images: str | Path | Sequence[str | Path],
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
    boxes: str | Path | Boxes | None = None,
) -> Sources:
    """The images that are meant.

    Raises
    ------
    DatasetError
        One that is named is not there.
    """
    named = [
        one
        for path in list_paths(images)
        for one in (expand_shards(path) if has_braces(path) else [path])
    ]
    for path in named:
        if not (path.exists() or is_folder(path) or is_place(find_picture(path))):
            raise DatasetError(f"no such image: {path}")
    left_out = Leftovers() if left_out is None else left_out
    return Sources(named, listed, left_out, take_boxes(boxes))


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
    ExtractionError
        The network gave NaN or infinite features.
    DeviceError
    """
    place = choose_device(how.device).type
    wanted = how.batch_size or usual_batch(place)
    # A list that somebody is still writing is not waited for.
    asks = place != "cpu" and how.decode_processes is None and isinstance(sources.listed, Sized)
    ahead = max(wanted, _LOOKED_AHEAD) if asks else wanted
    choice = _choose(network, how)
    seen = Seen()
    reading = replace(network.reading, seen=seen)
    decoding = Decoding(network.weights.preprocessing, network.decode, reading)

    def run() -> Generator[T | Skipped]:
        with Meter(title, None, how.progress) as meter:

            def note(n: int) -> None:
                meter.total = (meter.total or 0) + n  # a list's length is known when it ends

            paths, cutter = sources.iterate(note)
            first = list(itertools.islice(paths, ahead))
            if not first:
                said = "".join(f"; {line}" for line in sources.describe(cutter))
                raise DatasetError(f"no images: the list is empty{said}")
            engine = make_engine(
                network.weights,
                lambda most: decode_some(
                    [one for one in first if isinstance(one, Path)],
                    decoding.preprocessing,
                    most,
                    network.decode,
                    network.reading,
                ),
                engine=choice.engine,
                precision=choice.precision,
                device=how.device,
                batch_size=min(wanted, len(first)),
                layers=network.layers,
                places=places,
            )
            stages = Stages()
            with open_feed(
                decoding,
                engine,
                ((path,) for path in first),
                len(first) if asks or len(first) < ahead else None,
                num_workers=how.count_workers(),
                processes=how.decode_processes,
                stages=stages,
            ) as feed:
                every = itertools.chain(first, paths)
                yield from _run(every, feed, engine, judge, meter.update)
            seen.warn(reading)
            for line in sources.describe(cutter):
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
    paths: Iterable[Path | ImageError],
    feed: Feed,
    engine: Engine,
    judge: Judge[T],
    count: Callable[[int], object],
) -> Generator[T | Skipped]:
    under_way: dict[int, Path | ImageError] = {}

    def list_jobs() -> Iterator[tuple[int, Job]]:
        for position, path in enumerate(paths):
            under_way[position] = path
            yield position, (path,)

    first_failure: ImageError | None = None
    judged_any = False
    with contextlib.closing(feed.load_batches(list_jobs(), engine.batch_size)) as batches:
        for batch, rows in run_batches(engine, batches, feed.stages):
            results: dict[int, T | Skipped] = {}
            for position, error in batch.failures:
                del under_way[position]
                first_failure = first_failure or error
                results[position] = Skipped(as_text(error.path), "", error.kind, error.reason)
            if len(batch.rows):
                judged_any = True
                positions = batch.rows.tolist()
                here = tuple(cast(Path, under_way.pop(position)) for position in positions)
                check_finite(rows, here)
                found = judge(Judged(here, batch.pixels, rows))
                results |= zip(positions, found, strict=True)
            count(len(results))
            for position in sorted(results):
                yield results[position]
    if first_failure is not None and not judged_any:
        raise first_failure
