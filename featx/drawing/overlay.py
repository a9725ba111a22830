"""A map drawn over the picture it is of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

# Nine even steps of cividis (Nuñez, Anderton and Renslow 2018, "Optimizing colormaps with
# consideration for color vision deficiency"): colour-blind readers see the same, and its lightness
# rises evenly, so that it is read in grey, too.
COLOURS = (
    (0, 32, 81), (17, 54, 108), (60, 77, 110), (98, 100, 111), (127, 124, 117), (154, 148, 120),
    (187, 175, 113), (226, 203, 92), (253, 234, 69),
)  # fmt: skip
_SHARE = 0.6  # of the colour over the picture, which is in grey
_GAP, _BAR, _ROOM = 8, 14, 64  # pixels: between parts, of the scale, and of its numbers


def colour_values(values: npt.NDArray[np.floating], limit: float) -> npt.NDArray[np.uint8]:
    """Colours of numbers, shape (…, 3): the scale's ends are -limit and limit, its middle is 0."""
    place = (np.clip(values / (limit or 1.0), -1, 1) + 1) / 2
    steps, table = np.linspace(0, 1, len(COLOURS)), np.array(COLOURS, dtype=np.float64)
    mixed = [np.interp(place, steps, table[:, channel]) for channel in range(3)]
    return np.stack(mixed, axis=-1).round().astype(np.uint8)


def enlarge_map(found: npt.NDArray[np.floating], side: int) -> npt.NDArray[np.float32]:
    """A map on a square of `side` pixels: bilinear, so that no number is beyond the map's own."""
    small = Image.fromarray(found.astype(np.float32))
    return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR))


def blend_map(
    pixels: npt.NDArray[np.uint8], found: npt.NDArray[np.floating], limit: float
) -> Image.Image:
    """A picture in grey under the map's colours; see `draw_overlay`."""
    colours = Image.fromarray(colour_values(enlarge_map(found, len(pixels)), limit))
    return Image.blend(Image.fromarray(pixels).convert("L").convert("RGB"), colours, _SHARE)


def draw_overlay(
    pixels: npt.NDArray[np.uint8], found: npt.NDArray[np.floating], limit: float
) -> Image.Image:
    """The picture, the same in grey under the map's colours, and their scale, side by side.

    Parameters
    ----------
    pixels : ndarray of shape (side, side, 3), uint8
    found : ndarray of shape (height, width)
        The map: its first number is that of the upper left place.
    limit : float
        Where the scale ends, on both sides of 0.
    """
    side, picture = len(pixels), Image.fromarray(pixels)
    whole = Image.new("RGB", (2 * side + 2 * _GAP + _BAR + _ROOM, side), "white")
    whole.paste(picture, (0, 0))
    whole.paste(blend_map(pixels, found, limit), (side + _GAP, 0))
    left = 2 * (side + _GAP)
    scale = np.repeat(np.linspace(limit, -limit, side)[:, None], _BAR, axis=1)
    whole.paste(Image.fromarray(colour_values(scale, limit)), (left, 0))
    pen = ImageDraw.Draw(whole)
    for y, anchor, value in ((1, "lt", limit), (side // 2, "lm", 0.0), (side - 2, "lb", -limit)):
        pen.text((left + _BAR + 5, y), f"{value:+.3g}" if value else "0", "black", anchor=anchor)
    return whole
