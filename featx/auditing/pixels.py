"""What a picture looks like in a few numbers: its size, its sharpness, a perceptual hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import laplace

from featx.data.images import open_rgb
from featx.data.loading import load_batches
from featx.decoding.pixel_format import Reading

_SIDE = 64  # pixels of the square that is hashed
_WAVES = 16  # of each direction that are kept: 256 bits
HASH_BITS = _WAVES**2
_SHARP_SIDE = 512  # long side beyond which a picture is reduced before its sharpness is measured
_BATCH = 64

LOOK = np.dtype(
    [
        ("seen", "?"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("sharpness", "<f4"),
        ("hash", "u1", (2, HASH_BITS // 8)),
    ]
)


@dataclass(frozen=True)
class Looks:
    """What pictures look like.

    Attributes
    ----------
    table : ndarray of shape (n_samples,), `LOOK`
        Of each picture whether it was seen, width and height in pixels, the variance of its
        Laplacian, and its perceptual hash, as it is and mirrored.
    failures : tuple of (int, str)
        Rows of pictures that could not be seen, with the reason.
    """

    table: npt.NDArray[Any]
    failures: tuple[tuple[int, str], ...] = ()


def look_at(
    root: Path,
    paths: Sequence[str],
    digests: Sequence[str],
    num_workers: int,
    watch: Callable[[Iterable[int]], Iterable[int]] = iter,
    reading: Reading | None = None,
) -> Looks:
    """Decode pictures, two batches of 64 at a time, and keep 80 bytes of each.

    Parameters
    ----------
    root : Path
    paths : sequence of str
        Relative to `root`.
    digests : sequence of str
        SHA-256 that the files must have, in hex: another picture of that name is not looked at.
    num_workers : int
        Decoding threads; 0 decodes in the calling thread.
    watch : callable
        Wraps the rows as they are taken: a progress bar.
    reading : Reading, optional
        See `open_rgb`.
    """

    def load(row: int) -> npt.NDArray[Any]:
        return describe_picture(open_rgb(root / paths[row], digests[row], reading))

    table = np.zeros(len(paths), LOOK)
    failures: list[tuple[int, str]] = []
    for batch in load_batches(load, watch(range(len(paths))), _BATCH, num_workers):
        if len(batch.rows):
            table[batch.rows] = batch.pixels
        failures += [(row, error.reason) for row, error in batch.failures]
    return Looks(table, tuple(failures))


def describe_picture(image: Image.Image) -> npt.NDArray[Any]:
    """One entry of `LOOK`, as an array without dimensions."""
    look = np.zeros((), LOOK)
    grey = image.convert("L")
    look["seen"], look["width"], look["height"] = True, image.width, image.height
    look["hash"] = hash_picture(grey)
    grey.thumbnail((_SHARP_SIDE, _SHARP_SIDE), reducing_gap=2.0)
    look["sharpness"] = laplace(np.asarray(grey, dtype=np.float32)).var()
    return look


def hash_picture(grey: Image.Image) -> npt.NDArray[np.uint8]:
    """Perceptual hash of a grey picture and of its mirror image, shape (2, 32).

    The lowest 16 x 16 waves of the cosine transform of 64 x 64 pixels, one bit each: whether it is
    above the median (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", there with 8 x 8). Mirroring turns the sign of every wave that is odd across, so
    that both hashes come from one transform.
    """
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=None)
    waves = dctn(np.asarray(small, dtype=np.float64), norm="ortho")[:_WAVES, :_WAVES]
    waves[0, 0] = 0.0  # how bright it is, which is no shape
    mirrored = waves * np.where(np.arange(_WAVES) % 2, -1, 1)
    bits = [one > np.median(one) for one in (waves, mirrored)]
    return np.packbits(np.reshape(bits, (2, HASH_BITS)), axis=1)


def count_bits(
    a: npt.NDArray[Any], b: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """How many bits of their hashes pictures differ in, and whether one must be mirrored for that.

    Parameters
    ----------
    a, b : ndarray of shape (n_pairs,), `LOOK`
    """
    plain, mirrored = (
        np.bitwise_count(a["hash"][:, 0] ^ b["hash"][:, i]).sum(axis=1, dtype=np.int64)
        for i in (0, 1)
    )
    return np.minimum(plain, mirrored), mirrored < plain
