"""Groups as observations: against scipy, against every way to turn them, by simulation."""

import inspect
import itertools

import numpy as np
import pytest
from scipy import stats

from featx.config import BOOTSTRAPS
from featx.training.clusters import (
    bootstrap_ratio,
    expand_tail,
    flip_signs,
    sum_groups,
    tabulate_groups,
)


def test_sums_of_groups():
    clusters = np.array([7, 2, 7, 2, 2])
    right = np.array([True, False, True, True, False])
    assert sum_groups(right, clusters).tolist() == [1, 2]
    kinds = np.array([1, 0, 1, 0, 1])
    sums, sizes = tabulate_groups(right, kinds, clusters, 3)
    assert sums.toarray().tolist() == [[1, 0, 0], [0, 2, 0]]
    assert sizes.toarray().tolist() == [[2, 1, 0], [0, 2, 0]]


def test_the_interval_is_scipys():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 25).astype(float)
    sums = rng.binomial(sizes.astype(int), 0.8).astype(float)
    # By its name of before scipy 1.15, and of after.
    new = "rng" in inspect.signature(stats.bootstrap).parameters
    drawn = {"rng" if new else "random_state": np.random.default_rng(3)}
    expected = stats.bootstrap(
        (sums, sizes), lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis), paired=True,
        n_resamples=BOOTSTRAPS, method="BCa", confidence_level=1 - 2 * expand_tail(25),
        **drawn,
    ).confidence_interval  # fmt: skip
    assert bootstrap_ratio(sums, sizes, 3) == pytest.approx(tuple(expected), abs=1e-6)


def test_tails_are_wider_for_few_groups():
    # Hesterberg 2015: alpha/2 becomes Phi(-sqrt(n/(n-1)) t) and goes to 2.5 % from below.
    assert expand_tail(10) == pytest.approx(stats.norm.cdf(-np.sqrt(10 / 9) * 2.262157), abs=1e-6)
    assert expand_tail(10) < expand_tail(100) < 0.025 == pytest.approx(expand_tail(10**6), abs=1e-4)


def test_groups_that_do_not_tell():
    assert bootstrap_ratio(np.array([3.0]), np.array([4.0])) is None
    assert bootstrap_ratio(np.array([3.0, 2.0]), np.array([3.0, 2.0])) is None
    assert bootstrap_ratio(np.zeros(5), np.ones(5)) is None


def test_one_image_a_group_is_the_usual_bootstrap():
    right = np.array([1.0] * 80 + [0.0] * 20)
    low, high = bootstrap_ratio(right, np.ones(100))
    assert (low, high) == pytest.approx((0.8 - 1.98 * 0.04, 0.8 + 1.98 * 0.04), abs=0.02)
    # Ten images a group, all right or all wrong together: as if there were ten.
    few_low, few_high = bootstrap_ratio(10 * right[::10], np.full(10, 10.0))
    assert few_high - few_low > 2.5 * (high - low)


def test_the_mean_of_classes_is_that_of_those_there_are():
    # All groups have class 0, two alone class 1: in draws of the others it is left out.
    sums, sizes = np.array([[3.0, 0.0], [4.0, 2.0]]), np.array([[4.0, 0.0], [4.0, 2.0]])
    low, high = bootstrap_ratio(np.tile(sums, (2, 1)), np.tile(sizes, (2, 1)))
    assert bootstrap_ratio(sums, sizes) is None  # two groups do not tell
    assert low == pytest.approx(0.75)
    assert high == pytest.approx(1.0)


def test_classes_count_by_their_shares():
    rng = np.random.default_rng(2)
    sizes = np.full((30, 2), 5.0)
    sums = rng.binomial(5, [0.9, 0.4], (30, 2)).astype(float)
    alone = bootstrap_ratio(sums[:, 1], sizes[:, 1], 4)
    assert bootstrap_ratio(sums, sizes, 4, np.array([0.0, 1.0])) == pytest.approx(alone)
    even = bootstrap_ratio(sums, sizes, 4)
    assert bootstrap_ratio(sums, sizes, 4, np.array([0.5, 0.5])) == pytest.approx(even)


def test_where_groups_are_many_fewer_draws_say_as_much(monkeypatch):
    right = np.random.default_rng(3).binomial(5, 0.8, 400).astype(float)
    every = bootstrap_ratio(right, np.full(400, 5.0))
    monkeypatch.setattr("featx.training.clusters._ALL_DRAWN", 0)
    assert bootstrap_ratio(right, np.full(400, 5.0)) == pytest.approx(every, abs=0.01)


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(5)
    covered = plain = 0
    for seed in range(200):
        sizes = rng.integers(2, 13, 40)
        right = rng.binomial(sizes, rng.beta(5.1, 0.9, 40))
        low, high = bootstrap_ratio(right.astype(float), sizes.astype(float), seed)
        covered += low <= 0.85 <= high
        interval = stats.binomtest(int(right.sum()), int(sizes.sum())).proportion_ci(0.95, "wilson")
        plain += interval.low <= 0.85 <= interval.high
    assert 180 <= covered <= 196
    assert plain < 180


@pytest.mark.parametrize("differences", [(3, -1, 2, 2, 0, -4), (1, 1), (5,), (2, -2), (1, 2, 4, 8)])
def test_every_way_to_turn_groups_is_counted(differences):
    found = abs(sum(differences))
    turned = [d for d in differences if d]
    sums = [abs(np.dot(signs, turned)) for signs in itertools.product((1, -1), repeat=len(turned))]
    exact = sum(one >= found for one in sums) / len(sums)
    mid = exact - sum(one == found for one in sums) / len(sums) / 2
    assert flip_signs(np.array(differences, float)) == pytest.approx((mid, exact), abs=1e-9)


def test_one_image_a_group_is_mcnemar():
    for more, fewer in ((7, 2), (12, 3), (300, 250), (0, 9)):
        differences = np.array([1.0] * more + [-1.0] * fewer + [0.0] * 50)
        exact = stats.binomtest(fewer, more + fewer).pvalue
        point = stats.binom.pmf(fewer, more + fewer, 0.5)
        mid, found = flip_signs(differences)
        assert found == pytest.approx(exact, abs=1e-9)
        assert mid == pytest.approx(exact - point, abs=1e-9)


def test_it_agrees_with_scipys_permutations():
    differences = np.random.default_rng(1).integers(-6, 9, 10).astype(float)
    result = stats.permutation_test(
        (differences,), lambda x, axis: np.abs(x.sum(axis=axis)), permutation_type="samples",
        n_resamples=np.inf, alternative="greater", vectorized=True,
    )  # fmt: skip
    assert flip_signs(differences)[1] == pytest.approx(result.pvalue, abs=1e-9)


def test_nothing_differs_and_everything_differs():
    assert flip_signs(np.zeros(4)) == (1.0, 1.0)
    mid, exact = flip_signs(np.full(200, 3.0))
    assert 0 < mid < exact < 1e-15
