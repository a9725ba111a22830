"""A comparison on corrected labels: what is trained, what is reused, what is said of it."""

import json
import shutil

import numpy as np
import pytest

from featx.comparison.compare import compare
from featx.features.file import read_features
from featx.report.comparison import make_results
from featx.report.rerun import list_settings, say_command
from featx.sources.reading import read_dataset


@pytest.fixture
def do(stored, photos, tmp_path):
    """A comparison of ridge and centroid on photographs of which two are in another's folder."""
    shutil.move(photos / "cat" / "00.jpg", photos / "dog" / "00x.jpg")  # train
    shutil.move(photos / "owl" / "08.jpg", photos / "cat" / "08x.jpg")  # test

    def call(**options):
        defaults = {
            "split": "first:4,2", "cache_dir": tmp_path / "cache", "output": tmp_path / "out",
            "clf": ("ridge", "centroid"), "baseline": (), "learning_curves": False,
        }  # fmt: skip
        return compare(photos, **(defaults | options))

    return call


@pytest.fixture
def corrections(do, tmp_path):
    """What mends both, the second after a model's opinion."""
    found = do()
    sha = dict(zip(found.features.paths.tolist(), found.features.hashes.tolist(), strict=True))
    path = tmp_path / "corrections.csv"
    path.write_text(
        "sha256,path,was,answer,label,suspicion\n"
        f"{sha['dog/00x.jpg']},dog/00x.jpg,dog,is,cat,conflict\n"
        f"{sha['cat/08x.jpg']},cat/08x.jpg,cat,is,owl,label\n"
    )
    return path


def test_before_and_after_are_on_the_same_corrected_labels(do, corrections, photos, tmp_path):
    plain = do()
    seen = plain.extraction.features.read_bytes()
    found = do(labels=corrections)
    assert found.extraction.extracted == 0
    assert found.extraction.features.read_bytes() == seen
    made, features = plain.features, found.features
    rows = features.rows("test")
    assert [(p.a, p.b) for p in found.relabelled] == [
        ("ridge", "ridge on the labels as they were"),
        ("centroid", "centroid on the labels as they were"),
    ]
    names = np.array(features.classes)
    truth = names[features.targets[rows]]
    for pair, old, new in zip(found.relabelled, plain.candidates, found.candidates, strict=True):
        was, now = (
            np.array(one.model.classes)[one.outcome.probabilities["test"].argmax(axis=1)] == truth
            for one in (old, new)
        )
        assert (pair.only_a, pair.only_b) == ((now & ~was).sum(), (was & ~now).sum())
        assert pair.difference == pytest.approx(now.mean() - was.mean())
        assert new.model.outcome.details["labels"]["file"] == str(corrections)
    # Heads of before lie beside those of now, and split.csv has the labels of the files.
    assert len(list((tmp_path / "out").glob("ridge-*.safetensors"))) == 2
    split = read_dataset(tmp_path / "out" / "split.csv", root=photos)
    labels = {p: split.classes[k] for p, k in zip(split.paths, split.targets, strict=True)}
    assert labels["dog/00x.jpg"] == "dog"
    assert (
        made.fingerprint
        == features.corrected.fingerprint
        == found.to_dict()["labels"]["fingerprint_before"]
    )


def test_what_is_said_and_how_it_is_repeated(do, corrections, tmp_path):
    found = do(labels=corrections)
    values = json.loads(json.dumps(make_results(found)))
    told = values["labels"]
    assert (told["changed"], told["test"]) == (2, {"changed": 1, "by_model": 1})
    assert len(told["paired"]) == 2
    notes = " ".join(values["notes"])
    assert "Labels corrected by corrections.csv: 2 changed, 0 left out" in notes
    assert "1 test label was changed, or left out, after someone had seen" in notes
    assert "On the corrected test labels ridge is right on " in notes
    kept = (tmp_path / "out" / "corrections.csv").resolve()
    assert kept.read_bytes() == corrections.read_bytes()
    assert list_settings(found)["labels"] == str(kept)
    assert f"--labels {kept}" in say_command(found)
    assert do(labels=kept).features.fingerprint == found.features.fingerprint
    assert do().to_dict()["labels"] is None


def list_tests(features):
    return features.paths[features.rows("test")].tolist()


def test_baselines_learn_from_corrected_labels(do, corrections, tmp_path):
    options = {"clf": ("ridge",), "baseline": ("fc",), "epochs": 1}
    found = do(labels=corrections, **options)
    assert [pair.a for pair in found.relabelled] == ["ridge"]
    assert "there is no run of fc here: compare without --labels first" in " ".join(
        make_results(found)["notes"]
    )
    plain = do(**options)
    recipes = [one.candidates[1].model.recipe["fingerprint"] for one in (plain, found)]
    assert recipes == [plain.features.fingerprint, found.features.fingerprint]
    # Now there is one, and both are held against the same corrected labels.
    found = do(labels=corrections, **options)
    pair = found.relabelled[1]
    assert (pair.a, pair.b) == ("fc", "fc on the labels as they were")
    features, old, new = found.features, plain.candidates[1], found.candidates[1]
    truth = np.array(features.classes)[features.targets[features.rows("test")]]
    places = {path: i for i, path in enumerate(list_tests(plain.features))}
    order = [places[path] for path in list_tests(features)]
    was, now = (
        np.array(one.model.classes)[one.outcome.probabilities["test"].argmax(axis=1)]
        for one in (old, new)
    )
    was = was[order] == truth
    now = now == truth
    assert (pair.only_a, pair.only_b) == ((now & ~was).sum(), (was & ~now).sum())
    assert "there is no run of" not in " ".join(make_results(found)["notes"])


def test_shares_are_of_the_corrected_classes(do, corrections, tmp_path):
    features = read_features(do().extraction.features)
    owls = features.hashes[features.targets == features.classes.index("owl")]
    lines = [f"{one},is,barn owl" for one in owls]
    corrections.write_text("\n".join(["sha256,answer,label", *lines]))
    shares = {"cat": 1, "dog": 1, "barn owl": 2}
    found = do(labels=corrections, prevalence=shares)
    assert found.features.classes == ("barn owl", "cat", "dog")
    assert found.prevalence["barn owl"] == pytest.approx(0.5)
    assert found.relabelled[0].only_a > 0  # what learned "owl" knows no barn owl
