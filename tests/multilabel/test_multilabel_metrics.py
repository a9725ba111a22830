"""Measures of sets of labels, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
)

from featx.multilabel.metrics import choose_threshold, draw_sets, measure_sets
from featx.training.metrics import wilson_interval


@pytest.fixture
def told():
    rng = np.random.default_rng(4)
    Y = rng.random((60, 5)) < [0.5, 0.3, 0.2, 0.1, 0.4]
    p = np.round(np.clip(Y * 0.3 + rng.random((60, 5)) * 0.7, 0, 1), 2)  # with ties
    return Y, p, np.array([0.5, 0.4, 0.6, 0.3, 0.9])


def test_values_are_scikit_learns(told):
    Y, p, thresholds = told
    found, _ = measure_sets(Y, p, thresholds)
    said = p >= thresholds
    expected = {
        "mAP": average_precision_score(Y, p, average="macro"),
        "macro_f1": f1_score(Y, said, average="macro"),
        "micro_f1": f1_score(Y, said, average="micro"),
        "hamming_loss": hamming_loss(Y, said),
        "subset_accuracy": accuracy_score(Y, said),
    }
    assert found.values == pytest.approx(expected, abs=1e-12)
    per_label = f1_score(Y, said, average=None)
    assert [one.f1 for one in found.labels] == pytest.approx(per_label.tolist(), abs=1e-12)
    assert [one.ap for one in found.labels] == pytest.approx(
        average_precision_score(Y, p, average=None).tolist(), abs=1e-12
    )
    assert [one.positives for one in found.labels] == Y.sum(axis=0).tolist()
    assert [one.predicted for one in found.labels] == said.sum(axis=0).tolist()
    for name, (low, high) in found.ci95.items():
        assert low < found.values[name] < high


@pytest.mark.parametrize("grouped", [False, True])
def test_each_draw_is_scikit_learns_with_weights(told, monkeypatch, grouped):
    Y, p, thresholds = told
    clusters = np.arange(60) // 4 if grouped else None
    kept = []

    def keep(unit, n_labels, seed):
        rng = np.random.default_rng(seed)
        for _ in range(2):
            times = rng.integers(0, 3, (3, int(unit.max()) + 1)).astype(float)[:, unit]
            kept.append(times)
            yield times

    monkeypatch.setattr("featx.multilabel.metrics._draw_weights", keep)
    draws = draw_sets(Y, p, thresholds, clusters)
    said = p >= thresholds
    for i, w in enumerate(np.concatenate(kept)):
        options = {"sample_weight": w}
        assert draws.ap[i] == pytest.approx(
            average_precision_score(Y, p, average=None, **options).tolist(), abs=1e-9
        )
        assert draws.f1[i] == pytest.approx(f1_score(Y, said, average=None, **options).tolist())
        assert [draws.values[name][i] for name in draws.values] == pytest.approx(
            [
                average_precision_score(Y, p, average="macro", **options),
                f1_score(Y, said, average="macro", **options),
                f1_score(Y.ravel(), said.ravel(), sample_weight=np.repeat(w, 5)),
                hamming_loss(Y, said, **options),
                accuracy_score(Y, said, **options),
            ],
            abs=1e-9,
        )


def test_groups_are_drawn_whole(told):
    """Four copies of each image: by images the intervals are half as wide as they should be."""
    Y, p, thresholds = told
    four, clusters = np.repeat(np.arange(60), 4), np.repeat(np.arange(60), 4)
    by_group, _ = measure_sets(Y[four], p[four], thresholds, clusters)
    by_image, _ = measure_sets(Y[four], p[four], thresholds)
    once, _ = measure_sets(Y, p, thresholds)
    assert by_group.ci95_method == "cluster-bootstrap"

    def width(scores):
        low, high = scores.ci95["mAP"]
        return high - low

    assert width(by_group) == pytest.approx(width(once), rel=0.15)
    assert width(by_image) == pytest.approx(width(once) / 2, rel=0.15)


def test_an_interval_covers_what_it_should():
    """Of 200 samples from a known world the 95 % interval of the Hamming loss holds the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        Y = rng.random((40, 2)) < 0.5
        wrong = rng.random((40, 2)) < 0.2
        found, _ = measure_sets(Y, (Y ^ wrong).astype(float), np.full(2, 0.5))
        low, high = found.ci95["hamming_loss"]
        held += low <= 0.2 <= high
    assert held >= 180


def test_a_label_that_no_image_has_is_left_out(told):
    Y, p, thresholds = told
    Y = Y.copy()
    Y[:, 1] = False
    found, _ = measure_sets(Y, p, thresholds)
    others = [0, 2, 3, 4]
    assert found.labels[1].ap is None
    assert found.labels[1].f1 is None
    assert found.labels[1].ap_ci95 is None
    assert found.values["mAP"] == pytest.approx(average_precision_score(Y[:, others], p[:, others]))
    bare, _ = measure_sets(Y & False, p, thresholds)
    assert bare.values["mAP"] is None
    assert bare.values["micro_f1"] == 0
    assert bare.ci95["mAP"] is None


def test_few_images_have_no_interval():
    Y = np.array([[True], [False], [True]])
    found, _ = measure_sets(Y, np.array([[0.9], [0.2], [0.8]]), np.array([0.5]))
    assert found.values["mAP"] == 1
    assert found.ci95["mAP"] is None
    assert found.ci95["subset_accuracy"] == wilson_interval(3, 3)


def test_where_all_is_right_wilson_tells_how_sure_that_is():
    Y = np.arange(60).reshape(30, 2) % 3 == 0
    found, _ = measure_sets(Y, Y.astype(float), np.full(2, 0.5))
    low, high = wilson_interval(30, 30)
    assert found.ci95["subset_accuracy"] == (low, high)
    assert found.ci95["hamming_loss"] == (0.0, 1 - low)
    assert found.ci95["mAP"] is None
    assert found.labels[0].f1_ci95 is None


def test_a_threshold_gives_the_highest_f1():
    y = np.array([1, 1, 0, 1, 0, 0, 0], bool)
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1])
    assert choose_threshold(y, p) == pytest.approx(0.55)  # 2·3 / (4 + 3)
    every = [f1_score(y, p >= t) for t in np.linspace(0, 1, 201)]
    assert f1_score(y, p >= choose_threshold(y, p)) == max(every)
    assert choose_threshold(np.array([True, True]), np.array([0.3, 0.3])) == 0.3
