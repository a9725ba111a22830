"""Columns of all stages chosen one by one, against the sets that `--layers auto` chooses from.

    featx extract DATA --layers all -o F.h5
    python benchmarks/selecting.py F.h5 [--draws 2] [--images 1000] [--labels MANIFEST]

Of so many labelled images of F.h5 (all), drawn at random, four fifths are learned from and the rest
is test, so many times. What Head2Toe does (Evci et al. 2022): a group lasso on the standardised
columns of all stages scores each column by the length of its weights over classes, along a path of
penalties; the share of the best-scored columns, and C, are chosen by the log-loss of five folds,
each of which is standardised and scored anew; logistic regression is fitted on the columns kept.
Beside it the last layer and `--layers auto`, of the same images. --labels takes classes from
another manifest of the same pictures. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.model_selection import StratifiedKFold

from featx.arrays import Labels, Matrix
from featx.config import C_GRID, FOLDS
from featx.features.content import Features
from featx.features.file import read_features
from featx.features.outputs import take_engine_rows
from featx.heads.fit import fit
from featx.heads.logreg import fit_penalties
from featx.heads.search import span_rows
from featx.machine import describe_machine
from featx.training.scaling import fit_scaler

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
PENALTIES = (0.5, 0.2, 0.1, 0.05)  # of the smallest that leaves no column
STEPS = 100
GRID = C_GRID[8:41:4]


def score_columns(X: Matrix, y: Labels) -> Matrix:
    """Lengths of the columns' weights, summed over a path of penalties (FISTA, Beck 2009)."""
    truth = np.eye(y.max() + 1, dtype=np.float32)[y]
    step = 2 * len(X) / float(np.linalg.eigvalsh(X @ X.T)[-1])
    bias = np.log(truth.mean(axis=0))
    largest = np.linalg.norm(X.T @ (truth.mean(axis=0) - truth), axis=1).max() / len(X)
    weight = np.zeros((X.shape[1], truth.shape[1]), np.float32)
    scores = np.zeros(X.shape[1])
    for penalty in largest * np.array(PENALTIES):
        ahead, pace = weight, 1.0
        for _ in range(STEPS):
            residual = softmax(X @ ahead + bias, axis=1) - truth
            bias = bias - residual.mean(axis=0)
            moved = ahead - step * (X.T @ residual) / len(X)
            lengths = np.maximum(np.linalg.norm(moved, axis=1), 1e-12)
            moved *= np.maximum(0, 1 - step * penalty / lengths)[:, None]
            faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
            ahead = (moved + (pace - 1) / faster * (moved - weight)).astype(np.float32)
            weight, pace = moved.astype(np.float32), faster
        scores += np.linalg.norm(weight, axis=1)
    return scores


def walk(X: Matrix, y: Labels, held: Matrix, grid: Sequence[float]) -> Iterator[Matrix]:
    """Scores of held rows by a fit for each C."""
    span = span_rows(X)
    inside, outside = np.asarray(span.project(X)), np.asarray(span.project(held))
    for one in fit_penalties(inside, y, grid):
        yield one.decide(outside)


def select(X: Matrix, y: Labels, held: Matrix, y_held: Labels) -> dict[str, Any]:
    """What Head2Toe chooses of some rows, and its accuracy on others."""
    losses: dict[tuple[float, float], list[Matrix]] = {}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for inside, outside in folds.split(X, y):
        scaler = fit_scaler("standard", X[inside])
        A, B = (np.float32(scaler.apply(X[rows])) for rows in (inside, outside))
        order = np.argsort(-score_columns(A, y[inside]), kind="stable")
        for share in SHARES:
            kept = order[: int(share * len(order))]
            for C, scores in zip(GRID, walk(A[:, kept], y[inside], B[:, kept], GRID), strict=True):
                own = log_softmax(scores, axis=1)[np.arange(len(outside)), y[outside]]
                losses.setdefault((share, C), []).append(-own)
    mean = {each: float(np.concatenate(parts).mean()) for each, parts in losses.items()}
    share, C = min(mean, key=mean.__getitem__)
    scaler = fit_scaler("standard", X)
    A, B = (np.float32(scaler.apply(rows)) for rows in (X, held))
    kept = np.argsort(-score_columns(A, y), kind="stable")[: int(share * X.shape[1])]
    (scores,) = walk(A[:, kept], y, B[:, kept], [C])
    accuracy = float((scores.argmax(axis=1) == y_held).mean())
    return {"share": share, "C": C, "log_loss": mean[share, C], "test": accuracy}


def run(features: Features, rows: Labels) -> dict[str, Any]:
    """One draw: the three on the same images."""
    n_learned = len(rows) * 4 // 5
    splits = np.full(len(features.splits), "", "<U5")
    splits[rows[:n_learned]], splits[rows[n_learned:]] = "train", "test"
    drawn = replace(features, splits=splits)
    found: dict[str, Any] = {}
    for layers in ("last", "auto"):
        model = fit(drawn, layers=layers)
        details = model.outcome.details
        found[layers] = {
            "layers": details["layers"],
            "log_loss": details["choice"]["log_loss"],
            "test": model.outcome.scores["test"].accuracy,
            "seconds": model.outcome.seconds,
        }
    every, y = take_engine_rows(features, "all"), features.targets
    learned, test = np.sort(rows[:n_learned]), np.sort(rows[n_learned:])
    began = time.perf_counter()
    found["selected"] = select(every[learned], y[learned], every[test], y[test])
    found["selected"]["seconds"] = time.perf_counter() - began
    return found


def relabel(features: Features, manifest: Path) -> Features:
    """The same images with the classes of another manifest."""
    with manifest.open(encoding="utf-8", newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    classes = tuple(sorted(set(labels.values())))
    targets = [classes.index(labels[path]) for path in features.paths.tolist()]
    return replace(features, classes=classes, targets=np.array(targets, np.int64))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("features", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    features = read_features(options.features)
    if options.labels:
        features = relabel(features, options.labels)
    labelled = np.flatnonzero(features.targets >= 0)
    draws = []
    for seed in range(options.draws):
        rows = np.random.default_rng(seed).permutation(labelled)[: options.images]
        draws.append(run(features, rows))
    print(json.dumps({"machine": describe_machine(), "draws": draws}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
