"""Odd, broken and hostile images, each with the fate that featx promises it.

`CORPUS` is the table: a name, what is written under it, and either the colour of its top left pixel
once it is decoded or the kind of `ImageError` it is listed under.
"""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

RED, BLUE, WHITE, BLACK = (250, 0, 0), (0, 0, 250), (255, 255, 255), (0, 0, 0)
GREY = (100, 100, 100)


def encode(image, kind, **options):
    """The bytes of a picture in a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode="RGB", colour=RED, size=(40, 30)):
    return Image.new(mode, size, colour)


def noise(size=(120, 90)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def deep(value=257 * 100, dtype=np.uint16):
    return Image.fromarray(np.full((8, 8), value, dtype))


def frames(kind, **options):
    return encode(plain(), kind, save_all=True, append_images=[plain(colour=BLUE)], **options)


def palette(**options):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    return encode(image, "PNG", **options)


def turned():
    """White on the left as stored, white on top once it is turned clockwise."""
    image = Image.new("RGB", (20, 10))
    image.paste(WHITE, (0, 0, 10, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    return encode(image, "JPEG", exif=exif, quality=95)


def ycck():
    """YCCK as Adobe writes it, inverted: Pillow writes CMYK, and one byte says how to read that."""
    data = encode(plain("CMYK", (255, 127, 127, 0)), "JPEG", quality=95, subsampling=0)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\2" + data[at + 1 :]


def twelve_bit():
    """A TIFF of 8 x 8 grey pixels of 12 bits, two in three bytes, all 1606 = 100/255 of 4095."""
    value = 1606
    two = bytes([value >> 4, (value & 15) << 4 | value >> 8, value & 255])
    tags = {256: 8, 257: 8, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 8, 279: 96}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + two * 32


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb():
    """A hundred bytes that claim 60,000 x 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(bytes(999)))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def text_bomb():
    """A PNG whose comment unpacks to 200 MB."""
    packed = zlib.compress(bytes(1 << 20) * 200, 9)
    data = encode(plain(), "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + png_chunk(b"zTXt", b"Comment\0\0" + packed) + data[at:]


def bmp_bomb():
    data = bytearray(encode(plain(), "BMP"))
    data[18:26] = struct.pack("<ii", 50_000, 50_000)
    return bytes(data)


def gif_bomb():
    return b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + encode(plain("P", 0), "GIF")[10:]


def cut(data, part=0.6):
    return data[: int(len(data) * part)]


def broken_exif():
    return encode(plain(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40))


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def commented():
    info = PngImagePlugin.PngInfo()
    info.add_text("<script>", "alert(1)")
    return encode(plain(), "PNG", pnginfo=info)


PNG = encode(plain(), "PNG")
NOISE = {kind: encode(noise(), kind) for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")}

CORPUS = {
    # Decoded, and into what
    "plain.png": (PNG, RED),
    "plain.bmp": (encode(plain(), "BMP"), RED),
    "plain.ppm": (encode(plain(), "PPM"), RED),
    "plain.tif": (encode(plain(), "TIFF", compression="tiff_lzw"), RED),
    "lossless.webp": (encode(plain(), "WEBP", lossless=True), RED),
    "grey.jpg": (encode(plain("L", 100), "JPEG", quality=95), GREY),
    "progressive.jpg": (encode(plain("L", 100), "JPEG", progressive=True), GREY),
    "cmyk.jpg": (encode(plain("CMYK", (0, 0, 0, 0)), "JPEG", quality=95), WHITE),
    "cmyk.tif": (encode(plain("CMYK", (0, 0, 0, 255)), "TIFF"), BLACK),
    "ycck.jpg": (ycck(), WHITE),
    "palette.png": (palette(), RED),
    "palette-hole.png": (palette(transparency=1), WHITE),
    "palette-alpha.png": (palette(transparency=b"\xff\0"), WHITE),
    "clear.png": (encode(plain("RGBA", (0, 0, 0, 0)), "PNG"), WHITE),
    "clear.webp": (encode(plain("RGBA", (0, 0, 0, 0)), "WEBP", lossless=True), WHITE),
    "half-clear.png": (encode(plain("RGBA", (0, 0, 0, 128)), "PNG"), (127, 127, 127)),
    "grey-clear.png": (encode(plain("LA", (0, 0)), "PNG"), WHITE),
    "one-bit.png": (encode(plain("1", 1), "PNG"), WHITE),
    "16-bit.png": (encode(deep(), "PNG"), GREY),
    "16-bit.tif": (encode(deep(), "TIFF"), GREY),
    "16-bit.pgm": (encode(deep(), "PPM"), GREY),
    "16-bit-max.png": (encode(deep(65_535), "PNG"), WHITE),
    "12-bit.tif": (twelve_bit(), GREY),
    "exif-turned.jpg": (turned(), WHITE),
    "exif-broken.jpg": (broken_exif(), (251, 0, 0)),
    "film.gif": (frames("GIF"), RED),
    "film.webp": (frames("WEBP", lossless=True), RED),
    "film.png": (frames("PNG"), RED),
    "pages.tif": (frames("TIFF"), RED),
    "dot.png": (encode(plain(size=(1, 1)), "PNG"), RED),
    "tall.png": (encode(plain(size=(1, 3000)), "PNG"), RED),
    "wide.png": (encode(plain(size=(3000, 1)), "PNG"), RED),
    "commented.png": (commented(), RED),
    "trailing.png": (PNG + b"rubbish" * 99, RED),
    "LOUD.PNG": (PNG, RED),
    "png-called.jpg": (PNG, RED),
    "-rf.png": (PNG, RED),
    "new\nline.png": (PNG, RED),
    "tab\there.png": (PNG, RED),
    "quote'\".png": (PNG, RED),
    "<script>alert(1)<'script>.png": (PNG, RED),
    "$x^2$ %s {0} \\n.png": (PNG, RED),
    "\x1b[31mred.png": (PNG, RED),
    "\u202egnp.evil.png": (PNG, RED),
    "Zoë 猫 🐈.png": (PNG, RED),
    "n" * 240 + ".png": (PNG, RED),
    # Listed, and as what
    "empty.jpg": (b"", "empty"),
    "empty.png": (b"", "empty"),
    "text.jpg": (b"no image", "not-an-image"),
    "page.png": (b"<html><img src='x'></html>", "not-an-image"),
    "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image"),
    "zeros.jpg": (bytes(4096), "not-an-image"),
    "random.jpg": (np.random.default_rng(1).bytes(4096), "not-an-image"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image"),
    "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\n", "not-an-image"),
    "archive.jpg": (b"PK\3\4" + bytes(60), "not-an-image"),
    "icon.png": (encode(plain(size=(16, 16)), "ICO"), "unsupported"),
    "pickle.png": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94.", "not-an-image"),
    "cut.jpg": (cut(NOISE["JPEG"]), "damaged"),
    "cut-late.jpg": (NOISE["JPEG"][:-200], "damaged"),
    "cut.png": (cut(NOISE["PNG"]), "damaged"),
    "cut.tif": (cut(NOISE["TIFF"]), "damaged"),
    "cut.bmp": (cut(NOISE["BMP"]), "damaged"),
    "cut.webp": (cut(NOISE["WEBP"]), "damaged"),
    "cut.gif": (cut(NOISE["GIF"]), "damaged"),
    "header.png": (PNG[:33], "damaged"),
    "flipped.png": (flipped(NOISE["PNG"], len(NOISE["PNG"]) // 2), "damaged"),
    "comment-bomb.png": (text_bomb(), "unsupported"),
    "float.tif": (encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "unsupported"),
    "32-bit.tif": (encode(deep(2**20, np.int32), "TIFF"), "unsupported"),
    "negative.tif": (encode(deep(-5, np.int32), "TIFF"), "unsupported"),
    "bomb.png": (png_bomb(), "too-large"),
    "bomb.bmp": (bmp_bomb(), "too-large"),
    "bomb.gif": (gif_bomb(), "too-large"),
    # Not of bytes alone
    "link.png": ("plain.png", RED),
    "dangling.png": ("nowhere.png", "unreadable"),
    "loop.png": ("loop.png", "unreadable"),
    "pipe.png": (None, "unreadable"),
}


def write_corpus(folder):
    """Write the whole corpus into a folder: bytes, links to a name, and a pipe for None."""
    folder.mkdir(parents=True)
    for name, (content, _) in CORPUS.items():
        if content is None:
            os.mkfifo(folder / name)
        elif isinstance(content, str):
            (folder / name).symlink_to(content)
        else:
            (folder / name).write_bytes(content)
    return folder
