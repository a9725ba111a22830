"""What decides a head is all in its recipe, and nothing else is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_features import TRAINABLE, make_features
from shared import PROVENANCE

from featx.errors import ModelError
from featx.features.selection import stack_views, take_splits
from featx.heads.kind import HeadOptions, find_kind, read_grid
from featx.heads.recipe import make_recipe
from featx.storage.blocks import Blocks
from featx.storage.files import hash_json

FEATURES = make_features(PROVENANCE)


def recipe(clf="logreg", features=FEATURES, **options):
    return make_recipe(features, clf, HeadOptions(**options))


@pytest.mark.parametrize("clf", TRAINABLE)
def test_a_recipe_is_json_and_knows_its_features(clf):
    made = recipe(clf)
    assert json.loads(json.dumps(made)) == made
    assert hash_json(made) == hash_json(recipe(clf))
    other = replace(FEATURES, provenance=replace(PROVENANCE, precision="bf16"))
    assert hash_json(recipe(clf, other)) != hash_json(made)
    moved = replace(FEATURES, splits=np.roll(FEATURES.splits, 1))
    assert hash_json(recipe(clf, moved)) != hash_json(made)


def test_what_a_head_does_not_know_is_not_in_its_recipe():
    assert recipe("knn", class_weight="balanced") == recipe("knn")
    assert recipe("ridge", epochs=3) == recipe("ridge")
    assert recipe("linear", epochs=3) != recipe("linear")
    assert recipe("logreg", class_weight="balanced") != recipe("logreg")
    assert recipe("svm", calibrate=True) == recipe("svm")  # it always is


def test_a_given_C_is_the_grid_of_those_that_have_one():
    assert read_grid(recipe(C=0.5)) == [0.5]
    assert read_grid(recipe("svm", C=0.5)) == [0.5]
    for clf in ("ridge", "knn", "centroid"):
        assert list(read_grid(recipe(clf, C=0.5))) == list(find_kind(clf).grid.values)
    assert list(read_grid(recipe("linear"))) == []


@pytest.mark.parametrize("C", [0, -1.0, float("inf"), float("nan")])
def test_a_C_that_is_no_penalty_is_refused(C):
    with pytest.raises(ModelError, match="positive number, or auto"):
        recipe(C=C)


def test_unknown_choices_are_named():
    with pytest.raises(ModelError, match="unknown class_weight 'heavy': say none or balanced"):
        recipe(class_weight="heavy")
    with pytest.raises(ModelError, match="unknown clf 'forest': say one of imagenet, logreg"):
        recipe("forest")


def test_splits_that_have_labelled_rows_are_taken():
    some = replace(FEATURES, splits=np.where(FEATURES.splits == "val", "", FEATURES.splits))
    assert set(take_splits(some, in_blocks=False)) == {"train", "test"}
    X, y = take_splits(some, in_blocks=True)["train"]
    assert isinstance(X, Blocks)
    assert len(y) == X.shape[0] == 18


def test_views_know_the_row_that_they_show():
    train = FEATURES.rows("train")
    keep = train[[2, 0]]  # of some images, in another order
    view = replace(
        FEATURES, X=FEATURES.X[keep] + 1, hashes=FEATURES.hashes[keep],
        targets=FEATURES.targets[keep], splits=FEATURES.splits[keep], paths=FEATURES.paths[keep],
    )  # fmt: skip
    X, origin = stack_views(FEATURES, [view, view])
    assert origin.tolist() == [0, 2, 0, 2]
    assert np.array_equal(X[1], FEATURES.X[train[2]] + 1)
    assert stack_views(FEATURES, []) is None


def test_groups_are_in_a_recipe_since_folds_keep_them_whole(provenance):
    features = make_features(provenance)
    pairs = np.arange(36) // 2
    plain = make_recipe(features, "knn", HeadOptions())
    assert "groups" not in plain
    grouped = make_recipe(replace(features, groups=pairs.astype(str)), "knn", HeadOptions())
    assert {**plain, "groups": grouped["groups"]} == grouped
    # Whatever they are called, and whatever test's are.
    renamed = np.where(features.splits == "test", "x", np.char.add("pair", pairs.astype(str)))
    same = replace(features, groups=renamed)
    assert make_recipe(same, "knn", HeadOptions()) == grouped
    threes = replace(features, groups=(np.arange(36) // 3).astype(str))
    assert make_recipe(threes, "knn", HeadOptions()) != grouped
