"""Which rows are chosen: middles of clusters, then what is in doubt, spread out."""

import numpy as np
import pytest

from featx.errors import DatasetError, FeatxError
from featx.labelling.choosing import choose_next, choose_rows, find_middles
from featx.labelling.opinion import form_opinion
from featx.storage.blocks import Blocks

# Three clusters of five, whose middle row is each one's last but one.
CROSS = np.array([[1, 0], [-1, 0], [0, 1], [0, 0], [0, -1]], np.float32)
BLOBS = np.concatenate([CROSS + place for place in np.float32([[0, 0], [50, 0], [0, 50]])])


def test_without_labels_the_middles_of_clusters_are_chosen():
    assert sorted(choose_next(BLOBS, n=3).tolist()) == [3, 8, 13]


def test_labels_of_one_class_are_none():
    X, y = BLOBS[:2], np.zeros(2, np.int64)
    assert choose_next(BLOBS, X, y, n=3).tolist() == choose_next(BLOBS, n=3).tolist()
    assert choose_rows(BLOBS, form_opinion(X, y), 3, 0)[1] == "centroids"


@pytest.fixture
def halves():
    """Two classes left and right, twelve labels; sixty sure rows and twelve between them."""
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    X = np.where(y, 4.0, -4.0)[:, None] * [1, 0] + rng.normal(0, 0.3, (12, 2))
    sure = np.where(np.arange(60) % 2, 4.0, -4.0)[:, None] * [1, 0] + rng.normal(0, 0.3, (60, 2))
    between = np.repeat([[0, 9], [0, -9], [0, 0]], 4, axis=0) + rng.normal(0, 0.1, (12, 2))
    return np.concatenate([sure, between]).astype(np.float32), X.astype(np.float32), y


def test_what_is_in_doubt_is_chosen(halves):
    pool, X, y = halves
    chosen, by = choose_rows(pool, form_opinion(X, y), 3, 0)
    assert by == "uncertainty"
    assert sorted((chosen - 60) // 4) == [0, 1, 2]  # one of each place, not the three least sure
    assert choose_next(pool, X, y, n=3).tolist() == chosen.tolist()


def test_rows_of_a_file_are_chosen_as_those_in_memory(halves):
    pool, X, y = halves
    rows = np.arange(5, len(pool))
    for opinion in (None, form_opinion(X, y)):
        there, _ = choose_rows(Blocks((pool,), rows), opinion, 5, 3)
        here, _ = choose_rows(pool[rows], opinion, 5, 3)
        assert there.tolist() == here.tolist()


def test_numbers_and_names_of_any_kind_will_do(halves):
    pool, X, y = (np.round(one).astype(int) for one in halves)
    chosen = choose_next(pool, X, y, n=3).tolist()
    assert choose_next(pool.tolist(), X.tolist(), ["left", "right"] * 6, n=3).tolist() == chosen
    assert min(chosen) >= 60


def test_of_a_small_pool_all_are_chosen_once(halves):
    pool, X, y = halves
    for known in ((), (X, y)):
        assert sorted(choose_next(pool[:7], *known, n=50).tolist()) == list(range(7))


def test_of_equal_rows_as_many_as_asked_for_are_chosen():
    assert len(set(find_middles(np.zeros((6, 3), np.float32), 4, 0).tolist())) == 4


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((np.empty((0, 2)),), "the pool has no rows"),
        ((np.zeros(3),), "the pool has 1 dimension"),
        ((np.zeros((3, 2)), np.zeros((2, 2)), np.zeros(3, int)), "2 rows and y 3 labels"),
        ((np.zeros((3, 2)), np.zeros((2, 4)), np.zeros(2, int)), "X has 4 columns and the pool 2"),
        ((np.zeros((3, 2)), np.zeros((2, 2))), "give X and y together"),
    ],
)
def test_what_does_not_fit_is_said(arrays, said):
    with pytest.raises(FeatxError, match=said):
        choose_next(*arrays)


def test_none_is_no_number_of_images():
    with pytest.raises(DatasetError, match="ask for 1 or more"):
        choose_next(BLOBS, n=0)
