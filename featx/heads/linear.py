"""A linear layer with softmax, as a classifier of scikit-learn's kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featx import config
from featx.arrays import Labels, Matrix
from featx.config import EPOCHS, HEAD_LEARNING_RATE, HEAD_LEARNING_RATES, TRAIN_BATCH_SIZE
from featx.heads.kind import HeadOptions, Kind, Learned, Memory, Size
from featx.heads.search import LinearFit, Search, Task
from featx.storage.blocks import Blocks, Samples, gather
from featx.storage.rows import iterate_slices
from featx.training.calibration import fit_temperature
from featx.training.choice import Choice
from featx.training.epochs import (
    Batches,
    FeatureBatches,
    Schedule,
    make_linear,
    permute,
    train_softmax,
)
from featx.training.learner import Attempt, Learner, check_rate, describe_rates, rank_loss
from featx.training.trials import Trial


@dataclass(frozen=True)
class BlockBatches:
    """Rows that are read while they are needed; X is Blocks of shape (n_samples, n_features)."""

    X: Blocks
    y: torch.Tensor

    def iterate(self, order: Labels, batch_size: int, epoch: int) -> Iterator[torch.Tensor]:
        """See `Batches.iterate`."""
        # A buffer of whole batches is read in the order of the file.
        step = max(1, config.SHUFFLE_BUFFER // batch_size) * batch_size
        for some in iterate_slices(len(order), step):
            wanted = order[some]
            here = np.sort(wanted)
            held, places = np.asarray(self.X[here]), np.searchsorted(here, wanted)
            for batch in iterate_slices(len(wanted), batch_size):
                yield torch.from_numpy(held[places[batch]])


def draw_chunks(rng: np.random.Generator, n: int) -> Labels:
    """An order of n rows in which a file can be read in pieces.

    Chunks of `SHUFFLE_CHUNK` neighbours come in any order; those that fill a buffer of
    `SHUFFLE_BUFFER` rows are shuffled together, row by row. Each row comes once.
    """
    chunk, buffer = config.SHUFFLE_CHUNK, config.SHUFFLE_BUFFER
    chunks = rng.permutation(-(-n // chunk))
    parts = []
    for some in iterate_slices(len(chunks), max(1, buffer // chunk)):
        rows = (chunks[some, None] * chunk + np.arange(chunk)).ravel()
        parts.append(rng.permutation(rows[rows < n]))
    return np.concatenate(parts)


def describe_order() -> dict[str, int]:
    """What decides the order of `draw_chunks` beside the generator, for a recipe."""
    return {"chunk": config.SHUFFLE_CHUNK, "buffer": config.SHUFFLE_BUFFER}


class LinearClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear layer with softmax cross-entropy, trained by Adam in mini-batches.

    Parameters
    ----------
    epochs : int
    batch_size : int
    learning_rate : float or sequence of float
        Of several each is tried, on the same batches; see `Training`.
    seed : int
        Of the first parameters and of the batch order.
    class_weight : {"balanced"} or dict, optional
        What an image of each class weighs, as for scikit-learn's classifiers.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features), float32
    intercept_ : ndarray of shape (n_classes,), float32
    history_ : tuple of Epoch
    best_epoch_ : int
        From 1; see `Training`.
    learning_rate_ : float
    attempts_ : tuple of Attempt
    n_features_in_ : int
    """

    def __init__(
        self,
        epochs: int = EPOCHS,
        batch_size: int = TRAIN_BATCH_SIZE,
        learning_rate: float | Sequence[float] = HEAD_LEARNING_RATE,
        seed: int = 0,
        class_weight: str | dict[Any, float] | None = None,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.class_weight = class_weight

    def fit(
        self,
        X: Samples,
        y: npt.ArrayLike,
        others: Mapping[str, tuple[Samples, Labels]] | None = None,
    ) -> LinearClassifier:
        """Train on X, y.

        Parameters
        ----------
        X : array-like or Blocks of shape (n_samples, n_features)
            The batches of Blocks come in the order of `draw_chunks`, others in any.
        y : array-like of shape (n_samples,)
        others : mapping of str to (X, y), optional
            More splits to score after every epoch; one called "val" chooses the epoch, and the
            learning rate where there are several.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As scikit-learn's own classifiers do for input that cannot be learnt from; several
            learning rates, and no "val" to choose among them.
        """
        rates = self._list_rates()
        if len(rates) > 1 and "val" not in (others or {}):
            raise ValueError(f"several learning rates need a val to choose among them: {rates}")
        if isinstance(X, Blocks):
            self.n_features_in_ = X.shape[1]
        else:
            X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"needs two or more classes; the data has one class: {self.classes_}")
        splits = {"train": _make_batches(X, codes)}
        for name, (X_other, y_other) in (others or {}).items():
            splits[name] = _make_batches(X_other, np.searchsorted(self.classes_, y_other))
        training = train_softmax(
            [self._begin(rate) for rate in rates],
            splits,
            Schedule(
                epochs=self.epochs,
                batch_size=self.batch_size,
                seed=self.seed,
                draw_order=draw_chunks if isinstance(X, Blocks) else permute,
            ),
            class_weight=self._weigh(y),
        )
        self.history_, self.best_epoch_ = training.history, training.best_epoch
        self.learning_rate_, self.attempts_ = training.learning_rate, training.attempts
        self.coef_ = training.state["weight"].numpy()
        self.intercept_ = training.state["bias"].numpy()
        return self

    def _list_rates(self) -> list[float]:
        if isinstance(self.learning_rate, (int, float)):
            return [float(self.learning_rate)]
        return list(self.learning_rate)

    def _begin(self, rate: float) -> Learner:
        layer = make_linear(self.n_features_in_, len(self.classes_), self.seed)
        return Learner(
            rate,
            layer,
            torch.optim.Adam(layer.parameters(), lr=rate),
            lambda: {k: v.detach().clone() for k, v in layer.state_dict().items()},
        )

    def _weigh(self, y: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
        if self.class_weight is None:
            return None
        weights: npt.NDArray[np.float64] = compute_class_weight(
            self.class_weight, classes=self.classes_, y=y
        )
        return weights

    def decision_function(self, X: Matrix) -> Matrix:
        """Logits, shape (n_samples, n_classes); of two classes their difference, (n_samples,)."""
        check_is_fitted(self)
        logits: Matrix = self._validate(X) @ self.coef_.T + self.intercept_
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Matrix) -> Matrix:
        """Probabilities, shape (n_samples, n_classes)."""
        check_is_fitted(self)
        probabilities: Matrix = softmax(self._validate(X) @ self.coef_.T + self.intercept_, axis=1)
        return probabilities

    def predict(self, X: Matrix) -> npt.NDArray[Any]:
        """The most probable class of each row."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def _validate(self, X: Matrix) -> Matrix:
        checked: Matrix = validate_data(self, X, dtype=np.float32, reset=False)
        return checked


def _make_batches(X: Samples, codes: Labels) -> Batches:
    y = torch.from_numpy(codes)
    if isinstance(X, Blocks):
        return BlockBatches(X, y)
    return FeatureBatches(torch.from_numpy(np.ascontiguousarray(X, np.float32)), y)


def _say_settings(options: HeadOptions) -> dict[str, Any]:
    return {
        "epochs": options.epochs,
        "batch_size": TRAIN_BATCH_SIZE,
        "learning_rate": check_rate(options.learning_rate) or list(HEAD_LEARNING_RATES),
    }


def _make(task: Task, rates: float | Sequence[float]) -> LinearClassifier:
    return LinearClassifier(
        epochs=task.settings["epochs"],
        batch_size=task.settings["batch_size"],
        learning_rate=rates,
        seed=task.seed,
        class_weight=task.class_weight,
    )


def _try_on_folds(task: Task, trial: Trial, rates: Sequence[float]) -> list[Attempt]:
    """Every rate on every fold: means over the images that are judged, sums of seconds."""
    tried, weights = [], []
    for part in trial.cut():
        y_held = trial.y[part.rows]
        met = np.isin(y_held, part.known)  # of groups, a part may lack a class
        held = part.held[np.flatnonzero(met)], np.searchsorted(part.known, y_held[met])
        tried.append(_make(task, rates).fit(part.X, part.y, {"val": held}).attempts_)
        weights.append(int(met.sum()))

    def average(values: Sequence[float | None]) -> float:
        return float(np.average(np.array(values, float), weights=weights))

    return [
        replace(
            same[0],
            loss=average([one.loss for one in same]),
            accuracy=average([one.accuracy for one in same]),
            lowest_loss=average([one.lowest_loss for one in same]),
            best_epoch=same[0].epochs,
            seconds=sum(one.seconds for one in same),
        )
        for same in zip(*tried, strict=True)
    ]


def _choose_rate(task: Task) -> Choice | None:
    """The rate that folds find best, where there is no val; None where there are no folds."""
    assert task.trial is not None
    asked, by = task.settings["learning_rate"], task.trial.name
    attempts = _try_on_folds(task, task.trial, asked if isinstance(asked, Sequence) else [asked])
    if not attempts:
        return None
    best = min(attempts, key=lambda one: rank_loss(one.loss))
    details = describe_rates(best.learning_rate, attempts, by)
    return Choice(best.learning_rate, by, loss=best.loss, tried=len(attempts), details=details)


def _train(task: Task) -> Learned:
    others = {} if task.val is None else {"val": task.val}
    rates, choice = task.settings["learning_rate"], task.choice
    if choice is not None:
        rates = choice.value
    elif task.val is None and isinstance(rates, Sequence):
        rates = HEAD_LEARNING_RATE
    linear = _make(task, rates).fit(task.X, task.y, {**others, **task.others})
    fitted, temperature = LinearFit(linear.coef_, linear.intercept_), 1.0
    if task.calibrate and task.val is not None:
        X_val, y_val = task.val
        temperature = fit_temperature(gather(X_val, fitted.decide), y_val)
    chosen_by = "the last epoch" if task.val is None else "val"
    search = Search(fitted, float(linear.best_epoch_), chosen_by, temperature)
    details = describe_rates(linear.learning_rate_, linear.attempts_)
    if choice is not None:
        details = dict(choice.details)
    return Learned(search, linear.history_, linear.best_epoch_, details)


def _estimate_blocks(size: Size) -> int:
    """Bytes of the buffer that batches are drawn from, and of Adam's numbers."""
    return 4 * size.features * (config.SHUFFLE_BUFFER + 6 * size.classes)


KIND = Kind(
    name="linear",
    train=_train,
    choose=_choose_rate,
    weighed=True,
    logits=True,
    drawn=True,
    settings=_say_settings,
    order=describe_order,
    memory=Memory(copies=8, blocks=_estimate_blocks),
)
