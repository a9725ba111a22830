"""The baseline of several labels an image: from which images and weights, and what val chooses."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from featx.data import feeding
from featx.errors import ModelError
from featx.extraction.extract import extract
from featx.features.file import read_features
from featx.finetuning.recipe import TuneOptions
from featx.multilabel.baseline import LabelsTuner
from featx.multilabel.head import load_labels_head


@pytest.fixture
def features(photos, stored, tmp_path):
    names = sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*"))
    split = ("train", "train", "val", "test")
    lines = [f"{n},{split[i % 4]},{n[0] == 'c':d},{n[0] != 'o':d}" for i, n in enumerate(names)]
    (photos / "m.csv").write_text("\n".join(["path,split,small,furry", *lines]) + "\n")
    return read_features(
        extract(photos / "m.csv", multi_label=True, output=tmp_path / "F.h5").features
    )


def train(features, photos, out, processes=None, **options):
    tuning = TuneOptions(epochs=3, **options)
    tuner = LabelsTuner(photos, "imagenet1k-v1", tuning, "cpu", 1, processes)
    return tuner.train(features, tuner.make_recipe(features), out)


def test_val_chooses_thresholds_and_rate(features, photos, tmp_path):
    model = train(features, photos, tmp_path / "fc.safetensors")
    details, val = model.outcome.details, features.splits == "val"
    assert len(details["rates"]) == 3
    for k, one in enumerate(details["labels"]):
        y, p = features.label_sets[val, k], model.outcome.probabilities["val"][:, k]
        best = max(f1_score(y, p >= t) for t in p)
        assert f1_score(y, p >= one["threshold"]) == pytest.approx(best)
    p = load_labels_head(model).predict_proba(features.X[val])
    assert np.abs(p - model.outcome.probabilities["val"]).max() < 1e-4


def test_processes_that_decode_train_what_threads_train(features, photos, tmp_path, monkeypatch):
    start, started = feeding.Decoders, []
    monkeypatch.setattr(feeding, "Decoders", lambda *told: started.append(told[2]) or start(*told))
    by_threads, by_processes = (
        train(features, photos, tmp_path / f"{n}.safetensors", processes=n) for n in (0, 2)
    )
    assert started == [2]
    for name, array in by_threads.arrays.items():
        assert np.array_equal(by_processes.arrays[name], array), name


def test_without_val_thresholds_are_a_half(features, photos, tmp_path):
    splits = np.where(features.splits == "val", "train", features.splits)
    model = train(replace(features, splits=splits), photos, tmp_path / "fc.safetensors")
    assert model.arrays["thresholds"].tolist() == [0.5, 0.5]
    assert model.outcome.best_epoch == 3


def test_labels_and_options_are_in_the_recipe(features, photos):
    def tell(held, **options):
        tuner = LabelsTuner(photos, "imagenet1k-v1", TuneOptions(**options), "cpu", 1)
        return tuner.make_recipe(held)

    assert tell(features) == tell(features)
    assert tell(features) != tell(replace(features, label_sets=~features.label_sets))
    assert tell(features) != tell(features, seed=1)


def test_other_weights_are_refused(features, photos, tmp_path):
    other = replace(features.provenance, weights_sha256="0" * 64)
    with pytest.raises(ModelError, match="other weights than imagenet1k-v1"):
        train(replace(features, provenance=other), photos, tmp_path / "fc.safetensors")
