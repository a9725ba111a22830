import json
import shutil
from pathlib import Path

import pytest

WRITTEN = ("report.html", "results.json", "featx.toml", "README.md")


def test_compare(run, photos, stored, tmp_path):
    out = tmp_path / "out"
    words = ["compare", photos, "--split", "first:4,2", "--epochs", "2", "-o", out]
    words += ["--clf", "logreg", "--clf", "linear"]
    done = run(*words, "--json")
    assert done.exit_code == 0
    heads, _, tuning = done.stderr.partition("\n\nThe baselines will take about ")
    assert "\nHeads on frozen features:\n\ncandidate" in heads
    assert [line.split()[0] for line in heads.splitlines()[-2:]] == ["logreg", "linear"]
    assert "fc: epoch 1/2" in tuning
    assert "fc: epoch" not in heads
    values = json.loads(done.stdout)
    assert values == json.loads((out / "results.json").read_text())
    assert set(values) >= {
        "dataset", "classes", "candidates", "paired", "best", "report", "verdict", "notes", "cost",
        "learning", "exhibits", "map", "command", "options", "config",
    }  # fmt: skip
    assert [c["name"] for c in values["candidates"]] == ["logreg", "linear", "fc"]
    for candidate in values["candidates"]:
        assert set(candidate) >= {
            "name", "kind", "accuracy", "counts", "ci95", "mean_per_class", "seconds",
            "seconds_per_epoch", "trainable_parameters",
        }  # fmt: skip
    for pair in values["paired"]:
        assert set(pair) >= {"a", "b", "only_a", "only_b", "p_value_raw", "p_value"}
    for name in ("results.json", "report.html", "split.csv", "learning.json"):
        assert (out / name).stat().st_size > 100
    again = run(*words)
    assert again.exit_code == 0
    assert again.stderr.count("reused: ") == 3
    written = ", ".join(f"{out}/{name}" for name in WRITTEN)
    assert again.stdout.splitlines()[-1] == f"written: {written}"


def test_choices(run, photos, stored):
    words = ["compare", photos, "--split", "first:4,2", "--json", "-q"]
    done = run(*words, "--clf", "logreg", "--baseline", "none")
    assert [c["name"] for c in json.loads(done.stdout)["candidates"]] == ["logreg"]
    assert run("compare", photos, "-q").stderr.startswith(f"Error: {photos} has no test images")


def test_views_and_protocol_from_the_command_line(run, photos, stored, tmp_path):
    words = ["compare", photos, "--split", "first:4,2", "--json", "-q", "--clf", "ridge"]
    done = run(*words, "--baseline", "none", "--views", "1", "--no-learning-curves")
    values = json.loads(done.stdout)
    assert [c["name"] for c in values["candidates"]] == ["ridge", "ridge+1view"]
    assert values["learning"] is None
    out = tmp_path / "published"
    done = run(*words[:-2], "--protocol", "linear-eval", "-o", out)
    values = json.loads(done.stdout)
    assert [c["name"] for c in values["candidates"]] == ["logreg"]
    assert values["features"]["preprocessing"]["interpolation"] == "bicubic"
    assert "--protocol linear-eval" in values["command"][0]


def test_seeds_from_the_command_line(run, photos, stored):
    words = ["compare", photos, "--split", "first:4,2", "--json", "-q", "--clf", "linear"]
    words += ["--baseline", "none", "--epochs", "1", "--no-learning-curves", "--scale", "l2"]
    values = json.loads(run(*words, "--seeds", "2").stdout)
    (linear,) = values["candidates"]
    assert linear["seeds"]["n"] == 2
    assert values["options"]["seeds"] == 2


def test_cross_validation_from_the_command_line(run, photos, stored, tmp_path):
    out = tmp_path / "out"
    words = ["compare", photos, "--split", "first:4,2", "--clf", "ridge", "--clf", "centroid"]
    words += ["--baseline", "none", "--no-learning-curves", "-o", out]
    plain = run(*words)
    assert "27 labelled images are few for one split" in plain.stdout
    done = run(*words, "--cv", "2x3")
    assert done.exit_code == 0
    assert "Cross-validation 2x3: all 27 labelled images were dealt into 3 folds" in done.stdout
    assert "are few for one split" not in done.stdout
    values = json.loads(run(*words, "--cv", "2x3", "--json", "-q").stdout)
    assert [one["name"] for one in values["cv"]["candidates"]] == ["ridge", "centroid"]
    assert len(values["cv"]["candidates"][0]["folds"]) == 6
    assert values["options"]["cv"] == "2x3"
    assert "--cv 2x3" in values["command"][0]
    assert 'cv = "2x3"' in (out / "featx.toml").read_text()
    assert 'id="folds-title"' in (out / "report.html").read_text()
    assert (out / "cv.json").exists()


