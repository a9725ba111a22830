"""Colours: by a picture's own ICC profile to sRGB, and on the background."""

from __future__ import annotations

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from featx.config import BACKGROUND
from featx.decoding.pixel_format import Reading

log = logging.getLogger(__name__)

_ALIKE = 2  # levels of 255 that a profile may be from sRGB and still be taken for it
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}


def to_rgb(image: Image.Image, profile: bytes | None, reading: Reading) -> Image.Image:
    """A picture of 8 bits, in any of Pillow's modes, as sRGB on the background."""
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if profile and reading.profiles == "srgb" and image.mode != "1":
        image = _convert(image, profile, reading)
    if image.mode == "LAB":
        image = _lab().apply(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _convert(image: Image.Image, profile: bytes, reading: Reading) -> Image.Image:
    """Colours by a picture's own profile; as they are where it is sRGB's, or is none of theirs."""
    found = _find_transform(profile)
    space = found[0] if found is not None else ""
    # A profile of colours says of grey how its levels are to be taken, too.
    mode = {"RGB ": "RGB", "GRAY": "L"}.get(space, image.mode)
    if found is None or not _fits(space, image.mode):
        if reading.seen is not None:
            reading.seen.note_ignored()
        return image
    transform = found[1]
    if transform is None:
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    plain = image.convert(mode) if alpha is None else _drop_alpha(image, mode)
    converted = transform.apply(plain)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _fits(space: str, mode: str) -> bool:
    """Whether a profile of that colour space is one of pictures of that mode."""
    if space == "RGB ":
        return mode not in ("CMYK", "LAB")
    return mode in ("L", "LA") if space == "GRAY" else space == _SPACES.get(mode)


def is_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile leaves the colours of a picture of that mode as they are."""
    found = _find_transform(profile)
    return found is not None and found[1] is None and _fits(found[0], mode)


def _drop_alpha(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "LA":
        return image.getchannel("L").convert(mode)
    return image.convert("RGBA").convert(mode)


@lru_cache(maxsize=64)
def _find_transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None] | None:
    """A profile's colour space and its way to sRGB, None where that is no way; None: no profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space
        mode = {theirs: ours for ours, theirs in _SPACES.items()}[space]
        made = ImageCms.ImageCmsTransform(
            source, _srgb(), mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags=ImageCms.Flags.NOCACHE
        )
    except (OSError, ValueError, KeyError, ImageCms.PyCMSError) as error:
        log.debug("colour profile ignored: %s", error)
        return None
    if mode in ("RGB", "L"):
        # 17 levels of each colour, or all of grey.
        levels = np.linspace(0, 255, 17 if mode == "RGB" else 256).astype(np.uint8)
        patches = np.stack(np.meshgrid(*[levels] * len(mode)), axis=-1).reshape(1, -1, len(mode))
        chart = Image.fromarray(patches if mode == "RGB" else patches[..., 0])
        difference = np.asarray(made.apply(chart), np.int16) - np.asarray(chart.convert("RGB"))
        if np.abs(difference).max() <= _ALIKE:
            return space, None
    return space, made


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    """CIE L*a*b* of D50, as TIFF has it, to sRGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(
        lab, _srgb(), "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.NOCACHE,
    )  # fmt: skip
