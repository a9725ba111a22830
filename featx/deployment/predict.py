"""A trained model on new images, as many as there are."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import BATCH_SIZE, CUDA_BATCH_SIZE
from featx.data.dataset import LeftOut, Leftovers, Skipped
from featx.data.folders import describe_left_out
from featx.data.images import load_image
from featx.data.loading import decode_some, load_batches
from featx.decoding.pixel_format import Seen
from featx.deployment.classifier import Classifier, read_classifier
from featx.deployment.listing import find_images, list_paths
from featx.errors import DatasetError, ImageError, ModelError
from featx.features.content import Features
from featx.features.outputs import take_engine_rows
from featx.features.provenance import Choice, Provenance
from featx.heads.head import load_head, read_layers
from featx.machine import count_cores
from featx.network.engine import Engine, choose_device
from featx.network.engine_choice import make_engine
from featx.storage.files import open_csv, write_whole
from featx.text import as_text
from featx.timing import Meter
from featx.training.model import Model, read_model

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
COLUMNS = ("path", "rank", "class", "probability")  # of the CSV

# What has to be equal for features to mean the same to a head. An engine's last bits do not.
_MEANING = ("backbone", "weights_sha256", "preprocessing")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes
    ----------
    path : str
    label : str
        The most probable class; "unknown" where it is less probable than was asked for.
    probability : float
        Of the most probable class, in [0, 1].
    top : tuple of (str, float)
        The most probable classes, in falling order, by their own names.
    """

    path: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "path": self.path,
            "class": self.label,
            "probability": self.probability,
            "top": [{"class": name, "probability": p} for name, p in self.top],
        }

    def to_rows(self) -> Iterator[tuple[int, str, float]]:
        """Rank, class and probability of each of `top`, the first under its label."""
        for rank, (name, probability) in enumerate(self.top, 1):
            yield rank, self.label if rank == 1 else name, probability


