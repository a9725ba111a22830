"""What turns a file into a network's pixels, by name and in words: part of what made a feature."""

from __future__ import annotations

import importlib.metadata

import PIL
from PIL import features

from featx.config import DECODES
from featx.errors import DatasetError

_REDUCED = "; jpeg at reduced scale"
# What features that are there may have been made by, where another decoder is asked for: Pillow
# alone was all that there was.
_BEFORE = {"exact": "pillow", "fast": "pillow-fast"}


def describe_decoder(decode: str = "exact") -> str:
    """What decodes, with versions: two decoders may differ in the last bit of a pixel.

    None is imported for that: torch alone takes seconds.
    """
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    parts = {"jpeg": jpeg, "webp": features.version("webp"), "tiff": features.version("libtiff")}
    names = [f"pillow {PIL.__version__}", *(f"{k} {v}" for k, v in parts.items() if v)]
    if not is_pillows(decode):
        names = [f"{name} {_find_version(name)}" for name in ("torch", "simplejpeg")] + names
    return ", ".join(names) + (_REDUCED if is_reduced(decode) else "")


def _find_version(name: str) -> str:
    return importlib.metadata.version(name).partition("+")[0]


def read_decode(described: str) -> str:
    """One of `DECODES`, whichever `describe_decoder` described; Pillow's of any other text."""
    reduced = described.endswith(_REDUCED)
    if described.startswith("torch "):
        return "fast" if reduced else "exact"
    return "pillow-fast" if reduced else "pillow"


def accepts_decode(asked: str, made: str) -> bool:
    """Whether features that were decoded so are what is asked for."""
    return made in (asked, _BEFORE.get(asked))


def is_pillows(decode: str) -> bool:
    """Whether Pillow alone decodes and resizes."""
    return decode in _BEFORE.values()


def is_reduced(decode: str) -> bool:
    """Whether large JPEGs are decoded at reduced scale."""
    return decode in ("fast", _BEFORE["fast"])


def name_scale(decode: str) -> str:
    """ "exact" or "fast", as recipes of baselines have it beside what decodes."""
    return "fast" if is_reduced(decode) else "exact"


def check_decode(given: str) -> str:
    """One of `DECODES`; else raise DatasetError."""
    if given not in DECODES:
        raise DatasetError(f"unknown decode {given!r}: say one of {', '.join(DECODES)}")
    return given
