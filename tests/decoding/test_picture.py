"""One picture, from bytes to upright RGB or a reason; what Pillow's other users have set stays."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from featx.decoding import file_kinds
from featx.decoding.picture import (
    decode_picture,
    decode_pixels,
    hash_pixels,
    may_be_deep,
    pixel_limit,
    read_bytes,
)
from featx.decoding.pixel_format import Reading
from featx.errors import DatasetError, ImageError


def save(image, path, **options):
    image.save(path, **options)
    return path


def test_a_file_and_its_opened_picture_are_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    path = save(Image.fromarray(pixels), tmp_path / "a.png")
    found, size = decode_picture(path, None, None, None)
    assert size == (30, 20)
    assert np.array_equal(np.asarray(found), pixels)
    with Image.open(path) as opened:
        again, _ = decode_picture(opened, hash_pixels(found), None, None)
    assert np.array_equal(np.asarray(again), pixels)


def test_a_pictures_hash_knows_its_shape():
    flat = np.zeros((2, 6, 3), np.uint8)
    assert hash_pixels(flat) != hash_pixels(flat.reshape(6, 2, 3))
    text = b"featx pixels 6 x 2 RGB\n" + bytes(36)
    assert hash_pixels(flat) == hashlib.sha256(text).hexdigest()


def test_what_changed_meanwhile_is_not_taken(tmp_path):
    path = save(Image.new("RGB", (4, 4)), tmp_path / "a.png")
    with pytest.raises(ImageError, match="changed while it was being read") as caught:
        read_bytes(path, "0" * 64)
    assert caught.value.kind == "unreadable"
    with pytest.raises(ImageError, match="changed while"), Image.open(path) as opened:
        decode_picture(opened, "0" * 64, None, None)


def test_a_decoder_that_cannot_be_loaded_says_nothing_of_the_picture(tmp_path, monkeypatch):
    def lack(module):
        raise ImportError(f"{module}.so: failed to map segment from shared object")

    monkeypatch.setattr(file_kinds, "_is_installed", lambda module: True)
    monkeypatch.setattr(file_kinds.importlib, "import_module", lack)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageError, match="failed to map segment") as caught:
        decode_picture(path, None, None, None)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("given", ["", "-1", "0", "1e6", "many", "9" * 19])
def test_a_wrong_limit_is_named(given, monkeypatch):
    monkeypatch.setenv("FEATX_MAX_PIXELS", given)
    with pytest.raises(DatasetError, match="expected a whole number of pixels"):
        pixel_limit()


def test_the_limit_is_looked_at_before_decoding(tmp_path, monkeypatch):
    path = save(Image.new("RGB", (30, 20)), tmp_path / "a.png")
    monkeypatch.setenv("FEATX_MAX_PIXELS", "599")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(ImageError, match="30 x 20 pixels, more than 599") as caught:
        decode_picture(path, None, None, None)
    assert caught.value.kind == "too-large"


@pytest.mark.parametrize(
    ("mode", "suffix", "deep"),
    [("RGB", "png", False), ("I;16", "png", True), ("RGB", "jpg", False), ("I;16", "tif", True)],
)
def test_first_bytes_tell_what_may_be_deep(mode, suffix, deep, tmp_path):
    path = save(Image.new(mode, (4, 4)), tmp_path / f"a.{suffix}")
    assert may_be_deep(path) is deep
    assert not may_be_deep(tmp_path / "gone.png")


def test_pillows_settings_are_its_users_own(tmp_path):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    text = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    path = save(Image.new("RGB", (4, 4)), tmp_path / "a.png")
    decode_picture(path, None, None, None)
    (tmp_path / "b.png").write_bytes(path.read_bytes()[:45])
    with pytest.raises(ImageError):
        decode_picture(tmp_path / "b.png", None, None, None)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert text == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_the_lower_byte_of_a_deep_png_counts_where_a_depth_is_stated(tmp_path):
    grey = np.array([[0, 100, 2048, 4095]], np.uint16)
    path = save(Image.fromarray(grey), tmp_path / "a.png")
    usual, _ = decode_picture(path, None, None, Reading())
    assert np.asarray(usual)[0, :, 0].tolist() == [0, 0, 7, 15]
    stated, _ = decode_picture(path, None, None, Reading(depth="used 12"))
    assert np.asarray(stated)[0, :, 0].tolist() == [0, 6, 127, 255]


def test_transparency_lies_on_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    path = save(Image.fromarray(pixels), tmp_path / "a.png")
    found, _ = decode_picture(path, None, None, None)
    assert np.asarray(found).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_reduced_scale_tells_the_size_that_it_left(tmp_path):
    path = save(Image.new("RGB", (801, 400)), tmp_path / "a.jpg")
    found, size = decode_picture(path, None, 100, None)
    assert found.size == (201, 100)
    assert size == (200.25, 100.0)
    stream = io.BytesIO()
    found.save(stream, "PNG")
    same, whole = decode_picture(save(found, tmp_path / "b.png"), None, 50, None)
    assert whole == same.size == (201, 100)


def test_a_jpeg_with_another_behind_it_is_reduced_by_either_decoder(tmp_path):
    drawn = Image.effect_noise((96, 60), 80).convert("RGB")
    path = tmp_path / "telephone.jpg"
    drawn.save(path, "MPO", save_all=True, append_images=[drawn.rotate(180)])
    found, size = decode_picture(path, None, 20, None)
    sooner = decode_pixels(path, None, 20, None)
    assert size == sooner.size == (48.0, 30.0)
    assert np.array_equal(np.asarray(found), sooner.values)


# EXIF's orientations 1 to 8 by what has to be done with the stored rows and columns.
TURNS = [
    lambda a: a, lambda a: a[:, ::-1], lambda a: a[::-1, ::-1], lambda a: a[::-1],
    lambda a: a.swapaxes(0, 1), lambda a: np.rot90(a, -1),
    lambda a: a[::-1, ::-1].swapaxes(0, 1), lambda a: np.rot90(a),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"])
def test_every_orientation_of_every_format_is_applied_once(kind, tmp_path):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind == "JXL":
        pytest.importorskip("pillow_jxl")
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255  # the corner that is top left as stored, and the one beside it
    stored[:16, 48:] = 128
    for number, turn in enumerate(TURNS, 1):
        exif = Image.Exif()
        exif[0x0112] = number
        given = exif.tobytes() if kind in ("HEIF", "JXL") else exif
        options = {"tiffinfo": {274: number}} if kind == "TIFF" else {"exif": given}
        path = tmp_path / f"{number}.x"
        Image.fromarray(stored).save(path, kind, quality=95, **options)
        found = np.asarray(decode_picture(path, None, None, None)[0]).astype(int)
        expected = turn(stored)
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 3, (kind, number)


def write_png(bits, kind, values, *chunks):
    """A PNG put together by hand: values of shape (height, samples in a row), below 2 ** bits."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    places = np.arange(bits)[::-1]
    lines = np.packbits(
        (values[..., None] >> places & 1).astype(np.uint8).reshape(len(values), -1), 1
    )
    raw = b"".join(b"\0" + line.tobytes() for line in lines)
    width = values.shape[1] // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    head = struct.pack(">IIBBBBB", width, len(values), bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*one) for one in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [*parts, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_every_depth_with_a_colour_that_is_clear(bits, tmp_path):
    most = 2**bits - 1
    grey = np.array([[0, most, most // 2, 1]])
    levels = grey * 255 // most
    path = tmp_path / "x.png"

    def decode(*told):
        path.write_bytes(write_png(bits, *told))
        return np.asarray(decode_picture(path, None, None, None)[0])[0].tolist()

    def tell(clear):
        pairs = zip(grey[0].tolist(), levels[0].tolist(), strict=True)
        return [[255] * 3 if value == clear else [level] * 3 for value, level in pairs]

    assert decode(0, grey) == tell(None)
    for clear in grey[0].tolist():
        assert decode(0, grey, (b"tRNS", struct.pack(">H", clear))) == tell(clear)
    if bits >= 8:
        colours = np.array([[0, 0, 0, 0, 0, most]])
        assert decode(2, colours) == [[0, 0, 0], [0, 0, 255]]
        for clear, said in ((0, [[255] * 3, [0, 0, 255]]), (most, [[0] * 3, [255] * 3])):
            assert decode(2, colours, (b"tRNS", struct.pack(">HHH", 0, 0, clear))) == said
        other = (b"tRNS", struct.pack(">HHH", 0, 0, most - 1))
        assert decode(2, colours, other) == [[0, 0, 0], [0, 0, 255]]
        assert decode(4, np.array([[0, 0, 0, most]])) == [[255] * 3, [0] * 3]
        assert decode(6, np.array([[0, 0, 0, 0, most, 0, 0, most]])) == [[255] * 3, [255, 0, 0]]
    if bits <= 8:
        palette = (b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
        assert decode(3, np.array([[0, 1]]), palette) == [[10, 20, 30], [40, 50, 60]]
        half = (b"tRNS", b"\0")
        assert decode(3, np.array([[0, 1]]), palette, half) == [[255] * 3, [40, 50, 60]]
