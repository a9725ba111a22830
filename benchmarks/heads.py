"""The grid of 45 penalties: featx, 45 cold fits, LogisticRegressionCV, at equal tolerance.

    python benchmarks/heads.py SAMPLES CLASSES [--cv]

Prints one JSON object; LogisticRegressionCV, which takes long, is tried with --cv alone. The
features are made up; a sixth of them is val.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from made import make_features
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit

from featx.config import C_GRID, MAX_ITER, TOLERANCE
from featx.heads.linear import LinearClassifier
from featx.heads.logreg import search_logreg
from featx.heads.search import Task

Matrix = npt.NDArray[np.floating]


def main() -> None:
    n, n_classes = int(sys.argv[1]), int(sys.argv[2])
    X, y = make_features(n + n // 5, n_classes)
    (X, X_val), (y, y_val) = (X[:n], X[n:]), (y[:n], y[n:])
    found: dict[str, Any] = {"samples": n, "classes": n_classes, "seconds": {}, "chosen": {}}

    begun = time.perf_counter()
    search = search_logreg(Task(X, y, (X_val, y_val), list(C_GRID)))
    found["seconds"]["featx"] = time.perf_counter() - begun
    hits = search.fit.decide(X_val).argmax(1) == y_val
    found["chosen"]["featx"] = {"C": search.value, "val": float(hits.mean())}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        begun, fits = time.perf_counter(), []
        for C in C_GRID:
            model = LogisticRegression(C=C, tol=TOLERANCE, max_iter=MAX_ITER).fit(X, y)
            fits.append(
                (model.score(X_val, y_val), -log_loss(y_val, model.predict_proba(X_val)), -C)
            )
        found["seconds"]["45 cold fits"] = time.perf_counter() - begun
        val, _, C = max(fits)  # as featx chooses
        found["chosen"]["45 cold fits"] = {"C": -C, "val": val}

        if "--cv" in sys.argv:
            both, codes = np.concatenate([X, X_val]), np.concatenate([y, y_val])
            fold = PredefinedSplit(np.repeat([-1, 0], [len(y), len(y_val)]))
            begun = time.perf_counter()
            model = LogisticRegressionCV(
                Cs=list(C_GRID), cv=fold, tol=TOLERANCE, max_iter=MAX_ITER, l1_ratios=(0.0,),
                scoring="accuracy", use_legacy_attributes=False,
            ).fit(both, codes)  # fmt: skip
            found["seconds"]["LogisticRegressionCV"] = time.perf_counter() - begun
            found["chosen"]["LogisticRegressionCV"] = {"C": float(model.C_)}

    # torch imports a second's worth of itself the first time that an optimiser is made.
    for name in ("linear, 15 epochs, first in its process", "linear, 15 epochs"):
        begun = time.perf_counter()
        LinearClassifier(epochs=15).fit(X, y, {"val": (X_val, y_val)})
        found["seconds"][name] = time.perf_counter() - begun
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
