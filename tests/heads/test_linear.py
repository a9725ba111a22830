from dataclasses import replace

import numpy as np
import pytest
import torch
from shared import PROVENANCE
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx import config
from featx.config import HEAD_LEARNING_RATE, SPLITS
from featx.features.content import Features
from featx.heads.fit import fit
from featx.heads.linear import BlockBatches, LinearClassifier, draw_chunks
from featx.storage.blocks import Blocks
from featx.training.trials import know_nothing, plan_folds


# Enough steps for the checks' tiny problems; the defaults are for thousands of features.
@parametrize_with_checks(
    [
        LinearClassifier(epochs=20, learning_rate=0.1),
        LinearClassifier(epochs=20, learning_rate=0.1, class_weight="balanced"),
    ]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


def test_seed_decides_everything():
    X, y = make_blobs(90, 5, centers=3, random_state=0)
    first, second = (LinearClassifier(seed=3).fit(X, y) for _ in range(2))
    assert np.array_equal(first.coef_, second.coef_)
    assert not np.array_equal(first.coef_, clone(first).set_params(seed=4).fit(X, y).coef_)


def test_the_kept_epoch_is_the_best_on_val():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 300)), rng.integers(0, 3, 60)
    X_val, y_val = rng.normal(size=(30, 300)), rng.integers(0, 3, 30)
    model = LinearClassifier(epochs=12, learning_rate=0.01).fit(X, y, {"val": (X_val, y_val)})
    ranks = [(e.accuracy["val"], -e.loss["val"]) for e in model.history_]
    assert model.best_epoch_ == 1 + ranks.index(max(ranks))
    assert model.best_epoch_ < 12  # noise: val cannot keep getting better
    assert np.mean(model.predict(X_val) == y_val) == pytest.approx(max(ranks)[0])
    assert LinearClassifier(epochs=3).fit(X, y).best_epoch_ == 3


def test_history_by_hand():
    # One sample, one epoch, one step: the loss and accuracy of the untrained layer.
    X, y = np.array([[1.0, 2.0], [1.0, 2.0]]), np.array(["b", "a"])
    model = LinearClassifier(epochs=1, batch_size=2, learning_rate=1e-9).fit(X, y)
    (epoch,) = model.history_
    p = model.predict_proba(X)[0]
    assert epoch.loss["train"] == pytest.approx(-(np.log(p[0]) + np.log(p[1])) / 2, rel=1e-5)
    assert epoch.accuracy["train"] == 0.5
    assert list(model.classes_) == ["a", "b"]


def test_balanced_weights_are_images_repeated():
    # Two to one, balanced: each of the rare class counts twice as much as each of the other.
    X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    y = np.array([0, 0, 1])
    options = {"epochs": 9, "batch_size": 9, "learning_rate": 0.1}
    balanced = LinearClassifier(class_weight="balanced", **options).fit(X, y)
    repeated = LinearClassifier(**options).fit(X[[0, 1, 2, 2]], y[[0, 1, 2, 2]])
    assert np.allclose(balanced.coef_, repeated.coef_, atol=1e-6)
    assert not np.allclose(balanced.coef_, LinearClassifier(**options).fit(X, y).coef_)


@pytest.mark.parametrize("n", [1, 4, 69, 1000])
def test_an_order_in_chunks_has_every_row_once(n, monkeypatch):
    monkeypatch.setattr(config, "SHUFFLE_CHUNK", 4)
    monkeypatch.setattr(config, "SHUFFLE_BUFFER", 40)
    first, again, other = (draw_chunks(np.random.default_rng([0, e]), n) for e in (1, 1, 2))
    assert np.array_equal(np.sort(first), np.arange(n))
    assert np.array_equal(first, again)
    assert n == 1 or not np.array_equal(first, other)
    if n == 1000:  # a buffer holds whole chunks, from all over
        for start in range(0, n, 40):
            part = np.sort(first[start : start + 40])
            assert np.array_equal(part, (part[::4, None] + np.arange(4)).ravel())
        assert np.ptp(first[:40]) > 500


