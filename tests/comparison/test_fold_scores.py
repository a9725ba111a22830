import json
import math

import pytest
from scipy import stats

from featx.comparison.fold_scores import CrossValidation, FoldScore, FoldScores, FoldStore
from featx.training.resampling import Resampling


def make(name, *accuracies):
    folds = (FoldScore(accuracy, 1 - accuracy, None, 0.5) for accuracy in accuracies)
    return FoldScores(name, "frozen", tuple(folds))


FOUND = CrossValidation(
    Resampling(2, 2), 40, 40,
    (make("a", 0.8, 0.9, 0.8, 0.9), make("b", 0.7, 0.9, 0.8, 0.8), make("c", *[0.9] * 4)),
)  # fmt: skip


def test_pairs_by_hand():
    ab, ac, bc = FOUND.paired
    # a - b: 0.1, 0, 0, 0.1; mean 0.05, s² = 4 (0.05)² / 3; times 1/4 + 1.
    t = 0.05 / math.sqrt(1.25 * 0.01 / 3)
    p = 2 * stats.t.sf(t, 3)
    assert (ab.a, ab.b) == ("a", "b")
    assert (ab.t, ab.p_value_raw) == (pytest.approx(t, abs=1e-9), pytest.approx(p, abs=1e-9))
    raw = sorted(pair.p_value_raw for pair in (ab, ac, bc))
    assert min(pair.p_value for pair in (ab, ac, bc)) == pytest.approx(min(1, 3 * raw[0]))
    assert ac.difference.mean == pytest.approx(-0.05)


def test_all_is_json():
    values = json.loads(json.dumps(FOUND.to_dict(), allow_nan=False))
    a, _, c = values["candidates"]
    assert a["accuracy"]["mean"] == pytest.approx(0.85)
    assert a["log_loss"]["mean"] == pytest.approx(0.15)
    assert a["seconds"] == 2.0
    assert c["accuracy"]["ci95"] == pytest.approx([0.9, 0.9])
    always = CrossValidation(Resampling(1, 2), 4, 4, (make("a", 1.0, 1.0), make("b", 0.5, 0.5)))
    assert always.to_dict()["paired"][0]["t"] is None  # JSON has no infinity


def test_a_store_knows_its_own_folds_alone(tmp_path):
    path, scores = tmp_path / "cv.json", FOUND.candidates[0].folds
    store = FoldStore(path, ["5x5", 0])
    assert store.find({"clf": "a"}) is None
    store.keep({"clf": "a"}, scores)
    assert FoldStore(path, ["5x5", 0]).find({"clf": "a"}) == scores
    assert FoldStore(path, ["5x5", 0]).find({"clf": "b"}) is None
    assert FoldStore(path, ["5x5", 1]).find({"clf": "a"}) is None
    assert FoldStore(None, None).find({"clf": "a"}) is None
    for damaged in ("{}", "[]", '{"key": 1', "", '{"key": 1, "scores": {"x": [{"y": 1}]}}'):
        path.write_text(damaged)
        assert FoldStore(path, ["5x5", 0]).find({"clf": "a"}) is None
