import numpy as np
import pytest
from scipy import stats

from featx.training.metrics import wilson_interval
from featx.training.reliability import measure_reliability


def make(confidence, right):
    """Two classes, the first said throughout with these probabilities."""
    confidence = np.asarray(confidence, float)
    return np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=1)


def draw(rng, n, temperature):
    """Truth by the logits, what is said by the logits times a temperature; all said of class 0."""
    logits = rng.uniform(0.5, 4, n)
    right = rng.random(n) < 1 / (1 + np.exp(-logits))
    return make(1 / (1 + np.exp(-temperature * logits)), right)


def test_bins_of_equal_counts_by_hand():
    # 60 images make three bins; the right ones of each are 10, 20 and 15 of 20.
    confidence = np.linspace(0.55, 0.95, 60)
    right = np.concatenate([np.arange(20) < k for k in (10, 20, 15)])
    found = measure_reliability(*make(confidence, right))
    assert [one.count for one in found.bins] == [20, 20, 20]
    assert [one.accuracy for one in found.bins] == [0.5, 1.0, 0.75]
    means = confidence.reshape(3, 20).mean(axis=1)
    assert [one.confidence for one in found.bins] == pytest.approx(list(means))
    assert [one.ci95 for one in found.bins] == [wilson_interval(k, 20) for k in (10, 20, 15)]
    assert found.ece == pytest.approx(np.abs(means - [0.5, 1.0, 0.75]).mean())
    assert (found.bins[0].low, found.bins[2].high) == (0.55, 0.95)
    assert found.bins[1].low == found.bins[0].high == confidence[19]


def test_equal_probabilities_are_not_parted_whatever_their_order():
    confidence = np.array([1.0] * 70 + [0.7] * 20 + [0.6] * 10)
    right = np.arange(100) % 7 > 0
    y, p = make(confidence, right)
    found = measure_reliability(y, p)
    # Fifths of 20 end within the 70, after the 30, and within the 70 again.
    turned = measure_reliability(y[::-1], p[::-1])
    for one in (found, turned):
        assert [(b.count, b.high) for b in one.bins] == [(30, 0.7), (70, 1.0)]
        assert [b.accuracy for b in one.bins] == [right[70:].mean(), right[:70].mean()]


def test_few_images_are_one_bin():
    found = measure_reliability(*make([0.9, 0.8, 0.7], [True, True, False]))
    assert [one.count for one in found.bins] == [3]
    assert found.ece == pytest.approx(0.8 - 2 / 3)
    assert found.ece_ci95[0] == 0.0  # three images say nothing against it


def test_debiased_as_kumar_et_al_have_it():
    """Their bias of the L1 error is that of normal draws around each bin's accuracy."""
    y, p = draw(np.random.default_rng(1), 600, 1.0)
    found = measure_reliability(y, p)
    bias = 0.0
    for one in found.bins:
        gap = one.accuracy - one.confidence
        sd = np.sqrt(one.accuracy * (1 - one.accuracy) / one.count) or 1e-12
        bias += one.count / 600 * (stats.foldnorm.mean(abs(gap) / sd, scale=sd) - abs(gap))
    assert bias > 0.003
    assert found.ece - found.ece_debiased == pytest.approx(bias, rel=0.35)


def test_the_interval_covers_and_the_debiased_is_nearer(monkeypatch):
    monkeypatch.setattr("featx.training.clusters.BOOTSTRAPS", 300)
    rng = np.random.default_rng(5)
    for temperature, tolerance in ((0.5, 0.02), (1.0, 0.035), (2.5, 0.02)):
        logits = rng.uniform(0.5, 4, 100_000)
        truth, said = (1 / (1 + np.exp(-t * logits)) for t in (1, temperature))
        true = float(np.abs(truth - said).mean())
        runs = [measure_reliability(*draw(rng, 300, temperature)) for _ in range(40)]
        covered = np.mean([low <= true <= high for low, high in (r.ece_ci95 for r in runs)])
        assert covered >= 0.8
        plain, debiased = np.mean([(r.ece, r.ece_debiased) for r in runs], axis=0)
        assert abs(debiased - true) <= max(abs(plain - true), 0.005)
        assert debiased == pytest.approx(true, abs=tolerance)


def test_of_groups_the_interval_covers_where_that_of_images_does_not(monkeypatch):
    monkeypatch.setattr("featx.training.clusters.BOOTSTRAPS", 300)
    rng = np.random.default_rng(6)
    true, animal = 0.15, np.repeat(np.arange(40), 8)
    covered = {"cluster-bootstrap": 0, "bootstrap": 0}
    for _ in range(40):
        # Always 0.9 sure and 75 % right, the eight pictures of an animal together.
        y, p = make(np.full(320, 0.9), (rng.random(40) < 0.75)[animal])
        for clusters in (animal, None):
            found = measure_reliability(y, p, clusters)
            covered[found.ece_ci95_method] += found.ece_ci95[0] <= true <= found.ece_ci95[1]
    assert covered["cluster-bootstrap"] >= 34
    assert covered["bootstrap"] <= 28
