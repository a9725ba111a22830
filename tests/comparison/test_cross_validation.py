import json
from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss

from featx import config
from featx.comparison import cross_validation
from featx.comparison.cross_validation import FoldTask, cross_validate
from featx.errors import ModelError
from featx.heads.fit import fit
from featx.training.resampling import Resampling, draw_folds


@pytest.fixture
def features(provenance):
    return make_features(provenance, n_per=20, splits=(12, 4), dim=10)


def give(model, **settings):
    """The same model, trained with other settings; a cross-validation looks at its recipe alone."""
    return replace(model, recipe={**model.recipe, **settings})


def test_every_image_is_held_out_once_in_each_repeat(features):
    found = cross_validate(features, [give(fit(features, "ridge"), alpha=[10.0])], "2x3", seed=5)
    (ridge,) = found.candidates
    assert (found.images, found.groups, ridge.name) == (60, 60, "ridge")
    X, y = features.X, features.targets
    right = [
        RidgeClassifier(alpha=10.0).fit(X[inside], y[inside]).score(X[outside], y[outside])
        for inside, outside in draw_folds(y, np.arange(60), Resampling(2, 3), 5)
    ]
    assert ridge.accuracies == right
    entry = json.loads(json.dumps(found.to_dict()))["candidates"][0]
    assert entry["accuracy"]["mean"] == pytest.approx(np.mean(right))
    assert entry["accuracy"]["ci95"][0] < entry["accuracy"]["naive_ci95"][0]
    assert {fold["chosen"] for fold in entry["folds"]} == {10.0}


def test_the_same_from_the_same_seed_whoever_computes_it(features, monkeypatch):
    models = [give(fit(features, "ridge"), alpha=[1e3, 10.0]), fit(features, "knn")]

    def score(seed):
        return [
            one.log_losses for one in cross_validate(features, models, "1x3", seed=seed).candidates
        ]

    first = score(0)
    assert score(0) == first
    assert score(1) != first
    monkeypatch.setattr(cross_validation, "_PATIENCE", 0.0)  # all in other processes
    monkeypatch.setattr(cross_validation, "count_cores", lambda: 2)
    assert score(0) == first


def test_a_held_out_fold_decides_nothing(features, monkeypatch):
    """Wrong labels outside change the score and neither choice nor fit."""
    task = FoldTask(features.X, features.targets, np.arange(60), features.classes)
    seen = []
    train = cross_validation.train_head
    monkeypatch.setattr(
        cross_validation,
        "train_head",
        lambda *a, **k: seen.append((a, train(*a, **k))) or seen[-1][1],
    )
    for clf in ("logreg", "ridge", "knn"):
        recipe = cross_validation._adapt(fit(features, clf).recipe)
        if clf == "logreg":
            recipe["C"] = recipe["C"][::2]
        for fold in draw_folds(task.y, task.groups, Resampling(1, 3)):
            told = task.score(recipe, None, fold)
            y = task.y.copy()
            y[fold[1]] = (y[fold[1]] + 1) % 3
            lied = replace(task, y=y).score(recipe, None, fold)
            (asked, honest), (_, other) = seen[-2:]
            assert set(asked[0]) == {"train"}
            assert len(asked[0]["train"][1]) == 40
            assert lied.chosen == told.chosen
            assert lied.accuracy < told.accuracy
            assert other.search.temperature == honest.search.temperature
            rows = features.X.astype(np.float64)
            assert np.array_equal(other.search.fit.decide(rows), honest.search.fit.decide(rows))


def test_log_loss_is_of_the_probabilities(features):
    (knn,) = cross_validate(features, [fit(features, "knn")], "1x2").candidates
    ((inside, outside), _) = draw_folds(features.targets, np.arange(60), Resampling(1, 2))
    train = np.where(np.isin(np.arange(60), inside), "train", "test")
    alone = fit(replace(features, splits=train), "knn")
    expected = log_loss(features.targets[outside], alone.outcome.probabilities["test"])
    assert knn.folds[0].log_loss == pytest.approx(expected)


