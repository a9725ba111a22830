"""Boxes in pictures: parts that are images of their own, named as if the picture were a folder.

``photo.jpg/[120,40,300,200]`` begins 120 pixels from the left and 40 from the top of the picture as
it stands upright, and is 300 wide and 200 high. There is no such path in the file system; no module
but this one knows the form.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from featx.config import IMAGE_FORMATS
from featx.decoding.jpeg import Pixels
from featx.decoding.picture import (
    Source,
    decode_bytes,
    decode_picture,
    decode_pixels,
    decode_sooner,
    own_rules,
    read_bytes,
)
from featx.decoding.pixel_format import Reading
from featx.decoding.resizing import turn_upright
from featx.decoding.tiff import is_tiff, read_layout
from featx.errors import ImageError
from featx.storage.places import hash_place, open_place

# One rectangle has one name: no zeros lead.
END = "]"  # of what a box is called; few other images are called so
_NUMBER, _SIDE = r"(0|[1-9]\d{0,8})", r"([1-9]\d{0,8})"
_FORM = re.compile(rf"(.+)/\[{_NUMBER},{_NUMBER},{_SIDE},{_SIDE}\]", re.DOTALL)
_KEPT_BYTES = 64 << 20  # of pictures that boxes were cut from: the last one is kept, however large
_TURNED = (5, 6, 7, 8)  # of EXIF's orientations those that exchange width and height
# Of which Pillow's header says the size that is decoded.
_PLAIN_HEADERS = tuple(name for name in IMAGE_FORMATS if name != "TIFF")

_Decode = Callable[[str, bytes, Reading], npt.NDArray[np.uint8]]


class Box(NamedTuple):
    """A rectangle in a picture as it stands upright, in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"[{self.left},{self.top},{self.width},{self.height}]"


def name_box(picture: str, box: Box) -> str:
    """What a box of a picture is called: a path, where the picture's name is one."""
    return f"{picture}/{box}"


def split_name(name: str) -> tuple[str, Box | None]:
    """A picture's name, and the box in it that is named; None where the name is a whole file's."""
    found = _FORM.fullmatch(name) if name.endswith(END) else None
    if found is None:
        return name, None
    return found[1], Box(*map(int, found.groups()[1:]))


def split_path(path: Path) -> tuple[Path, Box | None]:
    """The same of a path."""
    if not path.name.endswith(END):  # asked first, of every image
        return path, None
    picture, box = split_name(path.as_posix())
    return (path, None) if box is None else (Path(picture), box)


def find_picture(path: Path) -> Path:
    """The file in which an image lies: its own, or that of the picture that it is a box of."""
    return split_path(path)[0]


def hash_box(digest: str, box: Box) -> str:
    """SHA-256, in hex, that a box has in a file of that SHA-256.

    What is hashed begins as no image file does, so that no file has the same hash.
    """
    return hashlib.sha256(f"featx box {box} of {digest}\n".encode()).hexdigest()


def hash_image(path: Path, hash_bytes: Callable[[Path], str] = hash_place) -> str:
    """SHA-256, in hex, that an image is known by: of its file's bytes, or of the box in it."""
    picture, box = split_path(path)
    digest = hash_bytes(picture)
    return digest if box is None else hash_box(digest, box)


def open_picture(
    path: Source, digest: str | None, short: int | None, reading: Reading | None
) -> tuple[Image.Image, tuple[float, float]]:
    """See `decode_picture`; of a box, too, which is cut from the picture at its full size."""
    values = _cut(path, digest, reading, _decode_by_pillow)
    if values is None:
        return decode_picture(path, digest, short, reading)
    return Image.fromarray(values), (values.shape[1], values.shape[0])


def open_pixels(
    path: Source, digest: str | None, short: int | None, reading: Reading | None
) -> Pixels:
    """See `decode_pixels`; of a box, too, as of one that was saved in a file of its own."""
    values = _cut(path, digest, reading, _decode_sooner)
    if values is None:
        return decode_pixels(path, digest, short, reading)
    return Pixels(values, (values.shape[1], values.shape[0]))


