import numpy as np
import pytest

from featx.training.metrics import log_loss, score_labels, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_meets_the_published_intervals(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_score_counts_by_hand():
    y = np.array([0, 0, 0, 0, 1, 1, 2])
    score = score_labels(y, np.array([0, 0, 0, 1, 1, 0, 2]))
    assert (score.correct, score.total) == (5, 7)
    assert score.accuracy == 5 / 7
    assert score.mean_per_class == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_log_loss_by_hand():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert log_loss(np.array([0, 1]), probabilities) == pytest.approx(
        -(np.log(0.5) + np.log(0.75)) / 2
    )
    assert np.isfinite(log_loss(np.array([0]), np.array([[0.0, 1.0]])))


def test_intervals_of_groups():
    y = np.zeros(40, int)
    right = np.array([0] * 30 + [1] * 10)
    groups = np.arange(40) // 5
    plain, grouped = score_labels(y, right), score_labels(y, right, groups)
    assert (plain.method, grouped.method) == ("wilson", "cluster-bootstrap")
    assert grouped.interval[0] < plain.interval[0]
    assert grouped.interval[1] > plain.interval[1]
    # All right: no group tells, and eight groups are what there is.
    assert score_labels(y, y, groups).interval == wilson_interval(8, 8)
    assert score_labels(y, y, groups).method == "wilson-of-groups"
