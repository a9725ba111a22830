import numpy as np
import pytest

from featx.errors import ModelError
from featx.novelty import sets
from featx.novelty.sets import Calibration


def test_limits_by_hand(monkeypatch):
    monkeypatch.setattr(sets, "BEYOND", 1)
    # Class 0 has nine rows, which 90 % needs at least; class 1 has four, class 2 none.
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.15, 0.25, 0.35, 0.95])
    labels = np.array([0] * 9 + [1] * 4)
    found = Calibration(scores, labels).find_limits(0.9, 3, "m")
    assert found.own.tolist() == [True, False, False]
    # Of nine the rank ceil(10 * 0.9) = 9; of thirteen ceil(14 * 0.9) = 13.
    assert found.limits == pytest.approx([0.9, 0.95, 0.95])
    lower = Calibration(scores, labels).find_limits(0.75, 3, "m")
    # Of nine ceil(7.5) = 8, of four ceil(3.75) = 4, of thirteen ceil(10.5) = 11.
    assert lower.limits == pytest.approx([0.8, 0.95, 0.8])
    probabilities = np.array([[0.1, 0.05, 0.85], [0.05, 0.9, 0.05]])
    assert found.find_sets(probabilities).tolist() == [[True, True, True], [False, True, True]]


def test_too_few_images_are_said():
    with pytest.raises(ModelError, match=r"--sets 0.9 needs 9 or more .* m was calibrated on 8"):
        Calibration(np.zeros(8), np.zeros(8, np.int64)).find_limits(0.9, 1, "m")


def test_a_class_of_few_has_the_limit_of_all():
    y = np.repeat([0, 1], [98, 99])
    found = Calibration(np.linspace(0, 1, 197), y).find_limits(0.9, 2, "m")
    assert found.own.tolist() == [False, True]  # 10 / 0.1 - 1


def test_each_class_is_covered():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        y = np.repeat([0, 1], [99, 300])

        def draw(y):  # class 0 is harder by far
            return rng.beta(np.where(y == 0, 4, 1), 4)

        found = Calibration(draw(y), y).find_limits(0.9, 2, "m")
        new = np.repeat([0, 1], 200)
        covered.append((draw(new) <= found.limits[new]).reshape(2, -1).mean(axis=1))
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.9], abs=0.02)


@pytest.mark.parametrize("counts", [(120, 130, 147), (20, 30, 33)])
def test_sets_are_those_of_crepes(counts):
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], counts)
    held = rng.dirichlet([1, 1, 1], len(y))
    scores = 1 - held[np.arange(len(y)), y]
    new = rng.dirichlet([1, 1, 1], 200)
    found = Calibration(scores, y).find_limits(0.9, 3, "m")
    # It takes a class whose p-value is 1 - coverage itself in; no (n + 1) / 10 here is whole.
    if min(counts) >= 99:
        by_class = crepes.ConformalClassifier().fit(scores, bins=y)
        expected = [
            by_class.predict_set(1 - new, np.full(200, k), confidence=0.9, smoothing=False)[:, k]
            for k in range(3)
        ]
    else:
        pooled = crepes.ConformalClassifier().fit(scores)
        expected = pooled.predict_set(1 - new, confidence=0.9, smoothing=False).T
    assert found.own.tolist() == [min(counts) >= 99] * 3
    assert np.array_equal(found.find_sets(new), np.array(expected).T.astype(bool))
