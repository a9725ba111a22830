import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from featx.novelty import scores
from featx.novelty.scores import SCORES, Energy, Known, Neighbour, Probability, Residual, Scaled


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    X = rng.normal(1, 1, (60, 12)).astype(np.float32)
    layer = rng.normal(0, 1, (3, 12)), rng.normal(0, 1, 3)
    return Known(X, X @ layer[0].T + layer[1], layer)


def test_probability_and_energy_by_hand():
    logits = np.log([[6.0, 3.0, 1.0], [1.0, 1.0, 2.0]])
    X = np.zeros((2, 1), np.float32)
    assert Probability().measure(X, logits) == pytest.approx(np.log([4 / 6, 1]))
    assert Energy().measure(X, logits) == pytest.approx(-np.log([10.0, 4.0]))
    sure = Probability().measure(X, np.array([[50.0, 0.0], [60.0, 0.0]]))
    assert sure == pytest.approx([-50, -60])  # of probabilities that are both 1 in float64


def test_the_nearest_row_is_scipys(known, monkeypatch):
    monkeypatch.setattr(scores, "_QUERIES", 4)
    queries = np.random.default_rng(1).normal(0, 1, (9, 12)).astype(np.float32)
    expected = np.sort(cdist(queries, known.X, "cosine"), axis=1)
    found = Neighbour.fit(known).measure(queries, np.empty((9, 3)))
    assert found == pytest.approx(expected[:, 0], abs=2e-3)  # float16
    monkeypatch.setattr(scores, "NEAREST_STRANGER", 3)
    found = Neighbour.fit(known).measure(queries, np.empty((9, 3)))
    assert found == pytest.approx(expected[:, 2], abs=2e-3)


def test_of_many_rows_some_are_kept(known, monkeypatch):
    monkeypatch.setattr(scores, "NEAREST_KEPT", 7)
    kept = Neighbour.fit(known)
    assert kept.rows.shape == (7, 12)
    assert kept.rows.dtype == np.float16
    assert np.array_equal(kept.rows, Neighbour.fit(known).rows)


def test_the_residual_is_what_pca_leaves_over(known):
    found = Residual.fit(known)
    coef, intercept = known.layer
    assert coef @ found.origin + intercept == pytest.approx(0, abs=1e-5)  # logits of the origin
    centred = known.X - found.origin
    # Principal directions about the origin are those of the rows and their mirror images.
    pca = PCA(6).fit(np.concatenate([centred, -centred]))
    left = np.linalg.norm(centred - pca.inverse_transform(pca.transform(centred)), axis=1)
    scale = known.logits.max(1).mean() / left.mean()
    expected = scale * left + Energy().measure(known.X, known.logits)
    assert found.measure(known.X, known.logits) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("n", [9, 60])
def test_few_rows_and_many_have_the_same_directions(known, n):
    centred = known.X[:n] - 0.5
    wide = np.concatenate([centred, np.zeros((n, 70), np.float32)], axis=1)
    narrow = scores._find_directions(centred if n > 12 else wide, 2)
    other = scores._find_directions(wide, 2)
    assert other.T @ other == pytest.approx(np.eye(2), abs=1e-5)
    assert abs(other[:12].T @ narrow[:12]) == pytest.approx(np.eye(2), abs=1e-3)
    top = np.linalg.svd(centred)[2][:2]
    assert np.linalg.norm(top @ other[:12]) == pytest.approx(np.sqrt(2), abs=1e-4)


def test_the_scaled_energy_by_hand(known, monkeypatch):
    monkeypatch.setattr(scores, "SCALED_SHARE", 0.5)
    # Of the first row all is in its two largest of four, of the second half, the third has nothing.
    X = np.array([[3, 0, 1, 0], [2, 2, 2, 2], [0, 0, 0, 0]], np.float32)
    layer = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]]), np.array([0.5, 0.25])
    logits = X @ layer[0].T + layer[1]
    scaled = np.exp([1, 2, 0])[:, None] * (X @ layer[0].T) + layer[1]
    found = Scaled.fit(Known(X, logits, layer)).measure(X, logits)
    assert found == pytest.approx(-np.log(np.exp(scaled).sum(axis=1)))


def test_what_a_score_suits(known):
    knn = Known(known.X, known.logits)  # no linear head
    few = Known(known.X[:9], known.logits[:9], known.layer)  # of which a tenth is none
    positive = Known(np.abs(known.X), known.logits, known.layer)
    found = {name: [one.suits(k) for k in (known, knn, few, positive)]
             for name, one in SCORES.items()}  # fmt: skip
    assert found == {
        "probability": [True] * 4, "energy": [True] * 4, "scale": [False, False, False, True],
        "knn": [True] * 4, "vim": [True, False, False, True],
    }  # fmt: skip


def test_where_nothing_is_left_over_vim_is_the_energy(known):
    same = np.repeat(known.X[:1], 60, axis=0)
    kept = Residual.fit(Known(same, known.logits, known.layer))
    found = kept.measure(known.X, known.logits)
    assert found == pytest.approx(Energy().measure(known.X, known.logits))


@pytest.mark.parametrize("name", SCORES)
def test_what_is_far_off_is_a_stranger_and_survives_a_file(known, name):
    if name == "scale":  # which knows no negative activations
        known = Known(np.abs(known.X), np.abs(known.X) @ known.layer[0].T, known.layer)
    score = SCORES[name].fit(known)
    back = SCORES[name].from_arrays(score.to_arrays())
    logits = known.logits
    assert np.array_equal(back.measure(known.X, logits), score.measure(known.X, logits))
    far = np.full((1, 12), -8.0, np.float32)  # the other way round, with no class ahead
    assert score.measure(far, np.zeros((1, 3))) > np.median(score.measure(known.X, logits))


def test_a_part_has_as_many_directions_as_the_whole(known):
    whole = Residual.fit(known)
    part = Known(known.X[:50], known.logits[:50], known.layer, size=60)
    assert Residual.fit(part).basis.shape == whole.basis.shape == (12, 6)
