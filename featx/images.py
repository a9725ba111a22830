"""One image: from bytes to the uint8 square that a network takes; and many of them, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps, features

from featx.config import BACKGROUND, IMAGE_FORMATS, Preprocessing
from featx.errors import ImageError

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

_STRIP = 4  # long side over short side, beyond which a picture is not resized whole


def describe_decoder() -> str:
    """What decodes, with versions: two decoders may differ in the last bit of a pixel."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg") or "unknown"
    return f"pillow {PIL.__version__}, jpeg {jpeg}"


def open_rgb(path: Path) -> Image.Image:
    """Decode a file to an upright 8-bit RGB picture.

    EXIF orientation is applied; of an animation the first frame is taken; transparency is laid on
    white; 16-bit grey is scaled to 8 bits, not clipped.

    Raises
    ------
    ImageError
        Where the file cannot be read or is no image of a known format.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            return _to_rgb(upright)
    except PIL.UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise ImageError(str(path), "empty file" if empty else "not an image") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every kind for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            reason = (error.strerror or str(error)).lower()
            raise ImageError(str(path), reason, transient=True) from error
        raise ImageError(str(path), f"cannot be decoded: {error}") from error


def load_image(path: Path, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode, resize the short side and take the centre: torchvision's evaluation transform.

    The pixels are torchvision's to the bit, but for strips whose long side is more than four times
    the short one: of those only the part that the crop keeps is computed, so that a 20 x 20,000
    strip costs no more than a square, and a pixel may differ by a level or two.

    Parameters
    ----------
    path : Path
    preprocessing : Preprocessing

    Returns
    -------
    ndarray of shape (crop, crop, 3), uint8
        RGB, not yet normalised.

    Raises
    ------
    ImageError
    """
    image = open_rgb(path)
    crop, filter_ = preprocessing.crop, _FILTERS[preprocessing.interpolation]
    width, height = resized_size(image.size, preprocessing.resize)
    # torchvision.transforms.functional.center_crop rounds the same way.
    left, top = round((width - crop) / 2.0), round((height - crop) / 2.0)
    if max(image.size) <= _STRIP * min(image.size):
        resized = image.resize((width, height), filter_)
        return np.asarray(resized.crop((left, top, left + crop, top + crop)))
    across, down = image.width / width, image.height / height
    # Rounding must not push the box a hair over the edge: Pillow would refuse it.
    right, bottom = (left + crop) * across, (top + crop) * down
    box = (left * across, top * down, min(right, image.width), min(bottom, image.height))
    return np.asarray(image.resize((crop, crop), filter_, box=box))


def load_augmented(
    path: Path, preprocessing: Preprocessing, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Like `load_image`, with a random rotation, crop and flip for training.

    Rotation within 15 degrees (corners filled by the channel means), a random square with 60 to
    100 % of the short side, mirrored with probability 1/2. All choices come from `rng`.

    Returns
    -------
    ndarray of shape (crop, crop, 3), uint8
    """
    image = open_rgb(path)
    angle = rng.uniform(-15.0, 15.0)
    red, green, blue = (round(255 * m) for m in preprocessing.mean)
    image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(red, green, blue))
    side = max(1.0, rng.uniform(0.6, 1.0) * min(image.size))
    left = rng.uniform(0, image.width - side)
    top = rng.uniform(0, image.height - side)
    square = image.resize(
        (preprocessing.crop, preprocessing.crop),
        _FILTERS[preprocessing.interpolation],
        box=(left, top, left + side, top + side),
    )
    if rng.random() < 0.5:
        square = ImageOps.mirror(square)
    return np.asarray(square)


def resized_size(size: tuple[int, int], short: int) -> tuple[int, int]:
    """(width, height) after the short side became `short`; the long one is cut to whole pixels."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


@dataclass(frozen=True)
class Batch:
    """Some decoded images of a sequence.

    Attributes
    ----------
    rows : ndarray of shape (b,), int64
        Their positions in the sequence, ascending.
    pixels : ndarray of shape (b, crop, crop, 3), uint8
    failures : tuple of (int, ImageError)
        Positions met on the way that could not be decoded.
    """

    rows: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.uint8]
    failures: tuple[tuple[int, ImageError], ...]


def load_batches(
    load: Callable[[int], npt.NDArray[np.uint8]],
    order: Sequence[int] | npt.NDArray[np.int64],
    batch_size: int,
    num_workers: int,
) -> Iterator[Batch]:
    """Decode ahead in threads (Pillow lets go of the interpreter lock) and yield full batches.

    At most two batches are decoded ahead. Every batch but the last has `batch_size` images,
    failures not counted.

    Parameters
    ----------
    load : callable
        Decodes the image at a position; raises ImageError.
    order : sequence of int
        Positions, in the order wanted.
    batch_size : int
    num_workers : int
        Decoding threads; 0 decodes in the calling thread.

    Yields
    ------
    Batch
    """
    rows: list[int] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    failures: list[tuple[int, ImageError]] = []
    for position, result in _decode_ahead(load, order, 2 * batch_size, num_workers):
        if isinstance(result, ImageError):
            failures.append((position, result))
            continue
        rows.append(position)
        pixels.append(result)
        if len(rows) == batch_size:
            yield Batch(np.array(rows), np.stack(pixels), tuple(failures))
            rows, pixels, failures = [], [], []
    if rows:
        yield Batch(np.array(rows), np.stack(pixels), tuple(failures))
    elif failures:
        yield Batch(np.empty(0, np.int64), np.empty((0, 0, 0, 3), np.uint8), tuple(failures))


def _decode_ahead(
    load: Callable[[int], npt.NDArray[np.uint8]],
    order: Sequence[int] | npt.NDArray[np.int64],
    ahead: int,
    num_workers: int,
) -> Iterator[tuple[int, npt.NDArray[np.uint8] | ImageError]]:
    def try_load(position: int) -> npt.NDArray[np.uint8] | ImageError:
        try:
            return load(position)
        except ImageError as error:
            return error

    if num_workers == 0:
        for position in order:
            yield int(position), try_load(int(position))
        return
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="featx-decode")
    waiting: deque[tuple[int, Future[npt.NDArray[np.uint8] | ImageError]]] = deque()
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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(
                f"grey values from {values.min()} to {values.max()} have no known scale"
            )
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known scale")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")
