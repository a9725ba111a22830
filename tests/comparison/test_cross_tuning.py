import numpy as np
import pytest

from featx.comparison import cross_tuning
from featx.comparison.compare import compare
from featx.comparison.cross_validation import FoldTask
from featx.finetuning.finetune import finetune_rows


@pytest.fixture
def do(stored, photos, tmp_path):
    def call(**options):
        defaults = {
            "split": "first:4,2", "epochs": 1, "cache_dir": tmp_path / "cache", "cv": "1x3",
            "output": tmp_path / "out", "batch_size": 16, "clf": ("centroid",),
            "baseline": ("fc",), "cv_baselines": True, "learning_curves": False,
        }  # fmt: skip
        return compare(photos, **(defaults | options))

    return call


def test_baselines_meet_the_folds_of_the_heads(do, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="featx")
    runs, held = [], []

    def watch(rows, weights, recipe, folder, **options):
        runs.append(rows.dataset)
        return finetune_rows(rows, weights, recipe, folder, **options)

    monkeypatch.setattr(cross_tuning, "finetune_rows", watch)
    score = FoldTask.score
    monkeypatch.setattr(
        FoldTask, "score", lambda self, *job: held.append(job[2][1]) or score(self, *job)
    )
    found = do()
    centroid, fc = found.cv.candidates
    assert (centroid.name, fc.name, fc.kind) == ("centroid", "fc", "finetuned")
    assert len(runs) == len(held) == len(fc.folds) == 3
    for dataset, outside in zip(runs, held, strict=True):
        assert np.flatnonzero(dataset.splits == "test").tolist() == outside.tolist()
        # The epoch is chosen on a part of the others, which has every class.
        assert set(dataset.targets[dataset.splits == "val"]) == {0, 1, 2}
        assert set(dataset.targets[dataset.splits == "train"]) == {0, 1, 2}
        assert not (dataset.splits == "").any()
    assert "cross-validation of fc: 3 runs, about " in caplog.text
    assert not list((tmp_path / "out").glob("fold-*"))  # only their scores are kept
    assert found.not_crossed == []
    again = do()
    assert len(runs) == 3
    assert again.cv == found.cv
    assert do(cv_baselines=False).not_crossed == ["fc"]


def test_two_folds_of_two_images_leave_no_val(do, photos, monkeypatch):
    for folder in photos.iterdir():
        for path in sorted(folder.iterdir())[2:]:
            path.unlink()
    seen = []
    monkeypatch.setattr(
        cross_tuning,
        "finetune_rows",
        lambda rows, *a, **k: seen.append(rows.dataset) or finetune_rows(rows, *a, **k),
    )
    do(split="0.5,0,0.5@0", cv="1x2")
    assert all(dataset.counts() == {"train": 3, "test": 3} for dataset in seen)
    assert len(seen) == 2
