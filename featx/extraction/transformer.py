"""Features as a step of a scikit-learn pipeline: images in, rows out, the network once an image."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from featx.config import (
    BACKBONE,
    BACKBONES,
    DEVICES,
    ENGINES,
    LAST_LAYER,
    PRECISIONS,
)
from featx.data.inputs import Picture, list_pictures
from featx.decoding.decoders import read_decode
from featx.errors import DatasetError, DeviceError, WeightsError
from featx.extraction.row_filling import fill_rows
from featx.extraction.shared_runner import SharedRunner, share_runner
from featx.features.cache import find_cache_dir, is_asked_for, prepare_cache
from featx.features.outputs import add_features, find_own, name_columns
from featx.features.provenance import Choice, Provenance
from featx.features.row_cache import RowCache, Rows, list_provenances, note_provenance, open_rows
from featx.machine import count_cores
from featx.network.catalogue import (
    list_auto,
    name_weights,
    read_stored_hash,
    stored_path,
)

_LEAST = {"batch_size": 1, "num_workers": 0, "decode_processes": 0}
_KNOWN = {"engine": ENGINES, "precision": PRECISIONS, "device": DEVICES}
# What has to be equal for rows to mean the same. An engine's last bits do not.
_MEANING = ("backbone", "weights_sha256", "preprocessing")


class ResNet50Features(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frozen ImageNet features of images, as a scikit-learn transformer.

    `X` is a list, array or column of images: paths, PIL images, or uint8 arrays of shape (height,
    width, 3), RGB, or (height, width), grey. Nothing is learned from them: `fit` only settles
    which weights, engine and precision make the features. The network runs once an image: what it
    gave is kept on disk by the image's content and by all that decides features, so that a grid
    search, its folds, clones and processes, and the next run read it from there. Where all is
    there, torch is not even imported.

    Parameters
    ----------
    weights : str
        See `featx.fetch_weights`.
    backbone : str
        The network, by torchvision's name.
    engine : {"auto", "torch", "openvino"}
        auto: what rows that are there were computed by, else the fastest that is installed and
        gives torch's features.
    precision : {"fp32", "tf32", "bf16", "fp16", "int8", "auto"}
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA.
    num_workers : int, optional
        Decoding threads; None: as many as cores, 0: none.
    decode_processes : int, optional
        Processes that decode files instead; see `featx.extract`. What is in memory has threads.
    layers : str
        Which outputs of the network are the columns: "last", its features; of all four stages
        "avg" or "max", their means or maxima over places, or "all", both; or some, such as
        "last,layer3:max". One pass gives them.
    cache_dir : path, None or False
        Where rows are kept; None: FEATX_CACHE, else ./cache; False: nowhere.
    depth : str
        Of samples of 16 bits: "full" scales them by their type, "used 12" (or another number) as
        if they had that many bits. What `extract` finds out by "used" takes all images at once.
    sample_range, channels, profiles
        See `featx.extract`.

    Attributes
    ----------
    provenance_ : featx.Provenance
        What `fit` settled. An unpickled transformer refuses other weights than those.

    Examples
    --------
    >>> from featx import ResNet50Features
    >>> ResNet50Features(backbone="resnet18").get_feature_names_out()[[0, -1]].tolist()
    ['resnet18_0', 'resnet18_511']
    """

    __module__ = "featx"  # its public place, so that a pickle does not know where it lies

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
        decode_processes: int | None = None,
        layers: str = LAST_LAYER,
        cache_dir: str | Path | bool | None = None,
        depth: str = "full",
        sample_range: tuple[float, float] | str | None = None,
        channels: tuple[int, ...] | str | None = None,
        profiles: str = "auto",
    ) -> None:
        self.weights = weights
        self.backbone = backbone
        self.engine = engine
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.decode_processes = decode_processes
        self.layers = layers
        self.cache_dir = cache_dir
        self.depth = depth
        self.sample_range = sample_range
        self.channels = channels
        self.profiles = profiles

    def __setstate__(self, state: dict[str, Any]) -> None:
        # One that an older featx pickled lacks the parameters that have come since.
        known = inspect.signature(type(self)).parameters.values()
        super().__setstate__({one.name: one.default for one in known} | state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.no_validation = True
        return tags

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the columns: the backbone's, of layers their own beside it, with a number.

        Parameters
        ----------
        input_features : object
            Not looked at.

        Returns
        -------
        ndarray of shape (n_features,), str objects
        """
        backbone = self._choose().backbone
        return np.array(name_columns(self.layers, backbone), dtype=object)

    def fit(self, X: Any, y: Any = None) -> ResNet50Features:
        """Look at the parameters and at what `X` holds, and settle what makes the features.

        Parameters
        ----------
        X : list, array or column of n_samples paths, PIL images or uint8 arrays
        y : object
            Not looked at.

        Raises
        ------
        DatasetError
            `X` is no sequence of images, can be gone through only once, or is empty; or a
            parameter is none.
        WeightsError
            Unknown backbone, or weights that cannot be had.
        DeviceError
        """
        choice = self._choose()
        pictures, home = list_pictures(X), self._find_home()
        there = [] if home is None else _list_fitting(home, self.weights, choice, None)
        self.provenance_ = there[0] if there else self._build(choice, pictures, self.weights).made
        return self

    def fit_transform(self, X: Any, y: Any = None) -> npt.NDArray[np.float32]:
        """`fit` and `transform`, which raise the same, in one."""
        found, self.provenance_ = self._find_features(X, None)
        return found

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Features of images; without `fit`, too.

        Parameters
        ----------
        X : list, array or column of n_samples paths, PIL images or uint8 arrays

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32

        Raises
        ------
        ImageError
            One cannot be decoded; the message says which.
        DatasetError
            `X` is no sequence of images.
        WeightsError
            They cannot be had, or are not those of `fit`.
        ExtractionError
            The network gave NaN or infinite features.
        StorageError
            No room for what is to be kept; the rows before are.
        DeviceError
        """
        return self._find_features(X, getattr(self, "provenance_", None))[0]

    def _choose(self) -> Choice:
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                error = DeviceError if name == "device" else DatasetError
                raise error(f"{name}={getattr(self, name)!r}: say one of {', '.join(known)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise DatasetError(f"{name}={value!r}: at least {least}, or None")
        if self.depth == "used":
            raise DatasetError(
                "depth='used' looks through all images, and a transformer has some at a time: say "
                "how many bits they use, as in 'used 12'"
            )
        return Choice(
            engine=self.engine, precision=self.precision, backbone=self.backbone,
            layers=add_features(self.layers), depth=self.depth, sample_range=self.sample_range,
            channels=self.channels, profiles=self.profiles,
        )  # fmt: skip

    def _find_home(self) -> Path | None:
        if self.cache_dir is True:
            raise DatasetError(
                "cache_dir=True: name a folder, or say None for FEATX_CACHE, else ./cache, or "
                "False for none"
            )
        return None if self.cache_dir is False else find_cache_dir(self.cache_dir)

    def _find_features(
        self, X: Any, fitted: Provenance | None
    ) -> tuple[npt.NDArray[np.float32], Provenance]:
        """Rows, and what they were made by; `fitted` is what they have to mean the same as."""
        choice = self._choose().settle(fitted)
        weights = self.weights
        if fitted is not None:
            weights = fitted.weights if weights == "auto" else weights
            _check_stored(fitted, name_weights(weights, choice.backbone))
        pictures, home = list_pictures(X), self._find_home()
        workers = count_cores() if self.num_workers is None else self.num_workers
        digests = _hash_all(pictures, workers)
        by_digest = dict(zip(digests, pictures, strict=True))
        for made in [] if home is None else _list_fitting(home, weights, choice, fitted):
            rows = self._open(home, made).read(digests)
            if len(rows) == len(by_digest):
                return self._stack(rows, digests, made), made
        runner = self._build(choice, pictures, weights)
        if fitted is not None:
            _check_meaning(fitted, runner.made)
        if home is None:
            cache = None
        else:
            prepare_cache(home)
            cache = self._open(home, runner.made)
            note_provenance(cache, runner.made)
        rows = fill_rows(runner, by_digest, cache, workers, self.decode_processes)
        return self._stack(rows, digests, runner.made), runner.made

    def _open(self, home: Path | None, made: Provenance) -> RowCache:
        assert home is not None
        return open_rows(home, made, BACKBONES[made.backbone] + made.n_columns)

    def _stack(
        self, rows: Rows, digests: Sequence[str], made: Provenance
    ) -> npt.NDArray[np.float32]:
        own = find_own(self.layers, made.backbone, made.layers)
        found = np.stack([rows[digest] for digest in digests])
        return found if own is None else found[:, own]

    def _build(self, choice: Choice, pictures: Sequence[Picture], weights: str) -> SharedRunner:
        return share_runner(weights, choice, self.device, self.batch_size, pictures)


def _list_fitting(
    home: Path, weights: str, choice: Choice, fitted: Provenance | None
) -> list[Provenance]:
    """What there are rows of that would be made so, the newest first; weights are not read."""
    name = weights
    if name == "auto":
        # What rows happen to be there must not decide it: rows of two weights do not mix.
        auto = list_auto(choice.backbone)
        name = next((one for one in auto if stored_path(one).is_file()), auto[0])
    there = [made for made in list_provenances(home) if is_asked_for(made, name, choice)]
    if fitted is None:
        return there
    decode = read_decode(fitted.decoder)
    alike = (made for made in there if read_decode(made.decoder) == decode)
    return [made for made in alike if not _differ(fitted, made)]


def _differ(fitted: Provenance, made: Provenance) -> list[str]:
    return [name for name in _MEANING if getattr(fitted, name) != getattr(made, name)]


def _check_meaning(fitted: Provenance, made: Provenance) -> None:
    """Raise WeightsError where rows would not mean what those of `fit` did."""
    if differing := _differ(fitted, made):
        values = [
            f"{n} {getattr(fitted, n)!s:.60}, now {getattr(made, n)!s:.60}" for n in differing
        ]
        raise WeightsError(
            f"fitted with the weights {fitted.weights}, and those found now are others "
            f"({made.weights}: {'; '.join(values)}): have the same weights here, or fit again"
        )


def _check_stored(fitted: Provenance, name: str) -> None:
    """The same as early as it can be known: by what stored weights say of themselves."""
    stored = read_stored_hash(name) if name == fitted.weights else None
    if stored not in (None, fitted.weights_sha256):
        raise WeightsError(
            f"fitted with the weights {fitted.weights} (sha256 {fitted.weights_sha256:.12}), and "
            f"those stored here under that name are others ({stored:.12}, {stored_path(name)}): "
            "have the same weights here, or fit again"
        )


def _hash_all(pictures: Sequence[Picture], workers: int) -> list[str]:
    if workers < 2 or len(pictures) < 2:
        return [picture.hash() for picture in pictures]
    with ThreadPoolExecutor(workers, thread_name_prefix="featx-hash") as pool:
        try:
            return list(pool.map(Picture.hash, pictures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
