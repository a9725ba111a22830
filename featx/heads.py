"""Classifiers on features: how one is chosen, kept and read back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.budget import describe_reading
from featx.config import EPOCHS
from featx.data.splits import find_untrainable
from featx.errors import FeatureFileError, ModelError
from featx.features import Features
from featx.fetch import resolve_weights
from featx.imagenet import ImagenetFit, LastLayer, take_last_layer
from featx.machine import describe_machine
from featx.metrics import score_labels
from featx.models import Model, Outcome, check_place, write_model
from featx.neighbours import NeighboursFit
from featx.recipes import (
    GRIDS,
    Trained,
    make_recipe,
    plan_reading,
    stack_views,
    take_splits,
    train_head,
)
from featx.scaling import Scaler
from featx.search import Fit, LinearFit
from featx.storage.blocks import Samples, gather
from featx.store import read_features

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """A trained head: its scaler, then scores, then their softmax at a temperature.

    Attributes
    ----------
    clf : str
    classes : tuple of str
    scaler : Scaler
    fit : Fit
    temperature : float
    """

    clf: str
    classes: tuple[str, ...]
    scaler: Scaler
    fit: Fit
    temperature: float = 1.0

    def predict_proba(self, X: Samples) -> Matrix:
        """Probabilities, shape (n_samples, n_classes), float64; of Blocks float32."""
        return gather(self.scaler.apply(X), self._predict)

    def predict(self, X: Samples) -> Labels:
        """Codes of the most probable classes, shape (n_samples,)."""
        return gather(self.scaler.apply(X), lambda rows: self._predict(rows).argmax(axis=1))

    def _predict(self, scaled: Matrix) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = softmax(
            self.fit.decide(scaled) / self.temperature, axis=1
        )
        return probabilities

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        arrays: dict[str, npt.NDArray[Any]] = dict(self.scaler.to_arrays())
        if isinstance(self.fit, LinearFit):
            return arrays | {"coef": self.fit.coef, "intercept": self.fit.intercept}
        if isinstance(self.fit, NeighboursFit):
            return arrays | {"X": np.asarray(self.fit.X), "y": self.fit.y}
        assert isinstance(self.fit, ImagenetFit)
        layer = self.fit.layer
        return arrays | {
            "weight": layer.weight, "bias": layer.bias, "stands_for": self.fit.stands_for
        }  # fmt: skip


def fit(
    features: Features | str | Path,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    class_weight: str = "none",
    calibrate: bool = False,
    refit: bool = False,
    views: Sequence[Features] = (),
    weights: str | None = None,
    max_memory: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train a head on cached features. val only chooses; test is scored once, at the end.

    Parameters
    ----------
    features : Features or path of a feature file
    clf : {"logreg", "linear", "svm", "ridge", "knn", "centroid", "imagenet"}
        scikit-learn's LogisticRegression, LinearSVC, RidgeClassifier, KNeighborsClassifier with
        cosine distances, NearestCentroid; `LinearClassifier`; or ImageNet's own last layer.
    C : float or "auto"
        Of logreg and svm. What every head chooses by itself is the value of its grid in
        `config` with the highest accuracy on val, ties by lower log-loss, then by the simpler
        one; on stratified folds of train where there is no val.
    scale : {"none", "standard", "l2"}
        Learned from train alone.
    epochs : int
        Of linear.
    seed : int
        Of linear's first parameters and batch order, svm's order, and of the folds.
    class_weight : {"none", "balanced"}
        "balanced": a class weighs the same whatever its number of images; for logreg, linear, svm
        and ridge.
    calibrate : bool
        Fit a temperature on val for logreg and linear. The others' scores are no probabilities
        without one, and have it anyway, but for imagenet's.
    refit : bool
        Once the value is chosen, fit again on train and val together.
    views : sequence of Features
        More rows for train: other views of the same images, as `extract_views`
        makes them.
    weights : str, optional
        Of imagenet: where the last layer is to be had; None: by the features' own name.
    max_memory : int, optional
        Bytes that fitting may take, beside what Python and its libraries do. Features for which
        that is too little are read in blocks, as often as the head needs them. None:
        `MEMORY_SHARE` of what the process may use.
    output : path, optional
        Write the model there.
    overwrite : bool
        Replace an `output` that holds something else.

    Returns
    -------
    Model
        With a path where there is an `output`.

    Raises
    ------
    FeatureFileError
        No labels, no train rows, one class only, or a class that train lacks.
    ModelError
        An unknown choice, a C that is not positive, weights other than the features', `calibrate`
        or `refit` without val.
    BudgetError
        `max_memory` is too little even for reading in blocks, or for a head that cannot.
    OutputExistsError
        `output` holds something else and `overwrite` is False.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> features = featx.load_features("F.h5")
    >>> model = featx.fit(features, "centroid", output="model.safetensors")
    >>> sorted(model.outcome.scores), model.classes
    (['test', 'train', 'val'], ('cat', 'dog', 'owl'))
    """
    held = features if isinstance(features, Features) else read_features(Path(features))
    where = held.path or Path(held.dataset)
    if reason := find_untrainable(held.classes, held.targets, held.splits):
        raise FeatureFileError(where, reason)
    recipe = make_recipe(
        held, clf, C=C, scale=scale, epochs=epochs, seed=seed, class_weight=class_weight,
        calibrate=calibrate, refit=refit, views=views, max_memory=max_memory,
    )  # fmt: skip
    reading = plan_reading(held, recipe, views, max_memory)
    log.debug("%s", describe_reading(reading, max_memory is not None))
    data = take_splits(held, reading.in_blocks)
    for wish in ("calibrate", "refit"):
        if recipe[wish] and "val" not in data:
            raise ModelError(f"{where} has no val images, and {wish} needs them: give a split")
    if output is not None:
        check_place(Path(output), recipe, overwrite)
    layer = read_last_layer(held, weights) if clf == "imagenet" else None
    started = time.perf_counter()
    more = stack_views(held, views if recipe["views"] else (), reading.in_blocks)
    trained = train_head(data, recipe, layer, more)
    seconds = time.perf_counter() - started
    head = Head(clf, held.classes, trained.scaler, trained.search.fit, trained.search.temperature)
    found = {s: head.predict_proba(X) for s, (X, _) in data.items() if s != "train"}
    if trained.before is not None:  # val belongs to what it learned from by now
        found["val"] = trained.before
    labels = {s: p.argmax(axis=1) for s, p in found.items()}
    labels["train"] = head.predict(data["train"][0])
    model = Model(
        kind="head",
        name=clf,
        classes=held.classes,
        provenance=held.provenance.to_dict(),
        recipe=recipe,
        outcome=Outcome(
            scores={s: score_labels(y, labels[s]) for s, (_, y) in data.items()},
            probabilities=found,
            seconds=seconds,
            trainable_parameters=_count_parameters(head.fit),
            machine=describe_machine(),
            history=trained.history,
            best_epoch=trained.best_epoch,
            details=_describe(recipe, trained),
        ),
        arrays=head.to_arrays(),
    )
    return model if output is None else write_model(model, Path(output))


