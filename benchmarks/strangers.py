"""Images of no class, planted under other labels, and what featx audit finds of them.

    python benchmarks/strangers.py animals.h5 [--classes 10] -o strangers.json

Of each class in turn ten images stay, under labels of other classes at random, and the others
leave. Counted is how many of the ten are among the strangers, among the outliers and among the
suspected labels, and how many others are.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import featx
from featx.features.content import Features
from featx.machine import describe_machine

PLANTED = 10
KINDS = ("stranger", "outlier", "label")


def plant(features: Features, stranger: int, seed: int = 0) -> tuple[Features, set[str]]:
    """The features without a class, but for ten images under other labels; and their paths."""
    rng, y = np.random.default_rng([seed, stranger]), features.targets.copy()
    others = [k for k in range(len(features.classes)) if k != stranger]
    rows = np.flatnonzero(y == stranger)
    stay = rng.choice(rows, PLANTED, replace=False)
    y[stay] = rng.choice(others, PLANTED)
    kept = np.flatnonzero(y != stranger)
    fewer = replace(features, targets=y - (y > stranger), layers=None, path=None)
    classes = tuple(features.classes[k] for k in others)
    planted = set(features.paths[stay].tolist())
    return replace(fewer.take_rows(kept), classes=classes), planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--classes", type=int, help="how many of them leave; all")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    features = featx.load_features(args.features)
    runs: list[dict[str, Any]] = []
    for stranger, name in enumerate(features.classes[: args.classes]):
        made, planted = plant(features, stranger)
        audit = featx.audit(made, strangers=True)
        found = {kind: {o.path for o in audit.findings if o.kind == kind} for kind in KINDS}
        told = audit.strangers.to_dict() if audit.strangers else {}
        run = {"class": name, "score": told.get("score"), "images": len(made.targets)}
        for kind, paths in found.items():
            run[kind] = {"planted": len(paths & planted), "others": len(paths - planted)}
        either = found["stranger"] | found["label"]
        run["stranger or label"] = {"planted": len(either & planted)}
        runs.append(run)
    mean = {
        kind: {
            who: statistics.mean(run[kind][who] for run in runs) for who in ("planted", "others")
        }
        for kind in KINDS
    }
    told = {"machine": describe_machine(), "data": features.dataset, "mean": mean, "runs": runs}
    args.output.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
