"""TIFFs of any layout, put together byte by byte (TIFF 6.0), so that no reader is its own judge."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_TYPES = {"u": 1, "i": 2, "f": 3}


def pack_lzw(data, width):
    """The bytes as libtiff packs them by LZW: those of a grey picture's only strip."""
    rows = len(data) // width
    buffer = io.BytesIO()
    grey = Image.frombytes("L", (width, rows), data)
    grey.save(buffer, "TIFF", compression="tiff_lzw", tiffinfo={278: rows})
    with Image.open(buffer) as opened:
        (at,), (size,) = opened.tag_v2[273], opened.tag_v2[279]
    return buffer.getvalue()[at : at + size]


def pack(data, width, compression):
    if compression == 5:
        return pack_lzw(data, width)
    return zlib.compress(data) if compression == 8 else data


def difference(values):
    """Each sample less its left neighbour's: predictor 2."""
    values = values.copy()
    values[:, 1:] -= values[:, :-1].copy()
    return values


def list_segments(values, rows, tile, predictor):
    """Strips or tiles, each an array of shape (rows, columns, channels)."""
    height, width, channels = values.shape
    across, down = (tile, tile) if tile else (width, rows)
    for top in range(0, height, down):
        for left in range(0, width, across):
            part = values[top : top + down, left : left + across]
            if tile:
                whole = np.zeros((tile, tile, channels), values.dtype)
                whole[: part.shape[0], : part.shape[1]] = part
                part = whole
            yield difference(part) if predictor == 2 else part


def make_page(
    values, *, photometric=None, planar=False, tile=0, compression=1, predictor=1, rows=7,
    extra=(), tags=None,
):  # fmt: skip
    """What `make_tiff` takes: the tags of a page and its segments.

    `values` has the shape (height, width) or (height, width, channels).
    """
    values = values if values.ndim == 3 else values[:, :, None]
    height, width, channels = values.shape
    planes = [values[:, :, [k]] for k in range(channels)] if planar else [values]
    segments = [one for plane in planes for one in list_segments(plane, rows, tile, predictor)]
    photometric = (2 if channels >= 3 else 1) if photometric is None else photometric
    found = {
        256: width, 257: height, 258: [8 * values.dtype.itemsize] * channels, 259: compression,
        262: photometric, 277: channels, 284: 2 if planar else 1, 317: predictor,
        339: [_TYPES[values.dtype.kind]] * channels,
    }  # fmt: skip
    found |= {322: tile, 323: tile} if tile else {278: rows}
    found |= {338: list(extra)} if extra else {}
    return found | (tags or {}), segments, compression


def make_tiff(*pages, order="<", inside=(), big=False):
    """The bytes of a TIFF: pages of `make_page`, and pages that lie inside the first (SubIFDs)."""
    size, word = (8, "Q") if big else (4, "L")
    mark = b"II" if order == "<" else b"MM"
    data = bytearray(mark + struct.pack(order + "H", 43 if big else 42))
    data += struct.pack(order + "HHQ", 8, 0, 0) if big else bytes(4)

    def write(page, sub_ifds=()):
        tags, segments, compression = page
        offsets, counts = [], []
        for one in segments:
            swapped = one.astype(one.dtype.newbyteorder(order))
            row = one.shape[1] * one.shape[2] * one.dtype.itemsize
            packed = pack(swapped.tobytes(), row, compression)
            offsets.append(len(data))
            counts.append(len(packed))
            data.extend(packed + bytes(len(packed) % 2))
        names = (324, 325) if 322 in tags else (273, 279)
        tags = tags | dict(zip(names, (offsets, counts), strict=True))
        tags |= {330: list(sub_ifds)} if sub_ifds else {}
        entries = []
        for tag, value in sorted(tags.items()):
            if isinstance(value, bytes):
                kind, raw, count = 7, value, len(value)
            else:
                value = value if isinstance(value, list) else [value]
                kind, count = 4, len(value)
                raw = struct.pack(f"{order}{count}L", *value)
            if len(raw) > size:
                data.extend(bytes(len(data) % 2))
                at, place = len(data), struct.pack(order + word, len(data))
                data.extend(raw)
                assert at
            else:
                place = raw.ljust(size, b"\0")
            entries.append(struct.pack(f"{order}HH{word}", tag, kind, count) + place)
        data.extend(bytes(len(data) % 2))
        start = len(data)
        data.extend(struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries))
        data.extend(bytes(size))
        return start, len(data) - size

    places = [write(page)[0] for page in inside]
    pointer = 8 if big else 4
    for i, page in enumerate(pages):
        start, following = write(page, places if i == 0 else ())
        data[pointer : pointer + size] = struct.pack(order + word, start)
        pointer = following
    return bytes(data)
