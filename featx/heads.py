"""Classifiers on features, under scikit-learn's contract, and how one is chosen and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.preprocessing import normalize

from featx.config import (
    C_GRID,
    EPOCHS,
    FOLDS,
    HEAD_LEARNING_RATE,
    MAX_ITER,
    SPLITS,
    TOLERANCE,
    TRAIN_BATCH_SIZE,
)
from featx.errors import FeatureFileError, ModelError
from featx.linear import LinearClassifier
from featx.logreg import search_logreg
from featx.machine import describe_machine
from featx.metrics import score_labels
from featx.models import Model, Outcome, check_place, write_model
from featx.splits import find_untrainable
from featx.store import Features, read_features
from featx.training import Epoch

Matrix = npt.NDArray[np.floating]
CLASSIFIERS = ("logreg", "linear")
SCALES = ("none", "standard", "l2")


@dataclass(frozen=True)
class Scaler:
    """How features are scaled before a head sees them; learned from train alone.

    Attributes
    ----------
    kind : {"none", "standard", "l2"}
    mean, scale : ndarray of shape (n_features,), float64, or None
        Of "standard".
    """

    kind: str
    mean: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None

    def apply(self, X: Matrix) -> Matrix:
        """Scale X of shape (n_samples, n_features)."""
        if self.kind == "l2":
            scaled: Matrix = normalize(X)
            return scaled
        if self.mean is None or self.scale is None:
            return X
        return (X - self.mean) / self.scale


def fit_scaler(kind: str, X: Matrix) -> Scaler:
    """Learn a scaler from the train rows; a feature that never varies is only centred."""
    if kind not in SCALES:
        raise ModelError(f"unknown scale {kind!r}: say one of {', '.join(SCALES)}")
    if kind != "standard":
        return Scaler(kind)
    scale = X.std(axis=0, dtype=np.float64)
    return Scaler(kind, X.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0))


@dataclass(frozen=True)
class Head:
    """A trained linear head: its scaler, then logits `X @ coef.T + intercept`, then softmax.

    Attributes
    ----------
    clf : str
    classes : tuple of str
    scaler : Scaler
    coef : ndarray of shape (n_classes, n_features)
    intercept : ndarray of shape (n_classes,)
    """

    clf: str
    classes: tuple[str, ...]
    scaler: Scaler
    coef: Matrix
    intercept: Matrix

    def to_arrays(self) -> dict[str, Matrix]:
        """What a model file keeps of it."""
        arrays = {"coef": self.coef, "intercept": self.intercept}
        if self.scaler.mean is not None and self.scaler.scale is not None:
            arrays |= {"mean": self.scaler.mean, "scale": self.scaler.scale}
        return arrays

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Probabilities, shape (n_samples, n_classes), float64."""
        logits = self.scaler.apply(X).astype(np.float64) @ self.coef.T + self.intercept
        probabilities: npt.NDArray[np.float64] = softmax(logits, axis=1)
        return probabilities


def make_recipe(
    features: Features,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
) -> dict[str, Any]:
    """All that decides what `fit` finds, as JSON values."""
    recipe: dict[str, Any] = {
        "clf": clf,
        "scale": scale,
        "seed": seed,
        "features": features.provenance.key(),
        "fingerprint": features.fingerprint,
    }
    if clf == "logreg":
        grid = list(C_GRID) if C == "auto" else [float(C)]
        return {**recipe, "C": grid, "max_iter": MAX_ITER, "tol": TOLERANCE, "folds": FOLDS}
    return {
        **recipe,
        "epochs": epochs,
        "batch_size": TRAIN_BATCH_SIZE,
        "learning_rate": HEAD_LEARNING_RATE,
    }


