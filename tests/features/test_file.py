import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from shared import reseal

from featx.data.dataset import Skipped
from featx.errors import FeatureFileError
from featx.features.content import Features
from featx.features.file import read_features, read_provenance, write_features
from featx.storage.rows import StoredRows


@pytest.fixture
def features(provenance):
    rng = np.random.default_rng(0)
    return Features(
        X=rng.normal(size=(5, 12)).astype(np.float32),
        targets=np.array([0, 0, 1, 1, -1]),
        splits=np.array(["train", "val", "train", "test", ""]),
        paths=np.array([f"a/Zoë {i}.jpg" for i in range(5)]),
        hashes=np.array([f"{i:064x}" for i in range(5)]),
        classes=("a", "ünï"),
        provenance=provenance,
        dataset="five",
        split_rule="manifest",
        skipped=(Skipped("a/bad.jpg", "f" * 64, "empty", "empty file"),),
        versions={"torch": "2"},
    )


def with_rows(features, X, **changes):
    """Those five images over and over, with other features."""
    many = np.arange(len(X)) % 5
    columns = {n: getattr(features, n)[many] for n in ("targets", "splits", "paths", "hashes")}
    return replace(features, X=X, **columns, **changes)


def test_round_trip(features, tmp_path):
    path = tmp_path / "F.h5"
    write_features(features, path)
    back = read_features(path)
    for name in ("X", "targets", "splits", "paths", "hashes"):
        assert np.array_equal(getattr(back, name), getattr(features, name)), name
    assert back.X.dtype == np.float32
    assert replace(back, X=0, targets=0, splits=0, paths=0, hashes=0, path=None) == replace(
        features, X=0, targets=0, splits=0, paths=0, hashes=0
    )
    assert read_provenance(path) == features.provenance
    X, y = back.split("train")
    assert y.tolist() == [0, 1]
    assert np.array_equal(X, features.X[[0, 2]])


def test_groups_are_one_more_column(features, tmp_path):
    grouped = replace(features, groups=np.array(["Zoë", "b", "Zoë", "c", "d"]))
    plain, file = write_features(features, tmp_path / "P.h5"), tmp_path / "F.h5"
    written = write_features(grouped, file)
    assert written.fingerprint == plain.fingerprint
    assert (plain.to_dict()["groups"], written.to_dict()["groups"]) == (None, 4)
    assert read_features(file).groups.tolist() == ["Zoë", "b", "Zoë", "c", "d"]
    assert read_features(tmp_path / "P.h5").groups is None
    with h5py.File(file) as held, h5py.File(tmp_path / "P.h5") as before:
        assert held["groups"].asstr()[:].tolist() == ["Zoë", "b", "Zoë", "c", "d"]
        assert set(held) - set(before) == {"groups"}
    write_features(replace(grouped, groups=np.array(["a", "", "a", "b", "b"])), file)
    with pytest.raises(FeatureFileError, match="images of no group, where others have one"):
        read_features(file)


def test_plain_h5py_reads_it(features, tmp_path):
    write_features(features, tmp_path / "F.h5")
    with h5py.File(tmp_path / "F.h5") as file:
        assert np.array_equal(file["features"][:], features.X)
        assert file["targets"].dtype == np.int64
        assert file["paths"].asstr()[0] == "a/Zoë 0.jpg"
        assert file["splits"].asstr()[:].tolist() == features.splits.tolist()
        assert file["hashes"].shape == (5,)
        attributes = dict(file.attrs)
        offset = file["features"].id.get_offset()
    assert attributes["schema"] == 2
    assert attributes["complete"]
    assert [name.decode() for name in attributes["classes"]] == ["a", "ünï"]
    for name in ("backbone", "weights", "weights_sha256", "preprocessing", "engine", "precision",
                 "fingerprint", "versions"):  # fmt: skip
        assert name in attributes
    mapped = np.memmap(tmp_path / "F.h5", np.float32, "r", offset, features.X.shape)
    assert np.array_equal(mapped, features.X)


def test_the_same_features_give_the_same_bytes(features, tmp_path):
    for name in ("a.h5", "b.h5"):
        write_features(features, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_many_classes_fit(features, tmp_path):
    classes = tuple(f"a class with a rather long name, number {i}" for i in range(5000))
    write_features(replace(features, classes=classes), tmp_path / "F.h5")
    assert read_features(tmp_path / "F.h5").classes == classes


def test_every_flipped_bit_and_every_cut_is_found(features, tmp_path):
    path = tmp_path / "F.h5"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2048)).astype(np.float32)
    write_features(with_rows(features, X), path)
    whole = path.read_bytes()
    assert len(whole) > 400 * 4096
    flips = {*range(0, len(whole), 4096), *rng.integers(0, len(whole), 400).tolist()}
    for position in sorted(flips):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes([whole[position] ^ 1 << rng.integers(8)]))
        with pytest.raises(FeatureFileError, match=r"damaged|not a feature file"):
            read_features(path)
        with path.open("r+b") as file:
            file.seek(position)
            file.write(whole[position : position + 1])
    read_features(path)
    cuts = {*range(0, len(whole), 4096), *rng.integers(0, len(whole), 100).tolist()}
    for length in sorted(cuts, reverse=True):
        os.truncate(path, length)
        with pytest.raises(FeatureFileError, match=r"damaged|not a feature file"):
            read_features(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FeatureFileError, match=f"it has {len(whole) + 1} bytes and was written"):
        read_features(path)
    path.write_bytes(whole)
    read_features(path)


