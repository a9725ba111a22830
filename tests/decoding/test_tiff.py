import itertools

import numpy as np
import pytest
from made_tiffs import make_page, make_tiff
from PIL import Image

from featx.data.images import open_rgb
from featx.decoding.pixel_format import Seen
from featx.errors import ImageError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65_536, (37, 45, 3), np.uint16)
GREY = DEEP[:, :, 0]
GREY_LEVELS = np.repeat((GREY // 257).astype(np.uint8)[:, :, None], 3, axis=2)
LEVELS = (DEEP >> 8).astype(np.uint8)


@pytest.fixture
def refuse(decode):
    """The reason that bytes are not decoded for."""

    def run(data, kind="unsupported", **options):
        with pytest.raises(ImageError) as caught:
            decode(data, **options)
        assert caught.value.kind == kind
        return caught.value.reason

    return run


@pytest.mark.parametrize(
    ("order", "planar", "tile", "compression", "predictor"),
    list(itertools.product("<>", [False, True], [0, 16], [1, 5, 8], [1]))
    + list(itertools.product("<>", [False, True], [0, 16], [5, 8], [2])),
)
def test_colours_of_16_bits_in_every_layout(decode, order, planar, tile, compression, predictor):
    layout = {
        "planar": planar, "tile": tile, "compression": compression, "predictor": predictor
    }  # fmt: skip
    data = make_tiff(make_page(DEEP, **layout), order=order)
    assert np.array_equal(decode(data), LEVELS)
    # The highest bit that is used there is the 12th.
    data = make_tiff(make_page(DEEP >> 4, **layout), order=order)
    expected = (DEEP >> 4).astype(int) * 255 // 4095
    assert np.array_equal(decode(data, depth="used 12"), expected)
    alpha = np.where(GREY > 30_000, 65_535, 0).astype(np.uint16)
    data = make_tiff(make_page(np.dstack([DEEP, alpha]), extra=[2], **layout), order=order)
    expected = np.where(alpha[:, :, None], LEVELS, 255)
    assert np.array_equal(decode(data), expected)


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_white_may_be_zero(decode, order, compression, big):
    black = make_tiff(make_page(GREY, compression=compression), order=order, big=big)
    white = make_page(65_535 - GREY, photometric=0, compression=compression)
    assert np.array_equal(decode(black), GREY_LEVELS)
    assert np.array_equal(decode(make_tiff(white, order=order, big=big)), GREY_LEVELS)
    eight = make_page(255 - GREY_LEVELS[:, :, 0], photometric=0, compression=compression)
    assert np.array_equal(decode(make_tiff(eight, order=order, big=big)), GREY_LEVELS)
    # Of 12 bits, with 4095 as black.
    twelve = make_page(4095 - (GREY >> 4), photometric=0, compression=compression)
    found = decode(make_tiff(twelve, order=order, big=big), depth="used 12")
    assert np.array_equal(found[:, :, 0], (GREY >> 4).astype(int) * 255 // 4095)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
def test_eight_bits_are_as_pillow_has_them(decode, planar, tile):
    assert np.array_equal(decode(make_tiff(make_page(LEVELS, planar=planar, tile=tile))), LEVELS)
    alpha = np.where(GREY > 30_000, 255, 0).astype(np.uint8)
    layout = {"planar": planar, "tile": tile}
    expected = np.where(alpha[:, :, None], LEVELS, 255)
    solid = np.dstack([LEVELS, alpha])
    assert np.array_equal(decode(make_tiff(make_page(solid, extra=[2], **layout))), expected)
    assert np.array_equal(decode(make_tiff(make_page(solid, extra=[0], **layout))), LEVELS)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_what_has_no_scale_is_refused_by_its_type_and_read_by_one(decode, refuse, order, dtype):
    for brightest in (1, 100):  # whatever the pixels are
        values = np.linspace(0, brightest, 12).reshape(3, 4).astype(dtype)
        reason = refuse(make_tiff(make_page(values), order=order))
        name = {"i": "signed", "u": "unsigned", "f": "floating-point"}[dtype[0]]
        assert reason.startswith(f"cannot be used: {name} ")
        assert f"of {8 * int(dtype[1])} bits have no known scale: --range states one" in reason
    values = np.array([[-50, 0, 25, 50, 100, 120]]).clip(0 if dtype[0] == "u" else -50, 120)
    found = decode(make_tiff(make_page(values.astype(dtype)), order=order), sample_range=(0, 100))
    # By hand: level = floor(255 x / 100), and no more than black or white.
    assert found[0, :, 0].tolist() == [0, 0, 63, 127, 255, 255]


def test_a_range_is_of_deep_samples_alone(decode):
    found = decode(make_tiff(make_page(GREY)), sample_range=(10_000, 20_000))
    expected = ((GREY.astype(int) - 10_000).clip(0, 10_000) * 255) // 10_000
    assert np.array_equal(found[:, :, 0], expected)
    assert np.array_equal(decode(make_tiff(make_page(LEVELS)), sample_range=(0, 4095)), LEVELS)


def test_numbers_that_are_none_are_refused(refuse):
    values = np.array([[0.0, np.nan]], np.float32)
    assert "NaN" in refuse(make_tiff(make_page(values)), sample_range=(0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
def test_channels_are_picked_where_there_are_several(decode, refuse, dtype, planar):
    five = RNG.integers(0, 256, (9, 8, 5)).astype(dtype)
    five *= 257 if dtype == np.uint16 else 1
    levels = (five // (257 if dtype == np.uint16 else 1)).astype(np.uint8)
    data = make_tiff(make_page(five, photometric=1, planar=planar, extra=[0] * 4))
    assert refuse(data).endswith("5 channels: --channels says which are red, green and blue")
    assert np.array_equal(decode(data, channels=(4, 0, 2)), levels[:, :, [4, 0, 2]])
    assert np.array_equal(decode(data, channels=(3,)), levels[:, :, [3, 3, 3]])
    assert "5 channels, from 0: it has no 0,1,5" in refuse(data, channels=(0, 1, 5))
    coloured = make_tiff(make_page(five, photometric=2, planar=planar, extra=[0, 0]))
    assert "5 channels" in refuse(coloured)
    two = make_tiff(make_page(five[:, :, :2], photometric=1, planar=planar, extra=[0]))
    assert "2 channels" in refuse(two)
    # One channel and alpha are no riddle, and a grey picture has nothing to pick.
    solid = np.full((9, 8), np.iinfo(dtype).max, dtype)
    alpha = np.dstack([five[:, :, 0], solid])
    data = make_tiff(make_page(alpha, photometric=1, planar=planar, extra=[2]))
    assert np.array_equal(decode(data), levels[:, :, [0, 0, 0]])
    grey = make_tiff(make_page(five[:, :, 0]))
    assert np.array_equal(decode(grey, channels=(0, 1, 2)), levels[:, :, [0, 0, 0]])


@pytest.mark.parametrize("big", [False, True])
def test_a_thumbnail_is_not_the_picture(decode, refuse, big):
    small = make_page(LEVELS[::4, ::4], tags={254: 1})
    older = make_page(LEVELS[::4, ::4], tags={255: 2})
    mask = make_page(LEVELS[:, :, 0], tags={254: 4})
    whole = make_page(LEVELS, compression=5, tags={254: 0})
    for pages in ((small, whole), (small, mask, whole), (older, whole)):
        assert np.array_equal(decode(make_tiff(*pages, big=big)), LEVELS)
    assert np.array_equal(decode(make_tiff(small, inside=(mask, whole), big=big)), LEVELS)
    deep = make_page(DEEP, planar=True, tags={254: 0})
    assert np.array_equal(decode(make_tiff(small, inside=(deep,), big=big)), LEVELS)
    assert "pages are thumbnails" in refuse(make_tiff(small, big=big))
    raw = make_page(GREY, photometric=32_803, tags={254: 0})
    assert "a camera's raw sensor" in refuse(make_tiff(small, inside=(raw,), big=big))
    # Pages that are no thumbnails are a document's: the first. So of a pyramid.
    pages = (make_page(LEVELS[::2]), whole)
    assert np.array_equal(decode(make_tiff(*pages, big=big)), LEVELS[::2])
    assert np.array_equal(decode(make_tiff(whole, inside=(small,), big=big)), LEVELS)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (make_page(LEVELS, tags={259: 34_712}), "compressed by JPEG 2000"),
        (make_page(LEVELS, tags={259: 33_005}), "compressed by JPEG 2000"),
        (make_page(GREY, tags={259: 34_887}), "compressed by LERC"),
        (make_page(GREY, tags={259: 4711}), "compressed by method 4711"),
        (make_page(LEVELS, tags={259: 50_001}), "compressed by WebP"),
        (make_page(LEVELS, photometric=9), "ICC L"),
        (make_page(DEEP, photometric=6), "16-bit YCbCr"),
        (make_page(DEEP, tags={258: [12, 12, 12]}), "12-bit unsigned samples"),
        (make_page(LEVELS, tags={258: [4, 4, 4]}), "4-bit unsigned samples"),
        (make_page(LEVELS[:, :, 0], tags={258: [6]}), "6-bit unsigned samples"),
        (make_page(LEVELS, tags={258: [5, 6, 5]}), "channels of 5, 6, 5 bits"),
        (make_page(DEEP, tags={339: [6, 6, 6]}), "complex"),
        (make_page(DEEP, tags={259: 7}), "packed in an unknown way"),
    ],
)
def test_what_cannot_be_read_is_called_what_it_is(refuse, page, said):
    assert said in refuse(make_tiff(page))


def test_files_that_are_none_of_a_known_order_are_called_what_they_are(refuse):
    data = make_tiff(make_page(LEVELS), order=">", big=True)
    assert "a BigTIFF with the high byte first" in refuse(data)
    assert "a Canon raw file" in refuse(b"II*\0\x10\0\0\0CR\2\0" + bytes(99))


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("planar", [False, True])
def test_what_is_cut_is_damaged(refuse, compression, planar):
    tags = make_page(DEEP, compression=compression, planar=planar)
    data = make_tiff(tags)
    # The samples come before the page that says where they are: cut out of the middle.
    assert refuse(data[:1000], "damaged")
    short = {256: 45, 257: 37 * 2}  # as many rows again, of which nothing is there
    assert refuse(make_tiff((tags[0] | short, *tags[1:])), "damaged")


def test_orientation_and_profile_are_kept_of_deep_samples(decode):
    data = make_tiff(make_page(DEEP, planar=True, tags={274: 6}))
    assert np.array_equal(decode(data), np.rot90(LEVELS, -1))


def test_cmyk_of_16_bits(decode):
    ink = RNG.integers(0, 65_536, (5, 6, 4), np.uint16)
    plain = Image.frombytes("CMYK", (6, 5), (ink >> 8).astype(np.uint8).tobytes()).convert("RGB")
    for planar in (False, True):
        found = decode(make_tiff(make_page(ink, photometric=5, planar=planar)))
        assert np.array_equal(found, np.asarray(plain))


def test_multiplied_alpha_is_taken_out(decode):
    # Half clear, of colour 200: stored as 100, laid on white 100 + 127.
    values = np.full((4, 4, 4), 257 * 100, np.uint16)
    values[:, :, 3] = 257 * 128
    found = decode(make_tiff(make_page(values, extra=[1], planar=True)))
    assert np.abs(found.astype(int) - 227).max() <= 1


def test_what_pillow_opened_wrongly_is_not_taken_from_it(tmp_path):
    (tmp_path / "x.tif").write_bytes(make_tiff(make_page(DEEP, planar=True)))
    (tmp_path / "y.tif").write_bytes(make_tiff(make_page(DEEP)))
    with (
        Image.open(tmp_path / "x.tif") as opened,
        pytest.raises(ImageError, match="give the path of its file"),
    ):
        open_rgb(opened)
    with Image.open(tmp_path / "y.tif") as opened:
        assert np.array_equal(np.asarray(open_rgb(opened)), LEVELS)


def test_deep_pictures_are_counted(decode):
    seen = Seen()
    decode(make_tiff(make_page(GREY)), seen=seen)
    decode(make_tiff(make_page(GREY >> 4)), seen=seen)
    decode(make_tiff(make_page(DEEP >> 6)), seen=seen)
    decode(make_tiff(make_page(LEVELS)), seen=seen)
    assert (seen.deep, seen.dim) == (3, 2)
    assert seen.highest == GREY.max()
    assert seen.brightest == max((GREY >> 4).max(), (DEEP >> 6).max())
    assert seen.used_bits() == 16
