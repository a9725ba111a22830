import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from featx.training.pairs import (
    compare_paired,
    find_detectable,
    holm,
    judge_difference,
    mcnemar_exact,
    mcnemar_mid_p,
    tango_interval,
)

# The two worked examples of Fagerland, Lydersen and Laake (2013; the intervals: 2014, Statistics in
# Medicine 33:2850): airway hyper-responsiveness of 21 children, complete response of 161 patients.
CHILDREN, PATIENTS = (1, 7, 21), (6, 16, 161)


@pytest.mark.parametrize(("counts", "exact", "mid"), [
    (CHILDREN, 0.070, 0.039), (PATIENTS, 0.052, 0.035),
])  # fmt: skip
def test_mcnemar_meets_the_published_p_values(counts, exact, mid):
    assert mcnemar_exact(*counts[:2]) == pytest.approx(exact, abs=5e-4)
    assert mcnemar_mid_p(*counts[:2]) == pytest.approx(mid, abs=5e-4)


def test_mcnemar_meets_the_binomial_test():
    for a, b in itertools.product(range(12), repeat=2):
        exact = stats.binomtest(a, a + b).pvalue if a + b else 1.0
        assert mcnemar_exact(a, b) == pytest.approx(exact, abs=1e-12)
        # What was observed is as likely on the other side: half of both goes.
        observed = stats.binom.pmf(a, a + b, 0.5) if a != b else 0
        assert mcnemar_mid_p(a, b) == pytest.approx(exact - observed, abs=1e-12)


def test_mid_p_by_hand():
    # 2 * (C(9,0) + C(9,1) / 2) / 2**9
    assert mcnemar_mid_p(8, 1) == mcnemar_mid_p(1, 8) == pytest.approx(11 / 512)
    assert mcnemar_mid_p(0, 0) == mcnemar_mid_p(3, 3) == 1.0


def test_holm_by_hand():
    # 0.005*4, 0.01*3, 0.03*2, then 0.04*1 lifted to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_tango_meets_the_published_interval():
    assert tango_interval(*CHILDREN) == pytest.approx((-0.517, -0.026), abs=5e-4)


def score(delta, a, b, total):
    """Tango's statistic by its definition: the likelihood is maximised by a search."""

    def lose(q):  # the probability that only b is right; only a: q + delta
        p, rest = q + delta, 1 - 2 * q - delta
        terms = ((a, p), (b, q), (total - a - b, rest))
        return -sum(n * np.log(max(x, 1e-300)) for n, x in terms if n)

    ends = (max(0.0, -delta), (1 - delta) / 2)
    q = minimize_scalar(lose, bounds=ends, method="bounded", options={"xatol": 1e-13}).x
    return (a - b - total * delta) / np.sqrt(total * (2 * q + delta * (1 - delta)))


@pytest.mark.parametrize(
    "counts",
    [
        CHILDREN, PATIENTS, (0, 3, 30), (9, 0, 40), (0, 0, 25), (40, 20, 160), (3, 1, 4),
        (30, 61, 5000),
    ],
)  # fmt: skip
def test_tango_is_where_the_score_test_begins_to_reject(counts):
    limit = stats.norm.ppf(0.975)
    low, high = tango_interval(*counts)
    for end, sign in ((low, 1), (high, -1)):
        if abs(end) < 1:
            # To 1e-6 of the difference: the score has its limit between two neighbours.
            inside, outside = (score(end + sign * side, *counts) for side in (1e-6, -1e-6))
            assert abs(inside) < limit < abs(outside)
    assert tango_interval(counts[1], counts[0], counts[2]) == pytest.approx((-high, -low), abs=1e-9)


def test_where_all_images_say_the_same():
    # Never a difference: z^2 / (n + z^2), as Wilson's interval has it of no successes.
    z2 = stats.norm.ppf(0.975) ** 2
    assert tango_interval(0, 0, 25) == pytest.approx((-z2 / (25 + z2), z2 / (25 + z2)))
    low, high = tango_interval(5, 0, 5)
    assert (0 < low < 0.2, high) == (True, 1.0)
    assert tango_interval(1, 0, 1)[1] == 1.0


