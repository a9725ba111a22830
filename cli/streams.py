"""Standard streams that take any text, whatever they lead to, and that are there."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import Any, TextIO


def open_streams() -> None:
    """See to it that the process's own streams never end a command by themselves.

    What was closed leads nowhere, so that no file of ours gets its number; a character that the
    encoding lacks is escaped; where stderr cannot be written, nothing more is said. An output that
    cannot be written remains an OSError, which names it.
    """
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_nowhere(handle)
            # With the encoding that says nothing wrong of nothing.
            opened = open(handle, "w" if handle else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, opened)
            setattr(sys, f"__{name}__", opened)
    out, notes = sys.__stdout__, sys.__stderr__
    if out is not None and sys.stdout is out and not isinstance(out, _Stream):
        sys.stdout = sys.__stdout__ = _Stream.take(out)  # type: ignore[misc]
    if notes is not None and sys.stderr is notes and not isinstance(notes, _Stream):
        sys.stderr = sys.__stderr__ = _NotesStream.take(notes)  # type: ignore[misc]


class _Stream(io.TextIOWrapper):
    """Text in, escaped where it must be; once a write has failed, all that follows goes nowhere."""

    @classmethod
    def take(cls, stream: TextIO) -> _Stream:
        """In the place of another stream, which can no longer be used."""
        encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through  # type: ignore[attr-defined]
        raw = stream.detach()  # type: ignore[attr-defined]
        return cls(
            raw, encoding, "backslashreplace", line_buffering=bool(by_line), write_through=at_once
        )

    @property
    def buffer(self) -> Any:
        """None where it is ASCII: click would go round us by this, and write UTF-8."""
        return None if codecs.lookup(self.encoding).name == "ascii" else super().buffer

    def write(self, text: str, /) -> int:
        """As every text stream."""
        if text == "":  # by which click asks what takes text; unbuffered, it could fail
            return 0
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        """As every text stream."""
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # Else Python's own last flush would fail again, aloud.
        with contextlib.suppress(OSError, ValueError):
            _open_nowhere(self.fileno())
        error.filename = "stdout"
        raise error


class _NotesStream(_Stream):
    """Where nobody listens is no failure."""

    def _fail(self, error: OSError) -> None:
        with contextlib.suppress(OSError):
            super()._fail(error)


def _open_nowhere(handle: int) -> None:
    """Let a number of an open file be that of one that takes everything and has nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != handle:
        os.dup2(nowhere, handle)
        os.close(nowhere)
