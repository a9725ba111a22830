"""Features that are read in blocks: an ndarray of the same rows is the reference."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_features import TRAINABLE, allow, make_features, thin_grids, write

from featx import config
from featx.errors import BudgetError
from featx.heads.fit import fit
from featx.heads.head import load_head
from featx.heads.kind import find_kind
from featx.storage.blocks import Blocks, average_classes, average_columns, gather, join_rows
from featx.training.model import read_model
from featx.training.scaling import fit_scaler

IN_BLOCKS = [clf for clf in TRAINABLE if clf != "svm"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 31 rows, and a shorter way to shuffle."""
    monkeypatch.setattr(config, "BLOCK_BYTES", 4 * 40 * 31)
    monkeypatch.setattr(config, "SHUFFLE_CHUNK", 4)
    monkeypatch.setattr(config, "SHUFFLE_BUFFER", 70)


@pytest.fixture(autouse=True)
def short_grids(monkeypatch):
    """Every sixth value of every grid."""
    thin_grids(monkeypatch, slice(None, None, 6))


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(2, 1, (50, 40)).astype(np.float32)


def make_noisy(*args, **kwargs):
    """Features by which no class is told from the others with certainty."""
    made = make_features(*args, **kwargs)
    noise = np.random.default_rng(9).normal(0, 6, made.X.shape)
    return replace(made, X=(made.X + noise).astype(np.float32))


