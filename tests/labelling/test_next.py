"""What to label next, of feature files: who is in the pool, who is not, and what is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features, write

from featx.errors import DatasetError, FeatureFileError
from featx.labelling.next import find_next


@pytest.fixture
def half(provenance):
    """Ninety images of three classes, of which the last ten of each have no label; no test."""
    made = make_features(provenance, 30, splits=(16, 4))
    waits = np.arange(90) % 30 >= 20
    return replace(
        made,
        targets=np.where(waits, -1, made.targets),
        splits=np.where(waits, "", np.where(made.splits == "test", "train", made.splits)),
    )


def name_chosen(found):
    return [one.path for one in found.images]


def test_images_without_a_label_are_proposed(half, tmp_path):
    found = find_next(write(half, tmp_path), n=6)
    waiting = set(half.paths[half.targets < 0].tolist())
    assert len(set(name_chosen(found)) & waiting) == 6
    assert (found.by, found.labelled, found.unlabelled, found.copies) == ("uncertainty", 60, 30, 0)
    assert {one.guess for one in found.images} <= set(half.classes)
    assert all(0 < one.probability <= 1 for one in found.images)
    assert found.held_out == "folds of the labelled images"
    assert found.forecast.points[-1][0] == 48
    assert json.loads(json.dumps(found.to_dict()))["forecast"]["more"] == 6
    digests = dict(zip(half.paths.tolist(), half.hashes.tolist(), strict=True))
    assert all(one.sha256 == digests[one.path] for one in found.images)


def test_a_test_judges_the_forecast_and_is_not_learned_from(half):
    splits = half.splits.copy()
    splits[[0, 1, 30, 31, 60, 61]] = "test"
    found = find_next(replace(half, splits=splits), n=6)
    assert found.labelled == 54
    assert found.held_out == "test"
    assert found.forecast.points[-1][0] == 54
    # What test says decides nothing of what is proposed.
    turned = half.targets.copy()
    turned[[0, 1, 30, 31, 60, 61]] = [1, 1, 2, 2, 0, 0]
    again = find_next(replace(half, splits=splits, targets=turned), n=6)
    assert name_chosen(again) == name_chosen(found)


def test_a_pool_has_a_file_of_its_own(half, provenance, tmp_path):
    pool = replace(
        make_features(provenance, 8, seed=1), targets=np.full(24, -1), classes=(),
        hashes=np.array([f"{i:064x}" for i in range(1000, 1024)]), dataset="pool",
    )  # fmt: skip
    found = find_next(half, pool, n=5)
    assert (found.unlabelled, found.pool.dataset) == (24, "pool")
    other = replace(pool, provenance=replace(provenance, engine="other 1"))
    with pytest.raises(FeatureFileError, match="engine: counting 1 → other 1"):
        find_next(half, other)


def test_copies_of_labelled_images_are_said_and_not_proposed(half):
    hashes = half.hashes.copy()
    hashes[20], hashes[21], hashes[23] = hashes[0], hashes[0], hashes[22]
    found = find_next(replace(half, hashes=hashes), n=30)
    assert not {"20.jpg", "21.jpg", "23.jpg"} & set(name_chosen(found))
    assert found.copies == 3
    assert len(found.images) == 27
    assert found.notes[:3] == (
        "2 of the images without a label are copies of labelled ones, byte for byte, and are not "
        "proposed (such as 20.jpg of 0.jpg).",
        "1 are copies of others without a label, of which one is proposed.",
        "30 were asked for and 27 are there: all of them.",
    )
    every = np.where(half.targets < 0, half.hashes[0], half.hashes)
    with pytest.raises(
        DatasetError, match=r"every one of its 30 images .* nothing is left to label"
    ):
        find_next(replace(half, hashes=every))


def test_where_every_image_has_a_label_it_is_said(provenance):
    with pytest.raises(DatasetError, match="each of its 36 images has a label; images without"):
        find_next(make_features(provenance))
    with pytest.raises(DatasetError, match="ask for 1 or more"):
        find_next(make_features(provenance), n=0)


def test_without_labels_and_with_one_class_middles_are_proposed(half):
    none = find_next(replace(half, targets=np.full(90, -1), classes=()), n=5)
    assert (none.by, none.labelled, none.forecast) == ("centroids", 0, None)
    assert {one.guess for one in none.images} == {""}
    assert none.notes == ("Nothing is labelled yet, so that nothing can be in doubt.",)
    one = find_next(replace(half, targets=np.where(half.targets == 1, 1, -1)), n=5)
    assert (one.by, one.forecast) == ("centroids", None)
    assert one.notes == ("All labels are of one class (b), which tells nothing apart.",)


def test_a_class_of_one_label_leaves_no_forecast(half):
    targets = half.targets.copy()
    targets[np.flatnonzero(targets == 2)[1:]] = -1
    found = find_next(replace(half, targets=targets), n=5)
    assert found.forecast is None
    assert found.notes == (
        "What more labels would bring cannot be told from 41: a class has one label, so that none "
        "can be held out.",
    )
    assert find_next(replace(half, targets=targets), n=5, forecast=False).notes == ()
