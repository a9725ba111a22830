"""JSON whose lists are gone through an element at a time, for those that memory is too small for.

In memory a list takes some eight times its text. Here there is the text, and what is being read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_decode = json.JSONDecoder().raw_decode
_blank = re.compile(r"[ \t\n\r]*")


class LongList:
    """A list in a JSON text, decoded anew whenever it is gone through.

    Parameters
    ----------
    text : str
        All of the JSON.
    start : int
        Where in it the list's bracket is.

    Attributes
    ----------
    end : int
        Where it ends, once it was gone through.
    """

    def __init__(self, text: str = "[]", start: int = 0) -> None:
        self._text, self._start = text, start
        self.end = start

    def __iter__(self) -> Iterator[Any]:
        """Every element.

        Raises
        ------
        json.JSONDecodeError
            It is no JSON; one that was gone through once is.
        """
        at = _skip_blank(self._text, self._start + 1)
        if not self._text.startswith("]", at):
            value, at = _decode(self._text, at)
            yield value
            at = _skip_blank(self._text, at)
            while self._text.startswith(",", at):
                value, at = _decode(self._text, _skip_blank(self._text, at + 1))
                yield value
                at = _skip_blank(self._text, at)
        self.end = _pass(self._text, at, "]")


def read_json(text: str) -> LongList | dict[str, Any]:
    """A JSON text that is a list, or an object, whose own lists become LongList.

    Raises
    ------
    json.JSONDecodeError
        It is neither.
    RecursionError
        Too deep.
    """
    start = _skip_blank(text, 0)
    told: LongList | dict[str, Any]
    told, end = (
        _read_list(text, start) if text.startswith("[", start) else _read_object(text, start)
    )
    end = _skip_blank(text, end)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return told


def _read_list(text: str, start: int) -> tuple[LongList, int]:
    found = LongList(text, start)
    for _ in found:  # so that it is known to be JSON, and where it ends
        pass
    return found, found.end


def _read_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip_blank(text, _pass(text, start, "{"))
    while not text.startswith("}", at):
        if found:
            at = _skip_blank(text, _pass(text, at, ","))
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name in double quotes", text, at)
        name, at = _decode(text, at)
        at = _skip_blank(text, _pass(text, _skip_blank(text, at), ":"))
        read = _read_list if text.startswith("[", at) else _decode
        found[name], at = read(text, at)
        at = _skip_blank(text, at)
    return found, at + 1


def _skip_blank(text: str, at: int) -> int:
    found = _blank.match(text, at)
    assert found is not None  # even of nothing
    return found.end()


def _pass(text: str, at: int, mark: str) -> int:
    """The place behind a mark that must be there."""
    if not text.startswith(mark, at):
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, at)
    return at + 1
