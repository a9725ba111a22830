import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, rankdata

from featx.errors import ModelError
from featx.novelty.detector import Detector
from featx.novelty.scores import Centre, Energy, Known, Probability
from featx.novelty.shift import Watch, check_share, compare_scores


def know(held, labels=None):
    held = np.asarray(held, float)
    labels = None if labels is None else np.asarray(labels)
    if labels is None:
        return Detector("energy", Energy(), np.sort(held))
    return Detector.from_held("energy", Energy(), held, labels)


def test_of_one_class_it_is_wilcoxons():
    rng = np.random.default_rng(0)
    held, new = rng.normal(size=40), rng.normal(0.4, 1, 25)
    expected = mannwhitneyu(
        new, held, alternative="greater", method="asymptotic", use_continuity=False
    )
    for known in (know(held), know(held, np.zeros(40, int))):
        found = compare_scores(known, new, np.zeros(25, np.int64))
        assert found.p_value == pytest.approx(expected.pvalue)
        assert found.auroc == pytest.approx(expected.statistic / (40 * 25))


def test_of_two_classes_it_has_the_moments_of_all_permutations():
    held, labels = np.array([1.0, 4, 2, 8, 6, 3, 9, 11, 5, 7, 10]), np.repeat([0, 1], [5, 6])
    new, said = np.array([7.0, 5, 12, 6, 13]), np.array([0, 0, 1, 1, 1])
    sums, seen = [], 0.0
    for k in (0, 1):
        both = np.concatenate([new[said == k], held[labels == k]])
        weights = rankdata(both) / (len(both) + 1)
        m = int((said == k).sum())
        seen += weights[:m].sum()
        sums.append([sum(some) for some in itertools.combinations(weights, m)])
    every = np.add.outer(*map(np.array, sums)).ravel()  # each choice with each of the other's
    found = compare_scores(know(held, labels), new, said)
    assert found.p_value == pytest.approx(norm.sf((seen - every.mean()) / every.std()))
    assert found.least == pytest.approx(norm.sf((every.max() - every.mean()) / every.std()))
    assert found.p_value == pytest.approx((every >= seen - 1e-9).mean(), abs=0.03)
    above = [np.greater.outer(new[said == k], held[labels == k]).ravel() for k in (0, 1)]
    assert found.auroc == pytest.approx(np.concatenate(above).mean())


