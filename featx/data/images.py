"""One image: from bytes to the uint8 square that a network takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from featx.config import Preprocessing
from featx.decoding.crops import hash_image, open_picture, open_pixels
from featx.decoding.decoders import is_pillows, is_reduced
from featx.decoding.picture import Source, hash_pixels, read_bytes
from featx.decoding.pixel_format import Reading
from featx.decoding.resizing import resize_pixels, resized_size, turn_upright

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# Of the short side that is wanted: what reduced decoding leaves at least. With 2, twelve-megapixel
# photographs kept row cosines of 0.9994 and more; with 1, of 0.998 (docs/benchmarks.md).
_REDUCED = 2

_LEAST_AREA = 0.35  # of a view's square in the largest one
_STRIP = 4  # long side over short side, beyond which a picture is not resized whole


def open_rgb(
    path: Source, digest: str | None = None, reading: Reading | None = None
) -> Image.Image:
    """Decode a file, or a box in one, to an upright 8-bit sRGB picture.

    One that Pillow has opened, or made in memory, is taken the same way, and stays what it is.

    EXIF orientation is applied where it can be read; of an animation the first frame is taken;
    transparency is laid on white; samples of more than 8 bits are scaled by their type, not
    clipped; a truncated file is never half decoded. The bytes are read once, so that what is
    decoded is what was hashed.

    Parameters
    ----------
    path : Path or PIL.Image.Image
    digest : str, optional
        SHA-256 that the file's bytes must have, in hex; of a box, what `hash_box` gives, and of a
        picture `hash_pixels`.
    reading : Reading, optional
        What was chosen of how samples are read.

    Raises
    ------
    ImageError
        The file cannot be read, is too large, changed, or is no image of a known format.
    """
    return open_picture(path, digest, None, reading)[0]


def load_image(
    path: Source,
    preprocessing: Preprocessing,
    digest: str | None = None,
    decode: str = "exact",
    reading: Reading | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode, resize the short side and take the centre: torchvision's evaluation transform.

    Of a preprocessing with a view, that view instead: a square of 35 to 100 % of the largest one's
    area, anywhere, mirrored with probability 1/2, by Pillow at full size. The file's content and
    the view's number decide all of it: the same bytes have the same views, whatever they are
    called.

    The pixels are torchvision's to the bit, of a tensor or with "pillow" of a Pillow image, which
    differ by a level here and there. Of strips whose long side is more than four times the short
    one only the part that the crop keeps is computed, so that a 20 x 20,000 strip costs no more
    than a square, and a pixel may differ by a level or two.

    Parameters
    ----------
    path : Path or PIL.Image.Image
    preprocessing : Preprocessing
    digest : str, optional
        See `open_rgb`.
    decode : {"exact", "pillow", "fast", "pillow-fast"}
        "fast" decodes a JPEG at 1/2, 1/4 or 1/8 of its size, as libjpeg can, where that leaves at
        least twice the pixels wanted: of a smaller picture, and of any other format, the pixels
        are those of "exact". "pillow" and "pillow-fast" are the same by Pillow alone, which takes
        twice as long; else libjpeg-turbo decodes usual JPEGs, and torch resizes.
    reading : Reading, optional
        See `open_rgb`.

    Returns
    -------
    ndarray of shape (crop, crop, 3), uint8
        RGB, not yet normalised.

    Raises
    ------
    ImageError
    """
    if preprocessing.view:
        return _load_view(path, preprocessing, digest, reading)
    short = _REDUCED * preprocessing.resize if is_reduced(decode) else None
    if not is_pillows(decode):
        found = open_pixels(path, digest, short, reading)
        if not _is_strip(found.values.shape[:2]):
            resized = resize_pixels(
                found.values,
                found.size,
                resized_size(found.size, preprocessing.resize),
                preprocessing.interpolation,
            )
            # Turned when it is small, which costs nothing.
            return _crop_centre(turn_upright(resized, found.orientation), preprocessing.crop)
    image, size = open_picture(path, digest, short, reading)
    return _resize_image(image, size, preprocessing)


def _resize_image(
    image: Image.Image, size: tuple[float, float], preprocessing: Preprocessing
) -> npt.NDArray[np.uint8]:
    """By Pillow; of a strip only what the crop keeps."""
    crop, filter_ = preprocessing.crop, _FILTERS[preprocessing.interpolation]
    width, height = resized_size(size, preprocessing.resize)
    if not _is_strip(image.size):
        resized = image.resize((width, height), filter_, box=(0, 0, *size))
        return _crop_centre(np.asarray(resized), crop)
    left, top = _find_corner((width, height), crop)
    across, down = size[0] / width, size[1] / height
    # Rounding must not push the box a hair over the edge: Pillow would refuse it.
    right, bottom = (left + crop) * across, (top + crop) * down
    box = (left * across, top * down, min(right, size[0]), min(bottom, size[1]))
    return np.asarray(image.resize((crop, crop), filter_, box=box))


def _is_strip(size: tuple[int, ...]) -> bool:
    return max(size) > _STRIP * min(size)


def _crop_centre(pixels: npt.NDArray[np.uint8], crop: int) -> npt.NDArray[np.uint8]:
    left, top = _find_corner(pixels.shape[1::-1], crop)
    return np.ascontiguousarray(pixels[top : top + crop, left : left + crop])


def _find_corner(size: tuple[int, ...], crop: int) -> tuple[int, int]:
    """Left and top of the centre, as torchvision.transforms.functional.center_crop rounds them."""
    return round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)


def _hash_bytes(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, None)).hexdigest()


def _load_view(
    path: Source, preprocessing: Preprocessing, digest: str | None, reading: Reading | None
) -> npt.NDArray[np.uint8]:
    if digest is None and isinstance(path, Path):
        digest = hash_image(path, _hash_bytes)
    image = open_rgb(path, digest, reading)
    digest = digest or hash_pixels(image)
    rng = np.random.default_rng([preprocessing.view, int(digest[:16], 16)])
    side = np.sqrt(rng.uniform(_LEAST_AREA, 1.0)) * min(image.size)
    return _cut_square(image, preprocessing, max(1.0, float(side)), rng)


def load_augmented(
    path: Source,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
    reading: Reading | None = None,
) -> npt.NDArray[np.uint8]:
    """Like `load_image`, with a random rotation, crop and flip for training.

    Rotation within 15 degrees (corners filled by the channel means), a random square with 60 to
    100 % of the short side, mirrored with probability 1/2. All choices come from `rng`.

    Returns
    -------
    ndarray of shape (crop, crop, 3), uint8
    """
    image = open_rgb(path, reading=reading)
    angle = rng.uniform(-15.0, 15.0)
    red, green, blue = (round(255 * m) for m in preprocessing.mean)
    image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(red, green, blue))
    side = max(1.0, rng.uniform(0.6, 1.0) * min(image.size))
    return _cut_square(image, preprocessing, side, rng)


def _cut_square(
    image: Image.Image, preprocessing: Preprocessing, side: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A square of that side, anywhere in the picture, mirrored with probability 1/2."""
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