def measure_picture(path: Path) -> tuple[int, int]:
    """Width and height in pixels of a file's picture as it stands upright, by its header if it may.

    Raises
    ------
    ImageError
    """
    try:
        with own_rules(), open_place(path) as file:
            head = file.read(8)
            file.seek(0)
            if is_tiff(head):
                # Whatever channels are picked, the picture has that size.
                layout = read_layout(file.read(), Reading(channels=(0,)))
                return _turn(layout.size, layout.orientation)
            with Image.open(file, formats=_PLAIN_HEADERS) as opened:
                return _turn(opened.size, _read_orientation(opened))
    except Exception:  # another format, or damage: decoding says which
        return decode_picture(path, None, None, None)[0].size


def _read_orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # its EXIF is damaged; the pixels are not
        return 1


def _turn(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation in _TURNED else size


def _cut(
    path: Source, digest: str | None, reading: Reading | None, decode: _Decode
) -> npt.NDArray[np.uint8] | None:
    """A box's pixels, shape (height, width, 3); None of what is none. It raises as `open_rgb`."""
    if isinstance(path, Image.Image):
        return None
    picture, box = split_path(path)
    if box is None:
        return None
    reading = reading or Reading()
    try:
        # Read for each box, which costs little, so that a picture is known by its bytes alone.
        data = read_bytes(picture, None)
        content = hashlib.sha256(data).hexdigest()
        if digest is not None and hash_box(content, box) != digest:
            raise ImageError(str(path), "changed while it was being read", "unreadable")
        # By what is told of the picture, too: who asks anew is told anew.
        key = (content, decode, reading, id(reading.seen))
        values = _in_hand.take(key, lambda: decode(str(picture), data, reading))
    except ImageError as error:
        raise ImageError(str(path), error.reason, error.kind) from error
    height, width = values.shape[:2]
    right, bottom = box.left + box.width, box.top + box.height
    if right > width or bottom > height:
        raise ImageError(
            str(path), f"the box reaches out of the picture, {width} x {height} pixels", "bad-box"
        )
    return values[box.top : bottom, box.left : right].copy()  # which has no turned strides


def _decode_by_pillow(name: str, data: bytes, reading: Reading) -> npt.NDArray[np.uint8]:
    return np.asarray(decode_bytes(name, data, None, reading)[0])


def _decode_sooner(name: str, data: bytes, reading: Reading) -> npt.NDArray[np.uint8]:
    found = decode_sooner(name, data, None, reading)
    return turn_upright(found.values, found.orientation)


class _InHand:
    """Pictures that boxes are being cut from, and the last few that some were cut from.

    A picture is decoded by who asks first; whoever asks meanwhile waits for that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pictures: dict[Any, Future[npt.NDArray[np.uint8]]] = {}
        self._sizes: dict[Any, int] = {}  # of those that are decoded, the oldest first
        self._size = 0  # of them all

    def take(self, key: Any, decode: Callable[[], npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """The picture of that key; raises what `decode` does, to all who wait for it."""
        with self._lock:
            asked = self._pictures.get(key)
            mine = Future[npt.NDArray[np.uint8]]() if asked is None else None
            if mine is not None:
                self._pictures[key] = mine
        if mine is None:
            assert asked is not None
            return asked.result()
        try:
            values = decode()
        except BaseException as error:
            with self._lock:
                del self._pictures[key]  # who comes later tries again
            mine.set_exception(error)
            raise
        mine.set_result(values)
        with self._lock:
            self._sizes[key] = values.nbytes
            self._size += values.nbytes
            while self._size > _KEPT_BYTES and len(self._sizes) > 1:
                oldest = next(iter(self._sizes))
                self._size -= self._sizes.pop(oldest)
                del self._pictures[oldest]
        return values


_in_hand = _InHand()
