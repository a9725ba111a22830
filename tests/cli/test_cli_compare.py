import json


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
    written = ", ".join(f"{out}/{name}" for name in ("report.html", "results.json", "featx.toml"))
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
