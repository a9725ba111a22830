"""One file, or one picture in memory: from bytes to an upright RGB picture, or to a reason."""

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
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin

from featx.config import IMAGE_FORMATS, MAX_PIXELS, MAX_TEXT_BYTES
from featx.decoding.file_kinds import (
    UnsupportedError,
    check_scans,
    list_completions,
    measure_by_header,
    name_kind,
    open_by_plugin,
)
from featx.decoding.jpeg import Pixels, find_scale, read_photograph
from featx.decoding.pixel_format import Reading, scale_samples
from featx.decoding.profiles import to_rgb
from featx.decoding.stacks import find_channels, read_stack
from featx.decoding.tiff import is_misread, is_tiff, open_plain, read_deep, read_layout
from featx.errors import DatasetError, ImageError
from featx.storage.places import open_place, read_head
from featx.text import format_bytes, printable, say_error

log = logging.getLogger(__name__)

# A file, or a picture that is in memory or opened.
Source = Path | Image.Image

_BYTES_PER_PIXEL = 8  # four channels of 16 bits: the largest that a file can need uncompressed
_PACKED = {"L;2": 85, "L;4": 17}  # grey of 2 and 4 bits: what a sample's level is times
_REASON = 150  # characters of a reason that are kept

_rules_lock = threading.Lock()
_opened_lock = threading.Lock()  # Pillow loads a picture, and its EXIF, on first use
_decoding = 0  # pictures in hand, in all threads
_others_rules: tuple[int | None, bool, int, int] = (None, False, 0, 0)


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


def may_be_deep(path: Path) -> bool:
    """Whether a file's first bytes leave open that its samples have 16 bits."""
    try:
        head = read_head(path, 26)
    except (OSError, ValueError):
        return False
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"  # its bit depth
    return is_tiff(head) or not head.startswith((b"\xff\xd8", b"GIF8", b"BM", b"RIFF"))


def hash_pixels(pixels: Image.Image | npt.NDArray[np.uint8]) -> str:
    """SHA-256, in hex, of an upright RGB picture's size and pixels.

    What is hashed begins as no image file does, so that no file has the same hash.
    """
    rgb = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"featx pixels {rgb.shape[1]} x {rgb.shape[0]} RGB\n".encode())
    digest.update(rgb.data)
    return digest.hexdigest()


def decode_picture(
    path: Source, digest: str | None, short: int | None, reading: Reading | None
) -> tuple[Image.Image, tuple[float, float]]:
    """See `open_rgb`; and the size that the picture has.

    With `short` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least `short`
    pixels of its short side. Its size is then a fraction, which the decoder rounds up.
    """
    reading = reading or Reading()
    if isinstance(path, Image.Image):
        with _opened_lock:
            found = _decode_source("picture", path, None, reading)
        # A picture is known by its pixels in sRGB, whatever is made of them.
        usual = found if reading == Reading() else decode_picture(path, None, None, None)
        if digest is not None and hash_pixels(usual[0]) != digest:
            raise ImageError("picture", "changed while it was being read", "unreadable")
        return found
    return decode_bytes(str(path), read_bytes(path, digest), short, reading)


def decode_pixels(
    path: Source, digest: str | None, short: int | None, reading: Reading | None
) -> Pixels:
    """The same as an array that is not turned yet; of a photograph sooner.

    The array is good until the calling thread decodes its next picture.
    """
    if isinstance(path, Image.Image):
        image, size = decode_picture(path, digest, short, reading)
    else:
        data = read_bytes(path, digest)
        return decode_sooner(str(path), data, short, reading or Reading(), passing=True)
    return Pixels(np.array(image), size)


def decode_sooner(
    name: str, data: bytes, short: int | None, reading: Reading, passing: bool = False
) -> Pixels:
    """A file's bytes: a photograph by `read_photograph`, all else by Pillow."""
    with own_rules():
        found = read_photograph(data, short, pixel_limit(), reading, passing)
    if found is not None:
        return found
    image, size = decode_bytes(name, data, short, reading)
    return Pixels(np.array(image), size)


def decode_bytes(
    name: str, data: bytes, short: int | None, reading: Reading
) -> tuple[Image.Image, tuple[float, float]]:
    """The same of a file's bytes; of a JPEG that lacks its end marker alone, too."""
    try:
        return _decode_source(name, data, short, reading)
    except ImageError as error:
        if error.kind != "damaged":
            raise
        try:
            ended = [_decode_source(name, one, short, reading) for one in list_completions(data)]
        except ImageError:
            raise error from None
        if ended and all(one[0].tobytes() == ended[0][0].tobytes() for one in ended):
            return ended[0]
        raise


