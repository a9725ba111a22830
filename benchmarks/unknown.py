"""How well strangers are told, and whether known images are refused and covered as often as asked.

    python benchmarks/unknown.py animals.h5 digits.h5 --splits 20 -o unknown.json
    python benchmarks/unknown.py animals.h5 --cost 3030 101 -o cost.json

Of each feature file the labelled images are dealt anew, half to fit and half to judge, so often;
the other files' images are strangers to it. Logistic regression at a given C. `--cost` has
so many made-up rows of so many classes instead and says what --strangers adds to a fit.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from heads import make_features
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

import featx
from featx.deployment.refusal import make_doubter
from featx.features.content import Features
from featx.heads.head import load_head
from featx.machine import describe_machine
from featx.novelty.detector import load_detector

RATES, COVERAGE = (0.05, 0.01), 0.9


def deal(features: Features, seed: int) -> Features:
    """Half of each class for train, half for test."""
    rng, splits = np.random.default_rng(seed), np.full(len(features.targets), "test", "<U5")
    for k in range(len(features.classes)):
        rows = rng.permutation(np.flatnonzero(features.targets == k))
        splits[rows[: len(rows) // 2]] = "train"
    return replace(features, splits=splits)


def judge(features: Features, others: list[Features], splits: int, C: float) -> dict[str, Any]:
    """Means over the splits, and how many test images were refused and covered."""
    refused: dict[float, list[int]] = {rate: [] for rate in RATES}
    covered, sizes, areas, scores, total, within = [], [], [], [], 0, dict.fromkeys(RATES, 0)
    for seed in range(splits):
        held = deal(features, seed)
        model = featx.fit(held, "logreg", C=C, seed=seed, strangers=True)
        head, detector = load_head(model), load_detector(model)
        X, y = held.split("test")
        total = len(y)
        probabilities = head.predict_proba(X)
        score, p = detector.measure(*head.decide(X))
        for rate in RATES:
            count = int((p <= rate).sum())
            refused[rate].append(count)
            low, high = binom.interval(0.99, total, rate)
            within[rate] += low <= count <= high
        inside = make_doubter(model, sets=COVERAGE).limits
        assert inside is not None
        members = inside.find_sets(probabilities)
        covered.append(float(members[np.arange(total), y].mean()))
        sizes.append(float(members.sum(axis=1).mean()))
        scores.append(model.outcome.details["strangers"])
        for other in others:
            far, _ = detector.measure(*head.decide(other.X[:]))
            truth = np.repeat([0, 1], [total, len(far)])
            areas.append(float(roc_auc_score(truth, np.concatenate([score, far]))))
    names = scores[0]["auroc"]
    return {
        "data": features.dataset,
        "splits": splits,
        "test_images": total,
        "score": [one["score"] for one in scores],
        "auroc": {n: float(np.mean([one["auroc"][n] for one in scores])) for n in names},
        "refused": {str(r): float(np.mean(refused[r])) / total for r in RATES},
        "within_binomial_99": {str(r): int(within[r]) for r in RATES},
        "covered": float(np.mean(covered)),
        "set_size": float(np.mean(sizes)),
        "auroc_of_other_data": float(np.mean(areas)) if areas else None,
    }


def time_cost(like: Features, n: int, n_classes: int) -> dict[str, Any]:
    """Seconds of a processor that a fit takes, C chosen, without strangers and with them."""
    X, y = make_features(n, n_classes)
    made = replace(
        like, X=X, targets=y, splits=np.full(n, "train"), groups=None, layers=None,
        paths=np.array([f"{i}.jpg" for i in range(n)]),
        hashes=np.array([f"{i:064x}" for i in range(n)]),
        classes=tuple(f"{k:03}" for k in range(n_classes)),
    )  # fmt: skip
    seconds = {}
    for strangers in (False, True):
        begun = time.process_time()
        featx.fit(made, "logreg", strangers=strangers)
        seconds["with strangers" if strangers else "without"] = time.process_time() - begun
    return {"rows": n, "classes": n_classes, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", nargs="+", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("-C", dest="C", type=float, default=1.0)
    parser.add_argument("--cost", nargs=2, type=int, metavar=("ROWS", "CLASSES"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    every = [featx.load_features(path) for path in args.features]
    found = (
        [time_cost(every[0], *args.cost)]
        if args.cost
        else [
            judge(one, [other for other in every if other is not one], args.splits, args.C)
            for one in every
        ]
    )
    told = {"machine": describe_machine(), "C": args.C, "results": found}
    args.output.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
