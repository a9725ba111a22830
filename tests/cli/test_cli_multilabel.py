"""Several labels an image from a CSV to predictions."""

import csv
import json
import shutil

import numpy as np
import pytest

from featx.deployment.classifier import read_classifier
from featx.deployment.parity import make_pictures
from featx.features.file import read_features
from featx.multilabel.head import load_labels_head
from featx.network.engine import TorchEngine
from featx.sources.reading import read_dataset
from featx.training.model import read_model


def write_labels(root, path):
    """Kinds are told by colour, so that two labels of three are each of two kinds."""
    names = sorted(one.relative_to(root).as_posix() for one in root.glob("*/*"))
    labels = {"cat": "furry|small", "dog": "furry", "owl": ""}
    lines = [f"{name},{labels[name.partition('/')[0]]}" for name in names]
    path.write_text("path,label\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def manifest(photos):
    return write_labels(photos, photos / "scenes.csv")


@pytest.fixture
def made(kept, stored, full_width, drawn_photos, run):
    """A folder with features and a model of them, which no test may touch."""

    def make(folder):
        manifest = write_labels(drawn_photos, folder / "scenes.csv")
        words = ["--root", drawn_photos, "--multi-label", "--split", "0.6,0.2,0.2", "-q"]
        done = run("extract", manifest, *words, "-o", folder / "F.h5")
        assert done.exit_code == 0, done.stderr
        done = run(
            "fit", folder / "F.h5", "--clf", "ridge", "-o", folder / "m.safetensors", "--json"
        )
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["evaluation"]["test"]["mAP"] > 0.9
        return folder

    return kept(("several labels", full_width), make)


@pytest.fixture
def features(made, tmp_path):
    return shutil.copy(made / "F.h5", tmp_path / "F.h5")


@pytest.fixture
def model(made):
    return made / "m.safetensors"


def test_fit_shows_labels_and_thresholds(features, run):
    done = run("fit", features, "--clf", "ridge", "--calibrate")
    assert done.exit_code == 0, done.stderr
    assert "ridge: " in done.stdout
    assert "2 labels" in done.stdout
    assert "whole sets right" in done.stdout
    assert "ridge's labels, on test" in done.stdout
    assert (features.parent / "F.ridge.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--clf", "centroid"], "centroid has no meaning with several labels"),
        (["--cv", "2x2"], "--cv has no meaning with several labels"),
        (["--strangers"], "--strangers has no meaning"),
        (["--choose-on", "val"], "--choose-on has no meaning"),
        (["--no-refit"], "--refit has no meaning"),
        (["--taxonomy", "t.csv"], "--taxonomy has no meaning"),
        (["--layers", "all"], "--layers has no meaning"),
    ],
)
def test_what_has_no_meaning_is_refused(features, run, options, said):
    done = run("fit", features, *options)
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.split())


def test_predict_gives_labels_in_every_form(model, photos, tmp_path, run):
    said = tmp_path / "said.csv"
    done = run("predict", model, photos / "cat", photos / "owl", "--json", "--csv", said)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)["predictions"]
    assert len(told) == 18
    assert set(told[0]) == {"path", "labels", "probabilities"}
    assert set(told[0]["probabilities"]) == {"furry", "small"}
    kinds = [(one["path"].split("/")[-2], "|".join(one["labels"])) for one in told]
    right = {"cat": "furry|small", "owl": ""}
    assert sum(labels == right[kind] for kind, labels in kinds) >= 14
    rows = list(csv.DictReader(said.open()))
    assert [row["labels"] for row in rows] == [labels for _, labels in kinds]
    assert json.loads(rows[0]["probabilities"]) == told[0]["probabilities"]
    again = run("predict", model, photos / "cat", "--csv", said)  # over its own kind
    assert again.exit_code == 0, again.stderr
    assert again.stdout.splitlines()[0].split() == ["image", "label", "probability"]
    assert "furry" in again.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "MODEL", "photos/cat", "--unknown", "0.05"], "--unknown takes one"),
        (["predict", "MODEL", "photos/cat", "--sets", "0.9"], "--sets takes one"),
        (["predict", "MODEL", "photos/cat", "--precision-at-least", "0.9"], "takes one"),
        (["predict", "MODEL", "photos/cat", "--top", "2"], "leave --top and --threshold out"),
        (["drift", "MODEL", "photos/cat"], "featx drift takes one"),
        (["explain", "MODEL", "photos/cat", "-o", "maps"], "featx explain takes one"),
        (["explain", "MODEL", "F.h5", "--part", "test"], "featx explain takes one"),
        (["card", "MODEL"], "featx card takes one"),
        (["audit", "F.h5"], "featx audit takes one"),
        (["next", "F.h5"], "featx next takes one"),
        (["similar", "F.h5", "photos/cat"], "featx similar takes one"),
        (["fit", "F.h5", "--labels", "c.csv"], "--labels has no meaning"),
    ],
)
def test_what_takes_one_label_says_which_commands_take_several(
    model, features, photos, run, words, said
):
    there = {"MODEL": model, "F.h5": features, "photos/cat": photos / "cat"}
    done = run(*(there.get(word, word) for word in words))
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.split())


