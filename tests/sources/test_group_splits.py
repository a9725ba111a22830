"""Whole groups in splits: never divided, and with the shares that scikit-learn's own idea gives."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from featx.data.dataset import join_copies
from featx.sources.group_splits import apportion_groups

FRACTIONS = (0.6, 0.2, 0.2)


def list_cells(targets, groups):
    found, counts = np.unique(np.stack([groups, targets], axis=1), axis=0, return_counts=True)
    return np.column_stack([found, counts])


def measure(targets, of_row):
    """How far any class's share of a split is from its share of all, in points."""
    whole = np.bincount(targets) / len(targets)
    shares = [np.bincount(targets[of_row == s], minlength=len(whole)) for s in range(3)]
    return max(100 * np.abs(one / one.sum() - whole).max() for one in shares)


def split_by_sklearn(targets, groups, seed):
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(targets, targets, groups)
    of_row = np.zeros(len(targets), int)
    for split, (_, held) in zip((1, 2), folds, strict=False):
        of_row[held] = split
    return of_row


def make_sites(seed, n=2000, n_groups=40, n_classes=5, alpha=0.3):
    """Sites of about the same size, each with classes of its own in its own shares."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_classes, alpha), n_groups)
    groups = np.append(np.arange(n_groups), rng.integers(0, n_groups, n - n_groups))
    targets = np.array([rng.choice(n_classes, p=shares[g]) for g in groups])
    targets[:n_classes] = np.arange(n_classes)
    return targets, groups


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_as_near_as_scikit_learn_brings_them(seed):
    targets, groups = make_sites(seed)
    sides = apportion_groups(list_cells(targets, groups), FRACTIONS, seed)
    of_row = sides[groups]
    assert measure(targets, of_row) <= measure(targets, split_by_sklearn(targets, groups, seed))
    sizes = np.bincount(of_row, minlength=3) / len(of_row)
    assert np.abs(sizes - FRACTIONS).max() < 0.025


def test_within_two_points_where_it_can_be():
    rng = np.random.default_rng(0)
    # Of every class 20 groups of 1 to 9 images.
    groups = np.repeat(np.arange(100), rng.integers(1, 10, 100))
    targets = groups // 20
    for seed in range(5):
        of_row = apportion_groups(list_cells(targets, groups), (0.7, 0.1, 0.2), seed)[groups]
        assert measure(targets, of_row) < 2


def test_the_seed_decides_and_large_groups_are_tested_too():
    rng = np.random.default_rng(1)
    sizes = rng.permutation(np.repeat([40, 4], [10, 100]))
    groups = np.repeat(np.arange(110), sizes)
    cells = list_cells(groups % 2, groups)
    runs = np.array([apportion_groups(cells, (0.5, 0.0, 0.5), seed) for seed in range(20)])
    assert (apportion_groups(cells, (0.5, 0.0, 0.5), 3) == runs[3]).all()
    assert len(np.unique(runs, axis=0)) == 20
    tested = (runs == 2).mean(axis=0)
    assert not (runs == 1).any()
    # Each group is in test about half of the time, whatever its size.
    assert 0.2 < tested[sizes == 40].min() < tested[sizes == 40].max() < 0.8
    assert tested[sizes == 40].mean() == pytest.approx(tested[sizes == 4].mean(), abs=0.15)


def test_train_has_every_class_and_no_split_goes_empty():
    # Three groups of two classes, of which one has the only images of class 2.
    cells = np.array([[0, 0, 50], [0, 1, 50], [1, 0, 5], [1, 2, 1], [2, 1, 5]])
    for seed in range(5):
        sides = apportion_groups(cells, (0.1, 0.2, 0.7), seed)
        assert set(cells[sides[cells[:, 0]] == 0, 1]) == {0, 1, 2}
    four = np.array([[g, k, 10] for g in range(4) for k in range(2)])
    assert sorted(apportion_groups(four, (0.9, 0.05, 0.05), 0)) == [0, 0, 1, 2]
    # Two groups, three splits: one goes without.
    two = four[:4]
    assert len(set(apportion_groups(two, (0.7, 0.1, 0.2), 0).tolist())) == 2
    assert apportion_groups(two[:2], (0.7, 0.1, 0.2), 0).tolist() == [0]


@pytest.mark.parametrize(
    ("groups", "hashes", "joined"),
    [
        ("", "", []),
        ("abca", "1234", [0, 1, 2, 0]),
        ("abc", "112", [0, 0, 1]),
        # By way of others: a and c share 1, c and b share 2; d is alone.
        ("acbcd", "11224", [0, 0, 0, 0, 1]),
        ("dcba", "1122", [1, 1, 0, 0]),
    ],
)
def test_groups_that_share_a_file_are_one(groups, hashes, joined):
    found = join_copies(np.array(list(groups), "U1"), np.array(list(hashes), "U1"))
    assert found.tolist() == joined
    assert found.dtype == np.int64
