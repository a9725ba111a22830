import json


def test_demo(run, stored, empty_home, monkeypatch):
    # Few images, so that the real network on them takes seconds; their counts are tested elsewhere.
    monkeypatch.setattr("featx.sources.samples.DIGITS_IMAGES", 100)
    monkeypatch.setattr("featx.sources.samples.DIGITS_SPLIT", "first:4,2")
    done = run("demo", "--epochs", "1", "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert values["dataset"]["images"] == {"train": 40, "val": 20, "test": 39}
    assert [c["name"] for c in values["candidates"]] == [
        "imagenet", "logreg", "linear", "svm", "ridge", "knn", "centroid", "fc"
    ]  # fmt: skip
    assert (empty_home / "demo" / "results" / "results.json").exists()
    assert done.stderr.startswith("digits: demo/digits; 1 epochs for the linear head and the fc")
