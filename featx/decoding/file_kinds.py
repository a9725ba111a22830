"""What a file is by its first bytes, where Pillow does not open it by itself."""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from typing import cast

import numpy as np
from PIL import Image, features

EXTRA = "featx[photos]"


class UnsupportedError(ValueError):
    """A picture that is whole, and of a kind that it is not known how to read."""


# Formats that are opened by a package of the extra: its module, and the class in it.
_PLUGINS = {
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "JPEG XL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}
# Brands of ISO/IEC 14496-12's file type box, the first of four letters that says enough.
_BRANDS = {
    b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC",
    b"hevx": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"crx ": "Canon raw file",
    b"mif1": "HEIC", b"msf1": "HEIC",
}  # fmt: skip
# Pictures that are not read, and what is none, by how they begin.
_PICTURES = {
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "JPEG 2000 picture",
    b"8BPS": "Photoshop file",
    b"gimp xcf": "GIMP file",
    b"\x76\x2f\x31\x01": "OpenEXR picture",
    b"#?RADIANCE": "Radiance HDR picture",
    b"DDS ": "DirectDraw surface",
    b"II\xbc\x01": "JPEG XR picture",
    b"FUJIFILMCCD-RAW": "Fujifilm raw file",
    b"IIU\0": "Panasonic raw file",
    b"IIRO": "Olympus raw file",
    b"IIRS": "Olympus raw file",
    b"MMOR": "Olympus raw file",
    b"II\x1a\0\0\0HEAPCCDR": "Canon raw file",
    b"\0MRM": "Minolta raw file",
    b"FOVb": "Sigma raw file",
    b"SIMPLE  =": "FITS picture",
    b"NRRD000": "NRRD volume",
    b"qoif": "QOI picture",
    b"FLIF": "FLIF picture",
    b"BPG\xfb": "BPG picture",
    b"\x01\xda": "SGI picture",
    b"\x0a\5\1": "PCX picture",
    b"P7\n": "PAM picture",
    b"PF\n": "PFM picture in colour",
    b"icns": "macOS icon",
    b"\0\0\1\0": "Windows icon",
}
# And by what stands elsewhere.
_INSIDE = {(128, b"DICM"): "DICOM file", (344, b"n+1\0"): "NIfTI volume"}
_OTHERS = {
    b"%PDF": "PDF document",
    b"%!PS": "PostScript drawing",
    b"PK\3\4": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"Rar!": "RAR archive",
    b"7z\xbc\xaf": "7-Zip archive",
    b"\x1a\x45\xdf\xa3": "Matroska or WebM video",
    b"\0\0\1\xba": "MPEG video",
    b"OggS": "Ogg recording or video",
    b"ID3": "MP3 recording",
    b"fLaC": "FLAC recording",
    b"\x89HDF": "HDF5 file",
    b"SQLite format 3": "database of SQLite",
    b"\xd0\xcf\x11\xe0": "document of Microsoft Office",
    b"bplist0": "property list of macOS",
    b"\0\5\x16\7": "AppleDouble file, which holds a Mac's notes on another",
    b"\x7fELF": "program",
    b"version https://git-lfs": "pointer of Git LFS, for which git lfs pull gets the file",
}
# Formats that are read, of which a file has the beginning alone.
_BEGUN = {
    b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF",
}  # fmt: skip
# Frames of JPEG (ITU-T T.81, table B.1) that are not baseline, extended or progressive Huffman.
_FRAMES = {
    0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical",
    0xC9: "arithmetically coded", 0xCA: "arithmetically coded", 0xCB: "lossless",
    0xCD: "hierarchical", 0xCE: "hierarchical", 0xCF: "hierarchical", 0xF7: "JPEG-LS",
}  # fmt: skip
_DECODED = (0xC3, 0xC9, 0xCA)  # those that libjpeg-turbo reads, of 8 bits
_JPEG = b"\xff\xd8\xff"
# Each scan goes through the whole picture, and a hundred bytes may be one: a file of some megabytes
# could take hours. libtiff and libvips stop there, too; encoders write up to 20.
_MOST_SCANS = 100
# Of JPEG XL (ISO/IEC 18181-1, SizeHeader): width over height, by number.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def open_by_plugin(data: bytes) -> Image.Image | None:
    """Open a HEIC or JPEG XL picture; None where the bytes are neither.

    Raises
    ------
    UnsupportedError
        The package that reads it is not installed.
    """
    name = _name_container(data)
    if name not in _PLUGINS:
        return None
    module, opener = _PLUGINS[name]
    if not _is_installed(module):
        raise UnsupportedError(f"a {name} picture: pip install '{EXTRA}' has it read")
    made = getattr(importlib.import_module(module), opener)(io.BytesIO(data))
    return cast(Image.Image, made)


def measure_by_header(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG XL picture, which its package decodes as it opens; else None."""
    if _name_container(data) != "JPEG XL":
        return None
    bits = int.from_bytes(_find_codestream(data)[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def take_side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = take_side()
    across, down = _RATIOS.get(take(3), (0, 1))
    return (height * across // down if across else take_side()), height


def _find_codestream(data: bytes) -> bytes:
    """Where a JPEG XL picture begins: its file is that, or has boxes of which one holds it."""
    at = 0
    while data[:2] != b"\xff\x0a" and at + 16 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        head = 16 if length == 1 else 8
        if kind in (b"jxlc", b"jxlp"):  # a part has a number before it
            return data[at + head + 4 * (kind == b"jxlp") :][:16]
        length = int.from_bytes(data[at + 8 : at + 16]) if length == 1 else length
        if length < head:  # the last box, or damage
            break
        at += length
    return data[:16]


def is_mended(reason: str) -> bool:
    """Whether what an image was skipped for, a package that was missing, is installed by now."""
    return EXTRA in reason and any(
        f"a {name} picture" in reason and _is_installed(module)
        for name, (module, _) in _PLUGINS.items()
    )


def _is_installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


def name_kind(data: bytes) -> tuple[str, str] | None:
    """What bytes are that Pillow does not take for a picture.

    Returns
    -------
    (kind, reason) or None
        Of an `ImageError`; None where the first bytes tell nothing.
    """
    if data.startswith(_JPEG) and (named := _name_jpeg(data)):
        return "unsupported", f"a JPEG that is {named}"
    container = _name_container(data)
    if container == "video":
        return "not-an-image", "not an image: a video"
    if container in _PLUGINS or (container == "AVIF" and features.check("avif")):
        return "damaged", f"cannot be decoded: {_article(str(container))} picture, and not whole"
    if container is not None:
        picture = container if container.endswith("file") else f"{container} picture"
        return "unsupported", f"{_article(picture)}, which cannot be read"
    inside = [name for (at, mark), name in _INSIDE.items() if data[at : at + 4] == mark]
    if data[-18:-2] == b"TRUEVISION-XFILE":
        inside.append("Targa picture")
    for name in [*inside, *(name for start, name in _PICTURES.items() if data.startswith(start))]:
        return "unsupported", f"{_article(name)}, which cannot be read"
    for start, name in _OTHERS.items():
        if data.startswith(start):
            return "not-an-image", f"not an image: {_article(name)}"
    for start, name in _BEGUN.items():
        if data.startswith(start):
            return "damaged", f"cannot be decoded: it begins as a {name}, and its header is none"
    if data and not data.strip(b"\0"):
        return "not-an-image", "not an image: nothing but zeros"
    if data[:4] == b"RIFF" and data[8:12] in (b"AVI ", b"WAVE"):
        said = {b"AVI ": "a video", b"WAVE": "a recording"}[data[8:12]]
        return "not-an-image", f"not an image: {said}"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!")) and b"<svg" in head):
        return "not-an-image", "not an image: an SVG drawing"
    if head.startswith((b"<html", b"<!doctype html")):
        return "not-an-image", "not an image: a web page"
    if head.startswith(b"<?xml"):
        return "not-an-image", "not an image: an XML file"
    return None


def _article(name: str) -> str:
    vowel = name[0] in "AEIOU" or name.startswith(("MP", "HDF", "SGI"))
    return f"an {name}" if vowel else f"a {name}"


def _name_container(data: bytes) -> str | None:
    if data[:2] == b"\xff\x0a" or data[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        return "JPEG XL"
    if data[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime's, before there were brands
        return "video"
    if data[4:8] != b"ftyp":
        return None
    length = min(struct.unpack(">I", data[:4])[0], 256)
    # mif1 and msf1 say of any codec that it is a picture: what else is named says which.
    brands = [data[at : at + 4] for at in (8, *range(16, length, 4))]
    known = [brand for brand in brands if brand in _BRANDS]
    said = [brand for brand in known if brand not in (b"mif1", b"msf1")] or known
    return _BRANDS[said[0]] if said else "video"


def _name_jpeg(data: bytes) -> str | None:
    """In what a JPEG is other than most, where that is why it is not read."""
    for marker, segment in iterate_segments(data):
        frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if (frame or marker == 0xF7) and segment:
            said = [_FRAMES[marker]] if marker in _FRAMES else []
            said += [f"of {segment[0]} bits a sample"] * (segment[0] != 8)
            if len(segment) > 5 and segment[5] not in (1, 3, 4):
                said.append(f"of {segment[5]} components")
            said += ["without a height in its header"] * (segment[1:3] == b"\0\0")
            named = marker not in _DECODED or len(said) > 1
            return " and ".join(said) or None if named else None
    return None


def check_scans(data: bytes) -> None:
    """Raise UnsupportedError of a JPEG with more scans than any encoder writes."""
    if not data.startswith(_JPEG) or data.count(b"\xff\xda") <= _MOST_SCANS:  # most often
        return
    if sum(marker == 0xDA for marker, _ in iterate_segments(data)) > _MOST_SCANS:
        raise UnsupportedError(f"a JPEG of more than {_MOST_SCANS} scans")


def iterate_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a JPEG with their contents up to its end, those of all scans included."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        at += 1
        if marker == 0xD9:  # another picture may follow
            return
        # Fill bytes, a stuffed 0xFF of a scan, restarts and the file's beginning have no contents.
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            continue
        length = struct.unpack(">H", data[at + 1 : at + 3])[0]
        yield marker, data[at + 3 : at + 1 + length]
        at += 1 + length


def list_completions(data: bytes) -> list[bytes]:
    """A JPEG whose end marker is missing with three ends; [] where nothing is known to be missing.

    If the last scan is whole, what comes after it is not looked at, and all three are one picture.
    If it is cut, a decoder takes the filling for the rest, and they differ.
    """
    if not data.startswith(_JPEG) or b"\xff\xd9" in data[-2:] or not _has_all_scans(data):
        return []
    whole = data.rstrip(b"\xff")
    if whole.endswith(bytes(16)):  # room that was taken for a file that never came
        return []
    rng = np.random.default_rng(0)
    fillings = [b"", bytes(4096), bytes(rng.integers(0, 255, 4096, dtype=np.uint8))]
    return [whole + filling + b"\xff\xd9" for filling in fillings]


def _has_all_scans(data: bytes) -> bool:
    """Whether every bit of every coefficient has a scan, which a progressive JPEG may lack."""
    progressive, components, left = False, [], {}
    for marker, segment in iterate_segments(data):
        if marker in (0xC0, 0xC1, 0xC2) and len(segment) > 5:
            progressive = marker == 0xC2
            components = list(segment[6 : 6 + 3 * segment[5] : 3])
            left = {(one, k): 1 for one in components for k in range(64)}
        elif marker == 0xDA and segment and len(segment) >= 4 + 2 * segment[0]:
            first, last, bits = segment[1 + 2 * segment[0] :][:3]
            for one in segment[1 : 1 + 2 * segment[0] : 2]:
                for k in range(first, last + 1) if progressive else range(64):
                    left[one, k] = bits & 15 if progressive else 0
    return bool(components) and not any(left.values())
