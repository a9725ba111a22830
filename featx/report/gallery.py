"""What a page shows of a comparison beside its numbers: images, and a map of the features."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from featx.arrays import Labels
from featx.comparison.candidates import Candidate
from featx.comparison.result import Comparison
from featx.config import NEAREST_TRAIN
from featx.data.images import open_rgb
from featx.decoding.pixel_format import read_colours
from featx.errors import ImageError
from featx.features.content import Features
from featx.features.nearest import find_nearest
from featx.machine import count_cores
from featx.storage.blocks import Blocks
from featx.storage.rows import iterate_slices

_EXAMPLES = 12
_MISTAKES = 12
_MAPPED = 600  # images of the map: more are neither legible nor light
_TOGETHER = 512  # pictures that are in memory at once
LARGE, SMALL = 320, 112  # pixels of a picture's long side


def show_predictions(comparison: Comparison, candidate: Candidate) -> dict[str, Any]:
    """Test images that a candidate got right, evenly spaced, and its most confident mistakes."""
    features = comparison.features
    rows = features.rows("test")
    y = features.targets[rows]
    probabilities = candidate.outcome.probabilities["test"]
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != y)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    right = np.flatnonzero(predicted == y)
    spaced = np.unique(np.linspace(0, len(right) - 1, min(_EXAMPLES, len(right))).astype(int))

    def describe(i: int) -> dict[str, Any]:
        return {
            "path": str(features.paths[rows[i]]),
            "truth": features.classes[y[i]],
            "predicted": features.classes[predicted[i]],
            "probability": float(confidence[i]),
        }

    near = _find_train(features, rows[wrong])
    return {
        "candidate": candidate.name,
        "examples": [describe(i) for i in right[spaced].tolist()],
        "mistakes": [
            {**describe(i), "nearest": nearest}
            for i, nearest in zip(wrong.tolist(), near, strict=True)
        ],
    }


def _find_train(features: Features, rows: Labels) -> list[list[dict[str, Any]]]:
    """Of each row the train images that are nearest in the features, as JSON values."""
    if not len(rows):
        return []
    train = features.rows("train")
    cosines, found = find_nearest(Blocks((features.X,), train), features.X[rows], NEAREST_TRAIN)
    return [
        [
            {
                "path": str(features.paths[row]),
                "class": features.classes[features.targets[row]],
                "cosine": cosine,
            }
            for row, cosine in zip(train[at].tolist(), those, strict=True)
        ]
        for at, those in zip(found, cosines.tolist(), strict=True)
    ]


def map_test(comparison: Comparison, candidate: Candidate) -> dict[str, Any] | None:
    """Test images in a plane, with what a candidate takes them for.

    Of more than 600 images, 600 that are evenly spaced. None for fewer than three, and for those
    that all have the same features.
    """
    features = comparison.features
    rows = features.rows("test")
    if len(rows) < 3:
        return None
    predicted = candidate.outcome.probabilities["test"].argmax(axis=1)
    taken = np.unique(np.linspace(0, len(rows) - 1, min(_MAPPED, len(rows))).astype(int))
    X = features.X[rows[taken]]
    if not np.ptp(X, axis=0).any():
        return None
    method, places = map_features(X)
    return {
        "method": method,
        "candidate": candidate.name,
        "points": [
            {
                "path": str(features.paths[rows[i]]),
                "truth": features.classes[features.targets[rows[i]]],
                "predicted": features.classes[predicted[i]],
                "x": float(x),
                "y": float(y),
            }
            for i, (x, y) in zip(taken.tolist(), places, strict=True)
        ],
    }


def embed_pictures(
    root: Path, large: Iterable[str], small: Iterable[str], colours: str
) -> dict[str, str]:
    """Images as data: URIs of small JPEGs, by path; those that cannot be read now are left out.

    `colours` is what their features' provenance says of how pixels are read.
    """
    sizes = dict.fromkeys(small, SMALL) | dict.fromkeys(large, LARGE)
    return {path: embed_jpeg(jpeg) for path, jpeg in iterate_thumbnails(root, sizes, colours)}


def iterate_thumbnails(
    root: Path, sizes: Mapping[str, int], colours: str
) -> Iterator[tuple[str, bytes]]:
    """Small JPEGs of images, by path, as they come; see `embed_pictures`.

    `sizes` are the pixels of each one's long side.
    """
    reading = read_colours(colours)

    def shrink(path: str, size: int) -> tuple[str, bytes]:
        try:
            image = open_rgb(root / path, reading=reading)
        except ImageError:
            return path, b""
        return path, _encode(image, size)

    work = joblib.Parallel(n_jobs=count_cores(), prefer="threads", batch_size=16)
    todo = list(sizes.items())
    for some in iterate_slices(len(todo), _TOGETHER):
        yield from (
            one for one in work(joblib.delayed(shrink)(*one) for one in todo[some]) if one[1]
        )


def embed_jpeg(jpeg: bytes) -> str:
    """A JPEG as a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _encode(image: Image.Image, size: int) -> bytes:
    small = ImageOps.contain(image, (size, size))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return buffer.getvalue()


_FEW = 12  # images, below which neighbourhoods mean nothing


_COMPONENTS = 50  # before t-SNE, as van der Maaten and Hinton (2008) do


_PERPLEXITY = 30.0


def map_features(X: npt.NDArray[np.floating], seed: int = 0) -> tuple[str, npt.NDArray[np.float64]]:
    """Places in a plane where images lie near those with similar features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        n_samples at least 3.
    seed : int

    Returns
    -------
    method : {"t-SNE", "PCA"}
        PCA for a dozen images or fewer.
    places : ndarray of shape (n_samples, 2), float64
    """
    n = len(X)
    components = PCA(min(_COMPONENTS, n - 1, X.shape[1]), svd_solver="full").fit_transform(
        X.astype(np.float64)
    )
    if n <= _FEW:
        return "PCA", components[:, :2]
    tsne = TSNE(perplexity=min(_PERPLEXITY, (n - 1) / 3), init="pca", random_state=seed)
    places: npt.NDArray[np.float64] = tsne.fit_transform(components).astype(np.float64)
    return "t-SNE", places
