"""Channels that lie on pages of their own, as ImageJ and OME-TIFF keep them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from PIL import Image

from featx.decoding.file_kinds import UnsupportedError
from featx.decoding.pixel_format import Reading, Seen
from featx.decoding.tiff import Layout, describe_page, iterate_pages, open_plain, read_deep

# Of ImageJ's description, a line each, and of the first element that OME-XML calls Pixels.
_IMAGEJ = re.compile(r"^channels=(\d{1,4})\s*$", re.MULTILINE)
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_ATTRIBUTE = re.compile(r"\b(SizeC|SizeZ|SizeT|DimensionOrder)=\"(\w+)\"")


def find_channels(layout: Layout) -> tuple[int, int]:
    """How many channels have pages of their own, and how many pages on the next one's is.

    ImageJ's order is XYCZT; OME-TIFF says its own (the first image's, where nothing else is said).
    """
    said = layout.description
    if said.startswith("ImageJ=") and (found := _IMAGEJ.search(said)):
        return int(found[1]), 1
    if "<OME" not in said or not (pixels := _PIXELS.search(said)):
        return 1, 1
    facts = dict(_ATTRIBUTE.findall(pixels[0]))
    try:
        sizes = {name: int(facts.get(f"Size{name}", 1)) for name in "CZT"}
    except ValueError:
        return 1, 1
    step = 1
    for name in facts.get("DimensionOrder", "XYCZT").removeprefix("XY").partition("C")[0]:
        step *= sizes.get(name, 1)
    return sizes["C"] // max(1, len(layout.bits)), step


def read_stack(data: bytes, layout: Layout, reading: Reading) -> Image.Image:
    """The channels that were named, each of its page, as one picture.

    Raises
    ------
    UnsupportedError
        None were named, or there are none of these numbers.
    OSError
        The file is cut.
    """
    count, step = find_channels(layout)
    if reading.channels is None:
        raise UnsupportedError(
            f"a TIFF of {count} channels, a page each: --channels says which are red, green and "
            "blue"
        )
    if max(reading.channels) >= count:
        named = ",".join(map(str, reading.channels))
        raise UnsupportedError(f"a TIFF of {count} channels, from 0: it has no {named}")
    seen = Seen()
    plain = replace(reading, channels=None, seen=seen)
    wanted = {channel * step for channel in reading.channels}
    bands = {}
    for number, (at, page) in enumerate(iterate_pages(data, inside=False)):
        if number in wanted:
            bands[number] = _read_band(data, describe_page(at, page), plain)
    if bands.keys() != wanted or len({band.size for band in bands.values()}) > 1:
        raise UnsupportedError(f"a TIFF of {count} channels that are not all found in it")
    if reading.seen is not None and seen.deep:
        reading.seen.note_samples(seen.highest)
    named_bands = [bands[channel * step] for channel in reading.channels]
    made = named_bands[0] if len(named_bands) == 1 else Image.merge("RGB", named_bands)
    made.getexif()[0x0112] = layout.orientation
    return made


def _read_band(data: bytes, layout: Layout, reading: Reading) -> Image.Image:
    layout.check(reading)
    plain: Any = open_plain(data, layout) if layout.is_plain(reading) else None
    band: Image.Image = plain or read_deep(data, layout, reading)
    band.load()
    if band.mode not in ("1", "L"):
        raise UnsupportedError(f"a TIFF with a channel of {len(layout.bits)} channels")
    return band.convert("L")