@pytest.mark.parametrize("n", [1, 11, 12, 50])
def test_blocks_cover_every_row_once(X, n, monkeypatch):
    monkeypatch.setattr(config, "BLOCK_BYTES", 4 * 40 * 11)
    rows = np.random.default_rng(1).permutation(50)[:n]
    blocks = Blocks((X,), rows)
    found = list(blocks)
    assert [len(block) for _, block in found] == [11] * (n // 11) + [n % 11] * bool(n % 11)
    assert np.array_equal(np.concatenate([block for _, block in found]), X[rows])
    assert np.array_equal(np.asarray(blocks), X[rows])
    assert blocks.shape == (n, 40)
    assert np.array_equal(gather(blocks, lambda rows: rows.sum(axis=1)), X[rows].sum(axis=1))
    twice = blocks.map(lambda rows: 2.0 * rows.astype(np.float64))[np.arange(n)[::-1]]
    assert np.array_equal(np.asarray(twice), 2 * X[rows][::-1])
    # What is read has all columns: a block of some of them has no more rows.
    few = blocks.take_columns(np.array([3, 0]))
    assert [len(block) for _, block in few] == [len(block) for _, block in found]
    assert np.array_equal(np.asarray(few), X[rows][:, [3, 0]])
    assert np.asarray(twice).dtype == np.float32


def test_rows_of_several_sources(X):
    parts = [Blocks((X[:20],), np.array([3, 19])), Blocks((X[20:],), np.array([29, 0, 5]))]
    both = join_rows(parts)
    assert np.array_equal(np.asarray(both), X[[3, 19, 49, 20, 25]])
    assert np.array_equal(join_rows([X[:2], X[2:]]), X)


def test_means_and_deviations(X, monkeypatch):
    monkeypatch.setattr(config, "BLOCK_BYTES", 4 * 40 * 11)
    blocks, y = Blocks((X,), np.arange(50)), np.sort(np.arange(50) % 3)  # a block lacks classes
    assert np.allclose(average_columns(blocks), X.mean(0, dtype=np.float64), rtol=1e-12)
    means = [X[y == k].astype(float).mean(axis=0) for k in range(3)]
    assert np.allclose(average_classes(blocks, y), means, rtol=1e-12)
    assert np.array_equal(average_classes(X, y), means)
    X[:, 0] = 0.5
    for kind in ("none", "standard", "l2"):
        whole, parts = fit_scaler(kind, X), fit_scaler(kind, blocks)
        assert np.allclose(whole.apply(X), np.asarray(parts.apply(blocks)), atol=1e-5)


@pytest.mark.parametrize("scale", ["none", "standard", "l2"])
@pytest.mark.parametrize("classes", ["no yes", "a b c d e"])
@pytest.mark.parametrize("clf", IN_BLOCKS)
def test_what_is_found_is_what_memory_gives(provenance, tmp_path, clf, classes, scale, monkeypatch):
    if scale == "l2":  # of short rows the large penalties are equally good, but for rounding
        kind = find_kind("ridge")
        grid = replace(kind.grid, values=(1.0, 0.1))
        monkeypatch.setattr("featx.heads.ridge.KIND", replace(kind, grid=grid))
    made = make_noisy(provenance, 150, classes.split(), splits=(103, 20), seed=3)
    features = write(made, tmp_path, "float16")
    options = {"scale": scale, "class_weight": "balanced", "epochs": 4, "calibrate": True}
    options |= {"choose_on": "val"}  # as in blocks
    whole = fit(features, clf, **options)
    model = fit(features, clf, **options, max_memory=allow(features, clf, **options),
                output=tmp_path / "m.safetensors")  # fmt: skip
    if clf == "linear":  # another order of the batches
        assert model.recipe == whole.recipe | {"order": {"chunk": 4, "buffer": 70}}
        for split in ("train", "val", "test"):
            pair = (model.outcome.scores[split].accuracy, whole.outcome.scores[split].accuracy)
            assert abs(pair[0] - pair[1]) < 0.1
        assert len(model.outcome.history) == 4
    else:
        assert model.recipe == whole.recipe
        assert model.outcome.details["chosen"] == whole.outcome.details["chosen"]
        for split in ("val", "test"):
            off = model.outcome.probabilities[split] - whole.outcome.probabilities[split]
            assert np.abs(off).max() < 5e-4  # both stop within the same tolerance of one optimum
        assert model.outcome.scores == whole.outcome.scores
    back = load_head(read_model(tmp_path / "m.safetensors"))
    again = back.predict_proba(features.split("test")[0])
    assert np.allclose(again, model.outcome.probabilities["test"], atol=1e-5)


@pytest.mark.parametrize("clf", [c for c in IN_BLOCKS if c != "linear" and find_kind(c).weighed])
def test_class_weights_and_their_absence(provenance, tmp_path, clf):
    made = make_noisy(provenance, 150, splits=(110, 20))
    made.splits[np.flatnonzero((made.targets == 1) & (made.splits == "train"))[20:]] = ""
    features = write(made, tmp_path)
    for weight in ("none", "balanced"):
        whole, parts = (
            fit(features, clf, class_weight=weight, C=0.01, choose_on="val", max_memory=budget)
            for budget in (None, allow(features, clf, C=0.01, choose_on="val"))
        )
        off = parts.outcome.probabilities["test"] - whole.outcome.probabilities["test"]
        assert np.abs(off).max() < 1e-4


@pytest.mark.parametrize("clf", IN_BLOCKS)
def test_folds_and_refitting(provenance, tmp_path, clf):
    for splits, refit in (((90, 0), False), ((80, 30), True)):
        features = write(make_noisy(provenance, 120, splits=splits, seed=5), tmp_path)
        options = {"refit": refit, "epochs": 2, "choose_on": "val"}
        whole, parts = (
            fit(features, clf, **options, max_memory=budget)
            for budget in (None, allow(features, clf, **options))
        )
        if clf != "linear":
            assert whole.outcome.details["chosen"] == parts.outcome.details["chosen"]
            off = parts.outcome.probabilities["test"] - whole.outcome.probabilities["test"]
            assert np.abs(off).max() < 1e-4


@pytest.mark.parametrize("clf", ["logreg", "ridge", "centroid"])
def test_views_are_read_in_blocks_too(provenance, tmp_path, clf):
    features = write(make_noisy(provenance, 150, splits=(110, 20)), tmp_path)
    train = features.rows("train")[3:]  # the view lacks some
    view = replace(
        features, X=features.X[train] + np.float32(0.1), targets=features.targets[train],
        splits=features.splits[train], paths=features.paths[train], hashes=features.hashes[train],
    )  # fmt: skip
    whole, parts = (
        fit(features, clf, views=[view], choose_on="val", max_memory=budget)
        for budget in (None, allow(features, clf, views=[view], choose_on="val"))
    )
    off = parts.outcome.probabilities["test"] - whole.outcome.probabilities["test"]
    assert np.abs(off).max() < 1e-4
    assert parts.recipe == whole.recipe


def test_a_head_without_blocks_says_what_to_take(provenance, tmp_path):
    features = write(make_features(provenance, 100), tmp_path)
    with pytest.raises(
        BudgetError, match=r"^svm needs [\d.]+ kB for these features, --max-memory is "
    ):
        fit(features, "svm", max_memory=20_000)
    with pytest.raises(
        BudgetError, match=r"take logreg or ridge, which can, or a larger --max-mem"
    ):
        fit(features, "svm", max_memory=20_000)
    with pytest.raises(
        BudgetError, match=r"its model holds all 18 train rows, 2.88 kB. Take centr"
    ):
        fit(features, "knn", max_memory=3_000)
    with pytest.raises(BudgetError, match=r"in blocks still .*, and --max-memory is 5 kB: give it"):
        fit(features, "logreg", max_memory=5_000)


def test_which_way_was_taken_is_said(provenance, tmp_path, run):
    features = write(make_features(provenance, 400, splits=(300, 50)), tmp_path)
    budget = allow(features, "ridge", choose_on="val")
    done = run("fit", features.path, "--clf", "ridge", "--max-memory", budget, "-v", "--json")
    assert "MB: read in blocks\n" in done.stderr
    assert done.stderr.startswith("features need 1.")
    whole = run("fit", features.path, "--clf", "ridge", "-v", "--json")
    assert "60 % of the memory that may be used is " in whole.stderr
    assert whole.stderr.endswith(" GB: kept in memory\n")
    first, second = (json.loads(one.stdout) for one in (done, whole))
    assert first["counts"]["test"] == second["counts"]["test"]
    assert (first["val"], second["val"]) == ("held out, before refitting", "out of fold")
    wrong = run("fit", features.path, "--max-memory", "much")
    assert wrong.exit_code == 2
    assert "'much' is no size: say 3GB, 500MB, 2GiB or a number of bytes" in wrong.stderr
