import numpy as np
import pytest

from featx.training.metrics import log_loss, score_labels, wilson_interval
from featx.training.prevalence import reweigh

# 4 of 5 images of one class right, 10 of 20 of another; none of the third.
Y = np.repeat([0, 1], [5, 20])
SAID = np.concatenate([[0, 0, 0, 0, 1], np.arange(20) % 2])
P = np.where(np.eye(3)[SAID] > 0, 0.7, 0.15)


def test_by_hand():
    found = reweigh(Y, P, np.array([0.9, 0.1, 0.0]))
    assert found.accuracy == pytest.approx(0.9 * 0.8 + 0.1 * 0.5)
    right, wrong = -np.log(0.7), -np.log(0.15)
    losses = (4 * right + wrong) / 5, (right + wrong) / 2
    assert found.log_loss == pytest.approx(0.9 * losses[0] + 0.1 * losses[1])
    ends = [wilson_interval(4, 5), wilson_interval(10, 20)]
    below = [0.9 * (0.8 - ends[0][0]), 0.1 * (0.5 - ends[1][0])]
    above = [0.9 * (ends[0][1] - 0.8), 0.1 * (ends[1][1] - 0.5)]
    assert found.ci95 == pytest.approx(
        (found.accuracy - np.hypot(*below), min(1, found.accuracy + np.hypot(*above)))
    )


def test_at_the_images_own_shares_nothing_changes():
    found = reweigh(Y, P, np.array([0.2, 0.8, 0.0]))
    assert found.accuracy == pytest.approx(score_labels(Y, SAID).accuracy)
    assert found.log_loss == pytest.approx(log_loss(Y, P))


def test_of_one_class_alone_it_is_wilsons():
    found = reweigh(Y, P, np.array([0.0, 1.0, 0.0]))
    assert found.ci95 == pytest.approx(wilson_interval(10, 20))
    perfect = reweigh(Y[:4], P[:4], np.array([1.0, 0.0, 0.0]))
    assert perfect.ci95 == pytest.approx(wilson_interval(4, 4))


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    shares, true = np.array([0.7, 0.2, 0.1]), np.array([0.95, 0.7, 0.85])
    y = np.repeat([0, 1, 2], [25, 30, 40])
    covered = 0
    for _ in range(300):
        said = np.where(rng.random(len(y)) < true[y], y, (y + 1) % 3)
        low, high = reweigh(y, np.where(np.eye(3)[said] > 0, 0.8, 0.1), shares).ci95
        covered += low <= shares @ true <= high
    assert covered / 300 >= 0.93
