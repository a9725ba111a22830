"""The images of a feature file that are nearest to new ones."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import NEAREST_SHOWN
from featx.data.dataset import Leftovers, Skipped
from featx.decoding.crops import hash_image
from featx.deployment.classifier import read_network
from featx.deployment.stream import Judged, RunOptions, name_sources, stream_images
from featx.features.content import FeatureFile, need_one_label
from featx.features.file import open_features
from featx.features.nearest import find_nearest
from featx.storage.rows import decode_text


@dataclass(frozen=True)
class Near:
    """A row that is near to an image.

    Attributes
    ----------
    path : str
        As the feature file has it, relative to the data's folder.
    label : str
        Its class; "" where it has none.
    split : str
        "train", "val", "test" or "".
    cosine : float
        Of the angle between its features and the image's, in [-1, 1].
    same : bool
        Its file has the image's bytes.
    """

    path: str
    label: str
    split: str
    cosine: float
    same: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "path": self.path, "class": self.label, "split": self.split, "cosine": self.cosine,
            "same": self.same,
        }  # fmt: skip


@dataclass(frozen=True)
class Similar:
    """The rows that are nearest to an image.

    Attributes
    ----------
    path : str
        The image.
    nearest : tuple of Near
        The nearest first.
    """

    path: str
    nearest: tuple[Near, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"path": self.path, "nearest": [one.to_dict() for one in self.nearest]}


@dataclass(frozen=True)
class _Query:
    path: str
    digest: str  # SHA-256 of the file, in hex
    row: npt.NDArray[np.float32]


def find_similar(
    features: str | Path | FeatureFile,
    images: str | Path | Sequence[str | Path] = (),
    *,
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
    k: int = NEAREST_SHOWN,
    weights: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    progress: bool = False,
) -> Generator[Similar | Skipped]:
    """Find the rows of a feature file that are nearest to images.

    The network runs once over the images, with the file's own weights, preprocessing, decoder and,
    where it is installed, engine; then the file is read once.

    Parameters
    ----------
    features : path or FeatureFile
    images, listed, left_out
        See `featx.predict`.
    k : int
        How many rows to give; see `find_nearest`.
    weights, device, batch_size, num_workers, decode_processes, progress
        See `featx.predict`.

    Yields
    ------
    Similar or Skipped
        In the order given: a Skipped is a file that is no image.

    Raises
    ------
    FeatureFileError
        See `featx.load_features`.
    DatasetError
        No such file, a folder without images, or nothing at all.
    ImageError
        Not one of the files is an image.
    ModelError
        The weights are not those that made the features, or are nowhere.
    WeightsError, DeviceError

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> (found,) = featx.find_similar("F.h5", "photos/cat/00.jpg", k=2)
    >>> found.nearest[0].path, found.nearest[0].same
    ('cat/00.jpg', True)
    """
    file = features if isinstance(features, FeatureFile) else open_features(features)
    need_one_label(file, "featx similar")
    sources = name_sources(images, listed, left_out)
    network = read_network(_Made(file.path, file.provenance.to_dict()), weights, progress=progress)

    def judge(batch: Judged) -> list[_Query]:
        return [
            _Query(str(path), hash_image(path), row)
            for path, row in zip(batch.paths, batch.rows, strict=True)
        ]

    how = RunOptions(
        device=device, batch_size=batch_size, num_workers=num_workers,
        decode_processes=decode_processes, progress=progress,
    )  # fmt: skip
    found = stream_images(network, sources, judge, how, "similar")

    def search() -> Generator[Similar | Skipped]:
        every = list(found)
        queries = [one for one in every if isinstance(one, _Query)]
        X = file.columns["features"]
        cosines, rows = find_nearest(X, np.stack([one.row for one in queries]), k)
        near = (
            Similar(query.path, _describe(file, query, *places))
            for query, *places in zip(queries, cosines, rows, strict=True)
        )
        for one in every:
            yield one if isinstance(one, Skipped) else next(near)

    return search()


@dataclass(frozen=True)
class _Made:
    path: Path
    provenance: dict[str, Any]


def _describe(file: FeatureFile, query: _Query, cosines: Matrix, rows: Labels) -> tuple[Near, ...]:
    paths, splits, hashes = (
        decode_text(file.columns[name][rows]).tolist() for name in ("paths", "splits", "hashes")
    )
    targets = file.columns["targets"][rows].tolist()
    labels = ["" if code < 0 else file.heading.classes[code] for code in targets]
    return tuple(
        Near(path, label, split, cosine, digest == query.digest)
        for path, label, split, cosine, digest in zip(
            paths, labels, splits, cosines.tolist(), hashes, strict=True
        )
    )