def _decode_source(
    name: str, source: bytes | Image.Image, short: int | None, reading: Reading
) -> tuple[Image.Image, tuple[float, float]]:
    """The same of a file's bytes or of a picture that is opened."""
    data = source if isinstance(source, bytes) else b""
    try:
        with own_rules(), _open(name, source, reading) as opened:
            _check_pixels(name, opened.size)
            size = _reduce(opened, short)
            tile = (
                opened.tile[0] if isinstance(opened, ImageFile.ImageFile) and opened.tile else None
            )
            opened.load()
            levels = _scale_deep(opened, tile, data, reading)
            upright = _turn_upright(levels)
            if upright.size != levels.size:
                size = size[::-1]
            rgb = to_rgb(upright, opened.info.get("icc_profile"), reading)
        return rgb, size
    except PIL.UnidentifiedImageError as error:
        kind, reason = name_kind(data) or ("not-an-image", "not an image")
        raise ImageError(name, reason, kind) from error
    except (ImageError, DatasetError, MemoryError):
        raise
    except UnsupportedError as error:
        raise ImageError(name, f"cannot be used: {_say(error)}", "unsupported") from error
    except Exception as error:  # Pillow's plugins raise nearly every kind for damaged files
        said = _say(error)
        named = name_kind(data)
        # What JPEG XL's package says of a damaged file is advice to who builds it.
        if named is not None and (named[0] == "unsupported" or "libjxl" in said):
            raise ImageError(name, named[1], named[0]) from error
        # The same bytes may be decoded another time. Pillow says so in words alone; a decoder that
        # cannot be loaded is the machine's lack, mostly of memory.
        lacking = "out of memory" in said or "not available" in said
        kind = "unreadable" if lacking or isinstance(error, ImportError) else "damaged"
        if "MAX_TEXT" in said or "text chunks" in said:
            kind, said = "unsupported", f"more than {format_bytes(MAX_TEXT_BYTES)} of text"
        raise ImageError(name, f"cannot be decoded: {said}", kind) from error


def _open(
    name: str, source: bytes | Image.Image, reading: Reading
) -> contextlib.AbstractContextManager[Image.Image]:
    if isinstance(source, Image.Image):
        if is_misread(source):
            raise UnsupportedError("Pillow reads such a TIFF wrongly: give the path of its file")
        return contextlib.nullcontext(source)  # whose it is closes it
    if is_tiff(source):
        layout = read_layout(source, reading)
        _check_pixels(name, layout.size)
        if find_channels(layout)[0] > 1:
            return read_stack(source, layout, reading)
        if layout.is_plain(reading):
            return open_plain(source, layout)
        return read_deep(source, layout, reading)
    check_scans(source)
    try:
        return Image.open(io.BytesIO(source), formats=IMAGE_FORMATS)
    except PIL.UnidentifiedImageError:
        if size := measure_by_header(source):
            _check_pixels(name, size)
        opened = open_by_plugin(source)
        if opened is None:
            raise
        return opened


def _scale_deep(
    image: Image.Image, tile: ImageFile._Tile | None, data: bytes, reading: Reading
) -> Image.Image:
    """What Pillow gave as it is, or its samples of more than 8 bits as 8; `tile` says of which."""
    args = tile.args if tile is not None else ""
    rawmode = str(args[0] if isinstance(args, tuple) else args)
    clear = image.info.get("transparency")  # of a grey PNG: a sample of its depth
    if image.format == "PNG" and image.mode in ("RGB", "RGBA") and rawmode.endswith(";16B"):
        return _scale_colours(image, rawmode, data, reading)
    if rawmode in _PACKED and isinstance(clear, int):
        # Pillow scales the samples, and leaves the one that is clear as it was.
        image = image.copy()
        image.info["transparency"] = clear * _PACKED[rawmode]
    kind, bits = "unsigned", 16
    if image.mode == "I" and image.format == "PPM":
        # Pillow has scaled it to 65,535 by the range in its header, where that is another.
        if tile is not None and tile.codec_name != "raw":
            reading = Reading()
    elif image.mode in ("I", "F"):
        kind, bits = ("signed" if image.mode == "I" else "floating-point"), 32
    elif not image.mode.startswith("I;16"):
        return image
    elif rawmode == "I;12":
        bits = 12
    values = np.asarray(image)
    if kind == "unsigned":
        values = values.astype(np.uint16)
    levels = scale_samples(values, reading, kind=kind, bits=bits)
    if isinstance(clear, int):
        levels = np.dstack([levels, np.where(values == clear, 0, 255).astype(np.uint8)])
    return _put_levels(image, levels)


