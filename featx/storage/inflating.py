"""A gzip file, read at any place: forwards it is inflated once, backwards from a point before."""

from __future__ import annotations

import os
import threading
import zlib
from collections import deque
from typing import Any, BinaryIO, NamedTuple

from featx.config import BOMB_BYTES, BOMB_RATIO

_READ = 1 << 18  # bytes of the file, at once
_GROWN = 1 << 18  # bytes that these become at most, at once, whatever a bomb makes of itself
_HELD = 16 << 20  # of what was inflated last: threads ask for members not quite in order
_FIRST_SPACING = 4 << 20  # between two points to go on from, of what was inflated
_MOST_POINTS = 256  # each some 50 KB; where they are more, every second one is given up
_GZIP = 16 + zlib.MAX_WBITS


class _Point(NamedTuple):
    """Where inflating can go on: places in what is inflated and in the file, and zlib's state."""

    start: int
    at: int
    state: Any


class Inflated:
    """What a gzip file holds; any thread may read.

    Attributes
    ----------
    damage : str
        Where and why it ended before its end, once that was come upon; else "".
    """

    def __init__(self) -> None:
        self.damage = ""
        self._lock = threading.Lock()
        self._points = [_Point(0, 0, zlib.decompressobj(_GZIP))]
        self._spacing = _FIRST_SPACING
        self._restart(self._points[0])

    def read_at(self, file: BinaryIO, start: int, size: int) -> bytes:
        """Bytes of what the file holds, from `start` on; fewer where that ends.

        Raises
        ------
        OSError
            The file cannot be read. Damage is an end.
        """
        with self._lock:
            if start < self._held_from:
                self._restart(max(one for one in self._points if one.start <= start))
            found = bytearray()
            while len(found) < size:
                if start + len(found) < self._end:
                    found += self._take(start + len(found), size - len(found))
                elif not self._advance(file):
                    break
            return bytes(found)

    def _restart(self, point: _Point) -> None:
        self._zlib = point.state.copy()
        self._at, self._end, self._ended = point.at, point.start, False
        self._held: deque[tuple[int, bytes]] = deque()
        self._held_from = point.start

    def _take(self, start: int, size: int) -> bytes:
        """What is held from `start` on, of one piece."""
        for begin, piece in reversed(self._held):
            if begin <= start:
                return piece[start - begin : start - begin + size]
        raise AssertionError("nothing is asked for that is not held")

    def _advance(self, file: BinaryIO) -> bool:
        """Inflate a piece more; whether there was one."""
        while not self._ended:
            packed = os.pread(file.fileno(), _READ, self._at)
            if not packed:
                self._end_here(
                    "" if self._zlib.eof else f"the archive ends at byte {self._at:,}, too soon"
                )
                break
            if self._zlib.eof:  # of one gzip member; another may follow, or zeros
                if not packed.strip(b"\0"):
                    self._at += len(packed)
                    continue
                self._zlib = zlib.decompressobj(_GZIP)
            try:
                packed, piece = self._inflate(packed)
            except zlib.error as error:
                self._end_here(f"the archive is damaged at byte {self._at:,} ({error})")
                break
            left = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            self._at += len(packed) - len(left)
            if piece:
                self._keep(piece)
                return True
        return False

    def _inflate(self, packed: bytes) -> tuple[bytes, bytes]:
        """As many of some bytes as can be inflated, and what they become; at least one can be."""
        while True:
            before = self._zlib.copy()
            try:
                return packed, self._zlib.decompress(packed, _GROWN)
            except zlib.error:  # and what came before the damage is lost with it
                self._zlib = before
                if len(packed) == 1:
                    raise
                packed = packed[: len(packed) // 2]

    def _end_here(self, damage: str) -> None:
        self._ended = True
        self.damage = self.damage or damage

    def _keep(self, piece: bytes) -> None:
        self._held.append((self._end, piece))
        self._end += len(piece)
        while self._end - self._held[0][0] > _HELD + len(piece):
            self._held.popleft()
        self._held_from = self._held[0][0]
        if self._end > BOMB_BYTES and self._end > BOMB_RATIO * self._at:
            self._end_here(
                f"the archive is {BOMB_RATIO} times as much at byte {self._at:,}, as a bomb is"
            )
        if self._end >= self._points[-1].start + self._spacing:
            self._points.append(_Point(self._end, self._at, self._zlib.copy()))
            if len(self._points) > _MOST_POINTS:
                del self._points[1::2]
                self._spacing *= 2
