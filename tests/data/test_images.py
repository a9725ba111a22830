from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from PIL import Image, JpegImagePlugin
from shared import TINY, draw_photo
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from featx.config import TORCHVISION_V1, Preprocessing
from featx.data.images import load_augmented, load_image, open_rgb
from featx.errors import ImageError

SIZES = [(500, 375), (333, 500), (256, 256), (100, 61), (301, 224), (7, 28), (7, 900), (900, 7)]


@pytest.mark.parametrize("decode", ["exact", "pillow"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_equals_torchvisions_evaluation_transform(tmp_path, size, interpolation, decode):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    image.save(tmp_path / "x.png")
    pre = Preprocessing(256, 224, TORCHVISION_V1.mean, TORCHVISION_V1.std, interpolation)
    given = image if decode == "pillow" else TF.pil_to_tensor(image)
    resized = TF.resize(given, 256, InterpolationMode(interpolation), antialias=True)
    cropped = TF.center_crop(resized, 224)
    expected = np.asarray(cropped if decode == "pillow" else cropped.permute(1, 2, 0)).astype(int)
    found = load_image(tmp_path / "x.png", pre, decode=decode).astype(int)
    # Only strips are not resized whole; Pillow may order its two passes otherwise for a part.
    assert np.abs(found - expected).max() <= (2 if max(size) > 4 * min(size) else 0)


def test_a_strip_costs_no_more_than_a_square(tmp_path):
    # Resized whole, the short side at 256 would make 256 x 5,120,000 pixels.
    Image.new("RGB", (40_000, 2), (10, 200, 30)).save(tmp_path / "strip.png")
    pixels = load_image(tmp_path / "strip.png", TORCHVISION_V1)
    assert pixels.shape == (224, 224, 3)
    assert (pixels == (10, 200, 30)).all()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert (load_image(tmp_path / "dot.png", TORCHVISION_V1) == (1, 2, 3)).all()


def test_every_mode_becomes_rgb(tmp_path):
    def opened(name, image, **options):
        image.save(tmp_path / name, **options)
        return np.asarray(open_rgb(tmp_path / name))

    grey = Image.new("L", (4, 4), 77)
    assert (opened("grey.png", grey) == 77).all()
    # 16-bit grey is scaled, not clipped to white: 257 * 100 is level 100.
    deep = Image.fromarray(np.full((4, 4), 257 * 100, np.uint16))
    assert (opened("deep.png", deep) == 100).all()
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (opened("clear.png", clear) == 255).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert np.abs(opened("half.png", half).astype(int) - 127).max() <= 1
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert (opened("palette.png", palette) == (9, 8, 7)).all()
    assert (opened("hole.png", palette, transparency=1) == 255).all()
    frames = [Image.new("RGB", (4, 4), c) for c in ((250, 0, 0), (0, 0, 250))]
    first = opened("film.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (first == (250, 0, 0)).all()
    cmyk = opened("print.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)), quality=95)
    assert (cmyk > 250).all()
    bits = opened("bits.png", Image.new("1", (4, 4), 1))
    assert (bits == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (20, 10))
    image.paste((255, 255, 255), (0, 0, 10, 10))  # white on the left
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise: left becomes top
    image.save(tmp_path / "phone.png", exif=exif)
    upright = open_rgb(tmp_path / "phone.png")
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (255, 255, 255)
    assert upright.getpixel((5, 17)) == (0, 0, 0)


def test_what_is_no_image_says_why(tmp_path):
    def reason(path):
        with pytest.raises(ImageError) as caught:
            open_rgb(path)
        assert caught.value.path == str(path)
        return caught.value.reason

    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "empty file"
    (tmp_path / "text.jpg").write_text("no image")
    assert reason(tmp_path / "text.jpg") == "not an image"
    assert reason(tmp_path / "gone.jpg") == "no such file or directory"
    (tmp_path / "page.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert reason(tmp_path / "page.jpg") == "not an image: a PostScript drawing"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "is a directory"
    whole = draw_photo(tmp_path / "whole.jpg", 0, 0).read_bytes()
    for cut in (30, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.jpg").write_bytes(whole[:cut])
        assert reason(tmp_path / "cut.jpg")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    assert "floating-point" in reason(tmp_path / "float.tif")


def test_augmentation_depends_on_its_seed_alone(tmp_path):
    path = draw_photo(tmp_path / "x.png", 1, 1)
    made = [load_augmented(path, TINY, np.random.default_rng([0, e, 5])) for e in (1, 1, 2)]
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
    assert {m.shape for m in made} == {(64, 64, 3)}
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert load_augmented(tmp_path / "dot.png", TINY, np.random.default_rng(0)).shape == (64, 64, 3)


def write_large(path, size=(1000, 803), orientation=None, **options):
    """A picture with structure at every scale, several times larger than TINY wants."""
    rng = np.random.default_rng(0)
    noise = [
        rng.normal(128, 40, (h, w, 3)).clip(0, 255) for h, w in ((5, 6), (20, 25), (803, 1000))
    ]
    layers = [
        np.asarray(
            Image.fromarray(n.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), float
        )
        for n in noise
    ]
    picture = Image.fromarray((sum(layers) / 3).astype(np.uint8))
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    picture.save(path, quality=95, **options)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [(32, 32), (45, 32), (32, 45), (90, 70)])
@pytest.mark.parametrize("crop", [28, 32])
def test_an_image_stays_what_it_is_when_its_thread_loads_the_next(
    tmp_path, size, crop, orientation
):
    preprocessing = replace(TINY, resize=32, crop=crop)  # some need no resizing at all
    exif = Image.Exif()
    exif[0x0112] = orientation
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
    first = load_image(paths[0], preprocessing)
    before = first.copy()
    assert not np.array_equal(load_image(paths[1], preprocessing), before)
    assert np.array_equal(first, before)


@pytest.mark.parametrize("decodes", [("exact", "fast"), ("pillow", "pillow-fast")])
@pytest.mark.parametrize("orientation", [None, 6])
def test_fast_decoding_reads_large_jpegs_at_reduced_scale(
    tmp_path, monkeypatch, orientation, decodes
):
    path = write_large(tmp_path / "large.jpg", orientation=orientation)
    sizes = []
    load = JpegImagePlugin.JpegImageFile.load
    decode_jpeg = simplejpeg.decode_jpeg

    def watch(data, **options):
        found = decode_jpeg(data, **options)
        sizes.append(found.shape[1::-1])
        return found

    monkeypatch.setattr(
        JpegImagePlugin.JpegImageFile, "load", lambda self: (sizes.append(self.size), load(self))[1]
    )
    monkeypatch.setattr(simplejpeg, "decode_jpeg", watch)
    exact, fast = (load_image(path, TINY, decode=one).astype(int) for one in decodes)
    # 803 is five times 2 x 72 and a bit: a quarter is the least that leaves twice the 72 wanted.
    assert list(dict.fromkeys(sizes)) == [(1000, 803), (250, 201)]
    assert 0 < np.abs(exact - fast).mean() < 1.0, "much the same pixels, and not the same"
    # Without the fraction of a pixel that libjpeg rounds up, the far edge is off.
    assert np.abs(exact[-8:] - fast[-8:]).mean() < 1.5


def test_fast_decoding_leaves_small_pictures_and_other_formats_alone(tmp_path):
    small = write_large(tmp_path / "small.jpg", size=(286, 287))  # less than twice twice 72
    assert np.array_equal(load_image(small, TINY), load_image(small, TINY, decode="fast"))
    other = tmp_path / "large.png"
    Image.open(write_large(tmp_path / "large.jpg")).save(other)
    assert np.array_equal(load_image(other, TINY), load_image(other, TINY, decode="fast"))


def test_fast_decoding_keeps_the_limit_and_finds_damage(tmp_path, monkeypatch):
    path = write_large(tmp_path / "large.jpg")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ImageError, match="cannot be decoded"):
        load_image(path, TINY, decode="fast")
    monkeypatch.setenv("FEATX_MAX_PIXELS", "100000")
    with pytest.raises(ImageError, match="1000 x 803 pixels, more than 100000"):
        load_image(write_large(path), TINY, decode="fast")


def find_fate(path, decode):
    """The pixels, or kind and words of why there are none."""
    try:
        return load_image(path, TINY, decode=decode).astype(int)
    except ImageError as error:
        return error.kind, error.reason


def have_same_fate(path):
    fates = [find_fate(path, decode) for decode in ("exact", "pillow")]
    if any(isinstance(one, tuple) for one in fates):
        return fates[0] == fates[1]
    return bool(np.abs(fates[0] - fates[1]).max() <= 1)


@pytest.mark.parametrize("progressive", [False, True])
def test_whatever_happened_to_a_jpeg_its_fate_is_the_one_that_pillow_gives(tmp_path, progressive):
    path = write_large(tmp_path / "x.jpg", size=(150, 120), progressive=progressive)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    fates = []
    for at in rng.integers(2, len(whole), 60).tolist():
        bad = [
            whole[:at],
            whole[:at] + bytes(len(whole) - at),
            whole[:at] + rng.bytes(1) + whole[at + 1 :],
            whole[:at] + whole[at + 40 :],
        ][at % 4]
        path.write_bytes(bad)
        assert have_same_fate(path), at
        fates.append(isinstance(find_fate(path, "exact"), tuple))
    assert 10 < sum(fates) < 50, "some are refused, some are read"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_pillows_within_a_level(tmp_path, orientation):
    path = write_large(tmp_path / "x.jpg", size=(301, 200), orientation=orientation)
    assert have_same_fate(path)
