"""The audit as a whole, from features alone: what is measured, what is not and why."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import add_layers, make_features
from shared import PROVENANCE

import featx
from featx.auditing.audit import find_root
from featx.auditing.labels import predict_out_of_fold
from featx.errors import DatasetError, LayersError
from featx.report.audit import say_head, say_leak


def audit(features, **options):
    return featx.audit(features, num_workers=0, **options)


def test_a_leak_is_measured_with_and_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_features(PROVENANCE, n_per=12)
    X, hashes = made.X.copy(), made.hashes.copy()
    for test, train in ((8, 0), (20, 12)):  # the same bytes on both sides
        X[test], hashes[test] = X[train], hashes[train]
    found = audit(replace(made, X=X, hashes=hashes))
    assert found.leak.leaked == 2
    assert (found.leak.everything.total, found.leak.without.total) == (12, 10)
    assert {(o.path, o.other) for o in found.findings if o.kind == "leak"} == {
        ("8.jpg", "0.jpg"), ("20.jpg", "12.jpg")
    }  # fmt: skip
    assert found.counts["leak"] == 2
    said = found.to_dict()
    assert said["leak"]["counts"]["without"]["total"] == 10
    assert said["judged"] == 36
    assert found.root is None
    assert "The pictures were not found" in found.notes[0]


def test_groups_are_in_one_fold_and_what_intervals_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_features(PROVENANCE, n_per=12)
    X, hashes = made.X.copy(), made.hashes.copy()
    X[35], hashes[35] = X[0], hashes[0]  # a copy joins two groups
    pairs = np.arange(36) // 2
    seen = []

    def watch(X, y, groups, *rest):
        seen.append(groups)
        return predict_out_of_fold(X, y, groups, *rest)

    monkeypatch.setattr("featx.auditing.audit.predict_out_of_fold", watch)
    found = audit(replace(made, X=X, hashes=hashes, groups=pairs.astype(str)))
    (apart,) = seen
    assert apart[34] == apart[35] == apart[0] == apart[1]
    assert len(np.unique(apart)) == 17
    assert found.leak.everything.method == found.to_dict()["leak"]["ci95_method"]["all"]
    assert found.leak.everything.method != "wilson"
    assert "95 % interval by groups" in say_leak(found)[0]


def test_what_cannot_be_measured_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_features(PROVENANCE, n_per=6, splits=(6, 0))
    assert audit(made).notes[-1] == "No accuracy was measured: it has no test images."
    none = replace(made, classes=(), targets=np.full(18, -1))
    found = audit(none)
    assert found.leak is None
    assert any("Labels were not judged" in note for note in found.notes)
    assert found.classes == {}


def test_rare_classes_have_less_than_a_third_of_the_median(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_features(PROVENANCE, n_per=9, splits=(9, 0))
    keep = np.concatenate([np.arange(18), [18, 19]])  # 9, 9 and 2
    columns = ("X", "targets", "splits", "paths", "hashes")
    found = audit(replace(made, **{name: getattr(made, name)[keep] for name in columns}))
    assert found.classes["train"] == {"a": 9, "b": 9, "c": 2}
    assert found.rare == ("c",)


def test_the_pictures_are_found_by_name(tmp_path, monkeypatch):
    made = make_features(PROVENANCE, n_per=4)
    monkeypatch.chdir(tmp_path)
    assert find_root(made) is None
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "3.jpg").write_bytes(b"x")
    assert find_root(made).name == "made"
    away = tmp_path / "away"
    away.mkdir()
    assert find_root(made, away) == away
    with pytest.raises(DatasetError, match="--root names the one with the images"):
        find_root(made, tmp_path / "nowhere")


def test_the_pictures_of_boxes_are_found_by_datas_name(tmp_path, monkeypatch):
    made = make_features(PROVENANCE, n_per=4)
    boxes = np.array([f"{path}/[1,2,3,4]" for path in made.paths])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "3.jpg").write_bytes(b"x")
    assert find_root(replace(made, dataset="made-of-boxes", paths=boxes)).name == "made"
    assert find_root(replace(made, dataset="made-of-boxes")) is None
    assert find_root(replace(made, dataset="other-boxes", paths=boxes)) is None


def test_labels_are_judged_by_the_layers_that_tell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_features(PROVENANCE, n_per=20, splits=(10, 4))
    rng = np.random.default_rng(3)
    blank = replace(made, X=rng.normal(0, 1, (len(made.targets), 512)).astype(np.float32))
    features = add_layers(blank, [("layer2", "max")])
    wrong = features.targets.copy()
    wrong[[3, 25]] = 2, 0
    features = replace(features, targets=wrong)

    def find(**options):
        found = audit(features, **options)
        return found, {one.path for one in found.findings if one.kind == "label"}

    found, named = find(layers="auto")
    assert {"3.jpg", "25.jpg"} <= named
    assert len(named) <= 4
    assert found.layers == found.to_dict()["layers"] == "max"
    assert "labels judged by max (" in say_head(found)
    plain, guessed = find()
    assert plain.layers == "last"
    assert len(guessed) > 4
    with pytest.raises(LayersError, match="layer3"):
        audit(replace(made, path=None), layers="layer3:avg")
