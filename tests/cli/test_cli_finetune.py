import json
import re


def test_finetune(run, photos, stored, tmp_path):
    words = [
        "finetune",
        photos,
        "--split",
        "first:4,2",
        "--epochs",
        "2",
        "-o",
        tmp_path / "run",
        "-q",
    ]
    done = run(*words, "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert set(values) >= {
        "train", "epochs", "history", "best_epoch", "accuracy", "counts", "seconds_per_epoch",
        "trainable_parameters",
    }  # fmt: skip
    assert (values["train"], values["epochs"], values["trainable_parameters"]) == ("fc", 2, 6147)
    assert set(values["history"][0]) == {
        "epoch", "seconds", "loss", "accuracy", "decode", "network",
    }  # fmt: skip
    for epoch in values["history"]:
        assert 0 < epoch["decode"] + epoch["network"] <= epoch["seconds"]
    assert set(values["seconds"]) == {"decode", "network", "fit"}
    assert (values.pop("left_out"), values.pop("notes")) == ([], [])
    assert json.loads((tmp_path / "run" / "history.json").read_text()) == values
    again = run(*words)
    assert again.stdout.startswith("fc: 6,147 parameters, learning_rate = ")
    told = r" s in all \([\d.e-]+ waiting for images, [\d.e-]+ in the network\)\n"
    assert re.search(told, again.stdout)
    other = run(*words, "--train", "last3")
    assert other.exit_code == 1
    assert "train: fc → last3" in other.stderr


def test_the_default_place_tells_runs_apart(run, photos, stored, empty_home):
    for seed in (0, 1):
        run("finetune", photos, "--split", "first:4,2", "--epochs", "1", "--seed", seed, "-q")
    runs = list((empty_home / "results" / "photos").iterdir())
    assert len(runs) == 2
    assert all(path.name.startswith("fc-") for path in runs)


def test_skipped(run, photos, stored, tmp_path):
    for name in "abc":
        (photos / "cat" / f"{name}.jpg").write_bytes(b"")
    done = run(
        "finetune", photos, "--split", "first:4,2", "--epochs", "1", "-o", tmp_path / "r", "-q"
    )
    assert done.exit_code == 3
    assert "skipped cat/a.jpg: empty file\n" in done.stderr


def test_the_prefix_cache_can_be_left_out(run, photos, stored, tmp_path):
    words = ["finetune", photos, "--split", "first:4,2", "--train", "last3", "--epochs", "1"]
    with_it = run(*words, "-o", tmp_path / "a", "--json")
    without = run(*words, "-o", tmp_path / "b", "--json", "--prefix-cache", "off")
    assert "prefix cache: " in with_it.stderr
    assert "prefix cache" not in without.stderr
    assert json.loads(with_it.stdout)["prefix_cache"] is True
    assert json.loads(without.stdout)["prefix_cache"] is False


def test_class_weights_and_temperature(run, photos, stored, tmp_path):
    words = ["finetune", photos, "--split", "first:4,2", "--epochs", "1", "--json", "-q"]
    done = run(*words, "--class-weight", "balanced", "--calibrate", "-o", tmp_path / "run")
    values = json.loads(done.stdout)
    assert (values["class_weight"], values["calibrated"]) == ("balanced", True)
    assert values["temperature"] != 1.0
