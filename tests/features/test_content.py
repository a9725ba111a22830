"""What a feature file holds: rows by split, and what is said of them all."""

from dataclasses import replace

import numpy as np
from made_features import make_features, write
from shared import PROVENANCE

from featx.data.dataset import Skipped
from featx.features.file import open_features
from featx.storage.blocks import Blocks


def make(**changes):
    return replace(make_features(PROVENANCE, n_per=4, splits=(2, 1), dim=5), **changes)


def test_rows_of_a_split_are_its_labelled_ones():
    targets = np.repeat([0, 1, 2], 4)
    targets[[0, 7]] = -1
    made = make(targets=targets)
    assert made.rows("train").tolist() == [1, 4, 5, 8, 9]
    assert made.rows("test").tolist() == [3, 11]
    X, y = made.split("train")
    assert np.array_equal(X, made.X[[1, 4, 5, 8, 9]])
    assert y.tolist() == [0, 1, 1, 2, 2]
    assert made.split("")[0].shape == (0, 5)


def test_blocks_of_a_split_are_its_rows_where_they_lie(tmp_path):
    there = write(make(), tmp_path)
    blocks, y = there.split_blocks("val")
    assert isinstance(blocks, Blocks)
    assert np.array_equal(np.asarray(blocks), make().X[[2, 6, 10]])
    assert y.tolist() == [0, 1, 2]


def test_a_fingerprint_is_of_which_images_and_not_of_their_features(tmp_path):
    made = make()
    assert replace(made, X=made.X + 1).fingerprint == made.fingerprint
    assert write(made, tmp_path).fingerprint == made.fingerprint
    renamed = replace(made, paths=np.array([f"x/{path}" for path in made.paths]))
    moved = replace(made, splits=np.roll(made.splits, 1))
    named = replace(made, classes=("a", "b", "z"))
    found = {one.fingerprint for one in (made, renamed, moved, named)}
    assert len(found) == 4


def test_a_file_tells_its_counts_without_reading_its_features(tmp_path, monkeypatch):
    monkeypatch.setattr("featx.features.content._COUNTED", 5)  # more than one slice
    made = make(skipped=(Skipped("x.jpg", "", "empty", "empty file"),))
    write(made, tmp_path)
    said = open_features(tmp_path / "F.h5").to_dict()
    assert said["counts"] == {
        split: dict.fromkeys("abc", n) for split, n in (("train", 2), ("val", 1), ("test", 1))
    }
    assert (said["images"], said["feature_dim"], said["skipped"]) == (12, 5, 1)
    assert said["skipped_files"] == [{"path": "x.jpg", "kind": "empty", "reason": "empty file"}]
    assert said["fingerprint"] == made.fingerprint


def test_images_without_classes_are_counted_together(tmp_path):
    write(make(classes=(), targets=np.full(12, -1), splits=np.full(12, "", "<U5")), tmp_path)
    assert open_features(tmp_path / "F.h5").to_dict()["counts"] == {"": {"": 12}}


def test_equal_features_are_said_to_be_once(provenance, caplog):
    made = make_features(provenance)
    assert made.alike is None
    alike = replace(made, X=np.full_like(made.X, 0.3))
    assert "all 36 images have the same features" in alike.alike
    assert alike.alike == alike.alike
    assert caplog.text.count("made: all 36 images have the same features") == 1
    but_one = alike.X.copy()
    but_one[-1, -1] += 1
    assert replace(made, X=but_one).alike is None
