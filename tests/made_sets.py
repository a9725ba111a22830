"""Features whose directions plant labels, for what learns several labels an image."""

from dataclasses import replace

import numpy as np
from made_features import make_features


def plant_features(provenance, n=90, labels=("beach", "dog"), noise=0.3, seed=0, dim=12):
    """Each label is a direction of its own; of six images three are train and two are test."""
    rng = np.random.default_rng(seed)
    sets = rng.random((n, len(labels))) < 0.4
    X = rng.normal(0, noise, (n, dim))
    for k in range(len(labels)):
        X[:, k] += 2.0 * sets[:, k]
    made = make_features(provenance, n_per=n, classes=("x",), dim=dim)
    return replace(
        made,
        X=X.astype(np.float32),
        targets=np.full(n, -1),
        splits=np.array((["train", "train", "train", "val", "test", "test"] * n)[:n]),
        classes=tuple(labels),
        label_sets=sets,
    )