def test_tango_covers():
    # All outcomes with their probabilities: nothing is drawn.
    n, p, q = 100, 0.06, 0.03
    covered = sum(
        stats.multinomial.pmf((a, b, n - a - b), n, (p, q, 1 - p - q))
        for a in range(20)
        for b in range(15)
        if np.diff(np.sign(np.subtract(tango_interval(a, b, n), p - q)))[0] > 0
    )
    assert 0.94 < covered < 0.975


@pytest.mark.parametrize(("total", "differ"), [(100, 0.15), (409, 0.05), (409, 0.12), (2000, 0.08)])
def test_the_detectable_difference_has_80_per_cent_power(total, differ):
    delta = find_detectable(total, differ)
    # Exact: how many images differ is binomial, and of those how many are a's as well.
    share = (differ + delta) / 2 / differ
    power = 0.0
    for m in range(int(total * differ * 2) + 10):
        a = np.arange(m + 1)
        fewer = np.minimum(a, m - a)
        found = 2 * stats.binom.cdf(fewer, m, 0.5) - stats.binom.pmf(fewer, m, 0.5) < 0.05
        power += stats.binom.pmf(m, total, differ) * stats.binom.pmf(a, m, share)[found].sum()
    assert power == pytest.approx(0.8, abs=0.045)


def test_what_can_be_detected_at_all():
    assert [round(100 * find_detectable(409, s), 1) for s in (0.05, 0.12)] == [3.1, 4.8]
    # No more than a share of the images can differ: there it counts as just large enough.
    assert find_detectable(100, 0.0) == pytest.approx(find_detectable(100, 0.05), abs=1e-9)
    assert 0.07 < find_detectable(100, 0.05) < 0.08
    assert find_detectable(3, 0.1) is None


def test_compared_by_hand():
    right_a = np.array([True] * 8 + [False] * 2)
    right_b = np.array([True] * 5 + [False] * 4 + [True])
    found = compare_paired(right_a, right_b)
    assert (found.only_a, found.only_b, found.difference) == (3, 1, 0.2)
    assert found.interval == tango_interval(3, 1, 10)
    assert (found.p_value, found.p_value_exact) == (mcnemar_mid_p(3, 1), mcnemar_exact(3, 1))


@pytest.mark.parametrize(("interval", "said"), [
    ((-0.01, 0.019), "equal"), ((0.001, 0.019), "equal"), ((-0.02, 0.01), "unknown"),
    ((0.001, 0.03), "better"), ((-0.05, -0.001), "worse"), ((-0.03, 0.0), "unknown"),
])  # fmt: skip
def test_what_an_interval_says(interval, said):
    assert judge_difference(interval, 2.0) == said


def test_pairs_of_groups():
    right_a = np.array([True] * 36 + [False] * 4)
    right_b = np.array([True] * 24 + [False] * 16)
    groups = np.arange(40) // 4
    plain, grouped = compare_paired(right_a, right_b), compare_paired(right_a, right_b, groups)
    assert (grouped.only_a, grouped.only_b, grouped.difference) == (12, 0, plain.difference)
    # Three groups that could be turned round in eight ways, of which two are as far from 0.
    assert grouped.p_value_exact == pytest.approx(2 / 8)
    assert grouped.p_value == pytest.approx(1 / 8)
    assert plain.p_value_exact == pytest.approx(2 / 2**12)
    assert grouped.interval[1] - grouped.interval[0] > plain.interval[1] - plain.interval[0]
    # Four alike count for one; where nothing differs a group does.
    assert plain.worth is None
    assert grouped.worth == pytest.approx(9, abs=1e-9)
    same = compare_paired(right_a, right_a, groups)
    assert same.worth == 10
    assert same.interval == tango_interval(0, 0, 10)
    assert same.p_value == 1.0
