"""Cross-validation: how long it takes, and whether its intervals hold what they promise.

    python benchmarks/cv.py time [SAMPLES CLASSES]
    python benchmarks/cv.py coverage [DRAWS]

Prints JSON, an object a line. `time` is 5x5 of six heads, C chosen inside every fold, on the
synthetic features of heads.py; where other work disturbs it, the seconds of cores say more than the
clock's.
`coverage` draws normal classes again and again, cross-validates a head on each draw, and counts how
often the 95 % intervals hold the truth: the mean accuracy, on 20,000 more images, of heads that
learned from as many images as those of a fold.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib.externals.loky import get_reusable_executor
from made import make_features
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid

from featx.comparison.cross_validation import cross_validate
from featx.config import CLASSIFIERS
from featx.features.content import Features
from featx.features.provenance import Provenance
from featx.heads.fit import fit
from featx.training.resampling import Resampling, draw_folds, estimate_mean

SPEC = Resampling(5, 5)
# Images, classes, features, and how far apart the classes' means are by their deviation.
PROBLEMS = ((100, 5, 20, 0.5), (200, 10, 32, 0.6), (300, 10, 32, 0.8), (600, 10, 64, 0.5))
HEADS = {"centroid": NearestCentroid, "ridge": RidgeClassifier}
UNSEEN = 20_000


def measure_time(n: int, n_classes: int) -> dict[str, Any]:
    """Seconds of 5x5 of each head by itself, and of all six together."""
    X, y = make_features(n, n_classes)
    made = Features(
        X=X,
        targets=y,
        splits=np.where(np.arange(n) % 6 == 0, "test", "train"),
        paths=np.array([f"{i}.jpg" for i in range(n)]),
        hashes=np.array([f"{i:064x}" for i in range(n)]),
        classes=tuple(f"class {k}" for k in range(n_classes)),
        provenance=Provenance(
            backbone="made", weights="made", weights_sha256="", preprocessing={}, decoder="",
            colours="", engine="", precision="", storage="float32",
        ),
        dataset="made",
        split_rule="manifest",
    )  # fmt: skip
    models = [fit(made, clf) for clf in CLASSIFIERS if clf != "imagenet"]
    began, spent = time.perf_counter(), count_cpu()
    found = cross_validate(made, models, str(SPEC))
    seconds = time.perf_counter() - began
    get_reusable_executor().shutdown()  # what a process took is known when it is gone
    spent = count_cpu() - spent
    each = {
        one["name"]: {
            "seconds": one["seconds"],
            "accuracy": one["accuracy"],
            "chosen": sorted({fold["chosen"] for fold in one["folds"]} - {None}),
        }
        for one in found.to_dict()["candidates"]
    }
    return {
        "samples": n, "classes": n_classes, "cv": str(SPEC), "seconds": seconds,
        "seconds of one core": spent, "heads": each,
    }  # fmt: skip


def count_cpu() -> float:
    """Seconds that cores have worked for this process and those that it has seen the end of."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def cover(name: str, problem: tuple[int, int, int, float], draws: int) -> dict[str, Any]:
    """How often both intervals hold the truth."""
    n, n_classes, n_features, apart = problem
    rng = np.random.default_rng(0)
    centres = rng.normal(0, apart, (n_classes, n_features))

    def draw(n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        y = rng.permutation(np.arange(n) % n_classes)
        return centres[y] + rng.normal(0, 1, (n, n_features)), y

    X_new, y_new = draw(UNSEEN)
    truths, estimates = [], []
    for seed in range(draws):
        X, y = draw(n)
        scores = []
        for inside, outside in draw_folds(y, np.arange(n), SPEC, seed):
            head = HEADS[name]().fit(X[inside], y[inside])
            scores.append(head.score(X[outside], y[outside]))
        truths.append(head.score(X_new, y_new))  # one fold's head of each draw
        estimates.append(estimate_mean(scores, SPEC, (0.0, 1.0)))
    truth = float(np.mean(truths))
    held = {
        kind: float(np.mean([low <= truth <= high for low, high in intervals]))
        for kind, intervals in (
            ("corrected", [one.interval for one in estimates]),
            ("naive", [one.naive_interval for one in estimates]),
        )
    }
    return {
        "head": name, "samples": n, "classes": n_classes, "features": n_features, "apart": apart,
        "draws": draws, "truth": truth, "mean": float(np.mean([one.mean for one in estimates])),
        "coverage": held,
    }  # fmt: skip


def main() -> None:
    what, *numbers = sys.argv[1:]
    given = [int(one) for one in numbers]
    if what == "time":
        print(json.dumps(measure_time(*(given or [600, 10]))))  # noqa: T201
        return
    for problem in PROBLEMS:
        for name in HEADS:
            print(json.dumps(cover(name, problem, *(given or [200]))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
