"""TIFF by its tags: which page is the picture, and samples that Pillow reads wrongly or not."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from featx.decoding.file_kinds import UnsupportedError
from featx.decoding.pixel_format import Reading, scale_samples

if TYPE_CHECKING:
    import tifffile

# What tifffile says of damage is said by the error that follows.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_SUBFILE, _OLD_SUBFILE, _SUB_IFDS, _FORMAT, _PROFILE = 254, 255, 330, 339, 34675
_MOST_PAGES = 64  # looked at for the one that is the picture
# Compressions that libtiff unpacks and tifffile, by itself, does not: LZW and Zstandard.
_BY_LIBTIFF = (5, 50000)
_UNREAD = {
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000",
    22610: "JPEG XR", 34934: "JPEG XR", 34887: "LERC", 34892: "lossy JPEG of DNG",
    50002: "JPEG XL", 52546: "JPEG XL", 34713: "Nikon's NEF", 32767: "Sony's ARW",
    65535: "Pentax's PEF", 50001: "WebP",
}  # fmt: skip
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # photometric interpretation: channels
_NAMES = {
    4: "a transparency mask", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's raw sensor",
    32844: "LogL", 32845: "LogLuv", 34892: "a camera's linear raw data",
}  # fmt: skip
_KINDS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "unsigned"}


@dataclass(frozen=True)
class Layout:
    """How a page's samples lie.

    Attributes
    ----------
    at : int
        Where in the file the page is described.
    size : (int, int)
        Width and height as stored, in pixels.
    bits : tuple of int
        Of each channel.
    kind : {"unsigned", "signed", "floating-point", "complex", "mixed"}
    photometric, compression : int
        As TIFF counts them.
    planar : bool
        Each channel lies by itself.
    extra : tuple of int
        What the channels beyond the colours are: 0 anything, 1 alpha that was multiplied, 2 alpha.
    orientation : int
        As in EXIF.
    profile : bytes or None
    description : str
    """

    at: int
    size: tuple[int, int]
    bits: tuple[int, ...]
    kind: str
    photometric: int
    compression: int
    planar: bool
    extra: tuple[int, ...]
    orientation: int
    profile: bytes | None
    description: str

    def picks(self, reading: Reading) -> bool:
        """Whether channels that were named are to be taken from it."""
        return reading.channels is not None and self.photometric < 3 and len(self.bits) > 1

    def is_plain(self, reading: Reading) -> bool:
        """Whether Pillow reads it, and rightly."""
        if self.kind != "unsigned" or self.picks(reading):
            return False
        if self.planar and self._n_extra > 0:
            return False
        packed = self.bits == (12,) and self.photometric == 1
        return packed or self.bits in ((1,), (2,), (4,)) or set(self.bits) == {8}

    def check(self, reading: Reading) -> None:
        """Raise UnsupportedError, saying what it is, where how it is to be read is not known."""
        known = TiffImagePlugin.COMPRESSION_INFO.keys() | {1}
        if self.compression in _UNREAD or self.compression not in known:
            name = _UNREAD.get(self.compression, f"method {self.compression}")
            raise UnsupportedError(f"a TIFF compressed by {name}")
        if self.photometric not in _COLOURS:
            name = _NAMES.get(self.photometric, f"photometric {self.photometric}")
            raise UnsupportedError(f"a TIFF of {name}")
        if self.kind in ("complex", "mixed"):
            raise UnsupportedError(f"a TIFF of samples of {self.kind} type")
        if len(set(self.bits)) > 1:
            raise UnsupportedError(f"a TIFF with channels of {', '.join(map(str, self.bits))} bits")
        count = len(self.bits)
        if self.picks(reading):
            assert reading.channels is not None
            if max(reading.channels) >= count:
                named = ",".join(map(str, reading.channels))
                raise UnsupportedError(f"a TIFF of {count} channels, from 0: it has no {named}")
        elif self._n_extra > 0 and not self.alpha and not self._passed_over:
            raise UnsupportedError(
                f"a TIFF of {count} channels: --channels says which are red, green and blue"
                if self.photometric < 3
                else f"a TIFF of {count} channels"
            )

    @property
    def alpha(self) -> bool:
        """Whether the one channel beyond the colours is how solid they are."""
        # Of red, green, blue and one that nothing is said of, readers take it for that.
        said = self.extra[:1] in ((1,), (2,), (999,)) or (not self.extra and self.photometric == 2)
        return said and self._n_extra == 1 and self.photometric in (1, 2, 3)

    @property
    def _n_extra(self) -> int:
        return len(self.bits) - _COLOURS[self.photometric]

    @property
    def _passed_over(self) -> bool:
        """Whether the one channel beyond the colours is known to be nothing: RGBX and CMYKX."""
        return self._n_extra == 1 and self.extra[:1] == (0,) and self.photometric in (2, 5)


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    return data.startswith(tuple(TiffImagePlugin.PREFIXES))


def read_layout(data: bytes, reading: Reading) -> Layout:
    """How the picture in a TIFF lies: the first page, but for one that is a thumbnail.

    Raises
    ------
    UnsupportedError
        Its page, or how it is to be read, is not known.
    """
    if data[8:10] == b"CR":
        raise UnsupportedError("a Canon raw file")
    if data.startswith(b"MM\0\x2b"):
        raise UnsupportedError("a BigTIFF with the high byte first")
    layout = describe_page(*_find_page(data))
    layout.check(reading)
    return layout


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow has opened a TIFF that it reads wrongly, or that is not known how to read."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    layout, reading = describe_page(0, image.tag_v2), Reading()
    layout.check(reading)
    deep = set(layout.bits) == {16} and layout.kind == "unsigned" and layout.photometric != 0
    return not (layout.is_plain(reading) or (deep and not layout.planar))


def open_plain(data: bytes, layout: Layout) -> Image.Image:
    """Have Pillow open the page, as if it were the first."""
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    order = "<" if data[:1] == b"I" else ">"
    at, form = (8, "Q") if big else (4, "L")
    pointer = struct.pack(order + form, layout.at)
    if data[at : at + len(pointer)] != pointer:
        data = data[:at] + pointer + data[at + len(pointer) :]
    return Image.open(io.BytesIO(data), formats=("TIFF",))


def read_deep(data: bytes, layout: Layout, reading: Reading) -> Image.Image:
    """Read a page's samples and scale them to 8 bits.

    Raises
    ------
    UnsupportedError
        Samples of that type have no known scale, or cannot be unpacked.
    OSError
        The file is cut.
    """
    reading.find_range(layout.kind, layout.bits[0])
    values = _read_samples(data, layout)  # (height, width, channels)
    colours = _COLOURS[layout.photometric]
    alpha: npt.NDArray[Any] | None = None
    if layout.picks(reading):
        assert reading.channels is not None
        values = values[:, :, list(reading.channels)]
    elif values.shape[2] > colours:
        if layout.alpha:
            alpha = values[:, :, colours]
        values = values[:, :, :colours]
    levels = _scale(values, layout, reading)
    if alpha is not None:
        full = Reading()
        solid = scale_samples(alpha, full, bits=16) if alpha.dtype == np.uint16 else alpha
        levels = np.dstack([levels, solid.astype(np.uint8)])
    return _make_image(levels, layout)


def _scale(values: npt.NDArray[Any], layout: Layout, reading: Reading) -> npt.NDArray[np.uint8]:
    kind, bits = layout.kind, layout.bits[0]
    if bits == 8 and kind == "unsigned":
        levels = values.astype(np.uint8)
        return 255 - levels if layout.photometric == 0 else levels
    levels = scale_samples(values, reading, kind=kind, bits=bits, inverted=layout.photometric == 0)
    if values.shape[2] > 1 and bits == 16 and kind == "unsigned" and not reading.stated:
        return (values >> 8).astype(np.uint8)  # as Pillow scales colours of 16 bits in any format
    return levels


def _make_image(levels: npt.NDArray[np.uint8], layout: Layout) -> Image.Image:
    count = levels.shape[2]
    multiplied = layout.extra[:1] == (1,)
    mode = {1: "L", 2: "La" if multiplied else "LA", 3: "RGB", 4: "RGBa" if multiplied else "RGBA"}
    chosen = "CMYK" if layout.photometric == 5 else mode[count]
    size = (levels.shape[1], levels.shape[0])
    image = Image.frombytes(chosen, size, np.ascontiguousarray(levels).tobytes())
    image.getexif()[0x0112] = layout.orientation
    if layout.profile:
        image.info["icc_profile"] = layout.profile
    return image


def _find_page(data: bytes) -> tuple[int, ImageFileDirectory_v2]:
    """The page that is the picture, by what subfile types say (TIFF 6.0, page 36; DNG 1.7).

    A first page that is no thumbnail is the picture, unless a larger one lies inside it; one that
    is a thumbnail is of the largest page that is none.
    """
    first_at, first = next(iterate_pages(data))
    reduced = _is_reduced(first)
    if not reduced and _SUB_IFDS not in first:
        return first_at, first
    pages = list(iterate_pages(data, chain=reduced))
    full = [(at, page) for at, page in pages if not _is_reduced(page)]
    if not full:
        raise UnsupportedError("a TIFF whose pages are thumbnails of an image that is not in it")
    return max(full, key=lambda one: _area(one[1]))


def _is_reduced(page: ImageFileDirectory_v2) -> bool:
    """Whether a page is a smaller version, or a mask, of another."""
    return bool(_number(page, _SUBFILE, 0) & 0b101) or _number(page, _OLD_SUBFILE, 1) == 2


def _area(page: ImageFileDirectory_v2) -> int:
    return _number(page, 256, 0) * _number(page, 257, 0)


def _number(page: ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = page.get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


def iterate_pages(
    data: bytes, chain: bool = True, inside: bool = True
) -> Iterator[tuple[int, ImageFileDirectory_v2]]:
    """Places and pages in order, those that lie in others after them, unless `inside` is False.

    Without `chain` the first's alone.
    """
    head = data[:16] if data[2:4] in (b"\x2b\0", b"\0\x2b") else data[:8]
    file, start = io.BytesIO(data), ImageFileDirectory_v2(head).next
    waiting, seen = [start], set[int]()
    while waiting and len(seen) < _MOST_PAGES:
        at = waiting.pop(0)
        if not at or at in seen or at >= len(data):
            continue
        seen.add(at)
        page = ImageFileDirectory_v2(head)
        file.seek(at)
        page.load(file)
        yield at, page
        below = page.get(_SUB_IFDS, ()) if inside else ()
        waiting += below if isinstance(below, tuple) else (below,)
        waiting += [page.next] * (chain or at != start)
    if not seen:
        raise OSError("the file is cut: there is no page where it should be")


def describe_page(at: int, page: ImageFileDirectory_v2) -> Layout:
    """How a page's samples lie, by its tags."""

    def numbers(tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        value = page.get(tag, default)
        return tuple(value) if isinstance(value, tuple) else (value,)

    compression = _number(page, 259, 1)
    photometric = _number(page, 262, 6 if compression in (6, 7) else 0)
    bits = numbers(258, (1,))
    jpeg = 3 if compression in (6, 7) and photometric in (2, 6) else 1
    count = _number(page, 277, jpeg)
    bits = bits[:count] if len(bits) > 1 else bits * min(count, 65_536)
    kinds = {_KINDS.get(one, "complex") for one in numbers(_FORMAT, (1,))}
    profile, said = page.get(_PROFILE), page.get(270, "")
    return Layout(
        at=at,
        size=(_number(page, 256, 0), _number(page, 257, 0)),
        bits=bits or (1,),
        kind=kinds.pop() if len(kinds) == 1 else "mixed",
        photometric=photometric,
        compression=compression,
        planar=_number(page, 284, 1) == 2,
        extra=numbers(338, ()),
        orientation=_number(page, 274, 1),
        profile=profile if isinstance(profile, bytes) else None,
        description=str(said, "latin-1") if isinstance(said, bytes) else str(said),
    )


def _read_samples(data: bytes, layout: Layout) -> npt.NDArray[Any]:
    """Samples of shape (height, width, channels), of their own type."""
    import tifffile  # here, since it takes a third of a second and few folders need it

    bits = layout.bits[0]
    if bits not in (8, 16, 32, 64) or layout.photometric in (3, 6, 8):
        raise UnsupportedError(f"a TIFF of {bits}-bit {_name_colours(layout)}")
    buffer = io.BytesIO(data)
    with tifffile.TiffFile(buffer) as file:
        page = next(one for one in _list_all(file) if one.offset == layout.at)
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > len(data):
            raise OSError("the file is cut: its samples are not all there")
        if layout.compression in _BY_LIBTIFF:
            _unpack(page, buffer, data)
        try:
            values: npt.NDArray[Any] = page.asarray(maxworkers=1)
        except (NotImplementedError, tifffile.TiffFileError, ValueError) as error:
            said = str(error)
            if "imagecodecs" in said or "not supported" in said:
                packed = f"{layout.kind} samples of {bits} bits"
                raise UnsupportedError(
                    f"a TIFF of {packed} that are packed in an unknown way"
                ) from error
            raise OSError(said) from error
    width, height = layout.size
    count = len(layout.bits)
    if values.size != width * height * count:
        raise UnsupportedError(f"a TIFF of shape {values.shape}: more than a picture")
    if layout.planar and count > 1:
        return np.moveaxis(values.reshape(count, height, width), 0, -1)
    return values.reshape(height, width, count)


def _name_colours(layout: Layout) -> str:
    named = {3: "palette indices", 6: "YCbCr", 8: "L*a*b*"}
    return named.get(layout.photometric, f"{layout.kind} samples")


def _list_all(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for page in file.pages:
        yield page.aspage()
        for inside in page.aspage().pages or ():
            yield inside.aspage()


def _unpack(page: tifffile.TiffPage, buffer: io.BytesIO, data: bytes) -> None:
    """Put a page's segments behind the file as libtiff unpacks them, and have the page know."""
    across, down, length = page.imagewidth, page.rowsperstrip, page.imagelength
    if page.is_tiled:
        across, down = page.tilewidth, page.tilelength
    down = min(down, length) if not page.is_tiled else down
    each = 1 if page.planarconfig == 2 else page.samplesperpixel
    row_bytes = across * each * page.bitspersample // 8
    strips = -(-length // down)
    offsets, counts = [], []
    for i, (at, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        rows = down if page.is_tiled else min(down, length - i % strips * down)
        packed = data[at : at + size]
        with Image.open(io.BytesIO(_wrap(packed, page.compression, row_bytes, rows))) as opened:
            plain = opened.tobytes()
        offsets.append(buffer.seek(0, io.SEEK_END))
        counts.append(buffer.write(zlib.compress(plain, 0)))
    page.dataoffsets, page.databytecounts = tuple(offsets), tuple(counts)
    page.compression = 8  # in deflate's frame, since tifffile passes the predictor over without


def _wrap(packed: bytes, compression: int, width: int, height: int) -> bytes:
    """A TIFF of one strip, whose bytes are taken for pixels of 8 bits."""
    start = 8 + 2 + 9 * 12 + 4
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: start, 277: 1}
    tags |= {278: height, 279: len(packed)}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHLH", b"II", 42, 8, len(tags)) + entries + bytes(4) + packed
