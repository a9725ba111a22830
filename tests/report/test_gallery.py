from types import SimpleNamespace

import numpy as np
import pytest
from made_features import make_features

from featx.report.gallery import show_predictions


@pytest.fixture
def said(provenance):
    """Features, and what a candidate says of their test images: the first class, more and less."""
    features = make_features(provenance)
    n = len(features.rows("test"))
    sure = np.linspace(0.5, 0.9, n)
    probabilities = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    candidate = SimpleNamespace(
        name="logreg", outcome=SimpleNamespace(probabilities={"test": probabilities})
    )
    return features, show_predictions(SimpleNamespace(features=features), candidate)


def test_mistakes_are_the_surest_ones(said):
    features, shown = said
    rows = features.rows("test")
    assert [one["path"] for one in shown["mistakes"]] == [
        str(path) for path in features.paths[rows[features.targets[rows] > 0]][::-1]
    ]
    assert {(one["truth"], one["predicted"]) for one in shown["examples"]} == {("a", "a")}
    assert {one["predicted"] for one in shown["mistakes"]} == {"a"}


def test_beside_a_mistake_are_the_nearest_train_images(said):
    features, shown = said
    assert not any("nearest" in one for one in shown["examples"])
    X = features.X / np.linalg.norm(features.X, axis=1, keepdims=True)
    train = features.rows("train")
    for one in shown["mistakes"]:
        cosines = X[train] @ X[int(one["path"].removesuffix(".jpg"))]
        expected = train[np.argsort(-cosines)[:3]]
        assert [near["path"] for near in one["nearest"]] == [f"{row}.jpg" for row in expected]
        assert [near["class"] for near in one["nearest"]] == [
            features.classes[k] for k in features.targets[expected]
        ]
        assert [near["cosine"] for near in one["nearest"]] == pytest.approx(
            np.sort(cosines)[:-4:-1].tolist(), abs=1e-6
        )
