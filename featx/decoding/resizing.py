"""Arrays of pixels, resized by torch, and turned as EXIF says."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt


def resized_size(size: tuple[float, float], short: int) -> tuple[int, int]:
    """(width, height) after the short side became `short`; the long one is cut to whole pixels."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def resize_pixels(
    pixels: npt.NDArray[np.uint8],
    size: tuple[float, float],
    wanted: tuple[int, int],
    interpolation: str,
) -> npt.NDArray[np.uint8]:
    """Antialiased, in whole numbers, in the calling thread alone: as `torchvision.resize` does.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
    size : (float, float)
        Width and height of what is in them: theirs, or less than a pixel less where they are to
        become fewer.
    wanted : (int, int)
        Width and height.
    interpolation : {"bilinear", "bicubic"}

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    # Here, since torch takes seconds to import, and who finds everything done decodes nothing.
    import torch
    from torch.nn.functional import interpolate

    # In this order the strides are those of channels_last, and those of what comes back, too.
    channels_first = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resize = partial(interpolate, channels_first, mode=interpolation, antialias=True)
    if pixels.shape[1::-1] == size:
        resized = resize(size=wanted[::-1])
    else:
        # torch cuts the product of size and factor to whole pixels: a hair more than `wanted`.
        factors = tuple((new + 1e-6) / old for new, old in zip(wanted, size, strict=True))
        resized = resize(scale_factor=factors[::-1])
    found: npt.NDArray[np.uint8] = resized[0].permute(1, 2, 0).numpy()
    return found


def turn_upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Rows and columns as EXIF's orientation says (CIPA DC-008, tag 274); any other turns none."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