def _scale_colours(image: Image.Image, rawmode: str, data: bytes, reading: Reading) -> Image.Image:
    """A PNG with colours of 16 bits: Pillow gives the upper 8, and the lower by another name."""
    upper = np.asarray(image)
    n_colours = {"LA": 1}.get(rawmode.split(";")[0], 3)
    brightest = int(upper[:, :, :n_colours].max())
    clear = image.info.get("transparency")  # a colour of that depth
    enough = not reading.stated and (reading.seen is None or brightest >= 64) and clear is None
    if not data or enough:
        if reading.seen is not None:
            reading.seen.note_samples(brightest << 8 | 255)
        return image
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        # Four bytes of grey and alpha are four channels; of others the lower byte is the upper
        # one of samples that begin at the other end.
        other = "RGBA" if n_colours == 1 else rawmode.replace("16B", "16L")
        again.tile = [again.tile[0]._replace(args=other)]
        lower = np.asarray(again)
    values = lower[:, :, :2] if n_colours == 1 else np.dstack([upper, lower])
    high, low = (values[:, :, :1], values[:, :, 1:2]) if n_colours == 1 else (upper, lower)
    samples = high[:, :, :n_colours].astype(np.uint16) << 8 | low[:, :, :n_colours]
    levels = scale_samples(samples, reading)
    if not reading.stated:
        if clear is None:
            return image
        levels = upper[:, :, :3]
    colours = np.repeat(levels, 3, axis=2) if n_colours == 1 else levels
    alpha = upper[:, :, 3:]
    if clear is not None:
        alpha = np.where((samples == clear).all(axis=2, keepdims=True), 0, 255).astype(np.uint8)
    return _put_levels(image, np.dstack([colours, alpha]))


def _put_levels(image: Image.Image, levels: npt.NDArray[np.uint8]) -> Image.Image:
    """An image of those levels, with what is known of the one that they are of."""
    made = Image.fromarray(levels)
    made.info = {name: told for name, told in image.info.items() if name != "transparency"}
    with contextlib.suppress(Exception):  # damaged EXIF is ignored, here as elsewhere
        made.getexif()[ExifTags.Base.Orientation] = image.getexif().get(
            ExifTags.Base.Orientation, 1
        )
    return made


def _reduce(opened: Image.Image, short: int | None) -> tuple[float, float]:
    """Have a JPEG decoded at reduced scale; its size then, to a fraction of a pixel."""
    width, height = opened.size
    if short is None or opened.format not in ("JPEG", "MPO"):
        return width, height
    scale = find_scale(opened.size, short)
    drafted = opened.draft(None, (width // scale, height // scale))
    return drafted[1][2:] if drafted is not None else (width, height)


def read_bytes(path: Path, digest: str | None) -> bytes:
    """A file's bytes, which have that hash; ImageError where they cannot be had."""
    try:
        with open_place(path) as file:
            size, most = file.seek(0, os.SEEK_END), _BYTES_PER_PIXEL * pixel_limit()
            if size > most:
                raise ImageError(
                    str(path),
                    f"{format_bytes(size)}, more than a picture of {pixel_limit()} pixels "
                    "(FEATX_MAX_PIXELS raises that)",
                    "too-large",
                )
            file.seek(0)
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
def own_rules() -> Iterator[None]:
    """Have Pillow's settings, which are the process's, as we promise while we decode.

    Its limits of pixels and text give way to ours, and truncated files fail whatever the program
    has set.
    """
    global _decoding, _others_rules
    with _rules_lock:
        if not _decoding:
            _others_rules = _exchange_rules(None, False, MAX_TEXT_BYTES, MAX_TEXT_BYTES)
        _decoding += 1
    try:
        yield
    finally:
        with _rules_lock:
            _decoding -= 1
            if not _decoding:
                _exchange_rules(*_others_rules)


def _exchange_rules(
    pixels: int | None, truncated: bool, text: int, texts: int
) -> tuple[int | None, bool, int, int]:
    """Set Pillow's settings; those that were set."""
    before = (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        PngImagePlugin.MAX_TEXT_CHUNK,
        PngImagePlugin.MAX_TEXT_MEMORY,
    )
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = pixels, truncated
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = text, texts
    return before


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


def _say(error: Exception) -> str:
    """An error in one line of printable characters."""
    said = say_error(error) if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said.split())[:_REASON] or f"it is not in order ({type(error).__name__})"
    return printable(text)