def test_batches_of_blocks_are_those_rows(monkeypatch):
    monkeypatch.setattr(config, "BLOCK_BYTES", 4 * 6 * 7)
    monkeypatch.setattr(config, "SHUFFLE_CHUNK", 4)
    monkeypatch.setattr(config, "SHUFFLE_BUFFER", 30)
    X = np.random.default_rng(0).normal(size=(101, 6)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(101)[:90]
    batches = BlockBatches(Blocks((X,), rows), torch.arange(90))
    order = draw_chunks(np.random.default_rng(2), 90)
    found = list(batches.iterate(order, 8, 1))
    assert [len(batch) for batch in found] == [8] * 11 + [2]
    assert np.array_equal(torch.cat(found).numpy(), X[rows[order]])


def test_epochs_over_blocks_learn_the_same():
    X, y = make_blobs(300, 5, centers=3, cluster_std=3.0, random_state=0)
    X = X.astype(np.float32)
    options = {"epochs": 40, "learning_rate": 0.01, "class_weight": "balanced"}
    blocks = Blocks((X,), np.arange(300))
    whole = LinearClassifier(**options).fit(X, y)
    parts, again = (LinearClassifier(**options).fit(blocks, y) for _ in range(2))
    assert np.array_equal(parts.coef_, again.coef_)
    assert np.abs(parts.predict_proba(X) - whole.predict_proba(X)).max() < 0.1
    assert parts.n_features_in_ == 5
    scored = LinearClassifier(**options).fit(blocks, y, {"val": (blocks[:50], y[:50])})
    ranks = [(e.accuracy["val"], -e.loss["val"]) for e in scored.history_]
    assert scored.best_epoch_ == 1 + ranks.index(max(ranks))


@pytest.fixture
def learned():
    """Ten images of each of three classes: six train, two val, two test."""
    targets, places = np.repeat(np.arange(3), 10), np.tile([0] * 6 + [1] * 2 + [2] * 2, 3)
    X = np.random.default_rng(0).normal(size=(30, 40)) + 0.5 * np.eye(3, 40)[targets]
    names = np.array([f"{i:02}" for i in range(30)])
    return Features(
        X.astype(np.float32), targets, np.array(SPLITS)[places], names, names, ("a", "b", "c"),
        PROVENANCE, "made", "made",
    )  # fmt: skip


def test_without_val_folds_of_train_choose_the_rate(learned):
    features = replace(learned, splits=np.where(learned.splits == "test", "test", "train"))
    model = fit(features, "linear", epochs=3)
    details = model.outcome.details
    assert details["chosen"] == {
        "name": "learning_rate",
        "value": min(details["rates"], key=lambda one: one["loss"])["learning_rate"],
        "by": "folds of train",
    }
    # By hand: the same folds, each rate alone.
    X, y = features.split("train")
    folds = plan_folds(y, know_nothing(len(y)), 0)
    for one in details["rates"]:
        losses = []
        for inside, outside in folds:
            head = LinearClassifier(epochs=3, learning_rate=one["learning_rate"])
            head.fit(X[inside], y[inside])
            p = head.predict_proba(X[outside])[np.arange(len(outside)), y[outside]]
            losses += list(-np.log(p))
        assert one["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert model.outcome.best_epoch == 3
    alone = fit(features, "linear", epochs=3, learning_rate=details["chosen"]["value"])
    assert np.array_equal(model.arrays["coef"], alone.arrays["coef"])


def test_a_class_of_one_image_leaves_the_usual_rate(learned):
    rows = np.flatnonzero(learned.splits == "train")
    first = rows[np.unique(learned.targets[rows], return_index=True)[1]]
    splits = np.where(learned.splits == "test", learned.splits, "")
    splits[first] = "train"
    model = fit(replace(learned, splits=splits), "linear", epochs=1)
    assert model.outcome.details["chosen"]["value"] == HEAD_LEARNING_RATE


def test_a_group_for_each_class_leaves_the_usual_rate(learned):
    splits = np.where(learned.splits == "test", "test", "train")
    splits[learned.targets == 2] = ""
    two = replace(learned, splits=splits, groups=np.array(list("abc"))[learned.targets])
    kept = replace(two, targets=np.minimum(two.targets, 1), classes=("a", "b"))
    model = fit(kept, "linear", epochs=1)  # each fold would learn from a single class
    assert model.outcome.details["chosen"]["value"] == HEAD_LEARNING_RATE


def test_several_rates_need_a_val():
    X, y = make_blobs(30, 5, centers=3, random_state=0)
    with pytest.raises(ValueError, match="several learning rates need a val"):
        LinearClassifier(learning_rate=(1e-3, 1e-2)).fit(X, y)
