import math

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from featx.errors import ModelError
from featx.training.resampling import (
    Resampling,
    compare_means,
    draw_folds,
    estimate_mean,
    find_unfoldable,
    parse_resampling,
)


def test_intervals_by_hand():
    # Mean 0.85, s² = (0.05² + 0.05² + 0 + 0) / 3; 2 x 2 folds: 1/4 + n_test/n_train = 1/4 + 1.
    found = estimate_mean([0.80, 0.90, 0.85, 0.85], Resampling(2, 2))
    s2, t = 0.005 / 3, 3.182446305284263  # Student's t, 3 degrees of freedom, 97.5 %
    assert found.mean == pytest.approx(0.85, abs=1e-12)
    for (low, high), width in (
        (found.interval, t * math.sqrt(1.25 * s2)),
        (found.naive_interval, t * math.sqrt(0.25 * s2)),
    ):
        assert (low, high) == pytest.approx((0.85 - width, 0.85 + width), abs=1e-9)
    assert estimate_mean([1.0, 0.9, 1.0, 0.9], Resampling(2, 2), (0.0, 1.0)).interval[1] == 1.0
    flat = estimate_mean([0.9] * 4, Resampling(2, 2))
    assert flat.interval == pytest.approx((0.9, 0.9))


def test_the_corrected_t_by_hand_and_by_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.03, 25), rng.normal(0.88, 0.03, 25)
    found = compare_means(a, b, Resampling(5, 5))
    d = a - b
    t = d.mean() / math.sqrt((1 / 25 + 1 / 4) * d.var(ddof=1))
    assert found.t == pytest.approx(t, abs=1e-9)
    # scipy's own t knows 1/J alone.
    plain = stats.ttest_1samp(d, 0)
    assert found.t == pytest.approx(plain.statistic * math.sqrt((1 / 25) / (1 / 25 + 1 / 4)))
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(t), 24), abs=1e-12)
    low, high = plain.confidence_interval(0.95)
    assert found.estimate.naive_interval == pytest.approx((low, high), abs=1e-9)
    back = compare_means(b, a, Resampling(5, 5))
    assert (back.t, back.p_value) == pytest.approx((-found.t, found.p_value))
    same, always = (compare_means(x, np.ones(4), Resampling(2, 2)) for x in (np.ones(4), [0.5] * 4))
    assert (same.t, same.p_value) == (0.0, 1.0)
    assert (always.t, always.p_value) == (-math.inf, 0.0)


def test_the_corrected_t_as_scikit_learn_publishes_it():
    # "Statistical comparison of models using grid search": rbf against linear, 10 x 10 folds;
    # corrected t 0.750 with p 0.227 (one-sided), uncorrected 2.611.
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel), X, y, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    found = compare_means(rbf, linear, Resampling(10, 10))
    assert round(found.t, 3) == 0.750
    assert round(found.p_value / 2, 3) == 0.227


@pytest.mark.parametrize("together", [False, True])
def test_folds_partition_and_are_stratified(together):
    y = np.repeat([0, 1, 2], [40, 20, 60])
    groups = np.arange(120) // 2 if together else np.arange(120)
    spec = Resampling(3, 5)
    folds = list(draw_folds(y, groups, spec, seed=1))
    assert len(folds) == spec.runs == 15
    for start in range(0, 15, 5):
        outside = np.concatenate([held for _, held in folds[start : start + 5]])
        assert sorted(outside) == list(range(120))
    for inside, outside in folds:
        assert sorted([*inside, *outside]) == list(range(120))
        assert not set(groups[inside]) & set(groups[outside])
        assert np.bincount(y[outside]).tolist() == [8, 4, 12]

    def say(found):
        return [held.tolist() for _, held in found]

    assert say(folds) == say(draw_folds(y, groups, spec, seed=1))
    assert say(folds) != say(draw_folds(y, groups, spec, seed=2))
    assert len({tuple(held) for held in say(folds)}) == 15  # every repeat deals anew


def test_too_few_of_a_class_are_counted():
    y = np.repeat([0, 1, 2], [9, 3, 6])
    apart = np.arange(18)
    said = find_unfoldable(("cat", "owl", "dog"), y, apart, Resampling(5, 5))
    assert "--cv 5x5 needs 5 images of each class" in said
    assert said.endswith("but owl has 3: say --cv 5x3, find more images, or leave the class out")
    assert find_unfoldable(("cat", "owl", "dog"), y, apart, Resampling(5, 3)) is None
    # The six dogs are copies of two.
    copies = np.where(y == 2, 100 + apart % 2, apart)
    said = find_unfoldable(("cat", "owl", "dog"), y, copies, Resampling(5, 3))
    assert "but dog has 6 in 2 groups: say --cv 5x2," in said
    said = find_unfoldable(("cat", "owl"), np.array([0, 0, 1]), np.arange(3), Resampling(1, 2))
    assert said.endswith("but owl has 1: find more images, or leave the class out")


def test_the_spec():
    assert parse_resampling("5x2") == Resampling(repeats=5, folds=2)
    assert str(Resampling(10, 3)) == "10x3"
    for wrong in ("", "5", "5x1", "0x5", "5×5", "5x5x5", "-1x5", "101x5", "5x", "a x b"):
        with pytest.raises(ModelError, match="write REPEATSxFOLDS, such as 5x5"):
            parse_resampling(wrong)


def test_a_fold_that_has_all_of_a_class_is_refused(monkeypatch):
    # No groups are known that lead there; a dealer that is careless stands for them.
    class Careless:
        def __init__(self, folds, shuffle, random_state):
            pass

        def split(self, X, y, groups):
            yield np.flatnonzero(y == 0), np.flatnonzero(y == 1)

    monkeypatch.setattr("featx.training.resampling.StratifiedGroupKFold", Careless)
    with pytest.raises(ModelError, match="cannot be dealt into 2 folds: one of them has all"):
        list(draw_folds(np.repeat([0, 1], 4), np.arange(8) // 2, Resampling(1, 2)))
