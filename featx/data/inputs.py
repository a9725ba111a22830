"""Images as a program holds them, in lists, arrays and tables: paths, PIL images, uint8 arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.images import open_rgb
from featx.decoding.crops import hash_image
from featx.decoding.picture import Source, hash_pixels
from featx.errors import DatasetError, ImageError

_EXPECTED = (
    "expected a path, a PIL image or a uint8 array of shape (height, width, 3), RGB, or "
    "(height, width), grey"
)


@dataclass(frozen=True)
class Picture:
    """One image of several.

    Attributes
    ----------
    number : int
        Its place among them, from 0.
    held : path, PIL image or ndarray of shape (height, width[, 3]), uint8
    """

    number: int
    held: str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]

    def source(self) -> Source:
        """A file, or what Pillow takes it for."""
        if isinstance(self.held, Image.Image):
            return self.held
        return Image.fromarray(self.held) if isinstance(self.held, np.ndarray) else Path(self.held)

    def hash(self) -> str:
        """SHA-256, in hex, of a file's bytes, or of a picture's upright RGB pixels and size.

        Raises
        ------
        ImageError
        """
        source = self.source()
        if isinstance(source, Path):
            try:
                return hash_image(source)
            except (OSError, ValueError) as error:  # a null in the name is a ValueError
                said = getattr(error, "strerror", None) or str(error)
                raise ImageError(str(source), said, "unreadable") from error
        if isinstance(self.held, np.ndarray) and self.held.ndim == 3:
            return hash_pixels(self.held)
        try:
            return hash_pixels(open_rgb(source))
        except ImageError as error:
            raise self.name_error(error) from error

    def name_error(self, error: ImageError) -> ImageError:
        """The error, of this image: one that has no path is named by its number."""
        if isinstance(self.source(), Path):
            return error
        return ImageError(f"image {self.number}", error.reason, error.kind)


def list_pictures(X: Any) -> list[Picture]:
    """The images of a list, an array, a column or a table of one column, one by one.

    None is opened.

    Raises
    ------
    DatasetError
        It is one image, something that can be gone through only once, of no known order, empty, or
        holds anything else than images.
    """
    items = list(_iterate(X))
    if not items:
        raise DatasetError("no images: the sequence is empty")
    for i, item in enumerate(items):
        if isinstance(item, np.ndarray):
            shaped = item.ndim == 2 or (item.ndim == 3 and item.shape[2] == 3)
            if item.dtype != np.uint8 or not shaped or not item.size:
                raise DatasetError(
                    f"image {i} is an array of shape {item.shape}, {item.dtype}: {_EXPECTED}"
                )
        elif not isinstance(item, (str, os.PathLike, Image.Image)):
            raise DatasetError(f"image {i} is a {type(item).__name__}: {_EXPECTED}")
    return [Picture(i, item) for i, item in enumerate(items)]


def _iterate(X: Any) -> Iterator[Any]:
    name = type(X).__name__
    if isinstance(X, (str, bytes, os.PathLike, Image.Image)):
        raise DatasetError(f"{name} is one image: give a list of images")
    if isinstance(X, (Mapping, Set)):
        raise DatasetError(f"a {name} has no order: give a list of images")
    if isinstance(X, Sequence):
        return iter(X)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):  # of pandas, polars and others
        X = np.asarray(X.to_numpy(), dtype=object)
    if isinstance(X, np.ndarray):
        return iter(_check_array(X))
    if not hasattr(X, "__iter__"):
        raise DatasetError(f"{name} is no sequence of images")
    if not hasattr(X, "__len__"):
        raise DatasetError(
            f"a {name} can be gone through only once, and a pipeline does so more than once: give "
            "a list of images"
        )
    return iter(X)  # a column


def _check_array(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Raise DatasetError where an array's first axis is not that of images."""
    if X.ndim and X.dtype.kind in "OUT":  # names, or whatever else
        if X.ndim == 2 and X.shape[1] != 1:
            raise DatasetError(f"a table of {X.shape[1]} columns: name the one that holds images")
        return cast(npt.NDArray[Any], X.reshape(-1)) if X.ndim == 2 else X
    if X.ndim in (0, 2) or (X.ndim == 3 and X.shape[2] in (1, 3, 4)):
        raise DatasetError(
            f"an array of shape {X.shape} is one image, or none: expected (n_samples, height, "
            "width, 3), RGB, or (n_samples, height, width), grey; or a list of images"
        )
    return X
