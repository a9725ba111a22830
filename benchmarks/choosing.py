"""How C is chosen: today's rule against the one before it, and what the whole path costs.

    python benchmarks/choosing.py rules F.h5 --train 30 --val 6 [--splits 15]
    python benchmarks/choosing.py cost [--samples 3030] [--classes 101]

`rules` deals all labelled images of a feature file into random splits, so many train and val images
of each class and the rest test, and fits logistic regression on each: with C chosen by the log-loss
of five folds of train and val and fitted on both, and by val accuracy, ties by log-loss, fitted on
train, as featx 0.1.0 did; beside them the first rule without an early end of the path. `cost` has
made-up features and gives what choosing and fitting takes in single fits at the chosen C. Prints
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from heads import make_features
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.config import C_GRID
from featx.features.file import read_features
from featx.heads.logreg import fit_penalties, search_logreg
from featx.heads.search import LinearFit, Task, span_rows
from featx.machine import describe_machine
from featx.training.calibration import judge_scores
from featx.training.evaluation import evaluate

Split = dict[str, tuple[Matrix, Labels]]


def deal(X: Matrix, y: Labels, counts: tuple[int, int], seed: int) -> Split:
    """So many rows of each class for train and val, drawn at random; the rest is test."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Labels]] = {"train": [], "val": [], "test": []}
    for k in range(int(y.max()) + 1):
        rows = np.split(rng.permutation(np.flatnonzero(y == k)), np.cumsum(counts))
        for name, some in zip(parts, rows, strict=True):
            parts[name].append(some)
    joined = {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}
    return {name: (X[rows], y[rows]) for name, rows in joined.items()}


def choose_by_accuracy(split: Split) -> tuple[float, LinearFit]:
    """As featx 0.1.0 did."""
    X, y = split["train"]
    X_val, y_val = split["val"]
    span = span_rows(X)
    found = []
    for C, fit in zip(C_GRID, fit_penalties(span.project(X), y, C_GRID), strict=True):
        restored = span.restore(fit)
        accuracy, loss = judge_scores(restored.decide(X_val), y_val)
        found.append(((-accuracy, loss, C), restored))
    (_, _, C), best = min(found, key=lambda one: one[0])
    return C, best


def choose_by_folds(split: Split) -> tuple[float, LinearFit]:
    """As featx does."""
    X, y = (np.concatenate([split[s][i] for s in ("train", "val")]) for i in (0, 1))
    found = search_logreg(Task(X, y, None, C_GRID))
    assert isinstance(found.fit, LinearFit)
    return found.value, found.fit


def measure_rules(path: Path, counts: tuple[int, int], n_splits: int) -> dict[str, Any]:
    """Means over splits by rule, and how often the path's end changed the choice."""
    features = read_features(path)
    rows = np.flatnonzero(features.targets >= 0)
    X, y = np.asarray(features.X[rows]), features.targets[rows]
    told: dict[str, list[tuple[float, float, float, float]]] = {"accuracy": [], "folds": []}
    changed = 0
    for seed in range(n_splits):
        split = deal(X, y, counts, seed)
        X_test, y_test = split["test"]
        for name, choose in (("accuracy", choose_by_accuracy), ("folds", choose_by_folds)):
            C, fit = choose(split)
            probabilities = softmax(fit.decide(X_test), axis=1)
            found = evaluate(y_test, probabilities)
            right = float((probabilities.argmax(axis=1) == y_test).mean())
            told[name].append((right, found.log_loss, found.ece, C))
        with patch("featx.training.choice.PATH_PATIENCE", len(C_GRID)):
            changed += choose_by_folds(split)[0] != told["folds"][-1][3]
    means = {
        name: dict(zip(("accuracy", "log_loss", "ece"), np.mean(runs, axis=0)[:3], strict=True))
        | {"C": sorted(run[3] for run in runs)[n_splits // 2]}
        for name, runs in told.items()
    }
    return {"features": path.name, "splits": n_splits, "rules": means, "full_path_differs": changed}


def measure_cost(n_samples: int, n_classes: int) -> dict[str, Any]:
    """Seconds of choosing C by folds and fitting, and of one fit at that C."""
    X, y = make_features(n_samples, n_classes)
    begun = time.perf_counter()
    found = search_logreg(Task(X, y, None, C_GRID))
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    search_logreg(Task(X, y, None, [found.value]))
    single = time.perf_counter() - begun
    return {
        "samples": n_samples, "classes": n_classes, "C": found.value, "seconds": whole,
        "single": single, "fits": whole / single,
        "tried": found.choice.tried if found.choice else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    rules = commands.add_parser("rules")
    rules.add_argument("features", type=Path)
    rules.add_argument("--train", type=int, default=60)
    rules.add_argument("--val", type=int, default=10)
    rules.add_argument("--splits", type=int, default=15)
    cost = commands.add_parser("cost")
    cost.add_argument("--samples", type=int, default=3030)
    cost.add_argument("--classes", type=int, default=101)
    asked = parser.parse_args()
    if asked.what == "rules":
        found = measure_rules(asked.features, (asked.train, asked.val), asked.splits)
    else:
        found = measure_cost(asked.samples, asked.classes)
    print(json.dumps(found | {"machine": describe_machine()}))  # noqa: T201


if __name__ == "__main__":
    main()
