import json

import pytest


@pytest.fixture
def features(run, photos, stored, tmp_path):
    run("extract", photos, "--split", "first:4,2", "-o", tmp_path / "F.h5", "-q")
    return tmp_path / "F.h5"


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
    assert done.stdout.startswith("linear: 6,147 parameters, epoch ")
    assert done.stdout.endswith(f"model: {out}\n")
    refused = run("fit", features, "--clf", "logreg", "-o", out)
    assert refused.exit_code == 1
    assert f"Error: {out} exists and holds something else (" in refused.stderr
    assert "clf: linear → logreg" in refused.stderr
    assert run("fit", features, "--clf", "logreg", "-o", out, "--overwrite").exit_code == 0


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
