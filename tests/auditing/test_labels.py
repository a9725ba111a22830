"""Flipped labels are found by what the other images say, and copies do not judge each other."""

import numpy as np

from featx.auditing.labels import find_suspects, list_suspects, predict_out_of_fold


def make(n_per_class, n_classes, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), n_per_class)
    X = np.eye(n_classes, 12)[y] + noise * rng.standard_normal((len(y), 12))
    return X.astype(np.float32), y


def test_confident_learning_by_hand():
    # Means of own probabilities: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 0.9. The third image
    # is confidently of class 1: one of three labels "0" is off the diagonal, and it is the worst.
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.1, 0.9]])
    assert find_suspects(np.array([0, 0, 0, 1, 1]), p).tolist() == [2]
    assert find_suspects(np.array([0, 0, 1, 1, 1]), p).tolist() == []


def test_flipped_labels_are_found_with_what_they_should_be():
    X, truth = make(40, 4, noise=0.2)
    y = truth.copy()
    flipped = np.array([3, 50, 90, 130])
    y[flipped] = (y[flipped] + 1) % 4
    judged = predict_out_of_fold(X, y, np.arange(len(y)), 4)
    found = list_suspects(y, judged)
    assert {one.row for one in found} >= set(flipped.tolist())
    assert len(found) <= 6
    for one in found:
        if one.row in flipped:
            assert one.suggested == truth[one.row]
            assert one.given < one.best


def test_a_copy_with_the_same_wrong_label_does_not_vouch_for_it():
    rng = np.random.default_rng(0)
    X, y = make(30, 3)
    X[5], X[6] = X[40], X[40]  # two copies of an image of class 1, both called 0
    groups = np.arange(len(y))
    groups[6] = groups[40] = groups[5]
    judged = predict_out_of_fold(X, y, groups, 3, seed=int(rng.integers(100)))
    p = judged.probabilities[np.isin(judged.rows, [5, 6])]
    assert (p.argmax(axis=1) == 1).all()


def test_a_class_of_one_image_and_images_without_label_are_not_judged():
    X, y = make(10, 3)
    y[20:] = -1
    y[20] = 2
    judged = predict_out_of_fold(X, y, np.arange(len(y)), 3)
    assert judged.rows.tolist() == list(range(20))
    assert judged.probabilities[:, 2].max() == 0
    np.testing.assert_allclose(judged.probabilities.sum(axis=1), 1, atol=1e-5)
    assert predict_out_of_fold(X, np.where(y == 0, 0, -1), np.arange(len(y)), 3) is None
