"""Channels on pages of their own, as ImageJ and OME-TIFF write them; tifffile is the writer."""

import io

import numpy as np
import pytest
import tifffile
from made_tiffs import make_page, make_tiff

from featx.decoding.pixel_format import Seen
from featx.errors import ImageError

RNG = np.random.default_rng(0)
FIVE = RNG.integers(0, 256, (5, 13, 17), np.uint8)


def write(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def pick(values, *channels):
    return np.stack([values[k] for k in channels], axis=2)


# A channel is the next page, or the next but as many as there are heights or times.
@pytest.mark.parametrize(("data", "first"), [
    (write(FIVE, imagej=True, metadata={"axes": "CYX"}), FIVE),
    (write(np.stack([FIVE, 255 - FIVE]), imagej=True, metadata={"axes": "ZCYX"}), FIVE),
    (write(FIVE, ome=True, metadata={"axes": "CYX"}), FIVE),
    (write(np.stack([FIVE, 255 - FIVE], axis=1), ome=True, metadata={"axes": "CZYX"}), FIVE),
    (write(np.stack([FIVE, 255 - FIVE]), ome=True, metadata={"axes": "TCYX"}), FIVE),
], ids=["imagej", "imagej-heights", "ome", "ome-heights", "ome-times"])  # fmt: skip
def test_channels_are_picked_from_their_pages(decode, data, first):
    with pytest.raises(ImageError, match="a TIFF of 5 channels, a page each: --channels says"):
        decode(data)
    assert np.array_equal(decode(data, channels=(4, 0, 2)), pick(first, 4, 0, 2))
    assert np.array_equal(decode(data, channels=(3,)), pick(first, 3, 3, 3))
    with pytest.raises(ImageError, match="5 channels, from 0: it has no 0,1,5"):
        decode(data, channels=(0, 1, 5))


def test_deep_channels_are_scaled_by_their_type_and_count_once(decode):
    deep = FIVE.astype(np.uint16) * 16
    data, seen = write(deep, imagej=True, metadata={"axes": "CYX"}), Seen()
    found = decode(data, channels=(0, 1, 2), depth="used 12", seen=seen)
    assert np.array_equal(found, pick(deep.astype(int) * 255 // 4095, 0, 1, 2))
    assert (seen.deep, seen.highest) == (1, deep[:3].max())
    with pytest.raises(ImageError, match="floating-point samples of 32 bits"):
        decode(write(deep.astype(np.float32), imagej=True, metadata={"axes": "CYX"}), channels=(0,))


def test_colours_and_heights_are_no_channels(decode):
    colours = pick(FIVE, 0, 1, 2)
    for options in ({"imagej": True}, {"ome": True, "photometric": "rgb"}):
        assert np.array_equal(decode(write(colours, **options)), colours)
    heights = write(FIVE, imagej=True, metadata={"axes": "ZYX"})
    assert np.array_equal(decode(heights), pick(FIVE, 0, 0, 0))


@pytest.mark.parametrize("said", [
    b"ImageJ=1.54\nchannels=3\n",
    b'<OME><Pixels SizeC="3" SizeZ="9" DimensionOrder="XYZCT"></Pixels></OME>',
], ids=["imagej", "ome"])  # fmt: skip
def test_pages_that_are_not_there_are_missed(decode, said):
    data = make_tiff(make_page(FIVE[0], tags={270: said}))
    with pytest.raises(ImageError, match="3 channels that are not all found in it") as caught:
        decode(data, channels=(0, 1, 2))
    assert caught.value.kind == "unsupported"
    odd = make_tiff(make_page(FIVE[0], tags={270: b'<OME><Pixels SizeC="many" /></OME>'}))
    assert np.array_equal(decode(odd), pick(FIVE, 0, 0, 0))
