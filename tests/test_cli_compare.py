import json


def test_compare(run, photos, stored, tmp_path):
    out = tmp_path / "out"
    words = ["compare", photos, "--split", "first:4,2", "--epochs", "2", "-o", out]
    done = run(*words, "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert values == json.loads((out / "results.json").read_text())
    assert set(values) >= {"dataset", "classes", "candidates", "paired", "best", "report"}
    assert [c["name"] for c in values["candidates"]] == ["logreg", "linear", "fc"]
    for candidate in values["candidates"]:
        assert set(candidate) >= {
            "name", "kind", "accuracy", "counts", "ci95", "mean_per_class", "seconds",
            "seconds_per_epoch", "trainable_parameters",
        }  # fmt: skip
    for pair in values["paired"]:
        assert set(pair) == {"a", "b", "only_a", "only_b", "p_value_raw", "p_value"}
    for name in ("results.json", "report.md", "split.csv", "curves.png", "examples.png"):
        assert (out / name).stat().st_size > 100
    again = run(*words)
    assert again.exit_code == 0
    assert again.stderr.count("reused: ") == 3
    assert again.stdout.splitlines()[-1] == (
        f"written: {out}/results.json, {out}/report.md, {out}/curves.png, {out}/examples.png"
    )


def test_choices(run, photos, stored):
    words = ["compare", photos, "--split", "first:4,2", "--json", "-q"]
    done = run(*words, "--clf", "logreg", "--baseline", "none")
    assert [c["name"] for c in json.loads(done.stdout)["candidates"]] == ["logreg"]
    assert run("compare", photos, "-q").stderr.startswith(f"Error: {photos} has no test images")
