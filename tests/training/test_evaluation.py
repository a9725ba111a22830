import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, top_k_accuracy_score

from featx.training.evaluation import bootstrap_per_class, evaluate, top_k


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 7, 300)
    probabilities = rng.dirichlet(np.ones(8), 300)  # class 7 has no images here
    probabilities[np.arange(300), y] += 0.3
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    found = evaluate(y, probabilities)
    assert found.top5 == top_k_accuracy_score(y, probabilities, k=5, labels=range(8))
    assert found.macro_f1 == pytest.approx(
        f1_score(y, predicted, labels=range(7), average="macro", zero_division=0)
    )
    low, high = found.mean_per_class_ci95
    assert low < recall_score(y, predicted, labels=range(7), average="macro") < high
    assert np.sum(found.confusion) == 300
    assert found.per_class[7].total == 0
    assert found.per_class[7].ci95 is None
    assert sum(one.correct for one in found.per_class) == (predicted == y).sum()
    assert top_k(np.array([0]), np.full((1, 8), 1 / 8), 5) == 0.0  # a tie proves nothing


def test_bootstrap_is_that_of_images_drawn_again():
    rng = np.random.default_rng(3)
    groups = [rng.random(n) < p for n, p in ((40, 0.9), (25, 0.7), (60, 0.8))]
    ours = bootstrap_per_class(
        np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    )
    drawn = np.mean([rng.choice(g, (20_000, len(g))).mean(axis=1) for g in groups], axis=0)
    assert ours == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)
    assert bootstrap_per_class(np.array([3, 0]), np.array([3, 0])) == (1.0, 1.0)