def test_no_hdf5_at_all(tmp_path):
    with pytest.raises(FeatureFileError, match="no such feature file; featx extract makes one"):
        read_features(tmp_path / "F.h5")
    (tmp_path / "F.h5").write_text("hello")
    with pytest.raises(FeatureFileError, match=r"not a feature file"):
        read_features(tmp_path / "F.h5")


def test_a_failed_write_leaves_the_old_file(features, tmp_path, monkeypatch):
    path = tmp_path / "F.h5"
    write_features(features, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("featx.storage.hdf5.write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        write_features(features, path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_differences_name_the_field(provenance):
    other = replace(provenance, weights="x", precision="bf16")
    assert provenance.differences(other) == ("weights: tiny → x", "precision: fp32 → bf16")
    assert provenance.key() != other.key()


def _put(array, text):
    array[:] = np.array([text] * len(array), dtype=array.dtype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.create("classes", 3), "no list of names"),
        (lambda f: f.attrs.create("classes", np.array([b"a", b"a"])), "same name"),
        (lambda f: f.attrs.create("classes", np.array([[b"a"], [b"b"]])), "no list of names"),
        (lambda f: f.attrs.create("versions", np.bytes_(b"[" * 50_000)), "recursion"),
        (lambda f: f.attrs.create("versions", np.bytes_(b"[1]")), "versions"),
        (lambda f: f.attrs.create("preprocessing", np.bytes_(b"7")), "damaged"),
        (lambda f: f.attrs.create("preprocessing", np.bytes_(b"{}")), "damaged"),
        (lambda f: f.attrs.create("weights", np.bytes_(b"other")), "another provenance"),
        (lambda f: f.attrs.create("weights", h5py.Empty("f4")), "has no shape"),
        (lambda f: f.attrs.create("schema", 1), "schema 1, and this featx reads schema 2"),
        (lambda f: f.attrs.pop("dataset"), "damaged"),
        (lambda f: f.pop("hashes"), "damaged"),
        (lambda f: f["targets"].write_direct(np.array([0, 9, 0, 0, 0])), "targets from 0 to 9"),
        (lambda f: f["targets"].write_direct(np.array([1, 1, 0, 0, 0])), "fingerprint"),
        (lambda f: f["features"].write_direct(np.full((5, 12), np.nan, "f4")), "NaN"),
        (lambda f: _put(f["splits"], "exam"), "splits"),
        (lambda f: _put(f["hashes"], "x"), "hashes"),
    ],
)
def test_a_file_that_others_sealed_is_refused_all_the_same(features, tmp_path, change, message):
    path = tmp_path / "F.h5"
    write_features(features, path)
    with h5py.File(path, "r+") as file:
        change(file)
    reseal(path, "feature file", features.provenance.key())
    with pytest.raises(FeatureFileError, match=rf"(?i){message}") as caught:
        read_features(path)
    assert caught.value.path == path


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_one_value_that_is_none_is_found_anywhere(features, tmp_path, monkeypatch, storage):
    # Parts so small that rows begin and end within them, beside text and targets of -1.
    monkeypatch.setattr("featx.storage.hdf5.SLICE", 1 << 10)
    monkeypatch.setattr("featx.features.file.SLICE", 1 << 10)
    monkeypatch.setattr("featx.features.file._CHECKED", 7)
    path = tmp_path / "F.h5"
    provenance = replace(features.provenance, storage=storage)
    X = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    write_features(with_rows(features, X, provenance=provenance), path)
    with h5py.File(path) as file:
        offset = file["features"].id.get_offset()
    whole = path.read_bytes()
    read_features(path)
    size = np.dtype(storage).itemsize
    for at in (0, 1, 255, 256, 511, 512, 1500, 2998, 2999):
        for value in (np.nan, np.inf, -np.inf):
            bad = bytearray(whole)
            bad[offset + at * size : offset + at * size + size] = np.array(value, storage).tobytes()
            path.write_bytes(bad)
            reseal(path, "feature file", provenance.key())
            with pytest.raises(FeatureFileError, match="features that are NaN or infinite"):
                read_features(path)


def test_finite_features_are_read_once(features, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.storage.hdf5.SLICE", 1 << 12)
    monkeypatch.setattr("featx.features.file.SLICE", 1 << 12)
    monkeypatch.setattr("featx.features.file._CHECKED", 10)
    path = tmp_path / "F.h5"
    X = np.random.default_rng(0).normal(size=(200, 1000)).astype(np.float32)
    write_features(with_rows(features, X), path)
    read = []
    real = StoredRows._read
    monkeypatch.setattr(
        StoredRows,
        "_read",
        lambda self, asked: read.extend(asked if self.ndim == 2 else ()) or real(self, asked),
    )
    read_features(path)
    # Those that share a part of the file with something else.
    assert sum(stop - start for start, stop in read) <= 20


def test_hdf5_never_sees_what_is_not_sealed(features, tmp_path, monkeypatch):
    path = tmp_path / "F.h5"
    write_features(features, path)
    path.write_bytes(path.read_bytes()[:-1])

    def never(*_, **__):
        raise AssertionError("HDF5 was called")

    monkeypatch.setattr(h5py, "File", never)
    for read in (read_features, read_provenance):
        with pytest.raises(FeatureFileError, match="damaged: it has"):
            read(path)
