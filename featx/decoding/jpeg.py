"""Photographs, by libjpeg-turbo itself: the pixels that Pillow gives, sooner; or None.

Pillow reads the header, and all that is not just usual goes its way, so that every file has the
fate that it has there.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image

from featx.decoding.file_kinds import check_scans, iterate_segments
from featx.decoding.pixel_format import Reading
from featx.decoding.profiles import is_srgb

log = logging.getLogger(__name__)

# Bytes that a thread keeps for its next picture: 22 megapixels.
_MOST_KEPT = 64 << 20
_kept = threading.local()
_HUFFMAN = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: ITU-T T.81, table B.1


@dataclass(frozen=True)
class Pixels:
    """A decoded picture, as it is stored.

    Attributes
    ----------
    values : ndarray of shape (height, width, 3), uint8
        sRGB.
    size : (float, float)
        Width and height of what is in them: a fraction where a decoder that reduces rounded up.
    orientation : int
        EXIF's: how it is to be turned.
    """

    values: npt.NDArray[np.uint8]
    size: tuple[float, float]
    orientation: int = 1


def find_scale(size: tuple[int, int], short: int | None) -> int:
    """By what libjpeg may divide a size so that `short` pixels are left of its short side."""
    if short is None:
        return 1
    return next(k for k in (8, 4, 2, 1) if k == 1 or min(size) >= k * short)


def read_photograph(
    data: bytes, short: int | None, most: int, reading: Reading, passing: bool = False
) -> Pixels | None:
    """A JPEG of 8 bits, grey or of three colours, that is whole and sRGB; else None.

    Parameters
    ----------
    data : bytes
        Of a file.
    short : int or None
        See `find_scale`.
    most : int
        Pixels that it may have.
    reading : Reading
    passing : bool
        The pixels are good until the calling thread reads its next picture, which takes their
        place: for memory that is new each time, threads wait for each other in the kernel.
    """
    try:
        check_scans(data)
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
            profile = opened.info.get("icc_profile")
            usual = opened.mode in ("L", "RGB") and opened.width * opened.height <= most
            if profile and reading.profiles == "srgb":
                usual = usual and is_srgb(profile, opened.mode)
            if not usual or not _is_huffman(data):
                return None
            (width, height), orientation = opened.size, 1
            with contextlib.suppress(Exception):  # its EXIF is damaged; the pixels are not
                orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
        scale = find_scale((width, height), short)
        shape = -(-height // scale), -(-width // scale), 3
        room = _find_room(shape[0] * shape[1] * 3) if passing else None
        # Strict: what libjpeg only warns of may be an error to Pillow, or none.
        values = simplejpeg.decode_jpeg(
            data, min_height=shape[0], min_width=shape[1], buffer=room, strict=True
        )
    except MemoryError:
        raise
    except Exception as error:
        log.debug("left to Pillow: %s", error)
        return None
    if values.shape != shape:
        return None
    return Pixels(values, (width / scale, height / scale), orientation)


def _find_room(size: int) -> npt.NDArray[np.uint8] | None:
    """Memory of the calling thread for so many bytes; None where it would be more than is kept."""
    if size > _MOST_KEPT:
        return None
    room: npt.NDArray[np.uint8] | None = getattr(_kept, "room", None)
    if room is None or room.size < size:
        room = _kept.room = np.empty(size, np.uint8)
    return room


def _is_huffman(data: bytes) -> bool:
    for marker, _ in iterate_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker in _HUFFMAN
    return False