def test_copies_are_in_one_fold_and_strangers_in_none(features, monkeypatch):
    hashes = features.hashes.copy()
    hashes[1::2] = hashes[::2]  # every second image is a copy of the one before
    splits = features.splits.copy()
    splits[:4] = ""  # left out by who split them
    held = replace(features, hashes=hashes, splits=splits)
    seen = []
    score = FoldTask.score
    monkeypatch.setattr(
        FoldTask, "score", lambda self, *job: seen.append((self, job[2])) or score(self, *job)
    )
    found = cross_validate(held, [fit(held, "centroid")], "2x4")
    assert (found.images, found.groups) == (56, 28)
    for task, (inside, outside) in seen:
        own = hashes[4:]
        assert np.array_equal(np.asarray(task.X), features.X[4:])
        assert not set(own[inside]) & set(own[outside])
    with pytest.raises(ModelError, match=r"--cv 2x9 needs 9 images .* a has 16 in 8 groups"):
        cross_validate(held, [fit(held, "centroid")], "2x9")


def test_groups_are_in_one_fold(features, monkeypatch):
    animals = np.array([f"{k}-{i // 4}" for k in "abc" for i in range(20)])  # 5 of each class
    held = replace(features, groups=animals)
    seen = []
    score = FoldTask.score
    monkeypatch.setattr(
        FoldTask, "score", lambda self, *job: seen.append(job[2]) or score(self, *job)
    )
    assert cross_validate(held, [fit(held, "centroid")], "2x5").groups == 15
    assert len(seen) == 10
    for inside, outside in seen:
        assert not set(animals[inside]) & set(animals[outside])
    with pytest.raises(ModelError, match="a has 20 in 5 groups, b has 20 in 5 groups"):
        cross_validate(held, [fit(held, "centroid")], "1x6")


def test_what_is_known_is_not_computed_again(features, tmp_path, monkeypatch):
    scored = []
    score = FoldTask.score
    monkeypatch.setattr(
        FoldTask, "score", lambda self, *job: scored.append(job[0]["clf"]) or score(self, *job)
    )
    kept, centroid, knn = tmp_path / "cv.json", fit(features, "centroid"), fit(features, "knn")
    first = cross_validate(features, [centroid], "1x2", kept=kept)
    both = cross_validate(features, [centroid, knn], "1x2", kept=kept)
    assert scored == ["centroid"] * 2 + ["knn"] * 2
    assert both.candidates[0] == first.candidates[0]
    assert (
        cross_validate(features, [knn, centroid], "1x2", kept=kept).candidates
        == (both.candidates[::-1])
    )
    cross_validate(features, [give(centroid, scale="l2")], "1x2", kept=kept)
    assert len(scored) == 6
    cross_validate(features, [centroid], "1x2", seed=1, kept=kept)
    assert len(scored) == 8


def test_what_is_trained_in_epochs_chooses_by_a_part_of_what_it_learns_from(features, monkeypatch):
    seen = []
    train = cross_validation.train_head
    monkeypatch.setattr(
        cross_validation,
        "train_head",
        lambda data, *a, **k: seen.append(data) or train(data, *a, **k),
    )
    (linear,) = cross_validate(features, [fit(features, "linear", epochs=2)], "1x3").candidates
    for data in seen:
        assert {split: len(y) for split, (_, y) in data.items()} == {"train": 32, "val": 8}
    assert {fold.chosen for fold in linear.folds} <= set(config.HEAD_LEARNING_RATES)


def test_what_cannot_be_cross_validated(features):
    model = fit(features, "centroid")
    with pytest.raises(ModelError, match="cannot read the cross-validation '5'"):
        cross_validate(features, [model], "5")
    with pytest.raises(ModelError, match="fc is a fine-tuned network"):
        cross_validate(features, [replace(model, kind="network", name="fc")], "2x2")
    with pytest.raises(ModelError, match="only train images have views"):
        cross_validate(features, [give(model, views=[["a", "b"]])], "2x2")


def test_features_that_are_read_in_blocks(features, monkeypatch):
    model = fit(features, "centroid")
    whole = cross_validate(features, [model], "1x2")
    monkeypatch.setattr(cross_validation, "needs_blocks", lambda *_: True)
    blocks = cross_validate(features, [model], "1x2")
    assert blocks.candidates[0].accuracies == whole.candidates[0].accuracies
    assert blocks.candidates[0].log_losses == pytest.approx(
        whole.candidates[0].log_losses, rel=1e-5
    )
