"""What a random split would have said, on made-up features whose relatives are nearly the same."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features

from featx.comparison.relatives import draw_splits, keeps_groups_whole, measure_inflation
from featx.heads.fit import fit


def make_relatives(provenance, copies=4, noise=0.05, seed=0):
    """24 animals a class, so noisy that their class is hard to tell; pictures of one are alike."""
    one = make_features(provenance, 24, seed=seed, splits=(14, 4))
    n = len(one.targets)
    rows = np.repeat(np.arange(n), copies)
    rng = np.random.default_rng(seed)
    return replace(
        one,
        X=(one.X * 0.6)[rows] + rng.normal(0, noise, (len(rows), 40)).astype(np.float32),
        targets=one.targets[rows],
        splits=one.splits[rows],
        paths=np.array([f"{i}.jpg" for i in range(len(rows))]),
        hashes=np.array([f"{i:064x}" for i in range(len(rows))]),
        groups=np.array([f"animal {i}" for i in rows]),
    )


def test_relatives_make_random_splits_look_better(provenance):
    features = make_relatives(provenance)
    assert keeps_groups_whole(features)
    models = [fit(features, clf) for clf in ("knn", "centroid")]
    assert models[0].outcome.scores["test"].method == "cluster-bootstrap"
    nearest, centroid = measure_inflation(features, models, draws=3)
    # Each test image has its own animal in train: the nearest neighbour is never wrong.
    assert nearest.random == (1.0, 1.0, 1.0)
    assert nearest.grouped == models[0].outcome.scores["test"].accuracy < 0.9
    assert nearest.points == pytest.approx(100 * (1 - nearest.grouped))
    assert centroid.points < nearest.points
    again, _ = measure_inflation(features, models, draws=3)
    assert again == nearest


def test_random_splits_have_the_sizes_there_are(provenance):
    features = make_relatives(provenance)
    drawn = draw_splits(features, np.random.default_rng(0))
    for k in range(3):
        here = features.targets == k
        for split in ("train", "val", "test"):
            assert (drawn[here] == split).sum() == (features.splits[here] == split).sum()
    assert not keeps_groups_whole(replace(features, splits=drawn))
    assert not keeps_groups_whole(replace(features, groups=None))
    # What is in no split stays out of all.
    features.splits[:8] = ""
    assert (draw_splits(features, np.random.default_rng(0))[:8] == "").all()
