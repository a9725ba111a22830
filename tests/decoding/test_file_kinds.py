import io
import struct

import numpy as np
import pytest
from PIL import Image

from featx.data.images import open_rgb
from featx.decoding import file_kinds, picture
from featx.decoding.file_kinds import is_mended, measure_by_header, name_kind
from featx.decoding.pixel_format import Reading
from featx.errors import ImageError


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def draw(size=(64, 48)):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def read(tmp_path):
    """Bytes that are called .jpg, decoded; or kind and reason."""

    def run(data):
        (tmp_path / "x.jpg").write_bytes(data)
        try:
            return np.asarray(open_rgb(tmp_path / "x.jpg"))
        except ImageError as error:
            return error.kind, error.reason

    return run


def container(brand, *others):
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 4 + len(body)) + body + bytes(64)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"%PDF-1.7\n", "not-an-image", "not an image: a PDF document"),
        (b"<?xml version='1.0'?>\n<svg/>", "not-an-image", "not an image: an SVG drawing"),
        (container(b"isom", b"mp42"), "not-an-image", "not an image: a video"),
        (container(b"qt  "), "not-an-image", "not an image: a video"),
        (b"RIFF\0\0\0\0AVI LIST", "not-an-image", "not an image: a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(30), "not-an-image", "a Matroska or WebM video"),
        (b"PK\3\4" + bytes(30), "not-an-image", "a ZIP archive"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "unsupported", "a JPEG 2000 picture"),
        (container(b"crx "), "unsupported", "a Canon raw file"),
        (b"8BPS\0\1" + bytes(30), "unsupported", "a Photoshop file"),
        (bytes(128) + b"DICM" + bytes(30), "unsupported", "a DICOM file"),
        (container(b"avif"), "damaged", "an AVIF picture, and not whole"),
        (b"\0\0\0\x08wide\0\0\0\x08mdat", "not-an-image", "not an image: a video"),
        (struct.pack("<i", 348) + bytes(340) + b"n+1\0", "unsupported", "a NIfTI volume"),
        (bytes(60) + b"TRUEVISION-XFILE.\0", "unsupported", "a Targa picture"),
        (b"\0\0\1\0" + bytes(30), "unsupported", "a Windows icon"),
        (b"II\x1a\0\0\0HEAPCCDR", "unsupported", "a Canon raw file"),
        (b"\x01\xda" + bytes(30), "unsupported", "an SGI picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not-an-image", "git lfs pull gets"),
        (b"<?xml version='1.0'?>\n<annotation/>", "not-an-image", "an XML file"),
        (bytes(4096), "not-an-image", "not an image: nothing but zeros"),
        (b"\xff\xd8\xff\xd9", "damaged", "it begins as a JPEG, and its header is none"),
        (b"\x89PNG\r\n\x1a\n", "damaged", "it begins as a PNG, and its header is none"),
        (b"GIF89a", "damaged", "it begins as a GIF, and its header is none"),
    ],
)
def test_what_is_called_a_jpeg_and_is_none_is_named(read, data, kind, said):
    found = read(data)
    assert found[0] == kind
    assert said in found[1]


def test_a_jpeg_of_another_kind_is_named(read):
    plain = encode(draw(), "JPEG")
    at = plain.index(b"\xff\xc0")
    deep = plain[: at + 4] + b"\x0c" + plain[at + 5 :]
    assert read(deep) == ("unsupported", "a JPEG that is of 12 bits a sample")
    hierarchical = plain[: at + 1] + b"\xc5" + plain[at + 2 :]
    assert read(hierarchical) == ("unsupported", "a JPEG that is hierarchical")
    both = plain[: at + 1] + b"\xc3" + plain[at + 2 : at + 4] + b"\x0c" + plain[at + 5 :]
    assert read(both) == ("unsupported", "a JPEG that is lossless and of 12 bits a sample")
    endless = plain[: at + 5] + bytes(2) + plain[at + 7 :]
    assert read(endless) == ("unsupported", "a JPEG that is without a height in its header")
    # The frame of a grey picture with a component more than it has.
    grey = encode(draw().convert("L"), "JPEG")
    at = grey.index(b"\xff\xc0")
    two = grey[: at + 2] + b"\0\x0e" + grey[at + 4 : at + 9] + b"\2" + grey[at + 10 : at + 13]
    two += b"\2\x11\0" + grey[at + 13 :]
    assert read(two) == ("unsupported", "a JPEG that is of 2 components")


