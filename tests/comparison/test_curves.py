from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features

from featx.comparison.curves import CurvePoint, draw_curves, keep_curves
from featx.heads.fit import fit
from featx.heads.recipe import train_head
from featx.report.sentences import say_learning


@pytest.fixture
def features(provenance):
    return make_features(provenance, n_per=20, splits=(12, 4))


def test_more_images_per_class_help(features):
    models = [
        fit(features, clf, epochs=3, refit=False) for clf in ("logreg", "centroid", "linear", "knn")
    ]
    points = draw_curves(features, models, sizes=(1, 5, 12, 50), draws=4)
    assert [(p.name, p.per_class) for p in points[:3]] == [
        ("logreg", 1), ("logreg", 5), ("logreg", 12),
    ]  # fmt: skip
    assert len(points) == 12
    for point in points:
        assert point.images == 3 * point.per_class
        assert len(point.accuracies) == (1 if point.all else 4)
        assert point.all == (point.per_class == 12)
    for name in ("logreg", "centroid"):
        first, *_, last = [p for p in points if p.name == name]
        assert last.mean > first.mean
        entry = first.to_dict()
        assert entry["low"] <= entry["mean"] <= entry["high"]
    whole = {m.name: m.outcome.scores["test"].accuracy for m in models}
    assert all(p.mean == whole[p.name] for p in points if p.all)
    said = say_learning(points, "centroid", 12)
    assert said.startswith("From 15 to 36 images to learn from, centroid went from ")
    assert points == draw_curves(features, models, sizes=(1, 5, 12, 50), draws=4)


def test_draws_are_alike_for_all_heads_and_never_see_test(features, monkeypatch):
    seen = {}

    def watch(data, recipe, layer=None, more=None):
        assert set(data) == {"train", "val"}
        seen.setdefault(recipe["clf"], []).append(data["train"][0].tobytes())
        return train_head(data, recipe, layer, more)

    models = [fit(features, clf, refit=False) for clf in ("centroid", "ridge")]
    monkeypatch.setattr("featx.comparison.curves.train_head", watch)
    draw_curves(features, models, sizes=(2, 5), draws=3)
    assert seen["centroid"] == seen["ridge"]
    assert len(set(seen["ridge"])) == 6


def test_the_last_point_is_the_candidate_itself(features):
    refitted, plain = fit(features, "ridge"), fit(features, "ridge", refit=False)
    for model, per_class in ((refitted, 16), (plain, 12)):
        *_, last = draw_curves(features, [model], sizes=(2,), draws=1)
        assert (last.all, last.per_class, last.images) == (True, per_class, 3 * per_class)
        assert last.mean == model.outcome.scores["test"].accuracy


def test_kept_curves_belong_to_their_models(features, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "featx.comparison.curves.draw_curves",
        lambda *_, **__: drawn.append(1) or [CurvePoint("ridge", 1, 3, False, (0.5,))],
    )
    path, model = tmp_path / "learning.json", fit(features, "ridge")
    first = keep_curves(path, features, [model], 0, None)
    assert keep_curves(path, features, [model], 0, None) == first
    assert len(drawn) == 1
    keep_curves(path, features, [model], 1, None)
    keep_curves(path, features, [fit(features, "ridge", scale="l2")], 1, None)
    assert len(drawn) == 3
    path.write_text("{}")
    keep_curves(path, features, [model], 0, None)
    assert len(drawn) == 4


def test_rare_classes_give_all_they_have(features):
    splits = features.splits.copy()
    rare = np.flatnonzero((features.targets == 1) & (splits == "train"))
    splits[rare[2:]] = ""
    few = replace(features, splits=splits)
    (point, whole) = draw_curves(few, [fit(few, "ridge", refit=False)], sizes=(5,), draws=2)
    assert point.images == 5 + 2 + 5
    assert whole.images == 26
