"""What the frozen part of a tuned network gives for every image, computed once and kept on disk."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch

from featx.data.loading import load_batches
from featx.errors import ModelError
from featx.storage.files import write_bytes_at
from featx.timing import Stages
from featx.training.epochs import Batches

_DTYPE = np.dtype(np.float16)


class PrefixFile:
    """Activations at the boundary, one row an image, in a file that ends with the run.

    Parameters
    ----------
    folder : Path
        The file has no name there, where the system can do without: killed, too, it leaves nothing.
    shape : tuple of int
        (height, width, channels) of one image's activations.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.shape = shape
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115 - `close` ends it
            dir=folder, prefix=".prefix-"
        )
        self._row_bytes = row_bytes(shape)

    def write(self, row: int, values: npt.NDArray[np.float16]) -> None:
        """Keep one image's activations, (height, width, channels) float16."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        write_bytes_at(self._file.fileno(), data, row * self._row_bytes)

    def read(self, row: int) -> npt.NDArray[np.float16]:
        """What `write` kept; any number of threads may read at once."""
        data = os.pread(self._file.fileno(), self._row_bytes, row * self._row_bytes)
        return np.frombuffer(data, _DTYPE).reshape(self.shape)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def row_bytes(shape: tuple[int, int, int]) -> int:
    """What one image's activations take on disk."""
    return math.prod(shape) * _DTYPE.itemsize


class PrefixBatches:
    """One split's activations; the first time they are asked for, its images are computed.

    Parameters
    ----------
    images : Batches
        Pixels of the split's images.
    prefix : callable
        From pixels (b, crop, crop, 3) uint8, a Tensor, to activations (b, channels, height, width)
        float32 on any device.
    file : PrefixFile
    first : int
        The file's row of the split's first image.
    num_workers : int
        Threads that read ahead.
    stages : Stages
        Counts the prefix as "network" and writing it as "keep".
    """

    def __init__(
        self,
        images: Batches,
        prefix: Callable[[torch.Tensor], torch.Tensor],
        file: PrefixFile,
        first: int,
        num_workers: int,
        stages: Stages,
    ) -> None:
        self._images = images
        self._prefix = prefix
        self._file = file
        self._first = first
        self._num_workers = num_workers
        self._stages = stages
        self._filled = False

    @property
    def y(self) -> torch.Tensor:
        """See `Batches`."""
        return self._images.y

    def iterate(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """Activations of the images in `order`, float32 that float16 can hold."""
        rounded = self._read if self._filled else self._compute
        for rows in rounded(order, batch_size, epoch):
            # The memory is (b, height, width, channels): channels_last, as the network wants it.
            yield torch.from_numpy(rows).permute(0, 3, 1, 2).float()
        self._filled = True

    def _compute(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[npt.NDArray[np.float16]]:
        start = 0
        for pixels in self._images.iterate(order, batch_size, epoch):
            with self._stages.time("network"):  # of a GPU, too: .cpu() waits for it
                found = self._prefix(pixels).half().cpu().permute(0, 2, 3, 1)
            if not torch.isfinite(found).all():
                raise ModelError(
                    "the frozen part of the network gives numbers beyond 65504, which the prefix "
                    "cache cannot hold: say --prefix-cache off"
                )
            rows: npt.NDArray[np.float16] = found.contiguous().numpy()
            with self._stages.time("keep"):
                for i, row in zip(order[start : start + len(rows)].tolist(), rows, strict=True):
                    self._file.write(self._first + i, row)
            start += len(rows)
            yield rows

    def _read(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[npt.NDArray[np.float16]]:
        def load(i: int) -> npt.NDArray[np.float16]:
            return self._file.read(self._first + i)

        for batch in load_batches(load, order, batch_size, self._num_workers):
            yield batch.pixels
