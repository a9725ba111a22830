"""Heads of several labels an image side by side: who is best by what, and how they differ."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_sets import plant_features

from featx.errors import ArgumentError, DatasetError, ModelError, OutputExistsError
from featx.multilabel.compare import compare_multilabel


@pytest.fixture
def planted(provenance):
    return plant_features(provenance, noise=1.2, n=120)


@pytest.fixture
def comparison(planted, tmp_path):
    return compare_multilabel(planted, clf=["ridge", "logreg"], output=tmp_path / "out")


def test_the_best_is_so_out_of_fold(comparison):
    held = [one.outcome.details["out_of_fold"]["mAP"] for one in comparison.models]
    assert held == sorted(held, reverse=True)
    assert comparison.to_dict()["best"] == comparison.models[0].name


def test_a_pair_is_drawn_together(comparison):
    """Alike heads differ by little on every draw, however much both vary."""
    (pair,) = comparison.paired
    low, high = pair.ci95
    a, b = (one.outcome.details["evaluation"]["test"] for one in comparison.models)
    assert pair.difference == pytest.approx(a["mAP"] - b["mAP"])
    assert high - low < 0.5 * (a["ci95"]["mAP"][1] - a["ci95"]["mAP"][0])


def test_models_are_fitted_once(planted, comparison, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.multilabel.compare.fit_multilabel", None)
    again = compare_multilabel(planted, clf=["ridge", "logreg"], output=tmp_path / "out")
    assert [one.name for one in again.models] == [one.name for one in comparison.models]
    assert again.paired == comparison.paired


def test_an_unknown_head_is_said_before_another_is_fitted(planted, tmp_path):
    with pytest.raises(ModelError, match="knn has no meaning with several labels"):
        compare_multilabel(planted, clf=["ridge", "knn"], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compared_is_said(planted, tmp_path):
    with pytest.raises(DatasetError, match="no test images to compare on: give --split"):
        compare_multilabel(replace(planted, splits=np.full(120, "train")), output=tmp_path / "o")
    with pytest.raises(ArgumentError, match="margin is 0"):
        compare_multilabel(planted, margin=0)
    (tmp_path / "single").mkdir()
    told = {"dataset": {"name": planted.dataset, "split": planted.split_rule}}
    (tmp_path / "single" / "results.json").write_text(json.dumps(told))
    with pytest.raises(OutputExistsError, match="a comparison of one label an image"):
        compare_multilabel(planted, clf=["ridge"], output=tmp_path / "single")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputExistsError, match="other files"):
        compare_multilabel(planted, clf=["ridge"], output=tmp_path / "mine")
