import json
from dataclasses import replace

import pytest

from featx.training.model import read_model, write_model


@pytest.fixture
def knows(run, feature_file, tmp_path):
    path = tmp_path / "knows.safetensors"
    run("fit", feature_file("first:6,1"), "--clf", "centroid", "--strangers", "-o", path, "-q")
    return path


@pytest.fixture
def amazed(knows, tmp_path):
    """The same, to which every image is stranger than all that it knows."""
    model = read_model(knows)
    held = model.arrays["strangers.held"] - 1e6
    return write_model(
        replace(model, arrays={**model.arrays, "strangers.held": held}), tmp_path / "a.safetensors"
    ).path


def test_known_images_are_no_drift(run, knows, photos):
    done = run("drift", knows, photos, "--json", "-q")
    values = json.loads(done.stdout)
    assert (done.exit_code, values["drift"], values["enough"]) == (0, False, True)
    assert (values["images"], values["distinct"], values["known"]) == (27, 27, 21)
    assert (values["rate"], len(values["unusual"]), values["skipped"]) == (0.01, 5, 0)
    scores = [one["stranger_score"] for one in values["unusual"]]
    assert scores == sorted(scores, reverse=True)
    assert run("drift", knows, photos, "-q").stdout.startswith("No drift: 27 images together ")
    said = run("predict", knows, photos, "-q")
    assert (said.exit_code, said.stderr) == (0, "")


def test_strange_images_are_exit_code_3(run, knows, amazed, photos, tmp_path):
    done = run("drift", amazed, photos, "--rate", "0.05", "--unusual", 2, "-q")
    assert done.exit_code == 3
    said, _, head, _, *rows = done.stdout.splitlines()
    assert said.startswith("Drift: 27 images together do not look like those the model knows (")
    assert "an image is stranger than a known one in 100.0 % of pairs" in said
    assert "5 % of folders of known images at most are called so" in said
    assert head.split()[:2] == ["most", "unusual"]
    assert len(rows) == 2
    for words in (
        (),
        ("--jsonl",),
        ("--csv", tmp_path / "p.csv"),
        ("--explain", tmp_path / "maps"),
    ):
        predicted = run("predict", amazed, photos, *words, "-q")
        assert predicted.exit_code == 0
        assert predicted.stderr.startswith("Drift: 27 images together do not look like")
        assert predicted.stderr.count("\n") == 1
    values = json.loads(run("predict", amazed, photos, "--json", "-q").stdout)
    assert values["drift"]["drift"] is True
    assert values["drift"]["unusual"][0]["path"] in said
    assert json.loads(run("predict", knows, photos, "--json", "-q").stdout)["drift"] == {
        key: value
        for key, value in json.loads(run("drift", knows, photos, "--json", "-q").stdout).items()
        if "skipped" not in key and key != "left_out"
    }


def test_too_few_to_tell(run, amazed, photos):
    done = run("drift", amazed, photos / "owl" / "00.jpg", "-q")
    assert done.exit_code == 0
    assert done.stdout.startswith("Too few to tell: 1 image, and so few are never called drift")
    assert run("predict", amazed, photos / "owl" / "00.jpg", "-q").stderr == ""


def test_what_cannot_be_tested(run, knows, feature_file, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("drift", knows, tmp_path / "empty", "-q")
    assert (done.exit_code, done.stderr) == (1, f"Error: no images in {tmp_path / 'empty'}\n")
    plain = tmp_path / "plain.safetensors"
    run("fit", feature_file("first:6,1"), "--clf", "centroid", "-o", plain, "-q")
    done = run("drift", plain, photos, "-q")
    assert done.exit_code == 1
    assert "fitted without strangers and sets: fit it again with featx fit F.h5" in done.stderr
    assert json.loads(run("predict", plain, photos, "--json", "-q").stdout)["drift"] is None
    assert run("drift", knows, photos, "--rate", "1").exit_code == 2
    assert run("drift", knows, photos, "--null").exit_code == 2
    (tmp_path / "text.jpg").write_text("x")
    done = run("drift", knows, photos / "cat" / "00.jpg", tmp_path / "text.jpg", "-q")
    assert (done.exit_code, "text.jpg: not an image" in done.stderr) == (3, True)