def test_a_jpeg_of_a_rare_kind_that_is_cut_is_damaged(read):
    # Lossless, grey, by the pixel before: the first is 28 below the middle, and all others alike.
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 11, 8, 8, 16, 1) + b"\1\x11\0"
    codes = b"\xff\xc4\0\x1c\0" + bytes([0, 0, 0, 9, *[0] * 12, *range(9)])
    scan = b"\xff\xda\0\x08\1\1\0\1\0\0" + bytes([0x51, 0x80]) + bytes(64)
    lossless = b"\xff\xd8" + codes + frame + scan + b"\xff\xd9"
    assert np.array_equal(read(lossless), np.full((8, 16, 3), 100))
    assert read(lossless[:-30])[0] == "damaged"
    plain = encode(draw(), "JPEG")
    at = plain.index(b"\xff\xc0")
    arithmetic = plain[: at + 1] + b"\xc9" + plain[at + 2 :]
    assert read(arithmetic[: len(plain) // 2])[0] == "damaged"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_lacks_its_end_alone_is_whole(read, mode, progressive):
    data = encode(draw().convert(mode), "JPEG", quality=90, progressive=progressive)
    whole = read(data)
    for cut in (1, 2):
        assert np.array_equal(read(data[:-cut]), whole)
    assert np.array_equal(read(data + b"rubbish" * 99), whole)
    for cut in range(6, len(data) - 700, 61):
        assert read(data[:-cut])[0] == "damaged", cut
    # Of a file that was never filled, what is there is half a picture.
    half = data[: len(data) // 2]
    assert read(half + bytes(32))[0] == "damaged"


def test_a_progressive_jpeg_without_its_last_scan_is_damaged(read):
    data = encode(draw(), "JPEG", progressive=True)
    assert read(data[: data.rindex(b"\xff\xda")])[0] == "damaged"


def test_a_jpeg_of_scans_without_end_is_refused_before_it_is_decoded(read):
    data = encode(draw(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    last, n_scans = data[at:-2], data.count(b"\xff\xda")
    most = data[:at] + last * (101 - n_scans) + b"\xff\xd9"
    assert isinstance(read(most), np.ndarray)
    refused = "unsupported", "cannot be used: a JPEG of more than 100 scans"
    assert read(data[:at] + last * (102 - n_scans) + b"\xff\xd9") == refused
    # What follows the end, a burst or a film, and what a thumbnail has, are none of its own.
    assert np.array_equal(read(data + data * 20), read(data))
    note = b"\xff\xe1" + struct.pack(">H", 302) + b"\xff\xda\0" * 100
    assert np.array_equal(read(data[:2] + note + data[2:]), read(data))


def test_heic_is_read_by_the_extra_and_turned_once(read, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (64, 32))
    image.paste((255, 255, 255), (0, 0, 32, 32))  # white on the left
    for orientation in (None, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation or 1
        made = pillow_heif.from_pillow(image)
        buffer = io.BytesIO()
        made.save(buffer, quality=90, exif=exif.tobytes())
        found = read(buffer.getvalue())
        assert found.shape == ((64, 32, 3) if orientation else (32, 64, 3))
        assert found[4, 4].min() > 240, "left becomes top"
        assert found[-5, -5].max() < 15
    assert read(buffer.getvalue()[:300])[0] == "damaged"


def test_jpeg_xl_is_read_by_the_extra(read):
    plugin = pytest.importorskip("pillow_jxl.JpegXLImagePlugin")
    assert plugin.JXLImageFile
    image = draw()
    found = read(encode(image, "JXL", lossless=True))
    assert np.array_equal(found, np.asarray(image))
    refused = "damaged", "cannot be decoded: a JPEG XL picture, and not whole"
    assert read(encode(image, "JXL")[:60]) == refused


@pytest.mark.parametrize("use_container", [False, True])
@pytest.mark.parametrize(
    "size", [(8, 8), (256, 16), (40, 100), (64, 48), (300, 1), (1, 300), (1200, 1000), (9000, 3)]
)
def test_a_jpeg_xl_is_measured_before_its_package_decodes_it(size, use_container, monkeypatch):
    pytest.importorskip("pillow_jxl.JpegXLImagePlugin")
    data = encode(Image.new("L", size), "JXL", effort=1, use_container=use_container)
    assert measure_by_header(data) == size
    cut = [measure_by_header(data[:length]) for length in range(60)]  # whatever that says
    assert cut[0] is None
    opened = []
    monkeypatch.setattr(picture, "open_by_plugin", opened.append)
    monkeypatch.setenv("FEATX_MAX_PIXELS", str(size[0] * size[1] - 1))
    with pytest.raises(ImageError, match="more than") as caught:
        picture.decode_bytes("x.jxl", data, None, Reading())
    assert (caught.value.kind, opened) == ("too-large", [])


def test_avif_is_read_and_turned(read):
    image = Image.new("RGB", (64, 32))
    image.paste((255, 255, 255), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = read(encode(image, "AVIF", exif=exif, quality=90))
    assert found.shape == (64, 32, 3)
    assert found[4, 4].min() > 240


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (container(b"heic"), "HEIC"),
        (container(b"mif1", b"heic"), "HEIC"),
        (container(b"mif1"), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
    ],
)
def test_without_the_extra_one_sentence_says_what_to_install(read, monkeypatch, data, name):
    monkeypatch.setattr(file_kinds, "_is_installed", lambda module: False)
    kind, reason = read(data)
    assert kind == "unsupported"
    assert f"a {name} picture: pip install 'featx[photos]' has it read" in reason
    assert not is_mended(reason)
    monkeypatch.setattr(file_kinds, "_is_installed", lambda module: True)
    assert is_mended(reason)


def test_large_comments_and_profiles_are_no_damage(read):
    from PIL import PngImagePlugin

    image, info = draw(), PngImagePlugin.PngInfo()
    info.add_text("history", "x" * (3 << 20), zip=True)
    info.add_itxt("XML:com.adobe.xmp", "y" * (2 << 20), zip=True)
    before = PngImagePlugin.MAX_TEXT_CHUNK
    data = encode(image, "PNG", pnginfo=info, icc_profile=bytes(3 << 20))
    assert np.array_equal(read(data), np.asarray(image))
    assert before == PngImagePlugin.MAX_TEXT_CHUNK


def test_first_bytes_that_tell_nothing_are_not_named():
    assert name_kind(b"no image") is None
    assert name_kind(b"") is None
