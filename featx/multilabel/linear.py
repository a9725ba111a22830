"""A linear layer with a sigmoid a label, trained in epochs on all labels at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import logit

from featx.arrays import Matrix
from featx.config import HEAD_LEARNING_RATE
from featx.multilabel.folds import PreparedFold
from featx.multilabel.head import EVEN, LabelFit
from featx.multilabel.metrics import Sets
from featx.training.calibration import fit_temperature
from featx.training.epochs import (
    FeatureBatches,
    Schedule,
    Training,
    make_linear,
    train_softmax,
)
from featx.training.learner import Learner

_HELD = "held"  # a split that chooses neither epoch nor rate, as one called val would


def learn_by_epochs(
    scaled: Matrix, sets: Sets, prepared: Sequence[PreparedFold], recipe: Mapping[str, Any]
) -> tuple[list[LabelFit], Matrix]:
    """Train on all rows, with the learning rate whose folds lose least after the last epoch.

    Parameters
    ----------
    scaled : ndarray of shape (n_samples, n_features)
    sets : ndarray of shape (n_samples, n_labels), bool
    prepared : sequence of PreparedFold
        Not turned: Adam goes by columns.
    recipe : mapping

    Returns
    -------
    fits : list of LabelFit
        Thresholds are not chosen yet.
    held : ndarray of shape (n_samples, n_labels)
        See `LabelsLearned`.
    """
    asked = recipe["learning_rate"]
    rates = [asked] if isinstance(asked, float) else list(asked)
    held = np.empty((len(rates), *sets.shape))
    losses = np.zeros(len(rates))
    for fold in prepared:
        judged = {_HELD: (fold.held, sets[fold.outside])}
        for i, rate in enumerate(rates):
            trained = _train(fold.X, sets[fold.inside], rate, recipe, judged)
            held[i, fold.outside] = trained.probabilities[_HELD]
            losses[i] += trained.history[-1].loss[_HELD] * len(fold.outside)
    best, by = int(losses.argmin()), "folds of all labels"
    if not prepared:
        best, by = min(range(len(rates)), key=lambda i: abs(rates[i] - HEAD_LEARNING_RATE)), "fixed"
    final = _train(scaled.astype(np.float32), sets, rates[best], recipe, {})
    coef, intercept = (final.state[name].numpy().astype(np.float64) for name in ("weight", "bias"))
    if not prepared:
        held[best] = 1 / (1 + np.exp(-(scaled @ coef.T + intercept)))
    heat = np.ones(sets.shape[1])
    tiny = float(np.finfo(np.float32).eps)
    logits = logit(np.clip(held[best], tiny, 1 - tiny))
    if recipe["calibrate"] and prepared:
        pairs = np.stack([0 * logits, logits], axis=2)
        heat = np.array(
            [fit_temperature(pairs[:, k], y.astype(np.int64)) for k, y in enumerate(sets.T)]
        )
    fits = [
        LabelFit(coef[k], float(intercept[k]), float(heat[k]), EVEN, float(rates[best]), by)
        for k in range(sets.shape[1])
    ]
    return fits, 1 / (1 + np.exp(-logits / heat))


def _train(
    X: Matrix,
    sets: Sets,
    rate: float,
    recipe: Mapping[str, Any],
    others: Mapping[str, tuple[Matrix, Sets]],
) -> Training:
    layer = make_linear(X.shape[1], sets.shape[1], recipe["seed"])
    learner = Learner(
        rate,
        layer,
        torch.optim.Adam(layer.parameters(), lr=rate),
        lambda: {k: v.detach().clone() for k, v in layer.state_dict().items()},
    )
    splits = {"train": (X, sets), **others}
    return train_softmax(
        [learner],
        {
            name: FeatureBatches(
                torch.from_numpy(np.ascontiguousarray(rows, np.float32)),
                torch.from_numpy(y.astype(np.float32)),
            )
            for name, (rows, y) in splits.items()
        },
        Schedule(epochs=recipe["epochs"], batch_size=recipe["batch_size"], seed=recipe["seed"]),
    )
