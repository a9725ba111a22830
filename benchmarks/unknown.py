"""How well strangers are told, and whether known images are refused and covered as often as asked.

    python benchmarks/unknown.py animals.h5 digits.h5 --noise 100 --splits 20 -o unknown.json
    python benchmarks/unknown.py animals.h5 digits.h5 --share 0.8 --splits 20 -o more.json
    python benchmarks/unknown.py animals.h5 --cost 3030 101 -o cost.json

Of each feature file the labelled images are dealt anew, a share of each class to fit and the others
to judge, so often; the other files' images are strangers to it, and so are pictures of noise, which
the network of the first file sees. Logistic regression at a given C. `--cost` has so many made-up
rows of so many classes instead and says what --strangers adds to a fit.

A rate refuses k = floor(rate (n + 1)) of n + 1 known images, of which n are held out to calibrate:
of m new ones as many as a beta-binomial draw with k and n + 1 - k says (Vovk 2012), if the held
ones are to the fits that scored them what the new ones are to the model. It is wider than the
binomial of m images at the rate itself, since n images do not know where the rate lies; `expected`
is how often the one lies within the other's 99 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made import make_features
from PIL import Image
from scipy.stats import betabinom, binom
from sklearn.metrics import roc_auc_score

import featx
from featx.features.content import Features
from featx.heads.head import load_head
from featx.machine import describe_machine
from featx.novelty.detector import Detector, load_detector
from featx.novelty.measures import Unseen, measure_sets
from featx.novelty.sets import load_calibration

RATES, COVERAGE, BAND = (0.05, 0.01), 0.9, 0.99
_SIDE = 256  # pixels of a picture of noise


def deal(features: Features, seed: int, share: float) -> Features:
    """A share of each class for train, the rest for test."""
    rng, splits = np.random.default_rng(seed), np.full(len(features.targets), "test", "<U5")
    for k in range(len(features.classes)):
        rows = rng.permutation(np.flatnonzero(features.targets == k))
        splits[rows[: round(share * len(rows))]] = "train"
    return replace(features, splits=splits)


def count_refused(detector: Detector, p_values: Any, rate: float) -> dict[str, Any]:
    """How many known images are refused, and within which bands of counts that is."""
    m, n, count = len(p_values), len(detector.held), int((p_values <= rate).sum())
    k = int(np.floor(round(rate * (n + 1), 9)))
    exact = betabinom(m, k, n + 1 - k)
    low, high = binom.interval(BAND, m, rate)
    first, last = exact.interval(BAND)
    return {
        "share": count / m,
        "aimed": k / (n + 1),
        "within_binomial": bool(low <= count <= high),
        "within_beta_binomial": bool(first <= count <= last),
        "expected": float(exact.cdf(high) - exact.cdf(low - 1)),
    }


def judge(features: Features, others: Mapping[str, Any], share: float, C: float, seed: int) -> Any:
    """What one split says."""
    held = deal(features, seed, share)
    model = featx.fit(held, "logreg", C=C, seed=seed, strangers=True)
    head, detector = load_head(model), load_detector(model)
    X, y = held.split("test")
    strangeness, p_values = detector.measure(*head.decide(X))
    unseen = Unseen(y, head.predict_proba(X), strangeness)
    sets = measure_sets(load_calibration(model), unseen)
    areas = {}
    for name, strangers in others.items():
        far, _ = detector.measure(*head.decide(strangers))
        truth = np.repeat([0, 1], [len(y), len(far)])
        areas[name] = float(roc_auc_score(truth, np.concatenate([strangeness, far])))
    return {
        **model.outcome.details["strangers"],
        "test": len(y),
        "refused": {str(rate): count_refused(detector, p_values, rate) for rate in RATES},
        "sets": next(one for one in sets if one.coverage == COVERAGE),
        "other": areas,
    }


def sum_up(data: str, splits: list[Any]) -> dict[str, Any]:
    """Means over the splits; what is within a band is a number of splits."""
    one = splits[0]
    covered = [split["sets"].covered.accuracy for split in splits]
    return {
        "data": data,
        "splits": len(splits),
        "images": {"fit": one["images"], "test": one["test"]},
        "score": Counter(split["score"] for split in splits),
        "auroc": {n: _average(split["auroc"][n] for split in splits) for n in one["auroc"]},
        "refused": {
            rate: {
                name: (sum if name.startswith("within") else _average)(
                    split["refused"][rate][name] for split in splits
                )
                for name in told
            }
            for rate, told in one["refused"].items()
        },
        "covered": {"mean": _average(covered), "least": min(covered), "most": max(covered)},
        "set_size": _average(split["sets"].size for split in splits),
        "auroc_of_other_data": {
            name: {
                "mean": _average(split["other"][name] for split in splits),
                "least": min(split["other"][name] for split in splits),
            }
            for name in one["other"]
        },
    }


def _average(values: Any) -> float:
    return float(np.mean([*values]))


def see_noise(like: Features, n: int) -> Any:
    """Features of n pictures of uniform noise, by the network that made others."""
    made, rng = like.provenance, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "noise")
        folder.mkdir()
        for i in range(n):
            pixels = rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:04}.png")
        done = featx.extract(
            folder, backbone=made.backbone, weights=made.weights, engine=made.engine.split()[0],
            cache_dir=place, output=Path(place, "noise.h5"),
        )  # fmt: skip
        return featx.load_features(done.features).X[:]


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
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--noise", type=int, default=0, metavar="PICTURES")
    parser.add_argument("-C", dest="C", type=float, default=1.0)
    parser.add_argument("--cost", nargs=2, type=int, metavar=("ROWS", "CLASSES"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    every = [featx.load_features(path) for path in args.features]
    if args.cost:
        found = [time_cost(every[0], *args.cost)]
    else:
        strangers = {one.dataset: one.X[:] for one in every}
        if args.noise:
            strangers["noise"] = see_noise(every[0], args.noise)
        found = [
            sum_up(
                one.dataset,
                [
                    judge(
                        one, {name: X for name, X in strangers.items() if name != one.dataset},
                        args.share, args.C, seed,
                    )
                    for seed in range(args.splits)
                ],
            )
            for one in every
        ]  # fmt: skip
    told = {"machine": describe_machine(), "C": args.C, "share": args.share, "results": found}
    args.output.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
