"""Features as a step of a scikit-learn pipeline: images in, rows out, the network once an image."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from featx.assembly import build_runner
from featx.cache import find_cache_dir, prepare_cache
from featx.catalogue import find_weights_dir
from featx.config import BACKBONE, BACKBONES, Preprocessing
from featx.errors import DatasetError, ImageError
from featx.files import hash_file, write_whole
from featx.images import load_image
from featx.loading import load_batches
from featx.machine import count_cores
from featx.provenance import Choice
from featx.stages import Stages

if TYPE_CHECKING:
    from featx.engine import Engine

_FOLDER = "rows"  # in the cache folder
_SEAL = 32  # bytes of SHA-256 behind the numbers
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


class ResNet50Features(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frozen ImageNet features of images, as a scikit-learn transformer.

    `X` is a sequence of images: paths, PIL images, or arrays of shape (height, width, 3), uint8,
    RGB. Nothing is learned from them, so that `fit` only looks at the parameters. The network runs
    once an image: what it gave is kept on disk by the image's content and by all that decides
    features, so that a grid search, its folds and its clones, and the next run read it from there.

    Parameters
    ----------
    weights : str
        See `featx.fetch.resolve_weights`.
    backbone : str
        The network, a key of `featx.config.BACKBONES`.
    engine : {"auto", "torch", "openvino"}
        auto: the fastest that is installed and gives torch's features.
    precision : {"fp32", "bf16", "fp16", "auto"}
    device : {"auto", "cpu", "cuda"}
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    cache_dir : path, None or False
        Where rows are kept; None: FEATX_CACHE, else ./cache; False: nowhere.

    Examples
    --------
    >>> from featx import ResNet50Features
    >>> ResNet50Features(backbone="resnet18").get_feature_names_out().shape
    (512,)
    """

    def __init__(
        self,
        weights: str = "auto",
        *,
        backbone: str = BACKBONE,
        engine: str = "auto",
        precision: str = "fp32",
        device: str = "auto",
        batch_size: int | None = None,
        num_workers: int | None = None,
        cache_dir: str | Path | bool | None = None,
    ) -> None:
        self.weights = weights
        self.backbone = backbone
        self.engine = engine
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.cache_dir = cache_dir

    @property
    def _n_features_out(self) -> int:
        return BACKBONES[self.backbone]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.no_validation = True
        return tags

    def fit(self, X: Any, y: Any = None) -> ResNet50Features:
        """Look at the parameters and at what kind of things `X` holds.

        Raises
        ------
        DatasetError
            `X` is no sequence of images, or an empty one.
        WeightsError
            Unknown backbone.
        """
        self._choose()
        _list_items(X)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Features of images.

        Parameters
        ----------
        X : sequence of n_samples paths, PIL images or uint8 arrays

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32

        Raises
        ------
        ImageError
            One cannot be decoded; the message says which.
        DatasetError
            `X` is no sequence of images.
        WeightsError, DeviceError
        """
        items = _list_items(X)
        with tempfile.TemporaryDirectory(prefix="featx-") as made:
            paths = [_as_file(item, Path(made) / f"{i}.png", i) for i, item in enumerate(items)]
            digests = [_hash(path) for path in paths]
            runner = _build_runner(
                self.weights, self._choose(), self.device, self.batch_size, paths
            )
            rows: dict[str, npt.NDArray[np.float32]] = {}
            folder = self._find_folder(runner.key)
            missing = {}
            for path, digest in zip(paths, digests, strict=True):
                if digest in rows or digest in missing:
                    continue
                there = None if folder is None else _read_row(folder / digest, self._n_features_out)
                if there is None:
                    missing[digest] = path
                else:
                    rows[digest] = there
            self._compute(runner, missing, rows, folder)
        return np.stack([rows[digest] for digest in digests])

    def _choose(self) -> Choice:
        return Choice(engine=self.engine, precision=self.precision, backbone=self.backbone)

    def _find_folder(self, key: str) -> Path | None:
        if self.cache_dir is False:
            return None
        home = find_cache_dir(None if self.cache_dir is True else self.cache_dir)
        prepare_cache(home)
        return home / _FOLDER / key[:16]

    def _compute(
        self,
        runner: _Runner,
        missing: dict[str, Path],
        rows: dict[str, npt.NDArray[np.float32]],
        folder: Path | None,
    ) -> None:
        """Run the network over images that have no row yet, and keep what it gives."""
        digests = list(missing)
        workers = count_cores() if self.num_workers is None else self.num_workers

        def load(i: int) -> npt.NDArray[np.uint8]:
            return load_image(missing[digests[i]], runner.preprocessing, digests[i])

        size = runner.engine.batch_size
        for batch in load_batches(load, range(len(digests)), size, workers):
            for _, error in batch.failures:
                raise error
            found = runner.run(batch.pixels)
            for i, row in zip(batch.rows.tolist(), found, strict=True):
                rows[digests[i]] = row
                if folder is not None:
                    _write_row(folder / digests[i], row)


@dataclass(frozen=True)
class _Runner:
    """An engine that one thread uses at a time, and what its features are kept by."""

    engine: Engine
    preprocessing: Preprocessing
    key: str
    lock: threading.Lock

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with self.lock:
            return self.engine.run(pixels)


# The last that was built: clones and folds ask for the same one again and again.
_built: dict[object, _Runner] = {}
_building = threading.Lock()


def _build_runner(
    weights: str, choice: Choice, device: str, batch_size: int | None, paths: Sequence[Path]
) -> _Runner:
    # Where stored weights lie may have changed meanwhile.
    wanted = (weights, choice, device, batch_size, find_weights_dir())
    with _building:
        if wanted not in _built:
            engine, made = build_runner(
                lambda most: paths[:most], choice, weights, None,
                device=device, batch_size=batch_size, progress=False, stages=Stages(),
            )  # fmt: skip
            preprocessing = Preprocessing.from_dict(made.preprocessing)
            _built.clear()
            _built[wanted] = _Runner(engine, preprocessing, made.key(), threading.Lock())
        return _built[wanted]


def _list_items(X: Any) -> list[Any]:
    """The images one by one; raises DatasetError where it is no sequence of them."""
    if isinstance(X, (str, os.PathLike, Image.Image)):
        raise DatasetError(f"{type(X).__name__} is one image: give a list of images")
    items = list(X) if isinstance(X, (Sequence, np.ndarray)) else list(iter(X))
    if not items:
        raise DatasetError("no images: the sequence is empty")
    for i, item in enumerate(items):
        if isinstance(item, np.ndarray):
            if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3 or not item.size:
                raise DatasetError(
                    f"image {i} is an array of shape {item.shape}, {item.dtype}: expected "
                    "(height, width, 3), uint8, RGB"
                )
        elif not isinstance(item, (str, os.PathLike, Image.Image)):
            raise DatasetError(
                f"image {i} is a {type(item).__name__}: expected a path, a PIL image or a uint8 "
                "array of shape (height, width, 3)"
            )
    return items


def _as_file(item: Any, path: Path, number: int) -> Path:
    """Where an image lies; one in memory is written down, so that there is one way to decode."""
    if isinstance(item, (str, os.PathLike)):
        return Path(item)
    image = item if isinstance(item, Image.Image) else Image.fromarray(item)
    if image.mode == "F":
        raise ImageError(f"image {number}", "floats have no known range", "unsupported")
    try:
        upright = ImageOps.exif_transpose(image)  # PNG would not keep what EXIF says
        if upright.mode.startswith("I"):  # grey of up to 16 bits
            plain = Image.fromarray(np.asarray(upright).clip(0, 2**16 - 1).astype(np.uint16))
        else:
            plain = upright if upright.mode in _PNG_MODES else upright.convert("RGB")
        plain.save(path, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"image {number}", str(error), "unreadable") from error
    return path


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise ImageError(str(path), error.strerror or str(error), "unreadable") from error


def _read_row(path: Path, n: int) -> npt.NDArray[np.float32] | None:
    """What is kept of an image; None where nothing is, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    numbers = data[:-_SEAL]
    if len(numbers) != 4 * n or hashlib.sha256(numbers).digest() != data[-_SEAL:]:
        return None
    return np.frombuffer(numbers, "<f4").astype(np.float32)


def _write_row(path: Path, row: npt.NDArray[np.float32]) -> None:
    numbers = row.astype("<f4").tobytes()
    with write_whole(path) as temporary:
        temporary.write_bytes(numbers + hashlib.sha256(numbers).digest())
