"""Whether answers at each rank of a taxonomy are right as often as was asked for.

    python benchmarks/ranks.py animals.h5 --splits 20 -o ranks.json
    python benchmarks/ranks.py animals.h5 --columns 24 --splits 20 -o ranks-24.json
    python benchmarks/ranks.py animals.h5 --cost 10000 1000 5 -o cost.json

The features are of the ten animals of Caltech-101, and the tree over them is made up: `TREE`. The
labelled images are dealt anew, a share of each class to fit and the others to judge, so often.
Logistic regression at a given C; with `--columns` it sees the first few features alone, so that it
errs often enough for the wider ranks to have something to say.

Of m answers at a rank at a precision P, as many are right as not to lie below the lower end of the
binomial's 95 % of m and P, if it is kept. `--cost` says instead how long so many made-up rows of so
many classes take, at so many ranks above them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom
from turns import time_call
from unknown import deal

import featx
from featx.features.content import Features
from featx.heads.head import load_head
from featx.machine import describe_machine
from featx.novelty.rank_scores import measure_answers, measure_ranks
from featx.novelty.ranks import Evidence, Ranking, load_ranking
from featx.novelty.taxonomy import Taxonomy
from featx.training.metrics import wilson_interval

PRECISIONS, BAND = (0.9, 0.95, 0.98, 0.99), 0.95
TREE = Taxonomy(
    ("animal", "kind", "class", "group"),
    tuple(
        (animal, kind, name, "mammals" if name == "mammal" else "sauropsids")
        for kind, name, animals in (
            ("crocodilian", "reptile", ("crocodile",)),
            ("carnivore", "mammal", ("dalmatian",)),
            ("whale", "mammal", ("dolphin",)),
            ("ungulate", "mammal", ("elephant", "llama", "rhino")),
            ("insectivore", "mammal", ("hedgehog",)),
            ("marsupial", "mammal", ("kangaroo",)),
            ("bird", "bird", ("emu", "flamingo")),
        )
        for animal in animals
    ),
)


def judge(features: Features, share: float, C: float, seed: int) -> dict[str, Any]:
    """What one split says at each precision: by rank, how many are answered, and how many right."""
    held = deal(features, seed, share)
    model = featx.fit(held, "logreg", C=C, seed=seed, taxonomy=TREE)
    X, y = held.split("test")
    probabilities = load_head(model).predict_proba(X)
    told: dict[str, Any] = {"held": model.outcome.details["ranks"]["images"], "test": len(y)}
    (every,) = measure_ranks(load_ranking(model).taxonomy, {"logreg": probabilities}, y)
    told["right"] = [one.correct for one in every.accuracies if one is not None]
    for precision in PRECISIONS:
        answers = measure_answers(load_ranking(model, precision), probabilities, y)
        told[f"{precision:g}"] = [
            (0, 0) if one.right is None else (one.right.total, one.right.correct) for one in answers
        ]
    return told


def sum_up(precision: float, counts: Sequence[Sequence[int]], test: int) -> dict[str, Any]:
    """One rank at a precision, over all splits: pairs of answers and right ones."""
    given = [(m, k) for m, k in counts if m]
    answered, right = (sum(column) for column in zip(*given, strict=True)) if given else (0, 0)
    low = (1 - BAND) / 2
    return {
        "answered": answered / (len(counts) * test),
        "precision": right / answered if answered else None,
        "ci95": wilson_interval(right, answered) if answered else None,
        "splits": len(given),
        "within": sum(bool(k >= binom.ppf(low, m, precision)) for m, k in given),
        "pooled_within": bool(right >= binom.ppf(low, answered, precision)) if answered else None,
    }


def time_cost(n: int, n_classes: int, n_ranks: int) -> dict[str, Any]:
    """Seconds of ten runs: made-up probabilities to answers."""
    rng = np.random.default_rng(0)
    lines = [
        (f"c{k}", *(f"r{r}.{k // 4 ** (r + 1)}" for r in range(n_ranks))) for k in range(n_classes)
    ]
    tree = Taxonomy(tuple(f"rank {r}" for r in range(n_ranks + 1)), tuple(lines))
    probabilities = rng.dirichlet(np.full(n_classes, 0.003), n)
    truth = np.array([rng.choice(n_classes, p=row) for row in probabilities[:2000]])
    ranking = Ranking(tree, Evidence.judge(tree, probabilities[:2000], truth), 0.9)
    runs = [time_call(lambda: ranking.answer(probabilities)) for _ in range(10)]
    seconds, answers = [spent for spent, _ in runs], runs[-1][1]
    given = {name: sum(one.rank == name for one in answers) for name in tree.ranks}
    return {
        "rows": n, "classes": n_classes, "ranks": n_ranks, "given": given,
        "median_seconds": float(np.median(seconds)), "most_seconds": max(seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--columns", type=int, help="of the features; the others are left out")
    parser.add_argument("-C", dest="C", type=float, default=1.0)
    parser.add_argument("--cost", nargs=3, type=int, metavar=("ROWS", "CLASSES", "RANKS"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    told: dict[str, Any] = {"machine": describe_machine()}
    if args.cost:
        told |= time_cost(*args.cost)
    else:
        features = featx.load_features(args.features)
        features = replace(features, X=features.X[:][:, : args.columns], layers=None)
        splits = [judge(features, args.share, args.C, seed) for seed in range(args.splits)]
        test = splits[0]["test"]
        told |= {
            "data": features.dataset, "splits": args.splits, "share": args.share,
            "columns": args.columns, "C": args.C, "held": splits[0]["held"], "test": test,
            "accuracy": {
                rank: sum(one["right"][r] for one in splits) / (args.splits * test)
                for r, rank in enumerate(TREE.ranks)
            },
            "precisions": {
                f"{precision:g}": {
                    rank: sum_up(precision, [one[f"{precision:g}"][r] for one in splits], test)
                    for r, rank in enumerate(TREE.ranks)
                }
                for precision in PRECISIONS
            },
        }  # fmt: skip
    args.output.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
