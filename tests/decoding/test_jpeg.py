"""JPEGs by libjpeg-turbo: the very pixels that Pillow gives, or Pillow's own way."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_profiles import ADOBE
from PIL import Image, ImageCms

from featx.config import MAX_PIXELS
from featx.decoding import jpeg
from featx.decoding.jpeg import find_scale, read_photograph
from featx.decoding.pixel_format import Reading
from featx.decoding.resizing import turn_upright

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def draw(size=(123, 77), mode="RGB"):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def read(data, short=None, most=MAX_PIXELS, **reading):
    return read_photograph(data, short, most, Reading(**reading))


def comment(data, text=b"x" * 30):
    return data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text + data[2:]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_are_pillows_to_the_bit(mode, progressive, subsampling):
    options = {"progressive": progressive, "subsampling": subsampling, "restart_marker_rows": 1}
    data = comment(encode(draw(mode=mode), **options))
    found = read(data)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(found.values, np.asarray(opened.convert("RGB")))
    assert (found.size, found.orientation) == ((123, 77), 1)
    assert found.values.flags.writeable


@pytest.mark.parametrize(("short", "scale"), [(77, 1), (38, 2), (19, 4), (9, 8), (1, 8)])
def test_a_reduced_picture_is_pillows_draft(short, scale):
    data = encode(draw())
    found = read(data, short)
    assert find_scale((123, 77), short) == scale
    assert found.size == (123 / scale, 77 / scale)
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft(None, (123 // scale, 77 // scale))
        assert np.array_equal(found.values, np.asarray(opened))


@pytest.mark.parametrize("orientation", range(9))
def test_it_is_told_how_to_turn_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read(encode(draw(), exif=exif))
    assert found.orientation == orientation
    shape = (123, 77, 3) if orientation >= 5 else (77, 123, 3)
    assert turn_upright(found.values, found.orientation).shape == shape


def test_profiles_that_change_colours_are_left_to_pillow():
    for mode in ("L", "RGB"):
        assert read(encode(draw(mode=mode), icc_profile=SRGB)) is not None
    assert read(encode(draw(), icc_profile=ADOBE)) is None
    assert read(encode(draw(), icc_profile=b"rubbish" * 40)) is None
    assert read(encode(draw(), icc_profile=ADOBE), profiles="ignore") is not None


def test_what_is_not_usual_is_left_to_pillow():
    data = encode(draw())
    assert read(encode(draw(mode="CMYK"))) is None
    assert read(data, most=123 * 77 - 1) is None
    for bad in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", data[:-2], data[:-50], data[:300]):
        assert read(bad) is None
    at = data.index(b"\xff\xc0")
    for frame in (0xC3, 0xC5, 0xC9):
        assert read(data[: at + 1] + bytes([frame]) + data[at + 2 :]) is None
    # libjpeg only warns of what it skips, on stderr if it may.
    end = data.rindex(b"\xff\xd9")
    assert read(data[:end] + b"\0\0\0" + data[end:]) is None
    assert read(data + b"rubbish" * 99) is not None


def test_memory_serves_a_threads_next_picture_where_the_pixels_pass(monkeypatch):
    def pass_by(image):
        return read_photograph(encode(image), None, MAX_PIXELS, Reading(), passing=True).values

    first, kept = pass_by(draw((80, 60))), read(encode(draw((80, 60)))).values
    assert np.array_equal(first, kept)
    second = pass_by(draw((40, 30)))  # a smaller one takes the beginning
    assert np.shares_memory(first, second)
    assert np.array_equal(second, read(encode(draw((40, 30)))).values)
    assert not np.shares_memory(kept, second)
    with ThreadPoolExecutor(1) as other:
        assert not np.shares_memory(second, other.submit(pass_by, draw((40, 30))).result())
    monkeypatch.setattr(jpeg, "_MOST_KEPT", 3 * 40 * 30)
    assert np.shares_memory(second, pass_by(draw((40, 30))))
    assert not np.shares_memory(second, pass_by(draw((41, 30))))


def test_nothing_is_said_on_stderr(capfd):
    data = encode(draw())
    end = data.rindex(b"\xff\xd9")
    for bad in (data[:end] + b"\0\0\0" + data[end:], data[:-50], data[:400] + data[450:]):
        read(bad)
    assert capfd.readouterr() == ("", "")
