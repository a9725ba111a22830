import json

import numpy as np
import pytest
from conftest import draw_photo

from featx.comparison import compare
from featx.errors import DatasetError, ModelError, OutputExistsError
from featx.metrics import holm, mcnemar
from featx.sources import read_dataset


@pytest.fixture
def do(stored, photos, tmp_path):
    def call(data=photos, **options):
        defaults = {
            "split": "first:4,2", "epochs": 2, "cache_dir": tmp_path / "cache",
            "output": tmp_path / "out", "batch_size": 16,
        }  # fmt: skip
        return compare(data, **(defaults | options))

    return call


def test_all_candidates_on_the_same_images(do, photos, tmp_path):
    found = do(clf=("logreg", "linear"), baseline=("fc", "last3"))
    assert [(c.name, c.kind) for c in found.candidates] == [
        ("logreg", "frozen"), ("linear", "frozen"), ("fc", "finetuned"), ("last3", "finetuned"),
    ]  # fmt: skip
    values = json.loads(json.dumps(found.to_dict()))
    y = found.features.split("test")[1]
    for candidate, entry in zip(found.candidates, values["candidates"], strict=True):
        assert entry["counts"]["test"]["total"] == len(y) == 9
        assert entry["counts"]["val"]["total"] == 6
        right = (candidate.outcome.probabilities["test"].argmax(1) == y).sum()
        assert entry["counts"]["test"]["correct"] == right
        assert set(entry["seconds"]) == {"extract", "fit"}
        for key in (
            "accuracy",
            "ci95",
            "mean_per_class",
            "seconds_per_epoch",
            "trainable_parameters",
        ):
            assert key in entry
    assert values["candidates"][0]["seconds"]["extract"] > 0
    assert values["candidates"][2]["seconds"]["extract"] is None
    assert values["candidates"][0]["seconds_per_epoch"] is None
    assert values["candidates"][1]["trainable_parameters"] == 2049 * 3
    assert values["best"] in {c.name for c in found.candidates}
    assert len(values["paired"]) == 6
    split = read_dataset(tmp_path / "out" / "split.csv", root=photos)
    assert sorted(zip(split.paths, split.splits, strict=True)) == sorted(
        zip(found.features.paths.tolist(), found.features.splits.tolist(), strict=True)
    )


def test_pairs_are_mcnemar_with_holm(do):
    found = do(baseline=("fc",))
    y = found.features.split("test")[1]
    predicted = {c.name: c.outcome.probabilities["test"].argmax(1) for c in found.candidates}
    raw = [mcnemar(y, predicted[p.a], predicted[p.b]) for p in found.paired]
    assert [(p.only_a, p.only_b, p.p_value_raw) for p in found.paired] == raw
    assert [p.p_value for p in found.paired] == holm([p for _, _, p in raw])


def test_what_is_there_is_reused(do, monkeypatch):
    first = do()

    def never(*_, **__):
        raise AssertionError("done again")

    for name in (
        "featx.comparison.fit",
        "featx.comparison.finetune_rows",
        "featx.engines.make_engine",
    ):
        monkeypatch.setattr(name, never)
    again = do()
    assert again.to_dict() == first.to_dict()
    assert again.extraction.extracted == 0
    with pytest.raises(AssertionError, match="done again"):
        do(epochs=3)


def test_frozen_split_repeats_the_run(do, photos, tmp_path):
    first = do(baseline=())
    again = do(
        tmp_path / "out" / "split.csv",
        split=None,
        root=photos,
        output=tmp_path / "again",
        baseline=(),
    )
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert a.outcome.scores == b.outcome.scores
        assert np.array_equal(a.outcome.probabilities["test"], b.outcome.probabilities["test"])


def test_skipped_images_are_out_for_everyone(do, photos):
    (photos / "cat" / "00.jpg").write_bytes(b"x")
    found = do()
    assert {c.outcome.scores["train"].total for c in found.candidates} == {11}
    assert found.to_dict()["dataset"]["skipped"] == 1


def test_another_datasets_folder_is_refused(do, tmp_path):
    from featx.report import write_report

    write_report(do(baseline=()))
    with pytest.raises(OutputExistsError, match=r"something else \(split: first:4,2 → first:5,2\)"):
        do(baseline=(), split="first:5,2")
    do(baseline=(), split="first:5,2", overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="a file, not a folder"):
        do(output=tmp_path / "file")


def test_data_that_cannot_be_compared_on(do, photos):
    with pytest.raises(DatasetError, match="has no test images to compare on: give --split"):
        do(split=None)
    with pytest.raises(DatasetError, match="its images have no labels"):
        do(photos / "cat", split=None)
    with pytest.raises(ModelError, match="nothing to compare"):
        do(clf=(), baseline=())
    with pytest.raises(ModelError, match="unknown baseline 'vgg'"):
        do(baseline=("vgg",))


def test_other_peoples_files_stay(do, photos, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "results.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="a folder with other files"):
        do(output=tmp_path / "thesis")
    do(baseline=())
    manifest = tmp_path / "out" / "split.csv"
    with pytest.raises(OutputExistsError, match="the manifest that is compared on"):
        do(manifest, split=None, root=photos, baseline=())
    manifest.write_text("my,own,list\n")
    with pytest.raises(OutputExistsError, match="not a file that featx wrote"):
        do(baseline=())
    do(baseline=(), overwrite=True)  # what the message offers
    assert manifest.read_text().startswith("path,label,split\n")


def test_a_damaged_model_is_trained_again(do, tmp_path, caplog):
    first = do(baseline=())
    for path in (tmp_path / "out").glob("*.safetensors"):
        path.write_bytes(b"damaged")
    again = do(baseline=())
    assert sum(m.startswith("trained again: ") for m in caplog.messages) == 2
    assert again.candidates[0].outcome.scores == first.candidates[0].outcome.scores


def test_a_folder_that_has_grown_is_compared_again(do, photos):
    from featx.report import write_report

    write_report(do(baseline=()))
    draw_photo(photos / "cat" / "new.png", 0, 77)
    grown = do(baseline=())
    assert grown.candidates[0].outcome.scores["test"].total == 10
    assert grown.extraction.extracted == 1


def test_train_is_scored_by_the_kept_model_for_all(do):
    # The linear head and the fc baseline are one computation: so is their score on train.
    found = {c.name: c.outcome.scores["train"] for c in do().candidates}
    assert found["fc"] == found["linear"]
