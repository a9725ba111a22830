"""How the samples of a picture are to be read: by their type, as was chosen, and as is recorded."""

from __future__ import annotations

import logging
import math
import re
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import features

from featx.config import BACKGROUND, DEPTHS, PROFILES
from featx.decoding.file_kinds import UnsupportedError
from featx.errors import DatasetError

log = logging.getLogger(__name__)

_GROUND = "".join(f"{level:02x}" for level in BACKGROUND)
# What featx 0.1 wrote of every picture.
FIRST_COLOURS = f"exif upright, first frame, alpha on #{_GROUND}, deep grey scaled to 8 bits"
_DIM_BITS = 2  # highest bits of the type that a picture leaves unused: cameras have 10, 12 or 14


class Seen:
    """What reading has met that a user should know: how deep samples go, profiles that are none.

    In another process it begins anew, and tells by `take` what is for `add` here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.deep = self.dim = self.brightest = self.highest = self.ignored = 0

    def __reduce__(self) -> tuple[type[Seen], tuple[()]]:
        return Seen, ()

    def take(self) -> tuple[int, ...]:
        """What was met so far; from here on it is counted anew."""
        with self._lock:
            taken = self.deep, self.dim, self.brightest, self.highest, self.ignored
            self.deep = self.dim = self.brightest = self.highest = self.ignored = 0
        return taken

    def add(self, taken: tuple[int, ...]) -> None:
        """Count what another one has met."""
        deep, dim, brightest, highest, ignored = taken
        with self._lock:
            self.deep += deep
            self.dim += dim
            self.ignored += ignored
            self.brightest = max(self.brightest, brightest)
            self.highest = max(self.highest, highest)

    def note_samples(self, brightest: int) -> None:
        """Count a picture of 16 bits, whose brightest sample is that."""
        with self._lock:
            self.deep += 1
            self.highest = max(self.highest, brightest)
            if brightest >> (16 - _DIM_BITS) == 0:
                self.dim += 1
                self.brightest = max(self.brightest, brightest)

    def note_ignored(self) -> None:
        """Count a colour profile that cannot be read, or is of another kind of picture."""
        with self._lock:
            self.ignored += 1

    def used_bits(self) -> int:
        """The bits up to the highest that occurs in pictures of 16 bits; 16 without any."""
        return max(1, self.highest.bit_length()) if self.deep else 16

    def warn(self, reading: Reading) -> None:
        """Say it, once for all pictures."""
        if self.dim and reading.depth == "full" and reading.sample_range is None:
            stated = 2 ** max(1, self.brightest.bit_length()) - 1
            scaled = "--depth used scales by the highest bit of all, "
            log.warning(
                "brightest sample %s of 65,535 in %d of %d images of 16 bits, which come out dark: "
                "%s--range 0,%d scales by what is stated",
                f"{self.brightest:,}",
                self.dim,
                self.deep,
                scaled if self.used_bits() < 16 else "",
                stated,
            )
        if self.ignored:
            log.warning(
                "colour profiles of %d images cannot be read, or are not of their kind: ignored, "
                "and the images kept",
                self.ignored,
            )


@dataclass(frozen=True)
class Reading:
    """How pictures become upright RGB, where their type alone does not say it.

    Attributes
    ----------
    profiles : {"srgb", "ignore"}
        Colours are converted to sRGB by a picture's own ICC profile; or taken as they are.
    depth : str
        "full": samples of 16 bits go to 65,535; "used N": to 2 ** N - 1.
    sample_range : (float, float) or None
        What is black and what is white, in samples of more than 8 bits, signed or floating-point.
    channels : tuple of 1 or 3 int, or None
        Of a TIFF of several channels: which are grey, or red, green and blue.
    seen : Seen or None
        Is told of every picture.
    """

    profiles: str = "srgb"
    depth: str = "full"
    sample_range: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None
    seen: Seen | None = field(default=None, compare=False, repr=False)

    @property
    def stated(self) -> bool:
        """Whether samples of 16 bits are not simply scaled by their type."""
        return self.depth != "full" or self.sample_range is not None

    def to_options(self) -> dict[str, str | None]:
        """What was chosen for good, as options of a command say it."""
        return {
            "range": None if self.sample_range is None else format_range(self.sample_range),
            "channels": None if self.channels is None else ",".join(map(str, self.channels)),
            "profiles": self.profiles,
        }

    def find_range(self, kind: str, bits: int) -> tuple[float, float]:
        """Black and white of samples of a type.

        Parameters
        ----------
        kind : {"unsigned", "signed", "floating-point"}
        bits : int

        Raises
        ------
        UnsupportedError
            They have no known scale.
        """
        if self.sample_range is not None:
            return self.sample_range
        if kind == "unsigned" and bits == 16 and self.depth != "full":
            return 0.0, 2.0 ** int(self.depth.split()[1]) - 1
        if kind == "unsigned" and bits <= 16:
            return 0.0, 2.0**bits - 1
        what = "samples" if kind == "floating-point" else "integers"
        raise UnsupportedError(
            f"{kind} {what} of {bits} bits have no known scale: --range states one"
        )


def describe_colours(reading: Reading | None = None) -> str:
    """How pictures of every kind become upright RGB, in words; part of what made a feature.

    With profiles ignored, and nothing else chosen, these are the words of featx 0.1.
    """
    reading = reading or Reading()
    text = FIRST_COLOURS
    if reading.profiles == "srgb":
        text = f"icc to srgb by littlecms {find_littlecms()}, {FIRST_COLOURS}"
    if reading.depth != "full":
        text += f"; depth {reading.depth}"
    if reading.sample_range is not None:
        text += f"; range {format_range(reading.sample_range)}"
    if reading.channels is not None:
        text += f"; channels {','.join(map(str, reading.channels))}"
    return text


def find_littlecms() -> str:
    """The version of what follows profiles."""
    return features.version("littlecms2") or "none"


def read_colours(described: str) -> Reading:
    """What `describe_colours` described; the usual reading where that is none of its texts."""
    base, *chosen = described.split("; ")
    if not base.endswith(FIRST_COLOURS):
        return Reading()
    said = {name: value for name, _, value in (one.partition(" ") for one in chosen)}
    try:
        return Reading(
            profiles="ignore" if base == FIRST_COLOURS else "srgb",
            depth=said.get("depth", "full"),
            sample_range=parse_range(said["range"]) if "range" in said else None,
            channels=parse_channels(said["channels"]) if "channels" in said else None,
        )
    except DatasetError:
        return Reading()


def format_range(given: tuple[float, float]) -> str:
    """The text that `parse_range` reads."""
    return ",".join(f"{value:.17g}" for value in given)


def parse_range(given: str | tuple[float, float] | list[float]) -> tuple[float, float]:
    """LOW,HIGH as two numbers, the first the smaller.

    Raises
    ------
    DatasetError
    """
    try:
        low, high = map(float, given.split(",") if isinstance(given, str) else given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise DatasetError(f"range {given!r}: expected LOW,HIGH, two numbers such as 0,4095")
    return low, high


def parse_channels(given: str | tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """R,G,B, or one number for grey, each from 0.

    Raises
    ------
    DatasetError
    """
    try:
        found = tuple(int(one) for one in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        found = ()
    if len(found) not in (1, 3) or min(found) < 0:
        raise DatasetError(f"channels {given!r}: expected one number from 0, or three: 0,1,2")
    return found


def check_depth(given: str) -> str:
    """One of `DEPTHS`, or "used N" as a provenance has it; else raise DatasetError."""
    if given not in DEPTHS and not re.fullmatch(r"used ([1-9]|1[0-5])", given):
        raise DatasetError(f"unknown depth {given!r}: say one of {', '.join(DEPTHS)}")
    return given


def check_profiles(given: str) -> str:
    """One of `PROFILES`; else raise DatasetError."""
    if given not in PROFILES:
        raise DatasetError(f"unknown profiles {given!r}: say one of {', '.join(PROFILES)}")
    return given


def scale_samples(
    values: npt.NDArray[Any],
    reading: Reading,
    *,
    kind: str = "unsigned",
    bits: int = 16,
    inverted: bool = False,
) -> npt.NDArray[np.uint8]:
    """Samples as levels from 0 to 255, by their type or by what was stated; beyond is clipped.

    Parameters
    ----------
    values : ndarray of any shape
    reading : Reading
    kind, bits
        See `Reading.find_range`.
    inverted : bool
        The lowest is white (WhiteIsZero).

    Raises
    ------
    UnsupportedError
        Samples have no known scale, or are no numbers.
    """
    low, high = reading.find_range(kind, bits)
    if kind == "unsigned" and bits == 16 and reading.seen is not None:
        reading.seen.note_samples(int(values.max()))

    def level(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        samples = low + high - samples if inverted else samples
        levels: npt.NDArray[np.uint8] = (
            ((samples - low) * 255 / (high - low)).clip(0, 255).astype(np.uint8)
        )
        return levels

    if values.dtype == np.uint16:  # one table is faster, and smaller, than numbers of 8 bytes each
        table = level(np.arange(65_536, dtype=np.float64))
        return np.take(table, values)
    samples = values.astype(np.float64)
    if np.isnan(samples).any():
        raise UnsupportedError("some samples are no numbers (NaN)")
    return level(samples)