def fit(
    features: Features | str | Path,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train a head on cached features. val only chooses; test is scored once, at the end.

    Parameters
    ----------
    features : Features or path of a feature file
    clf : {"logreg", "linear"}
        scikit-learn's LogisticRegression, or `LinearClassifier`.
    C : float or "auto"
        Of logreg. "auto": the value of `featx.config.C_GRID` with the highest accuracy on val,
        ties by lower log-loss, then by the smaller C; on stratified folds of train where there is
        no val.
    scale : {"none", "standard", "l2"}
        Learned from train alone.
    epochs : int
        Of linear.
    seed : int
        Of linear's first parameters and batch order, and of the folds.
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
        Unknown `clf` or `scale`, or a C that is not positive.
    OutputExistsError
        `output` holds something else and `overwrite` is False.
    """
    if clf not in CLASSIFIERS:
        raise ModelError(f"unknown clf {clf!r}: say one of {', '.join(CLASSIFIERS)}")
    if C != "auto" and not 0 < float(C) < float("inf"):
        raise ModelError(f"C is {C}: it must be a positive number, or auto")
    held = features if isinstance(features, Features) else read_features(Path(features))
    if reason := find_untrainable(held.classes, held.targets, held.splits):
        raise FeatureFileError(held.path or Path(held.dataset), reason)
    recipe = make_recipe(held, clf, C=C, scale=scale, epochs=epochs, seed=seed)
    if output is not None:
        check_place(Path(output), recipe, overwrite)
    data = {split: held.split(split) for split in SPLITS}
    data = {split: (X, y) for split, (X, y) in data.items() if len(y)}
    started = time.perf_counter()
    scaler = fit_scaler(scale, data["train"][0])
    scaled = {split: (scaler.apply(X), y) for split, (X, y) in data.items()}
    X, y = scaled.pop("train")
    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    details: dict[str, Any] = {"scale": scale}
    if clf == "logreg":
        search = search_logreg(X, y, scaled.get("val"), recipe["C"], seed)
        head = Head(clf, held.classes, scaler, search.coef, search.intercept)
        details |= {
            "C": search.C,
            "chosen_by": search.chosen_by,
            "converged": search.converged,
            "n_iter": search.n_iter,
        }
    else:
        linear = LinearClassifier(epochs=epochs, seed=seed).fit(X, y, scaled)
        head = Head(clf, held.classes, scaler, linear.coef_, linear.intercept_)
        history, best_epoch = linear.history_, linear.best_epoch_
        details["C"] = None
    seconds = time.perf_counter() - started
    probabilities: dict[str, Matrix] = {k: head.predict_proba(X) for k, (X, _) in data.items()}
    scores = {k: score_labels(data[k][1], p.argmax(axis=1)) for k, p in probabilities.items()}
    model = Model(
        kind="head",
        name=clf,
        classes=held.classes,
        provenance=held.provenance.to_dict(),
        recipe=recipe,
        outcome=Outcome(
            scores=scores,
            probabilities={k: p for k, p in probabilities.items() if k != "train"},
            seconds=seconds,
            trainable_parameters=head.coef.size + head.intercept.size,
            machine=describe_machine(),
            history=history,
            best_epoch=best_epoch,
            details=details,
        ),
        arrays=head.to_arrays(),
    )
    return model if output is None else write_model(model, Path(output))


def load_head(model: Model) -> Head:
    """The head in a model; raises ModelError where it is no head, or arrays are missing."""
    where = model.path or model.name
    if model.kind != "head":
        raise ModelError(f"{where} is a fine-tuned network: it takes images, not features")
    arrays = model.arrays
    try:
        scale = str(model.outcome.details["scale"])
        scaler = Scaler(scale, arrays.get("mean"), arrays.get("scale"))
        head = Head(model.name, model.classes, scaler, arrays["coef"], arrays["intercept"])
    except KeyError as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    n_classes = len(model.classes)
    if len(head.coef) != n_classes or head.intercept.shape != (n_classes,):
        raise ModelError(f"{where} is damaged: its coefficients are not for {n_classes} classes")
    return head
