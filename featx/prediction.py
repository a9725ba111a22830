"""A trained model on new images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from featx.catalogue import RECIPES
from featx.config import BACKBONE, BATCH_SIZE, Preprocessing
from featx.dataset import Skipped
from featx.engine import TorchEngine, choose_device, full_float32
from featx.errors import DatasetError, ImageError, ModelError
from featx.features import Features
from featx.fetch import resolve_weights
from featx.finetuning import load_tuned
from featx.heads import load_head
from featx.images import load_image, read_decode
from featx.loading import load_batches
from featx.machine import count_cores
from featx.models import Model, read_model
from featx.provenance import Provenance
from featx.sources import list_images
from featx.weights import Weights

# What has to be equal for features to mean the same to a head. An engine's last bits do not.
_MEANING = ("backbone", "weights_sha256", "preprocessing")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes
    ----------
    path : str
    label : str
        The most probable class.
    probability : float
        Its probability, in [0, 1].
    top : tuple of (str, float)
        The most probable classes, in falling order.
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


@dataclass(frozen=True)
class Predictions:
    """What a model says of several images.

    Attributes
    ----------
    predictions : tuple of Prediction
        In the order given.
    skipped_files : tuple of Skipped
        Files that are no images, and why.
    """

    predictions: tuple[Prediction, ...]
    skipped_files: tuple[Skipped, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx predict --json``."""
        return {
            "predictions": [one.to_dict() for one in self.predictions],
            "skipped": len(self.skipped_files),
            "skipped_files": [one.to_dict() for one in self.skipped_files],
        }


def predict(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 1,
    weights: str | None = None,
    device: str = "auto",
    num_workers: int | None = None,
    progress: bool = False,
) -> Predictions:
    """Classify images with a trained head or a fine-tuned network.

    Parameters
    ----------
    model : path
        Of ``featx fit`` or ``featx finetune``.
    images : sequence of paths
        Files, and folders, whose images are taken in the order of their names.
    top : int
        How many classes to give.
    weights : str, optional
        Where the model's network is to be had; None: by the name that the model remembers.
    device : {"auto", "cpu", "cuda"}
    num_workers : int, optional
    progress : bool

    Returns
    -------
    Predictions

    Raises
    ------
    ImageError
        Not one of the files is an image.
    ModelError
        The file is no model, or the weights are not those that the model learned on.
    DatasetError
        No such file, or a folder without images.
    WeightsError, DeviceError
    """
    trained = read_model(Path(model))
    paths = list(_expand(images))
    made = resolve_weights(
        weights or _weights_name(trained),
        progress=progress,
        backbone=trained.provenance.get("backbone", BACKBONE),
    )
    run, preprocessing = _make_runner(trained, made, device, min(BATCH_SIZE, len(paths)))
    classes = trained.classes
    # As the images were decoded that it learned on.
    decode = read_decode(trained.provenance.get("decoder") or trained.recipe.get("decoder", ""))
    predictions: list[Prediction] = []
    failures: list[ImageError] = []

    def load(i: int) -> npt.NDArray[np.uint8]:
        return load_image(paths[i], preprocessing, decode=decode)

    workers = count_cores() if num_workers is None else num_workers
    with tqdm(total=len(paths), unit="image", desc="predict", disable=not progress) as bar:
        for batch in load_batches(load, range(len(paths)), BATCH_SIZE, workers):
            failures += [error for _, error in batch.failures]
            if len(batch.rows):
                for i, row in zip(batch.rows, run(batch.pixels), strict=True):
                    predictions.append(_describe(str(paths[i]), row, classes, top))
            bar.update(len(batch.rows) + len(batch.failures))
    if not predictions:
        raise failures[0]
    skipped = tuple(Skipped(e.path, "", e.kind, e.reason) for e in failures)
    return Predictions(tuple(predictions), skipped)


def predict_features(model: str | Path, features: Features) -> npt.NDArray[np.floating]:
    """Probabilities, shape (n_samples, n_classes), of a head for features that are there already.

    Raises
    ------
    ModelError
        The model is no head, or the features are of another network than it learned on.
    """
    trained = read_model(Path(model))
    head = load_head(trained)
    check_meaning(trained, features.provenance)
    return head.predict_proba(features.X[:])


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


def _weights_name(trained: Model) -> str:
    name = str(trained.provenance["weights"])
    if name not in RECIPES:
        raise ModelError(
            f"{trained.path} learned on weights from a local file, {name}: name it with --weights"
        )
    return name


def _make_runner(
    trained: Model, weights: Weights, device: str, batch_size: int
) -> tuple[Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating]], Preprocessing]:
    """A function from pixels to probabilities, and how to make pixels for it."""
    learned = trained.provenance
    if weights.sha256 != learned["weights_sha256"]:
        raise ModelError(
            f"{trained.path} learned on {learned['weights']} ({learned['weights_sha256'][:12]}), "
            f"and {weights.name} is {weights.sha256[:12]}: the numbers would mean nothing"
        )
    preprocessing = Preprocessing.from_dict(learned["preprocessing"])
    if trained.kind == "head":
        head, engine = load_head(trained), TorchEngine(weights, device, batch_size)
        return lambda pixels: head.predict_proba(engine.run(pixels)), preprocessing
    place = choose_device(device)
    temperature = float(trained.outcome.details.get("temperature", 1.0))
    network = load_tuned(trained, weights).to(place)

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
        with torch.inference_mode(), full_float32():
            logits = network(torch.from_numpy(pixels).to(place)).double()
            probabilities: npt.NDArray[np.floating] = (
                (logits / temperature).softmax(1).cpu().numpy()
            )
            return probabilities

    return run, preprocessing


def _describe(
    path: str, row: npt.NDArray[np.floating], classes: tuple[str, ...], top: int
) -> Prediction:
    order = np.argsort(-row, kind="stable")[: max(1, top)]
    best = tuple((classes[k], float(row[k])) for k in order)
    return Prediction(path, best[0][0], best[0][1], best)


def _expand(images: Iterable[str | Path]) -> Iterable[Path]:
    for image in images:
        path = Path(image)
        if path.is_dir():
            names, _ = list_images(path)
            if not names:
                raise DatasetError(f"no images in {path}")
            yield from (path / name for name in names)
        elif path.exists():
            yield path
        else:
            raise DatasetError(f"no such image: {path}")