def test_ties_make_no_alarm_more():
    """Of many equal scores the normal distribution says little, and p is never too small."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 3, (2000, 12)).astype(float)
    ps = [compare_scores(know(one[:8]), one[8:], np.zeros(4, np.int64)).p_value for one in draws]
    assert np.mean(np.array(ps) <= 0.05) < 0.05


def test_other_shares_of_classes_are_no_drift():
    """One class is stranger than the other in every way, and the folder is of that one alone."""
    rng = np.random.default_rng(0)
    alarms = {"by class": 0, "pooled": 0}
    for _ in range(300):
        labels = np.repeat([0, 1], 60)
        held, new = rng.normal(2 * labels, 1), rng.normal(2, 1, 30)
        alarms["by class"] += (
            compare_scores(know(held, labels), new, np.ones(30, np.int64)).p_value <= 0.05
        )
        alarms["pooled"] += compare_scores(know(held), new, np.ones(30, np.int64)).p_value <= 0.05
    assert 6 <= alarms["by class"] <= 24  # the binomial 99 % band about 15
    assert alarms["pooled"] > 250


def test_less_strange_is_no_drift():
    found = compare_scores(know(np.arange(20.0)), np.full(50, -1.0), np.zeros(50, np.int64))
    assert found.p_value > 0.99
    assert found.auroc == 0


def test_classes_of_few_share():
    held, labels = np.arange(12.0), np.repeat([0, 1, 2], [6, 3, 3])
    new, said = np.array([20.0, 21.0, 0.5]), np.array([1, 2, 3])
    apart = compare_scores(know(held, labels), new, said)
    assert apart == compare_scores(know(held, np.repeat([0, 1], [6, 6])), new, np.ones(3, int))
    # Where they are few together, too, they go with the largest.
    held, labels = np.arange(9.0), np.repeat([0, 1, 2], [6, 2, 1])
    assert compare_scores(know(held, labels), new, said) == compare_scores(know(held), new, said)


def test_so_few_that_nothing_would_be_drift():
    # Of ten places the last: (10 - 5.5) / sqrt(99 / 12) deviations.
    found = compare_scores(know(np.arange(9.0)), np.array([99.0]), np.array([0]))
    assert found.p_value == found.least == pytest.approx(norm.sf(4.5 / np.sqrt(99 / 12)))
    equal = compare_scores(know(np.ones(9)), np.ones(4), np.zeros(4, np.int64))
    assert (equal.p_value, equal.auroc) == (0.5, 0.5)


def test_last_bits_decide_nothing():
    held = np.repeat([-1.0, 0.0, 1.0], 5)
    new = np.repeat([0.0, 1.0], 4)
    said = np.zeros(8, np.int64)
    assert compare_scores(know(held), new, said) == compare_scores(know(held), new + 1e-9, said)


def test_a_watch_names_the_strangest_and_counts_copies_once():
    known = Detector("probability", Probability(), np.linspace(-3, 0, 30))
    watch = Watch([known], ("a", "b"), 2)
    logits = np.array([[3.0, 0], [0, 0.5], [0, 0.5], [0.2, 0]])
    rows = np.array([[1.0], [2], [2], [3]], np.float32)
    for some in (slice(0, 2), slice(2, 4)):
        names = ["first", "second", "copy", "last"][some]
        watch.look(names, rows[some], rows[some], logits[some])
    found = watch.sum_up(0.05)
    assert (found.images, found.distinct, found.known) == (4, 3, 30)
    assert [(one.path, one.label) for one in found.unusual] == [("last", "a"), ("second", "b")]
    assert [one.score for one in found.unusual] == pytest.approx([-0.2, -0.5])
    # Of 30 held scores, 0.1034 apart, two and five are at least so strange.
    assert [one.p_value for one in found.unusual] == pytest.approx([3 / 31, 6 / 31])
    values = found.to_dict()
    assert values["unusual"][0]["path"] == "last"
    assert values["drift"] == (found.p_value <= 0.05)
    with pytest.raises(ModelError, match="between 0 and 1"):
        check_share(1.0)


def test_of_two_scores_the_clearer_one_says_which_are_unusual():
    """Rows that turn away from both means, while the logits stay as they are."""
    rng = np.random.default_rng(0)
    X = (np.repeat(np.eye(2, 8), 20, axis=0) + rng.normal(0, 0.1, (40, 8))).astype(np.float32)
    logits = 5 * X[:, :2]
    centre = Centre.fit(Known(X, logits))
    detectors = [
        Detector("energy", Energy(), np.sort(Energy().measure(X, logits))),
        Detector("centre", centre, np.sort(centre.measure(X, logits))),
    ]
    watch = Watch(detectors, ("a", "b"), 1)
    turned = X[:10] + np.eye(8, dtype=np.float32)[7] * np.linspace(0.3, 2, 10)[:, None]
    watch.look(range(10), turned, turned.astype(np.float32), logits[:10])
    found = watch.sum_up()
    energy, distance = found.tests
    assert (energy.score, distance.score) == ("energy", "centre")
    assert energy.p_value > 0.05
    assert found.clearest == distance
    assert found.p_value == 2 * distance.p_value
    assert (found.found, found.unusual[0].path) == (True, "9")
    assert found.to_dict()["score"] == "centre"


def test_the_distance_to_centres_by_hand():
    X = np.array([[2.0, 0], [4, 0], [0, 1], [0, 3]], np.float32)
    logits = np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]])  # none is the second
    made = Centre.fit(Known(X, logits))
    assert made.means.tolist() == [[1, 0], [0, 1]]
    new = np.array([[3.0, 0], [3, 4], [-1, 0], [0, 0]], np.float32)
    assert made.measure(new, logits) == pytest.approx([0, 0.2, 1, 1])
    again = Centre.from_arrays(made.to_arrays())
    assert np.array_equal(again.measure(new, logits), made.measure(new, logits))
