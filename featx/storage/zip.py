"""Members of a zip file, found by its directory and read in place."""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from featx.config import BOMB_BYTES, BOMB_RATIO
from featx.storage.members import (
    DAMAGES,
    FILE,
    FOLDER,
    LINKED,
    SPECIAL,
    ArchiveError,
    Entry,
    Extent,
    say_damage,
)
from featx.storage.tar import read_at
from featx.text import format_bytes

_ENCRYPTED = -1  # instead of a method
# Before a member's bytes: a signature, 22 bytes of what the directory has, too, then the lengths of
# name and extra field, which follow (APPNOTE 4.3.7).
_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\3\4"
_TABLES = 1024
_WINDOWS = {0, 6, 10, 14}  # FAT, HPFS, NTFS and VFAT, where a zip was made (APPNOTE 4.4.2)


class ZipReader:
    """Reads a zip file, whose directory is at its end; see `Reader`."""

    damage = ""

    def list(self, file: BinaryIO) -> Iterator[Entry]:
        """Its entries."""
        try:
            with zipfile.ZipFile(file) as opened:
                listed = opened.infolist()
        except UnicodeError as error:
            raise ArchiveError(
                "a name in it is no UTF-8, though it says so: unpack it with another program and "
                f"name the folder ({say_damage(error)})"
            ) from error
        except DAMAGES as error:
            raise ArchiveError(
                f"it is no zip file, or was cut off ({say_damage(error)})"
            ) from error
        if sum(one.compress_size for one in listed) > file.seek(0, os.SEEK_END):
            raise ArchiveError("its members lie upon each other, as only a bomb's do")
        # Old programs on Windows part folders by what is part of a name elsewhere.
        unparted = not any("/" in one.filename for one in listed)
        for one in listed:
            # What is cut at its first NUL may have no name left.
            name = one.filename or one.orig_filename
            if unparted or one.create_system in _WINDOWS:
                name = name.replace("\\", "/")
            method = _ENCRYPTED if one.flag_bits & 1 else one.compress_type
            extent = Extent(one.header_offset, one.file_size, one.compress_size, method, one.CRC)
            yield Entry(name, _name_kind(name, one), extent)

    def read(self, file: BinaryIO, extent: Extent) -> bytes:
        """A member's bytes, whose CRC-32 is right."""
        data = self._unpack(file, extent, extent.packed, extent.size)
        if len(data) != extent.size or zlib.crc32(data) != extent.crc:
            raise OSError(errno.EIO, "damaged in its archive (CRC-32)")
        return data

    def read_head(self, file: BinaryIO, extent: Extent, most: int) -> bytes:
        """The first of them."""
        # What deflate cannot make smaller it makes longer by little (RFC 1951), tables included.
        return self._unpack(file, extent, min(extent.packed, most + _TABLES), most)[:most]

    def _unpack(self, file: BinaryIO, extent: Extent, packed: int, size: int) -> bytes:
        """The first bytes of a member, from the first of its packed ones; one more than `size`."""
        if extent.method == _ENCRYPTED:
            raise OSError(errno.EINVAL, "encrypted: unpack its archive with the password")
        if extent.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError(
                errno.EINVAL, f"packed by zip's method {extent.method}, which is not read"
            )
        if extent.size > BOMB_BYTES and extent.size > BOMB_RATIO * extent.packed:
            raise OSError(
                errno.EINVAL,
                f"{format_bytes(extent.size)} in {format_bytes(extent.packed)}, as in a bomb: more "
                f"than {BOMB_RATIO} to 1 is not unpacked",
            )
        mark, *lengths = _HEADER.unpack(read_at(file, extent.start, _HEADER.size))
        if mark != _SIGNATURE:
            raise OSError(errno.EIO, "damaged in its archive (no header)")
        data = read_at(file, extent.start + _HEADER.size + sum(lengths), packed)
        return _inflate(data, size) if extent.method == zipfile.ZIP_DEFLATED else data


def _inflate(data: bytes, size: int) -> bytes:
    """At most one byte more than it has to be, whatever a bomb makes of itself."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise OSError(errno.EIO, f"damaged in its archive ({say_damage(error)})") from error


def _name_kind(name: str, one: zipfile.ZipInfo) -> str:
    mode = one.external_attr >> 16  # of Unix, where one was told; else 0
    if name.endswith("/"):
        return FOLDER
    if stat.S_ISLNK(mode):
        return LINKED
    return FILE if stat.S_IFMT(mode) in (0, stat.S_IFREG) else SPECIAL
