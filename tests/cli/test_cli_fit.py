import json
import re

import pytest

from featx.features.file import read_features
from featx.training.model import read_model


@pytest.fixture
def features(feature_file):
    return feature_file("first:4,2")


def test_fit_logreg(run, features):
    done = run("fit", features, "--clf", "logreg", "--json")
    assert done.exit_code == 0
    assert done.stderr == ""
    values = json.loads(done.stdout)
    assert set(values) >= {
        "clf", "model", "C", "accuracy", "counts", "ci95", "mean_per_class", "fit_seconds",
        "classes",
    }  # fmt: skip
    assert values["model"] == str(features.with_name("F.logreg.safetensors"))
    assert values["counts"]["test"]["total"] == 9
    fixed = json.loads(run("fit", features, "-C", "0.5", "--scale", "standard", "--json").stdout)
    assert (fixed["C"], fixed["chosen_by"], fixed["scale"]) == (0.5, "given", "standard")


def test_fit_linear_as_text(run, features, tmp_path):
    out = tmp_path / "m.safetensors"
    done = run("fit", features, "--clf", "linear", "--epochs", "3", "-o", out)
    assert done.exit_code == 0
    assert done.stdout.startswith("linear: 6,147 parameters, learning_rate = ")
    assert done.stdout.endswith(f"model: {out}\n")
    refused = run("fit", features, "--clf", "logreg", "-o", out)
    assert refused.exit_code == 1
    assert f"Error: {out} exists and holds something else (" in refused.stderr
    assert "clf: linear → logreg" in refused.stderr
    assert run("fit", features, "--clf", "logreg", "-o", out, "--overwrite").exit_code == 0


def test_strangers_are_told_of(run, features, tmp_path):
    done = run("fit", features, "--clf", "centroid", "--strangers")
    assert done.exit_code == 0
    assert "strangers: " in done.stdout
    assert "a class that was left out with an AUROC of" in done.stdout
    told = json.loads(run("fit", features, "--clf", "centroid", "--strangers", "--json").stdout)
    assert f"calibrated on {told['strangers']['images']} out-of-fold images" in done.stdout


def test_features_without_labels(run, photos, stored, tmp_path):
    run("extract", photos / "cat", "-o", tmp_path / "U.h5", "-q")
    done = run("fit", tmp_path / "U.h5")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {tmp_path / 'U.h5'}: its images have no labels: there is nothing to learn\n"
    )


def test_no_feature_file(run):
    done = run("fit", "F.h5")
    assert done.exit_code == 1
    assert done.stderr == "Error: F.h5: no such feature file; featx extract makes one\n"


def test_every_head_predicts_again(run, features, photos, stored):
    test = features.parent / "photos" / "owl" / "08.jpg"
    for clf in ("linear", "svm", "ridge", "knn", "centroid", "imagenet"):
        done = run("fit", features, "--clf", clf, "--json", "--epochs", "2", "-q")
        assert done.exit_code == 0, done.stderr
        values = json.loads(done.stdout)
        assert values["clf"] == clf
        said = run("predict", values["model"], test, "--json", "-q", "--top", 3)
        assert said.exit_code == 0, said.stderr
        (one,) = json.loads(said.stdout)["predictions"]
        assert abs(sum(top["probability"] for top in one["top"]) - 1) < 1e-6


def test_fit_with_views(run, photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    words = ["extract", photos, "--split", "first:4,2", "-o", out, "-q"]
    made = json.loads(run(*words, "--views", "1", "--json").stdout)
    assert made["views"] == [str(tmp_path / "F.view1.h5")]
    assert (tmp_path / "F.view1.h5").exists()
    values = json.loads(run("fit", out, "--clf", "ridge", "--views", "1", "--json").stdout)
    assert values["views"] == 1
    missing = run("fit", out, "--views", "2")
    assert missing.exit_code == 1
    assert "F.view2.h5 is not there: featx extract --views 2 makes it" in missing.stderr


def test_wishes_that_need_val(run, photos, stored, tmp_path):
    run("extract", photos, "--split", "first:4,0", "-o", tmp_path / "F.h5", "-q")
    done = run("fit", tmp_path / "F.h5", "--clf", "linear", "--calibrate")
    assert done.exit_code == 1
    assert "has no val images, and calibrate needs them" in done.stderr
    told = run("fit", tmp_path / "F.h5", "--calibrate", "--refit", "--json")  # folds of train do
    assert json.loads(told.stdout)["chosen_by"].startswith("folds of train")


def test_cross_validation_from_the_command_line(run, features):
    done = run("fit", features, "--clf", "centroid", "--cv", "2x3")
    assert "Cross-validation 2x3: all 27 labelled images" in done.stdout
    assert "The test split answers how good these very models are on these 9" in done.stdout
    values = json.loads(run("fit", features, "--clf", "centroid", "--cv", "2x3", "--json").stdout)
    assert [one["name"] for one in values["cv"]["candidates"]] == ["centroid"]
    assert values["cv"]["paired"] == []
    plain = run("fit", features, "--clf", "centroid")
    assert "27 labelled images are few for one split" in plain.stdout
    assert "--cv 9x10 needs 10 images of each class" in run("fit", features, "--cv", "9x10").stderr
    assert "without --views" in run("fit", features, "--cv", "2x3", "--views", "1").stderr


def test_layers_that_are_read_are_said(run, feature_file):
    wide = feature_file("first:4,2", "max")
    done = run("fit", wide, "-C", "0.01")
    assert done.exit_code == 0, done.stderr
    assert re.search(
        r"^logreg\+layers reads (last, 2,048|max, 3,840) columns, by the log-loss of images that "
        r"were held out \(last \d\.\d{3}, max \d\.\d{3}\)\.$",
        done.stdout,
        re.M,
    )
    values = json.loads(run("fit", wide, "-C", "0.01", "--layers", "last", "--json").stdout)
    assert values["layers"] == "last"
    assert "layers_tried" not in values
    done = run("fit", wide, "--layers", "avg")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {wide} has no layer1:avg, layer2:avg, layer3:avg, which --layers avg asks for (it "
        f"keeps max): featx extract DATA -o {wide} --layers all adds what is missing; the network "
        "runs again, the rest is kept\n"
    )


def test_corrected_labels_are_named_and_change_no_file(run, feature_file, tmp_path):
    features = feature_file("first:4,2")
    before = features.read_bytes()
    plain = json.loads(run("fit", features, "--clf", "centroid", "--json").stdout)
    held = read_features(features)
    table = tmp_path / "corrections.csv"
    table.write_text(f"sha256,answer,label\n{held.hashes[0]},is,dog\n{held.hashes[1]},leave out,\n")
    words = ("fit", features, "--clf", "centroid", "--labels", table)
    values = json.loads(run(*words, "--json").stdout)
    assert "labels" not in plain
    assert (values["labels"]["changed"], values["labels"]["left_out"]) == (1, 1)
    assert values["labels"]["file"] == str(table)
    assert values["counts"]["train"]["total"] == plain["counts"]["train"]["total"] - 1
    assert read_model(values["model"]).outcome.details["labels"] == values["labels"]
    assert "Labels corrected by corrections.csv: 1 changed, 1 left out" in run(*words).stdout
    assert features.read_bytes() == before
