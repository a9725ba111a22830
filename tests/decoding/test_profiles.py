import io
import struct

import numpy as np
import pytest
from made_profiles import ADOBE, make_profile
from PIL import Image, ImageCms

from featx.data.images import open_rgb
from featx.decoding.pixel_format import Reading, Seen

GREY_18 = make_profile(b"GRAY", 1.8)


@pytest.fixture
def read(tmp_path):
    def run(image, kind="PNG", **options):
        reading = options.pop("reading", None)
        image.save(tmp_path / "x", kind, **options)
        return np.asarray(open_rgb(tmp_path / "x", reading=reading)).astype(int)

    return run


def to_srgb_by_hand(adobe):
    """IEC 61966-2-1 from Adobe RGB (1998), annex C: both of D65, so that no white is adapted."""
    linear = (np.array(adobe) / 255) ** 2.19921875
    xyz = linear @ np.array(
        [[0.57667, 0.29734, 0.02703], [0.18556, 0.62736, 0.07069], [0.18823, 0.07529, 0.99134]]
    )
    rgb = xyz @ np.array(
        [[3.24063, -0.96893, 0.05571], [-1.53721, 1.87576, -0.20402], [-0.49863, 0.04152, 1.05700]]
    )
    rgb = rgb.clip(0, 1)
    return 255 * np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("colour", [(200, 100, 50), (128, 128, 128), (60, 180, 90), (255, 0, 0)])
def test_colours_are_those_that_a_hand_computes(read, colour):
    image = Image.new("RGB", (4, 4), colour)
    found = read(image, icc_profile=ADOBE)
    assert np.abs(found[0, 0] - to_srgb_by_hand(colour)).max() <= 1.5
    assert np.array_equal(read(image)[0, 0], colour)
    ignored = read(image, icc_profile=ADOBE, reading=Reading(profiles="ignore"))
    assert np.array_equal(ignored[0, 0], colour)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_mode_and_format_brings_its_profile(read, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    expected = read(Image.new("RGB", (4, 4), (60, 180, 90)), icc_profile=ADOBE)[0, 0]
    solid = Image.new("RGBA", (4, 4), (60, 180, 90, 255))
    assert np.abs(read(solid, kind, icc_profile=ADOBE, **options) - expected).max() <= 1
    clear = Image.new("RGBA", (4, 4), (60, 180, 90, 0))
    assert (read(clear, kind, icc_profile=ADOBE, **options) == 255).all()
    if kind != "WEBP":
        palette = Image.new("P", (4, 4), 1)
        palette.putpalette([0, 0, 0, 60, 180, 90])
        assert np.abs(read(palette, kind, icc_profile=ADOBE) - expected).max() <= 1


def test_grey_follows_a_profile_of_grey_and_one_of_colours(read):
    # Gamma 1.8 of level 100, as sRGB: by hand.
    linear = (100 / 255) ** (round(1.8 * 256) / 256)
    level = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    grey = Image.new("L", (4, 4), 100)
    assert np.abs(read(grey, icc_profile=GREY_18) - level).max() <= 1
    both = Image.new("LA", (4, 4), (100, 255))
    assert np.abs(read(both, icc_profile=GREY_18) - level).max() <= 1
    assert (read(Image.new("LA", (4, 4), (100, 0)), icc_profile=GREY_18) == 255).all()
    deep = Image.fromarray(np.full((4, 4), 100 * 257, np.uint16))
    assert np.abs(read(deep, icc_profile=GREY_18) - level).max() <= 1
    by_colours = read(grey, icc_profile=make_profile(gamma=1.8))
    assert np.abs(by_colours - level).max() <= 1


def test_what_is_srgb_already_keeps_its_bits(read):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(read(image, icc_profile=srgb), np.asarray(image))
    jpeg = read(image, "JPEG", quality=90)
    assert np.array_equal(read(image, "JPEG", quality=90, icc_profile=srgb), jpeg)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", b"rubbish" * 40), ("RGB", ADOBE[:150]), ("RGB", GREY_18), ("CMYK", ADOBE)],
)
def test_a_profile_that_is_none_of_theirs_is_ignored_and_counted(read, mode, profile, caplog):
    image = Image.new(mode, (4, 4), (60, 180, 90, 10)[: len(mode)])
    seen = Seen()
    found = read(image, "TIFF", icc_profile=profile, reading=Reading(seen=seen))
    assert np.array_equal(found, np.asarray(image.convert("RGB")))
    assert seen.ignored == 1
    seen.warn(Reading())
    assert "colour profiles of 1 images cannot be read, or are not of their kind" in caplog.text


def test_lab_is_converted(read, tmp_path):
    # L* 50.2, a* 10, b* -10 of D50, by CIE's formulae to XYZ and on to sRGB.
    f = (50.196 + 16) / 116
    white = np.array([0.9642, 1.0, 0.8249])
    xyz = white * np.array([f + 10 / 500, f, f + 10 / 200]) ** 3
    rgb = xyz @ np.array(
        [[3.13386, -0.97877, 0.07195], [-1.61687, 1.91614, -0.22899], [-0.49062, 0.03345, 1.40524]]
    )
    level = 255 * (1.055 * rgb ** (1 / 2.4) - 0.055)
    from made_tiffs import make_page, make_tiff

    values = np.full((4, 4, 3), (128, 10, 246), np.uint8)
    (tmp_path / "lab.tif").write_bytes(make_tiff(make_page(values, photometric=8)))
    assert np.abs(np.asarray(open_rgb(tmp_path / "lab.tif"))[0, 0] - level).max() <= 1.5


def test_cmyk_by_its_profile_is_what_littlecms_makes_of_it(tmp_path):
    made = make_cmyk_profile()
    image = Image.new("CMYK", (8, 8), (200, 40, 10, 30))
    image.save(tmp_path / "x.jpg", quality=100, subsampling=0, icc_profile=made)
    with Image.open(tmp_path / "x.jpg") as opened:
        expected = ImageCms.profileToProfile(
            opened, ImageCms.ImageCmsProfile(io.BytesIO(made)), ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )  # fmt: skip
        naive = opened.convert("RGB")
    found = np.asarray(open_rgb(tmp_path / "x.jpg")).astype(int)
    assert np.array_equal(found, np.asarray(expected))
    assert np.abs(found - np.asarray(naive)).max() > 10


def make_cmyk_profile():
    """A profile of ink, by a table (lut8, ICC.1:2001): the more of it, the less L*, and grey."""
    grid = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    light = (255 * (1 - grid.mean(axis=1))).astype(np.uint8)
    table = np.stack([light, np.full(16, 128), np.full(16, 128)], axis=1).astype(np.uint8)
    unit = np.eye(3) * 65_536
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit.astype(">i4").tobytes()
    lut += ramp * 4 + table.tobytes() + ramp * 3
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + (np.array([0.9642, 1, 0.8249]) * 65_536).astype(">i4").tobytes(),
        b"A2B0": lut,
    }
    at, index, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        index += name + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    white = (np.array([0.9642, 1, 0.8249]) * 65_536).astype(">i4").tobytes()
    return (head.ljust(36, b"\0") + b"acsp" + bytes(28) + white).ljust(128, b"\0") + index + body
