"""A model's maps of images: where in each its score comes from."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import LAST_LAYER
from featx.data.dataset import Leftovers, Skipped
from featx.deployment.classifier import read_classifier
from featx.deployment.predict import Prediction, check_unknown, describe_prediction, take_model
from featx.deployment.stream import Judged, RunOptions, name_sources, stream_images
from featx.errors import ModelError
from featx.explaining.maps import check_linear, fold_head
from featx.heads.head import load_head, read_layers
from featx.network.layers import count_places
from featx.novelty.shift import Watch
from featx.sources.boxes import Boxes
from featx.training.model import Model


@dataclass(frozen=True)
class Explanation:
    """Where in an image a model's scores come from.

    The network sees the centre square of the resized picture as a grid of places. Each class has a
    number at every place, and the mean of these plus the class's bias is its logit, which the
    softmax takes: the difference of two classes' logits is the logarithm of their odds.

    Attributes
    ----------
    prediction : Prediction
    classes : tuple of str
    shown : str
        The class that `map` is of.
    against : str or None
        The class whose map is taken off.
    maps : ndarray of shape (n_classes, height, width), float64
        The logits, spread over the places.
    biases : ndarray of shape (n_classes,), float64
    pixels : ndarray of shape (crop, crop, 3), uint8
        What the network saw.
    """

    prediction: Prediction
    classes: tuple[str, ...]
    shown: str
    against: str | None
    maps: npt.NDArray[np.float64]
    biases: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.uint8]

    @property
    def map(self) -> npt.NDArray[np.float64]:
        """What is drawn, shape (height, width): that of a class, or of the difference of two."""
        found: npt.NDArray[np.float64] = self._subtract(self.maps)
        return found

    @property
    def bias(self) -> float:
        """What is no place's."""
        return float(self._subtract(self.biases))

    @property
    def logit(self) -> float:
        """The score that is spread: the mean of `map`, and `bias`."""
        return float(self.map.mean()) + self.bias

    def _subtract(self, values: npt.NDArray[np.float64]) -> Any:
        of = values[self.classes.index(self.shown)]
        return of if self.against is None else of - values[self.classes.index(self.against)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: the prediction's, and what is drawn."""
        return {
            **self.prediction.to_dict(),
            "shown": self.shown,
            "against": self.against,
            "logit": self.logit,
            "bias": self.bias,
            "map": self.map.tolist(),
        }


def explain(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path] = (),
    *,
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
    watch: Watch | None = None,
    boxes: str | Path | Boxes | None = None,
    shown: str | None = None,
    against: str | None = None,
    top: int = 1,
    threshold: float = 0.0,
    weights: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    progress: bool = False,
) -> Generator[Explanation | Skipped]:
    """Say of images where in them a model's score comes from, exactly.

    A map is not a guess at what the model does: its mean and the bias are the logit. See
    docs/explaining.md.

    Parameters
    ----------
    model : path or Model
        A linear head on the last layer's averages (logreg, linear, svm, ridge, centroid), or a
        fine-tuned network.
    images, listed, left_out, watch, boxes
        See `featx.predict`.
    shown : str, optional
        The class whose map is wanted; None: of each image the most probable.
    against : str, optional
        Take its map off: what speaks for the one class rather than the other.
    top, threshold, weights, device, engine, precision, batch_size, num_workers
    decode_processes, progress
        See `featx.predict`.

    Yields
    ------
    Explanation or Skipped
        In the order given: a Skipped is a file that is no image.

    Raises
    ------
    DatasetError
        No such file, a folder without images, or nothing at all.
    ImageError
        At the end: not one of the files is an image.
    ModelError
        As for `featx.predict`; or the scores are no sum over places, or there is no such class.
    WeightsError, DeviceError

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> model = featx.fit(featx.load_features("F.h5"), "logreg", C=1.0, output="maps.safetensors")
    >>> (found,) = featx.explain("maps.safetensors", "photos/cat/00.jpg", shown="cat")
    >>> bool(abs(found.map.mean() + found.bias - found.logit) < 1e-9)
    True
    """
    trained = take_model(model)
    trained.need_one_label("featx explain")
    sources = name_sources(images, listed, left_out, boxes)
    check_unknown(trained, threshold)
    _check_classes(trained, shown, against)
    _check_model(trained)
    classifier = read_classifier(trained, weights, progress=progress)
    folded = fold_head(classifier.head)
    dim = classifier.weights.feature_dim
    side = count_places(classifier.weights.preprocessing.crop)

    def judge(batch: Judged) -> list[Explanation]:
        features = batch.rows[:, :dim]
        places = batch.rows[:, -dim * side**2 :].reshape(-1, dim, side, side)
        said = classifier.head.predict_proba(features)
        if watch is not None:
            watch.look(batch.paths, features, *classifier.head.decide(features))
        maps, biases = folded.spread(features, places)
        return [
            Explanation(
                describe_prediction(str(path), said[i], trained.classes, top, threshold),
                trained.classes,
                trained.classes[int(said[i].argmax())] if shown is None else shown,
                against,
                maps[i],
                biases[i],
                batch.pixels[i].copy(),  # which else would be another image's soon
            )
            for i, path in enumerate(batch.paths)
        ]

    how = RunOptions(
        device=device, engine=engine, precision=precision, batch_size=batch_size,
        num_workers=num_workers, decode_processes=decode_processes, progress=progress,
    )  # fmt: skip
    return stream_images(classifier, sources, judge, how, "explain", places=True)


def _check_classes(trained: Model, *named: str | None) -> None:
    for name in named:
        if name is not None and name not in trained.classes:
            raise ModelError(
                f"{trained.path} has no class {name!r}: say one of {', '.join(trained.classes)}"
            )
    if named[0] is not None and len({*named}) < 2:
        raise ModelError(f"{named[0]!r} against itself is nothing: say another class")


def _check_model(trained: Model) -> None:
    """What a head is, before its network is looked for."""
    if trained.kind != "head":
        return
    check_linear(load_head(trained))
    if (layers := read_layers(trained)) != LAST_LAYER:
        raise ModelError(
            f"{trained.path} reads --layers {layers}: a map is the last layer's averages, spread "
            "over their places, and other outputs have other places. featx fit F.h5 --layers last "
            "makes a model that has one"
        )
