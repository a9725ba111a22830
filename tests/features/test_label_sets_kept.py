"""Sets of labels in a feature file: kept, checked, told of, and made anew where they change."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from made_features import make_features, write

from featx.auditing.audit import audit
from featx.data.inventory import take_inventory
from featx.errors import FeatureFileError
from featx.extraction.extract import extract
from featx.features.corrections import correct_labels
from featx.features.export import export_features
from featx.features.file import open_features, read_features, write_features
from featx.heads.fit import fit
from featx.labelling.next import find_next
from featx.sources.reading import read_dataset


@pytest.fixture
def several(provenance):
    """Features of 36 images; the first label is every third image's, the second every second's."""
    made = make_features(provenance)
    rows = np.arange(len(made.targets))
    sets = np.stack([rows % 3 == 0, rows % 2 == 0, rows == 35], axis=1)
    return replace(made, targets=np.full(len(rows), -1), label_sets=sets)


def test_they_are_read_as_they_were_written(several, tmp_path):
    held = write(several, tmp_path)
    assert held.label_sets.dtype == bool
    assert (held.label_sets == several.label_sets).all()
    assert held.fingerprint == several.fingerprint
    told = open_features(held.path).to_dict()["label_sets"]
    assert sum(of["a"] for of in told["counts"].values()) == 12
    assert sum(of["c"] for of in told["counts"].values()) == 1
    assert sum(told["none"].values()) == (~several.label_sets.any(axis=1)).sum()


def test_a_file_without_them_has_no_word_of_them(provenance, tmp_path):
    held = write(make_features(provenance), tmp_path)
    assert held.label_sets is None
    assert open_features(held.path).to_dict()["label_sets"] is None
    with h5py.File(held.path) as file:
        assert "label_sets" not in file


@pytest.mark.parametrize(
    "change",
    [
        {"label_sets": np.full((36, 3), 2, np.uint8)},
        {"label_sets": np.zeros((36, 2), bool)},
        {"label_sets": np.zeros(36, bool)},
        {"targets": np.zeros(36, np.int64)},
    ],
    ids=["twos", "narrow", "flat", "labels beside"],
)
def test_what_does_not_fit_is_damage(several, tmp_path, change):
    write_features(replace(several, **change), tmp_path / "F.h5")
    with pytest.raises(FeatureFileError, match="damaged"):
        read_features(tmp_path / "F.h5")


@pytest.mark.parametrize(
    "use",
    [
        audit,
        fit,
        find_next,
        lambda held: correct_labels(held, "none.csv"),
    ],
)
def test_what_takes_one_label_says_so(several, use):
    with pytest.raises(FeatureFileError, match="several labels an image"):
        use(several)


def test_a_change_of_labels_computes_nothing(photos, stored, tmp_path, run):
    names = sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*"))
    manifest, out = photos / "m.csv", tmp_path / "F.h5"

    def extract_sets(*words):
        lines = [f"{name},{words[i % len(words)]}" for i, name in enumerate(names)]
        manifest.write_text("\n".join(["path,label", *lines]) + "\n")
        done = run(
            "extract", manifest, "--multi-label", "--split", "0.6,0.2,0.2", "-o", out, "-q",
            "--json",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)["extracted"]

    assert extract_sets("a|b", "", "b") == 27
    first, before = read_features(out), out.read_bytes()
    assert first.classes == ("a", "b")
    assert first.label_sets.sum() == 27
    assert extract_sets("b;a", "", "b") == 0
    assert out.read_bytes() == before
    assert extract_sets("a", "b") == 0
    second = read_features(out)
    assert second.label_sets.sum(axis=1).tolist() == [1] * 27
    told = run("info", out)
    assert "several an image: 27 in all, 1.00 an image; 0 images have none" in told.stdout


def test_an_export_names_all_labels(several, tmp_path):
    held = write(several, tmp_path)
    export_features(held.path, npy=tmp_path / "F.npy")
    rows = (tmp_path / "F.csv").read_text().splitlines()
    assert rows[1].split(",")[:2] == ["0.jpg", "a|b"]
    assert rows[2].split(",")[:2] == ["1.jpg", ""]


def test_a_dataset_in_memory_goes_the_same_way(photos, stored, tmp_path):
    names = sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*"))
    lines = [f"{name},{i % 2},{i % 3 // 2}" for i, name in enumerate(names)]
    (photos / "m.csv").write_text("\n".join(["path,a,b", *lines]) + "\n")
    found = read_dataset(photos / "m.csv", multi_label=True)
    assert (take_inventory(found).load().label_sets == found.label_sets).all()
    done = extract(found, output=tmp_path / "F.h5")
    assert (read_features(done.features).label_sets == found.label_sets).all()
