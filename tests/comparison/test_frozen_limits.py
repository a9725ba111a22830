"""What the limits of frozen features are measured with: benchmarks/limits.py, on made-up data."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from made_features import add_layers, make_features
from PIL import Image
from shared import load_script

from featx.heads.fit import fit

MEASURE = Path(__file__).parents[2] / "benchmarks" / "limits.py"
pytestmark = pytest.mark.skipif(not MEASURE.exists(), reason="away from the checkout")


@pytest.fixture(scope="module")
def limits():
    return load_script(MEASURE)


def test_every_set_of_layers_meets_the_same_folds(limits, provenance):
    made = make_features(provenance, n_per=10, splits=(0, 0))
    blank = np.random.default_rng(4).normal(0, 1, (30, 512)).astype(np.float32)
    features = add_layers(replace(made, X=blank), [("layer2", "max")])
    folds = list(limits.deal_folds(features, seed=0))
    held = [np.flatnonzero(one.splits == "test") for one in folds]
    assert sorted(np.concatenate(held).tolist()) == list(range(30))
    found = limits.judge_layers(folds[:2], seed=0)
    assert list(found) == ["last", "avg", "max", "all", "auto"]
    assert found["max"]["accuracy"] > 0.9 > 0.6 > found["last"]["accuracy"]
    # As it would have been chosen by itself.
    alone = fit(folds[0], "logreg", layers="auto")
    assert found["auto"]["read"][0] == alone.outcome.details["layers"] == "max"
    assert found["auto"]["each"][0] == alone.outcome.scores["test"].accuracy
    against = found["max"]["against last"]
    assert against["difference"] == pytest.approx(
        found["max"]["accuracy"] - found["last"]["accuracy"]
    )
    assert against["p_value"] < 0.05
    assert found["last"]["against last"]["p_value"] == 1


def test_cells_are_those_labelled_without_doubt(limits, monkeypatch, tmp_path):
    pictures = np.arange(4, dtype=np.uint8)[:, None, None] + np.zeros((4, 8, 8), np.uint8)
    utils = ModuleType("elpv_dataset.utils")
    utils.load_dataset = lambda: (pictures, np.array([0, 1 / 3, 1, 0]), ["mono"] * 4)
    monkeypatch.setitem(sys.modules, "elpv_dataset", ModuleType("elpv_dataset"))
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", utils)
    with limits.make_cells(tmp_path).open(encoding="utf-8", newline="") as file:
        rows = [(row["label"], row["path"]) for row in csv.DictReader(file)]
    assert [label for label, _ in rows] == ["sound", "defect", "sound"]
    assert [np.asarray(Image.open(tmp_path / path))[0, 0] for _, path in rows] == [0, 2, 3]
    # Some that are drawn are dealt into splits, at random, by the shares.
    with limits.make_cells(tmp_path, drawn=2, seed=1).open(encoding="utf-8", newline="") as file:
        drawn = list(csv.DictReader(file))
    assert {(row["label"], row["path"]) for row in drawn} < set(rows)
    assert sorted(row["split"] for row in drawn) == ["test", "train"]
    dealt = limits.deal_splits(10, np.random.default_rng(0))
    assert [dealt.count(split) for split in ("train", "val", "test")] == [5, 2, 3]
    assert dealt != sorted(dealt, key=("train", "val", "test").index)