def test_what_cannot_be_cross_validated(run, photos, stored):
    words = ["compare", photos, "--split", "first:4,2", "--baseline", "none", "--clf", "centroid"]
    for spec, said in (
        ("5", "write REPEATSxFOLDS, such as 5x5"),
        ("2x10", "--cv 2x10 needs 10 images of each class"),
    ):
        done = run(*words, "--cv", spec)
        assert done.exit_code in (1, 2)
        assert said in done.stderr
    assert "cat has 9, dog has 9, owl has 9: say --cv 2x9" in done.stderr
    assert "--cv-baselines goes with --cv" in run(*words, "--cv-baselines").stderr


def test_train_and_val_alone(run, photos, stored, tmp_path):
    """The folders of PyTorch's own tutorial."""
    data = tmp_path / "tutorial"
    for name in ("cat", "dog"):
        pictures = sorted((photos / name).iterdir())
        for split, some in (("train", pictures[:6]), ("val", pictures[6:])):
            (data / split / name).mkdir(parents=True)
            for path in some:
                shutil.copy(path, data / split / name)
    words = ["compare", data, "--epochs", "2", "--clf", "centroid", "-o", tmp_path / "out"]
    done = run(*words, "--json", "-q", "--no-learning-curves")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert values["dataset"]["val_is_test"] is True
    assert values["dataset"]["images"] == {"train": 12, "val": 0, "test": 6}
    centroid, fc = values["candidates"]
    assert centroid["chosen"]["by"].startswith("folds")
    assert centroid["counts"]["test"]["total"] == fc["counts"]["test"]["total"] == 6
    assert fc["best_epoch"] == 2  # the last one: no val to choose by
    assert any(
        note.startswith("There is no test: val is the test here") for note in values["notes"]
    )
    text = run(*words, "--no-learning-curves")
    assert "val is the test here" in text.stdout
    assert "val is the test here" in (tmp_path / "out" / "report.html").read_text()
    run("extract", data, "-o", tmp_path / "T.h5")
    fitted = run("fit", tmp_path / "T.h5", "--clf", "centroid")
    assert "There is no test: val is the test here, and folds of train chose." in fitted.stdout
    model = json.loads(run("fit", tmp_path / "T.h5", "--clf", "centroid", "--json").stdout)
    assert model["val_is_test"] is True
    assert model["accuracy"].keys() == {"train", "test"}
    assert model["accuracy"]["test"] == centroid["accuracy"]["test"]


def test_margin_and_prevalence_from_the_command_line(run, photos, stored, tmp_path):
    field = tmp_path / "field.csv"
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())
    lines = [f"{name},{share}\n" for name, share in zip(names, (8, 1, 1), strict=True)]
    field.write_text("class,share\n" + "".join(lines))
    words = ["compare", photos, "--split", "first:4,2", "--clf", "ridge", "--clf", "centroid"]
    words += ["--baseline", "none", "--no-learning-curves", "--margin", "30"]
    done = run(*words, "--prevalence", field, "--json")
    assert done.exit_code == 0
    assert "the shares sum to 10 and were divided by it" in done.stderr
    values = json.loads(done.stdout)
    assert list(values["prevalence"].values()) == [0.8, 0.1, 0.1]
    assert (values["options"]["margin"], values["verdict"]["margin"]) == (30.0, 30.0)
    for candidate in values["candidates"]:
        test = candidate["evaluation"]["test"]
        accuracies = [one["correct"] / one["total"] for one in test["per_class"]]
        expected = 0.8 * accuracies[0] + 0.1 * sum(accuracies[1:])
        assert test["prevalence"]["accuracy"] == pytest.approx(expected)
        low, high = test["prevalence"]["ci95"]
        assert low <= expected <= high
        assert candidate["evaluation"]["val"]["prevalence"] is None
    assert any(note.startswith("In the field: ") for note in values["notes"])
    assert "--margin 30.0" in values["command"][0]
    # What repeats it has the shares beside it, and finds the same.
    out = Path(values["report"]).parent
    again = run("compare", "--config", out / "featx.toml", "--json", "-o", tmp_path / "again")
    assert json.loads(again.stdout)["prevalence"] == values["prevalence"]
    assert "in the field" in run(*words, "--prevalence", field, "--overwrite").stdout
    field.write_text("class,share\n")
    assert "no share for" in run(*words, "--prevalence", field).stderr