@dataclass(frozen=True)
class Predictions:
    """What a model says of several images.

    Attributes
    ----------
    predictions : tuple of Prediction
        In the order given.
    skipped_files : tuple of Skipped
        Files that are no images, and why.
    left_out : tuple of LeftOut
        Files in folders that are not called images, by kind.
    """

    predictions: tuple[Prediction, ...]
    skipped_files: tuple[Skipped, ...]
    left_out: tuple[LeftOut, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx predict --json``."""
        return {
            "predictions": [one.to_dict() for one in self.predictions],
            "skipped": len(self.skipped_files),
            "skipped_files": [one.to_dict() for one in self.skipped_files],
            "left_out": [one.to_dict() for one in self.left_out],
        }


def predict(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path] = (),
    *,
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
    top: int = 1,
    threshold: float = 0.0,
    weights: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: bool = False,
) -> Generator[Prediction | Skipped]:
    """Classify images with a trained head or a fine-tuned network.

    Images are decoded ahead in threads while the network runs, and no more than a few batches of
    them are in memory, whatever their number. The model is read, and its network found, before
    this returns; images are looked at as the results are taken. Depth, range, channels and profiles
    of their pixels are those with which the model learned.

    Parameters
    ----------
    model : path or Model
        Of ``featx fit`` or ``featx finetune``.
    images : path or sequence of paths
        Files, and folders: the images in one in the order of their names, then those in the
        folders below it. All of them are there.
    listed : iterable of paths
        More files and folders, each taken when its turn comes; one that is not there is skipped.
    left_out : Leftovers, optional
        Is given the files in folders that are no images.
    top : int
        How many classes to give.
    threshold : float
        Where the most probable class has less, the label is "unknown".
    weights : str, optional
        Where the model's network is to be had; None: see `find_weights`.
    device : {"auto", "cpu", "cuda"}
    engine : {"auto", "torch", "openvino"}
        auto: what a head's features were computed by, where that is installed as it was, else the
        fastest that gives torch's features.
    precision : {"fp32", "bf16", "fp16", "auto"}
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA. Of fewer images, their number.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    progress : bool

    Yields
    ------
    Prediction or Skipped
        In the order given: a Skipped is a file that is no image.

    Raises
    ------
    DatasetError
        No such file, a folder without images, or nothing at all.
    ImageError
        At the end: not one of the files is an image.
    ModelError
        The file is no model, the weights are not those that the model learned on, or it has a
        class named "unknown" and there is a threshold.
    WeightsError, DeviceError

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> model = featx.fit(featx.load_features("F.h5"), "centroid", output="model.safetensors")
    >>> found = list(featx.predict("model.safetensors", ["photos/cat"], top=2))
    >>> len(found), len(found[0].top)
    (9, 2)
    """
    trained = _take_model(model)
    named = list_paths(images)
    left_out = Leftovers() if left_out is None else left_out
    for path in named:
        if not path.exists():
            raise DatasetError(f"no such image: {path}")
    if threshold and UNKNOWN in trained.classes:
        raise ModelError(
            f"{trained.path} has a class named {UNKNOWN}, and so has a threshold: leave "
            "it out, and compare the probabilities yourself"
        )
    classifier = read_classifier(trained, weights, progress=progress)

    def describe(path: Path, row: npt.NDArray[np.floating]) -> Prediction:
        return _describe(str(path), row, trained.classes, top, threshold)

    preprocessing = classifier.weights.preprocessing
    place = choose_device(device).type
    wanted = batch_size or (CUDA_BATCH_SIZE if place == "cuda" else BATCH_SIZE)
    choice = _choose(classifier, engine, precision)
    workers = count_cores() if num_workers is None else num_workers

    def run() -> Generator[Prediction | Skipped]:
        with Meter("predict", None, progress) as meter:

            def note(n: int) -> None:
                meter.total = (meter.total or 0) + n  # a list's length is known when it ends

            paths = find_images(named, listed, note, left_out)
            first = list(itertools.islice(paths, wanted))
            if not first:
                raise DatasetError("no images: the list is empty")
            runner = make_engine(
                classifier.weights,
                lambda most: decode_some(
                    first, preprocessing, most, classifier.decode, classifier.reading
                ),
                engine=choice.engine,
                precision=choice.precision,
                device=device,
                batch_size=min(wanted, len(first)),
                layers=classifier.layers,
            )
            every = itertools.chain(first, paths)
            yield from _run(every, classifier, runner, workers, describe, meter.update)
            for line in describe_left_out(left_out.list()):
                log.warning("%s", line)

    return run()


def collect_predictions(
    found: Iterable[Prediction | Skipped], left_out: Leftovers | None = None
) -> Predictions:
    """All of what `predict` yields, and has told `left_out` by its end."""
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for one in found:
        if isinstance(one, Prediction):
            predictions.append(one)
        else:
            skipped.append(one)
    told = () if left_out is None else left_out.list()
    return Predictions(tuple(predictions), tuple(skipped), told)


def record_predictions(
    found: Iterable[Prediction | Skipped], path: Path
) -> Generator[Prediction | Skipped]:
    """The same, each written into a CSV on its way; the file is there once all have passed.

    Its columns are `COLUMNS`, a row for each class that was asked for.
    """
    with write_whole(path) as temporary, open_csv(temporary, COLUMNS) as write_row:
        for one in found:
            if isinstance(one, Prediction):
                for rank, label, probability in one.to_rows():
                    write_row((as_text(one.path), rank, label, f"{probability:.6f}"))
            yield one


def predict_features(model: str | Path | Model, features: Features) -> npt.NDArray[np.floating]:
    """Probabilities, shape (n_samples, n_classes), of a head for features that are there already.

    Raises
    ------
    ModelError
        The model is no head, or the features are of another network than it learned on.
    LayersError
        They lack layers that it reads.
    """
    trained = _take_model(model)
    head = load_head(trained)
    check_meaning(trained, features.provenance)
    return head.predict_proba(take_engine_rows(features, read_layers(trained))[:])


def check_meaning(trained: Model, provenance: Provenance) -> None:
    """Raise ModelError where features are not of the kind that a head learned on."""
    learned, here = trained.provenance, provenance.to_dict()
    wrong = [name for name in _MEANING if learned.get(name) != here[name]]
    if wrong:
        told = ", ".join(f"{n} {learned.get(n)!s:.60} and {here[n]!s:.60}" for n in wrong)
        raise ModelError(
            f"{trained.path} learned on features of {learned.get('weights')}, and meets those of "
            f"{here['weights']} ({told}): the numbers would mean nothing"
        )


def _take_model(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else read_model(model)


def _choose(classifier: Classifier, engine: str, precision: str) -> Choice:
    """An engine's choice; what it leaves open is what a head's features were computed by."""
    backbone = classifier.weights.backbone
    choice = Choice(engine=engine, precision=precision, decode=classifier.decode, backbone=backbone)
    try:
        made = Provenance(**classifier.model.provenance)
    except TypeError:  # a fine-tuned network's, which had no features
        return choice
    return replace(choice, storage=made.storage).settle(made)


def _run(
    paths: Iterable[Path],
    classifier: Classifier,
    engine: Engine,
    num_workers: int,
    describe: Callable[[Path, npt.NDArray[np.floating]], Prediction],
    count: Callable[[int], object],
) -> Generator[Prediction | Skipped]:
    """Decode and run all, a batch at a time, and give out the results in order."""
    under_way: dict[int, Path] = {}
    preprocessing, decode = classifier.weights.preprocessing, classifier.decode
    seen = Seen()
    reading = replace(classifier.reading, seen=seen)

    def list_positions() -> Iterator[int]:
        for position, path in enumerate(paths):
            under_way[position] = path
            yield position

    def load(position: int) -> npt.NDArray[np.uint8]:
        return load_image(under_way[position], preprocessing, None, decode, reading)

    first_failure: ImageError | None = None
    predicted = False
    batches = load_batches(load, list_positions(), engine.batch_size, num_workers)
    with contextlib.closing(batches):
        for batch in batches:
            results: dict[int, Prediction | Skipped] = {}
            for position, error in batch.failures:
                del under_way[position]
                first_failure = first_failure or error
                results[position] = Skipped(as_text(error.path), "", error.kind, error.reason)
            if len(batch.rows):
                predicted = True
                probabilities = classifier.head.predict_proba(engine.run(batch.pixels))
                for position, row in zip(batch.rows.tolist(), probabilities, strict=True):
                    results[position] = describe(under_way.pop(position), row)
            count(len(results))
            for position in sorted(results):
                yield results[position]
    seen.warn(reading)
    if first_failure is not None and not predicted:
        raise first_failure


def _describe(
    path: str,
    row: npt.NDArray[np.floating],
    classes: tuple[str, ...],
    top: int,
    threshold: float,
) -> Prediction:
    order = np.argsort(-row, kind="stable")[: max(1, top)]
    best = tuple((classes[k], float(row[k])) for k in order)
    label, probability = best[0]
    return Prediction(path, label if probability >= threshold else UNKNOWN, probability, best)
