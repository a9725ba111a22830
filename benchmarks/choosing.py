"""How C is chosen: today's rule against the one before it, and what the whole path costs.

    python benchmarks/choosing.py rules F.h5 --train 30 --val 6 [--splits 15]
    python benchmarks/choosing.py ways F.h5 --train 30 --val 6 [--splits 15] [--from 0]
    python benchmarks/choosing.py cost [--samples 3030] [--classes 101] [--columns 2048] [--clf …]

`rules` deals all labelled images of a feature file into random splits, so many train and val images
of each class and the rest test, and fits logistic regression on each: with C chosen by the log-loss
of five folds of train and val and fitted on both, and by val accuracy, ties by log-loss, fitted on
train, as featx 0.1.0 did; beside them the first rule without an early end of the path. `ways` tries
what else could make the log-loss smaller, on the same splits, and as a bound what C, scaling and
temperature would give if test itself chose them. `cost` has made-up features and gives, for
logistic regression and the support vector machine, what one path over C takes (fitted on the
samples, judged by a fifth as many), what five folds of the samples take, and one fit at the
chosen C; each with the last fit; and how far memory grew, beside what featx says that the head
needs. `--processor` counts what the process computed, whatever else runs. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from made import make_features
from scipy.special import softmax
from turns import time_call

from featx.arrays import Labels, Matrix
from featx.config import C_GRID, FEATURE_DIM, FOLDS, SCALINGS, SVM_GRID
from featx.features.file import read_features
from featx.heads.kind import Size, find_kind
from featx.heads.logreg import fit_penalties, search_logreg
from featx.heads.memory import estimate_whole
from featx.heads.search import LinearFit, Search, Task, span_rows
from featx.heads.svm import search_svm
from featx.machine import describe_machine
from featx.training.calibration import as_scores, judge_scores
from featx.training.evaluation import evaluate
from featx.training.scaling import Scaler, fit_scaler
from featx.training.trials import Trial, know_nothing, plan_folds

Split = dict[str, tuple[Matrix, Labels]]
Timer = Callable[[], float]
SEARCHES = {"logreg": (search_logreg, C_GRID), "svm": (search_svm, SVM_GRID)}


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


def search(split: Split, scale: str, grid: Sequence[float] = C_GRID) -> tuple[Search, Scaler]:
    """As featx does at one scaling, with a temperature of the out-of-fold scores beside it."""
    X, y = (np.concatenate([split[s][i] for s in ("train", "val")]) for i in (0, 1))
    kin = know_nothing(len(y))
    trial = Trial(X, y, plan_folds(y, kin), "folds", "train and val", scale, independent=True)
    scaler = fit_scaler(scale, X)
    scaled = np.asarray(scaler.apply(X))
    return search_logreg(Task(scaled, y, grid=grid, trial=trial, calibrate=True)), scaler


def try_ways(split: Split) -> dict[str, Matrix]:
    """Scores of the test images, whose softmax are probabilities, by each way."""
    X_test, _ = split["test"]
    X, y = (np.concatenate([split[s][i] for s in ("train", "val")]) for i in (0, 1))
    found = {scale: search(split, scale) for scale in SCALINGS}

    def decide(scale: str) -> Matrix:
        one, scaler = found[scale]
        return one.fit.decide(np.asarray(scaler.apply(X_test)))

    def read_loss(scale: str) -> float:
        choice = found[scale][0].choice
        assert choice is not None
        assert choice.loss is not None
        return choice.loss

    auto, plain = min(SCALINGS, key=read_loss), found["none"][0]
    near = [plain.value * 10 ** (k / 16) for k in range(-4, 5)]
    with patch("featx.training.trials.FOLDS", 10):
        ten, _ = search(split, "none")
    bag = []
    for inside, _ in plan_folds(y, know_nothing(len(y))):
        span = span_rows(X[inside])
        (fit,) = fit_penalties(span.project(X[inside]), y[inside], [plain.value])
        bag.append(softmax(span.restore(fit).decide(X_test), axis=1))
    each = [softmax(decide(scale), axis=1) for scale in SCALINGS]
    return {
        "today": decide("none"),
        "temperature": decide("none") / plain.temperature,
        "scale auto": decide(auto),
        "scale auto, temperature": decide(auto) / found[auto][0].temperature,
        "finer C": search(split, "none", near)[0].fit.decide(X_test),
        "ten folds": ten.fit.decide(X_test),
        "mean of the folds' heads": as_scores(np.mean(bag, axis=0)),
        "mean of the scalings' heads": as_scores(np.mean(each, axis=0)),
        "bound: test chooses": choose_by_test(split, {s: one[0].value for s, one in found.items()}),
    }


def choose_by_test(split: Split, around: dict[str, float]) -> Matrix:
    """What no rule can do: scaling, C within a decade and a half, and temperature by test."""
    X_test, y_test = split["test"]
    X, y = (np.concatenate([split[s][i] for s in ("train", "val")]) for i in (0, 1))
    best: tuple[float, Matrix] | None = None
    for scale, C in around.items():
        scaler = fit_scaler(scale, X)
        scaled = np.asarray(scaler.apply(X))
        span = span_rows(scaled)
        grid = [C * 10 ** (k / 4) for k in range(-6, 7)]
        for fit in fit_penalties(span.project(scaled), y, grid):
            scores = span.restore(fit).decide(np.asarray(scaler.apply(X_test)))
            heats = np.geomspace(0.5, 2, 25)
            losses = [judge_scores(scores, y_test, float(heat))[1] for heat in heats]
            least = int(np.argmin(losses))
            if best is None or losses[least] < best[0]:
                best = losses[least], scores / heats[least]
    assert best is not None
    return best[1]


def measure_ways(
    path: Path, counts: tuple[int, int], n_splits: int, first: int
) -> dict[str, dict[str, list[float]]]:
    """Accuracy, log-loss and ECE of each split by way."""
    features = read_features(path)
    rows = np.flatnonzero(features.targets >= 0)
    X, y = np.asarray(features.X[rows]), features.targets[rows]
    told: dict[str, dict[str, list[float]]] = {}
    for seed in range(first, first + n_splits):
        split = deal(X, y, counts, seed)
        y_test = split["test"][1]
        for name, scores in try_ways(split).items():
            probabilities = softmax(scores, axis=1)
            found = evaluate(y_test, probabilities)
            right = float((probabilities.argmax(axis=1) == y_test).mean())
            measured = {"accuracy": right, "log_loss": found.log_loss, "ece": found.ece}
            for measure, value in measured.items():
                told.setdefault(name, {}).setdefault(measure, []).append(value)
    return told


def measure_cost(
    n_samples: int, n_classes: int, columns: int, heads: Sequence[str], timer: Timer
) -> dict[str, Any]:
    """Seconds of one path over C, of choosing by five folds, and of one fit, and their memory."""
    before = measure_peak()
    X, y = make_features(n_samples * 6 // 5, n_classes, columns)
    X, y, held = X[:n_samples], y[:n_samples], (X[n_samples:], y[n_samples:])
    found_by: dict[str, Any] = {}
    for clf in heads:
        search, grid = SEARCHES[clf]
        path, walked = time_call(partial(search, Task(X, y, held, grid)), timer)
        folds, found = time_call(partial(search, Task(X, y, None, grid)), timer)
        single, _ = time_call(partial(search, Task(X, y, None, [found.value])), timer)
        assert walked.choice is not None
        assert found.choice is not None
        size = Size(n_samples, len(held[1]), 0, columns, n_classes, len(grid), folds=FOLDS)
        found_by[clf] = {
            "C": found.value, "single": single, "path": path, "five folds": folds,
            "tried": [walked.choice.tried, found.choice.tried],
            "path in single fits": path / single, "five folds in single fits": folds / single,
            "bytes": measure_peak() - before, "said": estimate_whole(find_kind(clf), size),
        }  # fmt: skip
    return {"samples": n_samples, "classes": n_classes, "columns": columns, "heads": found_by}


def measure_peak() -> int:
    """Bytes that this process has had in memory at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    rules = commands.add_parser("rules")
    rules.add_argument("features", type=Path)
    rules.add_argument("--train", type=int, default=60)
    rules.add_argument("--val", type=int, default=10)
    rules.add_argument("--splits", type=int, default=15)
    ways = commands.add_parser("ways", parents=[rules], add_help=False)
    ways.add_argument("--from", type=int, default=0, dest="first")
    cost = commands.add_parser("cost")
    cost.add_argument("--samples", type=int, default=3030)
    cost.add_argument("--classes", type=int, default=101)
    cost.add_argument("--columns", type=int, default=FEATURE_DIM)
    cost.add_argument("--processor", action="store_true", help="its seconds, not the clock's")
    cost.add_argument("--clf", nargs="*", default=list(SEARCHES), choices=list(SEARCHES))
    asked = parser.parse_args()
    if asked.what == "rules":
        found = measure_rules(asked.features, (asked.train, asked.val), asked.splits)
    elif asked.what == "ways":
        told = measure_ways(asked.features, (asked.train, asked.val), asked.splits, asked.first)
        means = {
            way: {name: float(np.mean(values)) for name, values in measured.items()}
            for way, measured in told.items()
        }
        found = {"features": asked.features.name, "splits": asked.splits, "ways": means}
    else:
        timer = time.process_time if asked.processor else time.perf_counter
        found = measure_cost(asked.samples, asked.classes, asked.columns, asked.clf, timer)
    print(json.dumps(found | {"machine": describe_machine()}))  # noqa: T201


if __name__ == "__main__":
    main()
