"""Rows of a transformer's images: those that are kept, and all others computed and kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from featx.config import PART_IMAGES, PART_SECONDS
from featx.data.feeding import Feed, open_feed, run_batches
from featx.data.inputs import Picture
from featx.decoding.pixel_format import Seen, read_colours
from featx.errors import ExtractionError
from featx.extraction.runner import make_decoding
from featx.extraction.shared_runner import SharedRunner
from featx.features.row_cache import RowCache, Rows
from featx.timing import Stages


def fill_rows(
    runner: SharedRunner,
    pictures: Mapping[str, Picture],
    cache: RowCache | None,
    num_workers: int,
    processes: int | None,
) -> Rows:
    """Rows that are kept, and those of all other images, computed by us or another meanwhile.

    Parameters
    ----------
    runner : SharedRunner
    pictures : mapping of str to Picture
        By content hash.
    cache : RowCache or None
        None: nothing is kept.
    num_workers, processes
        See `open_feed`. Pictures in memory are decoded in threads: processes would have copies.

    Raises
    ------
    ImageError
        One cannot be decoded.
    ExtractionError
        The network gave NaN or infinite features, or a process that decoded was killed.
    """
    rows = Rows() if cache is None else cache.read(pictures)
    missing = {digest: one for digest, one in pictures.items() if digest not in rows}
    if not missing:
        return rows
    are_files = all(isinstance(one.source(), Path) for one in missing.values())
    seen = Seen()
    with open_feed(
        make_decoding(runner.made, seen),
        runner,
        ((one.source(), digest) for digest, one in missing.items()),
        len(missing),
        num_workers=num_workers,
        processes=processes if are_files else 0,
        stages=Stages(),
    ) as feed:
        if cache is None:
            rows |= _compute(runner, missing, feed, None)
        else:
            while missing:
                with cache.claim(missing, PART_IMAGES) as claimed:
                    rows |= cache.read(claimed)
                    left = {digest: missing[digest] for digest in claimed if digest not in rows}
                    rows |= _compute(runner, left, feed, cache)
                for digest in claimed:
                    del missing[digest]
    seen.warn(read_colours(runner.made.colours))
    return rows


def _compute(
    runner: SharedRunner, pictures: Mapping[str, Picture], feed: Feed, cache: RowCache | None
) -> Rows:
    """Run the network over images, and keep what it gives, whatever ends it."""
    digests, every = list(pictures), list(pictures.values())
    jobs = ((i, (one.source(), digests[i])) for i, one in enumerate(every))
    rows, waiting, begun = Rows(), Rows(), time.monotonic()
    try:
        with contextlib.closing(feed.load_batches(jobs, runner.batch_size)) as batches:
            for batch, found in run_batches(runner, batches, feed.stages):
                for i, error in batch.failures:
                    raise every[i].name_error(error) from error
                for i, row in zip(batch.rows.tolist(), found, strict=True):
                    if not np.isfinite(row).all():
                        raise ExtractionError(
                            f"the network gave NaN or infinite features for image "
                            f"{every[i].number}: check the weights and the device"
                        )
                    waiting[digests[i]] = row
                if cache is not None and time.monotonic() - begun >= PART_SECONDS:
                    cache.write(waiting)
                    rows |= waiting
                    waiting, begun = Rows(), time.monotonic()
    finally:
        if cache is not None:
            cache.write(waiting)
    return rows | waiting
