"""One image: from bytes to the uint8 square that a network takes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, features

from featx.config import BACKGROUND, IMAGE_FORMATS, MAX_PIXELS, Preprocessing
from featx.errors import DatasetError, ImageError
from featx.storage.files import open_regular
from featx.text import format_bytes, printable, say_error

log = logging.getLogger(__name__)

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

_BYTES_PER_PIXEL = 8  # four channels of 16 bits: the largest that a file can need uncompressed
_REASON = 150  # characters of a reason that are kept

# A file, or a picture that is in memory or opened.
Source = Path | Image.Image

_rules_lock = threading.Lock()
_opened_lock = threading.Lock()  # Pillow loads a picture, and its EXIF, on first use
_decoding = 0  # pictures in hand, in all threads
_others_rules: tuple[int | None, bool] = (None, False)

# Of the short side that is wanted: what reduced decoding leaves at least. With 2, twelve-megapixel
# photographs kept row cosines of 0.9994 and more; with 1, of 0.998 (docs/benchmarks.md).
_REDUCED = 2
_FAST = "; jpeg at reduced scale"

_LEAST_AREA = 0.35  # of a view's square in the largest one
_STRIP = 4  # long side over short side, beyond which a picture is not resized whole


def describe_decoder(decode: str = "exact") -> str:
    """What decodes, with versions: two decoders may differ in the last bit of a pixel."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    parts = {"jpeg": jpeg, "webp": features.version("webp"), "tiff": features.version("libtiff")}
    names = [f"pillow {PIL.__version__}", *(f"{k} {v}" for k, v in parts.items() if v)]
    return ", ".join(names) + (_FAST if decode == "fast" else "")


def read_decode(described: str) -> str:
    """ "exact" or "fast", whichever `describe_decoder` described."""
    return "fast" if described.endswith(_FAST) else "exact"


def describe_colours() -> str:
    """How `open_rgb` makes upright RGB of everything, in words; part of what made a feature."""
    ground = "".join(f"{level:02x}" for level in BACKGROUND)
    return f"exif upright, first frame, alpha on #{ground}, deep grey scaled to 8 bits"


def pixel_limit() -> int:
    """The most pixels a picture may have: FEATX_MAX_PIXELS, else `MAX_PIXELS`.

    Raises
    ------
    DatasetError
        The variable holds something else than a positive whole number.
    """
    given = os.environ.get("FEATX_MAX_PIXELS", str(MAX_PIXELS))
    if not given.isascii() or not given.isdecimal() or len(given) > 18 or int(given) < 1:
        raise DatasetError(f"FEATX_MAX_PIXELS is {given[:40]!r}; expected a whole number of pixels")
    return int(given)


def open_rgb(path: Source, digest: str | None = None) -> Image.Image:
    """Decode a file to an upright 8-bit RGB picture.

    One that Pillow has opened, or made in memory, is taken the same way, and stays what it is.

    EXIF orientation is applied where it can be read; of an animation the first frame is taken;
    transparency is laid on white; grey of more than 8 bits is scaled, not clipped; a truncated
    file is never half decoded. The bytes are read once, so that what is decoded is what was hashed.

    Parameters
    ----------
    path : Path or PIL.Image.Image
    digest : str, optional
        SHA-256 that the file's bytes must have, in hex; of a picture, what `hash_pixels` gives.

    Raises
    ------
    ImageError
        The file cannot be read, is too large, changed, or is no image of a known format.
    """
    return _decode(path, digest, None)[0]


def hash_pixels(pixels: Image.Image | npt.NDArray[np.uint8]) -> str:
    """SHA-256, in hex, of an upright RGB picture's size and pixels.

    What is hashed begins as no image file does, so that no file has the same hash.
    """
    rgb = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"featx pixels {rgb.shape[1]} x {rgb.shape[0]} RGB\n".encode())
    digest.update(rgb.data)
    return digest.hexdigest()


