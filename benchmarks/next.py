"""How many labels `featx next` saves against random ones, and whether its forecast holds.

    python benchmarks/next.py animals.h5 digits.h5 --seeds 20 -o next.json
    python benchmarks/next.py animals.h5 digits.h5 --forecast -o forecast.json
    OMP_NUM_THREADS=1 python benchmarks/next.py --time 100000 200 10 -o time.json

Of each feature file a third of every class is test, another third for each seed; the rest is the
pool, from which labels are taken in rounds, from none on: as `choose_next` has them, at random, and
with `--dropquery` as Gupte et al. 2024 (arXiv 2401.14555) have them after the same first round.
They are judged by logistic regression at a given C. `--forecast` holds what is foretold from random
labels against what as many more then bring. `--time` has so many made-up rows as a pool, so many
labels and classes, and counts seconds of the processors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from made import make_features

import featx
from featx.config import SIGNIFICANT
from featx.labelling.choosing import find_middles
from featx.labelling.forecast import Gain, forecast_gain, measure_curve
from featx.labelling.opinion import form_opinion
from featx.machine import describe_machine
from featx.training.pairs import compare_paired
from featx.training.trials import Folds, know_nothing, plan_folds

Rows = npt.NDArray[np.int64]
FORECAST_FROM = (40, 100, 200)
DROPOUT, DROPOUT_DRAWS = 0.75, 3
FORECAST_DRAWN = 5  # times that labels are then really added


def drop_query(pool: Any, X: Any, y: Rows, n: int, seed: int) -> Rows:
    """Middles of clusters of all rows whose class most of three draws of dropout change."""
    opinion, rng = form_opinion(X, y, seed=seed), np.random.default_rng(seed)
    said, changed = opinion.predict(pool), np.zeros(len(pool))
    for _ in range(DROPOUT_DRAWS):
        kept = (rng.random(pool.shape) >= DROPOUT) / np.float32(1 - DROPOUT)
        changed += opinion.predict((pool * kept).astype(np.float32)) != said
    rows = np.flatnonzero(changed > DROPOUT_DRAWS / 2)
    if len(rows) < n:
        rows = np.argsort(-changed, kind="stable")[:n]
    return rows[find_middles(pool[rows], n, seed)]


def deal(y: Rows, seed: int) -> tuple[Rows, Rows]:
    """A third of each class, and all other rows."""
    rng = np.random.default_rng([seed, 1])
    parts = [rng.permutation(np.flatnonzero(y == k)) for k in range(int(y.max()) + 1)]
    test = np.sort(np.concatenate([rows[: round(len(rows) / 3)] for rows in parts]))
    return test, np.setdiff1d(np.arange(len(y)), test)


def label(X: Any, y: Rows, pool: Rows, way: str, sizes: list[int], seed: int) -> list[Rows]:
    """Which rows have a label after each round."""
    order = np.random.default_rng([seed, 2]).permutation(pool)
    labelled = np.empty(0, np.int64)
    rounds = []
    for size in sizes:
        if way == "random":
            labelled = order[:size]
        else:
            rest = np.setdiff1d(pool, labelled)
            choose = drop_query if way == "dropquery" and len(labelled) else featx.choose_next
            n = size - len(labelled)
            some = choose(X[rest], X[labelled], y[labelled], n=n, seed=seed)
            labelled = np.concatenate([labelled, rest[some]])
        rounds.append(labelled)
    return rounds


def judge(X: Any, y: Rows, rows: Rows, test: Rows, C: float) -> npt.NDArray[np.bool_]:
    """Which test images a head gets right that learned from these rows."""
    right: npt.NDArray[np.bool_] = form_opinion(X[rows], y[rows], C).predict(X[test]) == y[test]
    return right


def compare_ways(
    path: Path, seeds: range, n: int, budget: int, C: float, ways: Sequence[str]
) -> dict[str, Any]:
    """Mean accuracies after each round, and what tests say seed by seed."""
    features = featx.load_features(path)
    X, y = np.asarray(features.X[:]), features.targets
    sizes = list(range(n, budget + 1, n))
    scores: dict[str, list[list[float]]] = {way: [] for way in ways}
    p_values = []
    for seed in seeds:
        test, pool = deal(y, seed)
        rights = {}
        for way, curves in scores.items():
            rounds = label(X, y, pool, way, sizes, seed)
            rights[way] = [judge(X, y, rows, test, C) for rows in rounds]
            curves.append([float(right.mean()) for right in rights[way]])
        both = zip(rights["next"], rights["random"], strict=True)
        pairs = [compare_paired(a, b) for a, b in both]
        p_values.append([(pair.p_value, pair.difference) for pair in pairs])
    means = {way: np.mean(curves, axis=0).tolist() for way, curves in scores.items()}
    target = means["random"][-1]

    def find_needed(way: str) -> int | None:
        reached = zip(sizes, means[way], strict=True)
        return next((size for size, mean in reached if mean >= target), None)

    needed = find_needed("next")
    worse = [[p < SIGNIFICANT and d < 0 for p, d in rounds] for rounds in p_values]
    better = [[p < SIGNIFICANT and d > 0 for p, d in rounds] for rounds in p_values]
    return {
        "data": features.dataset,
        "seeds": len(seeds),
        "a_round": n,
        "sizes": sizes,
        "accuracy": means,
        "random_at_the_end": target,
        "labels_needed": {way: find_needed(way) for way in ways},
        "share_of_random": needed / budget if needed else None,
        "significantly_worse_at_the_end": sum(one[-1] for one in worse),
        "significantly_better_at_the_end": sum(one[-1] for one in better),
        "significantly_worse_after_each_round": np.sum(worse, axis=0).tolist(),
        "significantly_better_after_each_round": np.sum(better, axis=0).tolist(),
    }


def check_forecast(path: Path, seeds: range) -> dict[str, Any]:
    """How many single draws of random labels bring what the band says, of each number of labels.

    Their gain is that on a third of the images, which judges the curve, too ("test"); or folds of
    the labelled images themselves judge it ("folds"), where no class has a single label.
    """
    features = featx.load_features(path)
    X, y = np.asarray(features.X[:]), features.targets
    found = []
    for labels, judges in itertools.product(FORECAST_FROM, ("test", "folds")):
        told = [one for seed in seeds if (one := foretell(X, y, seed, labels, judges))]
        inside = [[g.interval[0] <= real <= g.interval[1] for real in reals] for g, reals in told]
        found.append(
            {
                "from": labels,
                "more": labels // 2,
                "judged_by": judges,
                "seeds": len(told),
                "told": float(np.mean([gain.gain for gain, _ in told])),
                "band": np.mean([gain.interval for gain, _ in told], axis=0).tolist(),
                "real": float(np.mean([reals for _, reals in told])),
                "single_draws": sum(map(len, inside)),
                "inside": sum(map(sum, inside)),
            }
        )
    return {"data": features.dataset, "forecasts": found}


def foretell(
    X: Any, y: Rows, seed: int, labels: int, judges: str
) -> tuple[Gain, list[float]] | None:
    """What half as many labels more are said to bring, and what single draws of them do."""
    test, pool = deal(y, seed)
    rows = np.random.default_rng([seed, 3]).permutation(pool)
    now, rest = rows[:labels], rows[labels:]
    opinion = form_opinion(X[now], y[now], seed=seed)
    if judges == "test":
        here = np.concatenate([now, test])
        folds: Folds = ((np.arange(labels), labels + np.arange(len(test))),)
    else:
        here = now
        codes = np.unique(y[now], return_inverse=True)[1].astype(np.int64)
        folds = plan_folds(codes, know_nothing(labels), seed)
    curve = measure_curve(X[here], y[here], folds, np.arange(len(here)), opinion.C, seed)
    if curve is None:
        return None
    gain = forecast_gain(curve, labels, labels // 2, seed).rounds[0]
    before = float(judge(X, y, now, test, opinion.C).mean())
    reals = []
    for draw in range(FORECAST_DRAWN):
        more = np.random.default_rng([seed, 4, draw]).permutation(rest)[: labels // 2]
        after = judge(X, y, np.concatenate([now, more]), test, opinion.C)
        reals.append(float(after.mean()) - before)
    return gain, reals


def time_round(n_pool: int, n_labels: int, n_classes: int) -> dict[str, Any]:
    """Processors' seconds of one round, the fit included, the rows being in memory."""
    X, y = make_features(n_pool + n_labels, n_classes)
    seconds = {}
    for name, known in (("first, of no labels", 0), ("later", n_labels)):
        taken = []
        for _ in range(3):
            begun = time.process_time()
            featx.choose_next(X[n_labels:], X[:known], y[:known])
            taken.append(time.process_time() - begun)
        seconds[name] = min(taken)
    return {"pool": n_pool, "labels": n_labels, "classes": n_classes, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("-C", dest="C", type=float, default=1.0)
    parser.add_argument("--time", nargs=3, type=int, metavar=("ROWS", "LABELS", "CLASSES"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--dropquery", action="store_true")
    parser.add_argument("--forecast", action="store_true")
    args = parser.parse_args()
    told: dict[str, Any] = {"machine": describe_machine(), "C": args.C}
    if args.time:
        told["round"] = time_round(*args.time)
    seeds = range(args.first, args.first + args.seeds)
    ways = ["next", "random", *["dropquery"] * args.dropquery]
    told["results"] = [
        check_forecast(one, seeds)
        if args.forecast
        else compare_ways(one, seeds, args.n, args.budget, args.C, ways)
        for one in args.features
    ]
    args.output.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
