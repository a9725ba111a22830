"""An extraction with corrected labels: a file of its own, and no pass of the network."""

import numpy as np

from featx.extraction.extract import extract
from featx.features.corrections import correct_labels
from featx.features.file import read_features


def correct(features, tmp_path):
    """The first dog is an owl, and all cats but one are left out or wolves."""
    rows = {k: features.hashes[features.targets == k] for k in range(3)}
    lines = [f"{rows[1][0]},is,owl", f"{rows[0][0]},leave out,"]
    lines += [f"{one},is,wolf" for one in rows[0][1:]]
    path = tmp_path / "corrections.csv"
    path.write_text("\n".join(["sha256,answer,label", *lines, ""]))
    return path


def test_a_file_of_its_own_is_made_of_what_is_there(stored, photos, tmp_path, caplog):
    made = extract(photos, split="first:5,2")
    seen, features = made.features.read_bytes(), read_features(made.features)
    path = correct(features, tmp_path)
    done = extract(photos, split="first:5,2", labels=path)
    assert (done.images, done.extracted) == (26, 0)
    assert done.notes[0].startswith("Labels corrected by corrections.csv: 9 changed, 1 left out")
    assert "wolf is a new class" in caplog.text
    assert made.features.read_bytes() == seen
    assert done.features != made.features
    found, expected = read_features(done.features), correct_labels(features, path)
    assert found.classes == expected.classes == ("dog", "owl", "wolf")
    assert found.split_rule.startswith("first:5,2; labels corrected by ")

    def list_rows(one):
        labels = np.array(one.classes)[one.targets].tolist()
        rows = zip(one.paths.tolist(), one.hashes.tolist(), labels, one.splits, one.X, strict=True)
        return {path: (*rest, X.tobytes()) for path, *rest, X in rows}

    assert list_rows(found) == list_rows(expected)
    order = list(zip(found.splits.tolist(), found.targets.tolist(), found.paths, strict=True))
    rank = {"train": 0, "val": 1, "test": 2}
    assert order == sorted(order, key=lambda one: (rank[one[0]], *one[1:]))
    again = extract(photos, split="first:5,2", labels=path)
    assert (again.features, again.reused) == (done.features, 26)


def test_a_named_file_with_other_labels_stays(run, stored, photos, tmp_path):
    out = tmp_path / "F.h5"
    run("extract", photos, "--split", "first:5,2", "-o", out, "-q")
    seen, path = out.read_bytes(), correct(read_features(out), tmp_path)
    words = ("extract", photos, "--split", "first:5,2", "--labels", path, "-q")
    done = run(*words, "-o", out)
    assert done.exit_code == 1
    assert "split: first:5,2 → first:5,2; labels corrected by " in done.stderr
    assert out.read_bytes() == seen
    done = run(*words, "-o", tmp_path / "G.h5", "--views", "1")
    assert done.exit_code == 0, done.stderr
    assert read_features(tmp_path / "G.h5").classes == ("dog", "owl", "wolf")