def _decode(
    path: Source, digest: str | None, short: int | None
) -> tuple[Image.Image, tuple[float, float]]:
    """`open_rgb`, and the size that the picture has.

    With `short` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least `short`
    pixels of its short side. Its size is then a fraction, which the decoder rounds up.
    """
    held = isinstance(path, Image.Image)
    name = "picture" if isinstance(path, Image.Image) else str(path)
    try:
        with _own_rules(), _open(path, digest) as opened:
            _check_pixels(name, opened.size)
            bits = _bits_per_sample(opened)
            size = _reduce(opened, None if held else short)
            with _opened_lock if held else contextlib.nullcontext():
                opened.load()
                upright = _turn_upright(opened)
            if upright.size != opened.size:
                size = size[::-1]
    except PIL.UnidentifiedImageError as error:
        raise ImageError(name, "not an image", "not-an-image") from error
    except (ImageError, DatasetError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise nearly every kind for damaged files
        said = _say(error)
        # Pillow says so in words alone; the same bytes may be decoded another time.
        machine = "out of memory" in said or "not available" in said
        kind = "unreadable" if machine else "damaged"
        raise ImageError(name, f"cannot be decoded: {said}", kind) from error
    try:
        rgb = _to_rgb(upright, bits)
    except ValueError as error:
        raise ImageError(name, f"cannot be used: {_say(error)}", "unsupported") from error
    if held and digest is not None and hash_pixels(rgb) != digest:
        raise ImageError(name, "changed while it was being read", "unreadable")
    return rgb, size


def _open(path: Source, digest: str | None) -> contextlib.AbstractContextManager[Image.Image]:
    if isinstance(path, Image.Image):
        return contextlib.nullcontext(path)  # whose it is closes it
    return Image.open(io.BytesIO(_read_bytes(path, digest)), formats=IMAGE_FORMATS)


def _reduce(opened: Image.Image, short: int | None) -> tuple[float, float]:
    """Have a JPEG decoded at reduced scale; its size then, to a fraction of a pixel."""
    width, height = opened.size
    if short is None or opened.format != "JPEG":
        return width, height
    scale = next(k for k in (8, 4, 2, 1) if k == 1 or min(width, height) >= k * short)
    drafted = opened.draft(None, (width // scale, height // scale))
    return drafted[1][2:] if drafted is not None else (width, height)


def load_image(
    path: Source, preprocessing: Preprocessing, digest: str | None = None, decode: str = "exact"
) -> npt.NDArray[np.uint8]:
    """Decode, resize the short side and take the centre: torchvision's evaluation transform.

    Of a preprocessing with a view, that view instead: a square of 35 to 100 % of the largest one's
    area, anywhere, mirrored with probability 1/2, decoded exactly. The file's content and the
    view's number decide all of it: the same bytes have the same views, whatever they are called.

    The pixels are torchvision's to the bit, but for strips whose long side is more than four times
    the short one: of those only the part that the crop keeps is computed, so that a 20 x 20,000
    strip costs no more than a square, and a pixel may differ by a level or two.

    Parameters
    ----------
    path : Path or PIL.Image.Image
    preprocessing : Preprocessing
    digest : str, optional
        See `open_rgb`.
    decode : {"exact", "fast"}
        "fast" decodes a JPEG at 1/2, 1/4 or 1/8 of its size, as libjpeg can, where that leaves at
        least twice the pixels wanted: of a smaller picture, and of any other format, the pixels
        are those of "exact".

    Returns
    -------
    ndarray of shape (crop, crop, 3), uint8
        RGB, not yet normalised.

    Raises
    ------
    ImageError
    """
    if preprocessing.view:
        return _load_view(path, preprocessing, digest)
    short = _REDUCED * preprocessing.resize if decode == "fast" else None
    image, size = _decode(path, digest, short)
    crop, filter_ = preprocessing.crop, _FILTERS[preprocessing.interpolation]
    width, height = resized_size(size, preprocessing.resize)
    # torchvision.transforms.functional.center_crop rounds the same way.
    left, top = round((width - crop) / 2.0), round((height - crop) / 2.0)
    if max(image.size) <= _STRIP * min(image.size):
        resized = image.resize((width, height), filter_, box=(0, 0, *size))
        return np.asarray(resized.crop((left, top, left + crop, top + crop)))
    across, down = size[0] / width, size[1] / height
    # Rounding must not push the box a hair over the edge: Pillow would refuse it.
    right, bottom = (left + crop) * across, (top + crop) * down
    box = (left * across, top * down, min(right, size[0]), min(bottom, size[1]))
    return np.asarray(image.resize((crop, crop), filter_, box=box))


def _load_view(
    path: Source, preprocessing: Preprocessing, digest: str | None
) -> npt.NDArray[np.uint8]:
    if digest is None and isinstance(path, Path):
        digest = hashlib.sha256(_read_bytes(path, None)).hexdigest()
    image = open_rgb(path, digest)
    digest = digest or hash_pixels(image)
    rng = np.random.default_rng([preprocessing.view, int(digest[:16], 16)])
    side = np.sqrt(rng.uniform(_LEAST_AREA, 1.0)) * min(image.size)
    return _cut_square(image, preprocessing, max(1.0, float(side)), rng)


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


def resized_size(size: tuple[float, float], short: int) -> tuple[int, int]:
    """(width, height) after the short side became `short`; the long one is cut to whole pixels."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def _read_bytes(path: Path, digest: str | None) -> bytes:
    try:
        with open_regular(path) as file:
            size, most = os.fstat(file.fileno()).st_size, _BYTES_PER_PIXEL * pixel_limit()
            if size > most:
                raise ImageError(
                    str(path),
                    f"{format_bytes(size)}, more than a picture of {pixel_limit()} pixels "
                    "(FEATX_MAX_PIXELS raises that)",
                    "too-large",
                )
            data = file.read()
    except OSError as error:
        raise ImageError(str(path), _say(error), "unreadable") from error
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise ImageError(str(path), "changed while it was being read", "unreadable")
    if not data:
        raise ImageError(str(path), "empty file", "empty")
    return data


def _check_pixels(name: str, size: tuple[int, int]) -> None:
    if size[0] * size[1] > pixel_limit():
        raise ImageError(
            name,
            f"{size[0]} x {size[1]} pixels, more than {pixel_limit()} (FEATX_MAX_PIXELS raises "
            "that)",
            "too-large",
        )


@contextlib.contextmanager
def _own_rules() -> Iterator[None]:
    """Have Pillow's settings, which are the process's, as we promise while we decode.

    Its limit of pixels gives way to ours, and truncated files fail whatever the program has set.
    """
    global _decoding, _others_rules
    with _rules_lock:
        if not _decoding:
            _others_rules = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        _decoding += 1
    try:
        yield
    finally:
        with _rules_lock:
            _decoding -= 1
            if not _decoding:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = _others_rules


def _bits_per_sample(image: Image.Image) -> int:
    """Of a TIFF's first channel; 16 for every other deep format, which Pillow scales itself."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    return int(tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0])


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        # Asked first, since the function copies what it need not turn.
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except MemoryError:
        raise
    except Exception as error:  # its EXIF is damaged; the pixels are not
        log.debug("EXIF ignored: %s", error)
        return image


def _to_rgb(image: Image.Image, bits: int) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        most = 2 ** min(bits, 16) - 1
        if values.min() < 0 or values.max() > most:
            raise ValueError(
                f"grey values from {values.min()} to {values.max()} have no known scale"
            )
        image = Image.fromarray((values // (most / 255)).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known scale")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _say(error: Exception) -> str:
    """An error in one line of printable characters."""
    said = say_error(error) if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said.split())[:_REASON] or type(error).__name__
    return printable(text)
