import numpy as np

from featx.heads.knn import NeighboursFit, search_neighbours
from featx.heads.search import Task

ANGLES = np.radians([0, 10, 80, 90])
X = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
Y = np.array([0, 0, 1, 1])


def test_votes_by_hand():
    new = np.array([[np.cos(np.radians(30)), np.sin(np.radians(30))]])
    far, near = 1 - np.cos(np.radians(30)), 1 - np.cos(np.radians(20))
    third = 1 - np.cos(np.radians(50))
    votes = np.array([1 / far + 1 / near, 1 / third])
    shares = votes / votes.sum()
    scores = NeighboursFit(X, Y, 3, 2).decide(new)
    assert np.allclose(scores, np.log((3 * shares + 1) / 5), atol=1e-5)
    # Cosine: length does not count.
    assert np.allclose(NeighboursFit(X, Y, 3, 2).decide(100 * new), scores, atol=1e-5)


def test_its_own_image_and_too_many_neighbours():
    fit = NeighboursFit(X, Y, 99, 2)
    scores = fit.decide(X)  # distance 0 is an infinite vote
    assert np.isfinite(scores).all()
    assert np.array_equal(scores.argmax(1), Y)


def test_val_chooses_k():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    noisy = np.where(rng.random(200) < 0.3, 1 - y, y)  # a third of the labels lie
    angle = np.radians(np.where(y, 70, 20) + rng.normal(0, 4, 200))
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = search_neighbours(Task(rows[:150], noisy[:150], (rows[150:], y[150:]), (50, 20, 5, 1)))
    assert found.value > 1
    right = (found.fit.decide(rows[150:]).argmax(1) == y[150:]).mean()
    alone = NeighboursFit(rows[:150], noisy[:150], 1, 2).decide(rows[150:]).argmax(1)
    assert right > (alone == y[150:]).mean() + 0.05