def read_last_layer(features: Features, weights: str | None = None) -> LastLayer:
    """ImageNet's last layer of the weights that made these features.

    Raises
    ------
    ModelError
        The weights have none, or are others than the features'.
    WeightsError
        They cannot be had.
    """
    made = features.provenance
    found = resolve_weights(weights or made.weights, backbone=made.backbone)
    if found.sha256 != made.weights_sha256:
        raise ModelError(
            f"the features were made by {made.weights} ({made.weights_sha256[:12]}), and "
            f"{found.name} is {found.sha256[:12]}: its last layer means nothing for them"
        )
    return take_last_layer(found)


def load_head(model: Model) -> Head:
    """The head in a model; raises ModelError where it is no head, or arrays are missing."""
    where = model.path or model.name
    if model.kind != "head":
        raise ModelError(f"{where} is a fine-tuned network: it takes images, not features")
    arrays, n_classes = model.arrays, len(model.classes)
    try:
        details = model.outcome.details
        scaler = Scaler(str(details["scale"]), arrays.get("mean"), arrays.get("scale"))
        fitted: Fit
        if model.name == "knn":
            codes = arrays["y"]
            fitted = NeighboursFit(arrays["X"], codes, int(details["chosen"]["value"]), n_classes)
            fits = len(codes) == len(arrays["X"]) and int(codes.max()) + 1 == n_classes
        elif model.name == "imagenet":
            layer, codes = LastLayer(arrays["weight"], arrays["bias"]), arrays["stands_for"]
            fitted = ImagenetFit(layer, codes, n_classes)
            fits = int(codes.max()) < n_classes
        else:
            coef, intercept = arrays["coef"], arrays["intercept"]
            fitted = LinearFit(coef, intercept)
            fits = len(coef) == n_classes and intercept.shape == (n_classes,)
        temperature = float(details["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    if not fits or not temperature > 0:
        raise ModelError(f"{where} is damaged: its coefficients are not for {n_classes} classes")
    return Head(model.name, model.classes, scaler, fitted, temperature)


def _count_parameters(fitted: Fit) -> int:
    """Numbers that training decided; neighbours are kept, not decided."""
    if isinstance(fitted, LinearFit):
        return fitted.coef.size + fitted.intercept.size
    return 0


def _describe(recipe: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """What this training chose, as JSON values."""
    clf, search = recipe["clf"], trained.search
    name = GRIDS[clf][0] if clf in GRIDS else None
    return {
        "scale": recipe["scale"],
        "class_weight": recipe["class_weight"],
        "calibrated": recipe["calibrate"],
        "views": len(recipe["views"]),
        "temperature": search.temperature,
        "C": search.value if name == "C" else None,
        "chosen_by": search.chosen_by,
        "chosen": {"name": name, "value": search.value if name else None, "by": search.chosen_by},
        "converged": search.fit.converged,
        "n_iter": search.fit.n_iter,
    }
