"""A look at all images before training, for those that cannot be decoded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from featx.data.dataset import HashedRows, Skipped
from featx.data.feeding import Decoding, open_feed
from featx.decoding.pixel_format import Seen
from featx.timing import Meter, Stages

_AT_ONCE = 64  # images of a batch


@dataclass(frozen=True)
class _Looker:
    """Who takes decoded images and computes nothing."""

    device: str
    batch_size: int = _AT_ONCE

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.empty((len(pixels), 0), np.float32)


def leave_out_undecodable(
    rows: HashedRows,
    on_error: str,
    decoding: Decoding,
    device: str,
    *,
    num_workers: int,
    processes: int | None,
) -> tuple[HashedRows, tuple[Skipped, ...]]:
    """Decode every image once; leave out those that cannot be, and say which and why.

    Parameters
    ----------
    rows : HashedRows
    on_error : {"skip", "fail"}
    decoding : Decoding
        As training will decode.
    device : str
        The type of what trains: where that is a CPU, auto stays with threads here as well.
    num_workers, processes
        See `open_feed`.

    Raises
    ------
    ImageError
        `on_error` is "fail" and there is one.
    ExtractionError
        A process that decoded was killed.
    """
    seen, n = Seen(), len(rows.hashes)
    decoding = replace(decoding, reading=replace(decoding.reading, seen=seen))
    good, skipped = np.ones(n, dtype=bool), list(rows.unread)
    with (
        open_feed(
            decoding, _Looker(device), ((rows.locate(i),) for i in range(n)), n,
            num_workers=num_workers, processes=processes, stages=Stages(),
        ) as feed,
        contextlib.closing(
            feed.load_batches(((i, (rows.locate(i),)) for i in range(n)), _AT_ONCE)
        ) as batches,
        Meter("look", n, False) as meter,
    ):  # fmt: skip
        for batch in batches:
            for i, error in batch.failures:
                if on_error == "fail":
                    raise error
                path, digest = rows.dataset.paths[i], str(rows.hashes[i])
                skipped.append(Skipped(path, digest, error.kind, error.reason))
                good[i] = False
            meter.update(len(batch.rows) + len(batch.failures))
    seen.warn(decoding.reading)
    return rows.select(good), tuple(sorted(skipped))