def test_folders_are_refused(photos, stored, run):
    done = run("extract", photos, "--multi-label")
    assert done.exit_code == 1
    assert "--multi-label goes with a manifest" in done.stderr


def test_compare_shows_labels_and_pairs(manifest, stored, tmp_path, run):
    out = tmp_path / "out"
    words = ["compare", manifest, "--multi-label", "--split", "0.5,0.2,0.3", "-o", out]
    words += ["--cache-dir", tmp_path / "cache", "--clf", "ridge", "--clf", "svm"]
    words += ["--baseline", "none"]
    done = run(*words, "--json", "-q")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((out / "results.json").read_text())
    assert {one["name"] for one in told["candidates"]} == {"ridge", "svm"}
    assert told["best"] == told["candidates"][0]["name"]
    (pair,) = told["paired"]
    low, high = pair["ci95"] or (0, 0)  # both may be right everywhere
    assert low <= pair["difference"] <= high
    page = (out / "report.html").read_text()
    for part in ("furry", "small", "ridge", "svm", pair["text"], told["sentences"][0]):
        assert part in page
    assert "<script" not in page
    assert any(note.startswith("images with none of the labels: 9") for note in told["notes"])
    assert page.count("data:image/jpeg") == len(told["mistakes"])
    kept = read_dataset(out / "split.csv", root=manifest.parent, multi_label=True)
    assert kept.label_sets.sum() == 27
    assert kept.counts() == told["dataset"]["images"]
    models = {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    again = run(*words)
    assert again.exit_code == 0, again.stderr
    assert models == {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert "candidate, on test" in again.stdout
    assert "labels, on test" in again.stdout
    other = run(*words[:3], "--split", "0.6,0.2,0.2", *words[5:])
    assert other.exit_code == 1
    assert "split: 0.5,0.2,0.3 → 0.6,0.2,0.2" in other.stderr


def test_the_baseline_learns_what_a_linear_head_does(manifest, stored, photos, tmp_path, run):
    out = tmp_path / "out"
    words = ["compare", manifest, "--multi-label", "--split", "0.5,0.2,0.3", "-o", out]
    words += ["--cache-dir", tmp_path / "cache", "--clf", "linear", "--epochs", "3"]
    done = run(*words, "--learning-rate", "0.001", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    head, tuned = json.loads(done.stdout)["candidates"]
    assert (head["name"], head["kind"]) == ("linear", "frozen")
    assert (tuned["name"], tuned["kind"]) == ("fc", "finetuned")
    assert tuned["seconds"]["extract"] is None
    assert len(tuned["history"]) == 3
    loss = [one["loss"]["train"] for one in tuned["history"]]
    assert loss[-1] < loss[0]
    model = read_model(tuned["model"])
    said = run("predict", tuned["model"], photos / "cat", "--json")
    told = json.loads(said.stdout)["predictions"]
    assert set(told[0]["probabilities"]) == {"furry", "small"}
    held = read_features(next((tmp_path / "cache").glob("*.h5")))
    test = held.splits == "test"
    p = load_labels_head(model).predict_proba(held.X[test])
    assert np.abs(p - model.outcome.probabilities["test"]).max() < 1e-4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--baseline", "layer4"], "with several labels an image it is fc, or none"),
        (["--clf", "knn"], "knn has no meaning with several labels"),
        (["--protocol", "paper"], "--protocol has no meaning"),
        (["--cv", "2x2"], "--cv has no meaning"),
    ],
)
def test_what_a_comparison_leaves_out_is_said(manifest, features, run, options, said):
    words = ["compare", manifest, "--multi-label", "--split", "0.6,0.2,0.2", *options]
    done = run(*words, "--cache-dir", features.parent / "cache")
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("scale", ["standard", "l2"])
def test_an_onnx_file_says_the_same(features, tmp_path, run, scale):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model, out = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    run("fit", features, "--clf", "svm", "--scale", scale, "-o", model)
    done = run("export", model, "--onnx", out, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["check"]["max_difference"] < 1e-4
    assert told["clf"] == "svm"
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["furry", "small"]
    made = read_classifier(model)
    assert json.loads(about["thresholds"]) == made.head.thresholds.tolist()
    pixels = make_pictures(5, made.weights.preprocessing.crop)
    (said,) = session.run(None, {"pixels": pixels})
    expected = made.head.predict_proba(TorchEngine(made.weights, "cpu", 5).run(pixels))
    assert np.abs(said - expected).max() < 1e-5
    assert not np.allclose(said.sum(axis=1), 1)
