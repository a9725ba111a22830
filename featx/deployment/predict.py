"""A trained model on new images, as many as there are."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import BOX_COLUMNS
from featx.data.dataset import LeftOut, Leftovers, Skipped
from featx.decoding.crops import split_name
from featx.deployment.classifier import read_classifier
from featx.deployment.refusal import NO_DOUBT, Doubt, make_doubter
from featx.deployment.stream import Judged, RunOptions, name_sources, stream_images
from featx.errors import ModelError
from featx.features.content import Features
from featx.features.outputs import take_engine_rows
from featx.features.provenance import Provenance
from featx.heads.head import load_head, read_layers
from featx.multilabel.head import LabelsHead, load_labels_head
from featx.novelty.shift import Watch
from featx.sources.boxes import Boxes
from featx.sources.label_sets import SEPARATOR
from featx.training.model import MULTILABEL, Model, read_model

UNKNOWN = "unknown"

# What has to be equal for features to mean the same to a head. An engine's last bits do not.
_MEANING = ("backbone", "weights_sha256", "preprocessing")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes
    ----------
    path : str
        Of a box as `featx.Boxes` has it: the picture's, and the box as if it were a file in that.
    label : str
        The most probable class; "unknown" where it is less probable than was asked for, or the
        image is refused.
    probability : float
        Of the most probable class, in [0, 1].
    top : tuple of (str, float)
        The most probable classes, in falling order, by their own names.
    doubt : Doubt
        Whether the model knows its like, and the set of classes, where that was asked; and the
        answer at a rank, where the model has a taxonomy.
    labels : tuple of str or None
        Of a model of several labels an image: those that it has, each with its label's threshold
        or more, in the model's order; then `label` is all of them, parted by |, `top` has every
        label, and `probability` is the highest. None of other models.
    """

    path: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    doubt: Doubt = NO_DOUBT
    labels: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; of a box its picture's path, and where in that it is, in pixels."""
        path, box = split_name(self.path)
        place: dict[str, Any] = {"path": path}
        if box is not None:
            place["box"] = dict(zip(BOX_COLUMNS[1:], box, strict=True))
        if self.labels is not None:
            told = {"labels": list(self.labels), "probabilities": dict(self.top)}
            return {**place, **told}
        return {
            **place,
            "class": self.label,
            "probability": self.probability,
            "top": [{"class": name, "probability": p} for name, p in self.top],
            **self.doubt.to_dict(),
        }

    def to_rows(self) -> Iterator[tuple[int, str, float]]:
        """Rank, class and probability of each of `top`, the first under its label.

        Of several labels those that it has; of none the rank 0 and the likeliest one's probability.
        """
        if self.labels is not None:
            own = [(name, p) for name, p in self.top if name in self.labels]
            yield from ((i, *one) for i, one in enumerate(own, 1))
            yield from [(0, "", self.probability)] * (not own)
            return
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
    watch: Watch | None = None,
    boxes: str | Path | Boxes | None = None,
    top: int = 1,
    threshold: float = 0.0,
    unknown: float | None = None,
    sets: float | None = None,
    precision_at_least: float | None = None,
    weights: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    progress: bool = False,
) -> Generator[Prediction | Skipped]:
    """Classify images with a trained head or a fine-tuned network.

    Images are decoded ahead while the network runs, and no more than a few batches of
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
    watch : Watch, optional
        Is told how strange each image is; see `start_watch`.
    boxes : path or Boxes, optional
        Classify these boxes in the images, in the order of the file that has them, and not whole
        images. Its paths are relative to a folder that is named, to the working directory, or a
        picture's bare name.
    top : int
        How many classes to give.
    threshold : float
        Where the most probable class has less, the label is "unknown".
    unknown : float, optional
        Refuse such a share of the images that are like those the model knows, and more of others:
        their label is "unknown", too. `doubt` of each image has how strange it is. A head must
        have been fitted with `strangers`, a fine-tuned network have had val.
    sets : float, optional
        Give of each image the set of classes that so often holds the true one; of heads fitted so,
        and of fine-tuned networks that had val.
    precision_at_least : float, optional
        Of models with a taxonomy, which answer at the deepest rank whose answers are right so
        often: another share than the one that they were fitted with.
    weights : str, optional
        Where the model's network is to be had; None: see `find_weights`.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    engine : {"auto", "torch", "openvino"}
        auto: what a head's features were computed by, where that is installed as it was, else the
        fastest that gives torch's features.
    precision : {"fp32", "tf32", "bf16", "fp16", "int8", "auto"}
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA. Of fewer images, their number.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    decode_processes : int, optional
        See `featx.extract`. None takes no processes for images that something still lists.
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
        The file is no model, the weights are not those that the model learned on, it has a class
        named "unknown" and there is a threshold, or it has too little for `unknown`, `sets` or
        `precision_at_least`.
    ExtractionError
        A process that decoded was killed.
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
    trained = take_model(model)
    sources = name_sources(images, listed, left_out, boxes)
    several = trained.kind == MULTILABEL
    if several and (threshold or top > 1):
        raise ModelError(
            f"{trained.path or trained.name}: of several labels an image each has a threshold of "
            "its own, and all are given: leave --top and --threshold out"
        )
    check_unknown(trained, threshold or unknown or 0.0)
    doubter = make_doubter(trained, unknown, sets, precision_at_least)
    classifier = read_classifier(trained, weights, progress=progress)

    def judge(batch: Judged) -> list[Prediction]:
        probabilities = classifier.head.predict_proba(batch.rows)
        if isinstance(classifier.head, LabelsHead):
            return [
                describe_labels(str(path), row, trained.classes, classifier.head.thresholds)
                for path, row in zip(batch.paths, probabilities, strict=True)
            ]
        if watch is not None:
            watch.look(batch.paths, batch.rows, *classifier.head.decide(batch.rows))
        return [
            describe_prediction(str(path), row, trained.classes, top, threshold, doubt)
            for path, row, doubt in zip(
                batch.paths,
                probabilities,
                doubter.judge(classifier.head, batch.rows, probabilities),
                strict=True,
            )
        ]

    how = RunOptions(
        device=device, engine=engine, precision=precision, batch_size=batch_size,
        num_workers=num_workers, decode_processes=decode_processes, progress=progress,
    )  # fmt: skip
    return stream_images(classifier, sources, judge, how, "predict")


def predict_features(model: str | Path | Model, features: Features) -> npt.NDArray[np.floating]:
    """Probabilities, shape (n_samples, n_classes), of a head for features that are there already.

    Raises
    ------
    ModelError
        The model is no head, or the features are of another network than it learned on.
    LayersError
        They lack layers that it reads.
    """
    trained = take_model(model)
    if trained.kind == MULTILABEL:
        check_meaning(trained, features.provenance)
        return load_labels_head(trained).predict_proba(features.X[:])
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


def take_model(model: str | Path | Model) -> Model:
    """A model, or the one of that file."""
    return model if isinstance(model, Model) else read_model(model)


def check_unknown(trained: Model, threshold: float) -> None:
    """Raise ModelError where a class has the name that a threshold gives."""
    if threshold and UNKNOWN in trained.classes:
        raise ModelError(
            f"{trained.path} has a class named {UNKNOWN}, and so has a threshold: leave "
            "it out, and compare the probabilities yourself"
        )


def describe_prediction(
    path: str,
    row: npt.NDArray[np.floating],
    classes: tuple[str, ...],
    top: int,
    threshold: float,
    doubt: Doubt = NO_DOUBT,
) -> Prediction:
    """What an image's probabilities, shape (n_classes,), say; see `predict`."""
    order = np.argsort(-row, kind="stable")[: max(1, top)]
    best = tuple((classes[k], float(row[k])) for k in order)
    label, probability = best[0]
    known = probability >= threshold and not doubt.unknown
    return Prediction(path, label if known else UNKNOWN, probability, best, doubt)


def describe_labels(
    path: str,
    row: npt.NDArray[np.floating],
    classes: tuple[str, ...],
    thresholds: npt.NDArray[np.floating],
) -> Prediction:
    """What an image's probabilities of several labels, shape (n_labels,), say; see `Prediction`."""
    order = np.argsort(-row, kind="stable")
    told = tuple((classes[k], float(row[k])) for k in order)
    own = tuple(classes[k] for k in np.flatnonzero(row >= thresholds))
    return Prediction(path, SEPARATOR.join(own), told[0][1], told, labels=own)
