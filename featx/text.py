"""Words for people: sizes, seconds, and other people's names made fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def format_bytes(n: int) -> str:
    """A size for people, in powers of 1000: "1.5 GB"."""
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def parse_bytes(text: str) -> int:
    """The inverse: "3GB", "500 MB", "2GiB" or plain bytes, at least 1.

    Raises
    ------
    ValueError
        It is none of these.
    """
    found = re.fullmatch(
        r"(\d{1,18}|\d{0,18}\.\d{1,18})\s*([kmgt]?i?)(b|bytes)?", text.strip().lower()
    )
    units = _UNITS | _BINARY_UNITS
    if not found or found[2] not in units or not (size := int(float(found[1]) * units[found[2]])):
        raise ValueError(f"{text!r} is no size: say 3GB, 500MB, 2GiB or a number of bytes")
    return size


def format_seconds(seconds: float | None) -> str:
    """Three significant digits at most; a dash for None."""
    if seconds is None:
        return "–"
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def format_duration(seconds: float) -> str:
    """How long something will take, in two units at most: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def format_score(correct: int, total: int) -> str:
    """Per cent with the counts: "97.5 % (276/283)"."""
    return f"{100 * correct / total:.1f} % ({correct}/{total})"


def format_interval(interval: tuple[float, float]) -> str:
    """A 95 % interval of fractions, in per cent: "95.0 to 98.8"."""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def format_points(points: float) -> str:
    """Points of accuracy: "1 point", "2.5 points"."""
    return f"{points:g} point{'s' * (points != 1)}"


def format_difference(difference: float, interval: tuple[float, float]) -> str:
    """A difference of fractions with its interval, in points: "-1.2 points (-3.4 to +1.0)"."""
    low, high = interval
    return f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def printable(text: str, keep: str = "") -> str:
    """Text with every character escaped that could command a terminal or forge a line.

    Control characters, the marks that turn the direction of writing, and bytes that are no text:
    what `str.isprintable` does not call printable, but for those in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in keep or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def say_one_label(what: str) -> str:
    """That something is for one label an image, and what there is for several, as a reason."""
    return (
        f"it is of several labels an image (--multi-label), and {what} takes one: featx info, fit, "
        "predict, compare and export take several"
    )


def list_some(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names, and how many more there are: "a, b and 3 more"."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def as_text(name: str) -> str:
    """A file's name with the bytes escaped that are no UTF-8; any other as it is."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def say_error(error: OSError) -> str:
    """Why the system refused, in a few words in the middle of a sentence."""
    said = error.strerror or str(error)
    return said[:1].lower() + said[1:]
