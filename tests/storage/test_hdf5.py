"""Files made to do harm, sealed as if they were ours: nothing of theirs may be read."""

import h5py
import numpy as np
import pytest
from shared import reseal

from featx.errors import FeatureFileError
from featx.storage.hdf5 import check_seal, open_sealed, write_sealed
from featx.storage.rows import encode_text

SECRET = np.arange(24, dtype=np.float32).reshape(2, 12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "F.h5"


def harmful(path, make):
    """An HDF5 file with a true seal whose `features` are what `make` makes of them."""
    with h5py.File(path, "w", userblock_size=512, libver="latest") as file:
        file.create_dataset("targets", data=[0, 1])
        make(file, path)
    reseal(path, "feature file")
    check_seal(path, "feature file")


def _virtual(file, path):
    with h5py.File(path.with_name("secret.h5"), "w") as other:
        other["features"] = SECRET
    layout = h5py.VirtualLayout((2, 12), np.float32)
    layout[:] = h5py.VirtualSource(path.with_name("secret.h5"), "features", (2, 12))
    file.create_virtual_dataset("features", layout)


def _external(file, path):
    SECRET.tofile(path.with_name("secret.bin"))
    external = [(str(path.with_name("secret.bin")), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("features", (2, 12), np.float32, external=external)


def _external_link(file, path):
    with h5py.File(path.with_name("secret.h5"), "w") as other:
        other["features"] = SECRET
    file["features"] = h5py.ExternalLink(str(path.with_name("secret.h5")), "features")


def _late(file, path):
    # A shape of terabytes of which nothing is stored: HDF5 would give zeros for all of it.
    plain = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plain.set_layout(h5py.h5d.CONTIGUOUS)
    plain.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple((10**9, 2048))
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, space, plain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_virtual, "'features' is virtual, chunked or compressed"),
        (_external, "'features' lies in another file"),
        (_external_link, "'features' is a link to somewhere else"),
        (
            lambda f, _: f.__setitem__("features", h5py.SoftLink("/targets")),
            "'features' is a link to somewhere else",
        ),
        (lambda f, _: f.create_group("features"), "'features' is no array"),
        (_late, "'features' claims 8192000000000 bytes that the file does not have"),
        (
            lambda f, _: f.create_dataset("features", (10**6, 2048), "f4", chunks=(1, 2048)),
            "virtual, chunked or compressed",
        ),
        (
            lambda f, _: f.create_dataset("features", data=np.zeros((9, 2048)), compression="gzip"),
            "virtual, chunked or compressed",
        ),
        (
            lambda f, _: f.create_dataset("features", data=["a" * 9], dtype=h5py.string_dtype()),
            "'features' is of a type that ours never are",
        ),
        (
            lambda f, _: f.create_dataset("features", data=f["targets"].ref, dtype=h5py.ref_dtype),
            "'features' is of a type that ours never are",
        ),
        (
            lambda f, _: f.create_dataset("features", (2,), [("a", "i4"), ("b", "f8")]),
            "'features' is of a type that ours never are",
        ),
        (lambda f, _: f.attrs.update(classes=["a", "b"]), "'classes' is of a type that ours"),
        (lambda f, _: [f.create_group(f"g{i}") for i in range(99)], "it has 100 members"),
        (lambda f, _: f.attrs.update({f"a{i}": i for i in range(99)}), "it has 99 attributes"),
        (
            lambda f, _: f.attrs.create("classes", np.array([b"\xff\xfe"], "S2")),
            "refused: 'utf-8' codec can't decode",
        ),
    ],
)
def test_nothing_but_the_plainest_hdf5_is_opened(path, make, message):
    harmful(path, make)
    with pytest.raises(FeatureFileError, match=message), open_sealed(path):
        pass


def test_other_files_are_told_apart(path):
    with h5py.File(path, "w") as file:
        file["features"] = [1]
    with pytest.raises(FeatureFileError, match="an HDF5 file, but not one that this featx made"):
        check_seal(path, "feature file")
    write_sealed(path, "file index", {}, {"x": np.arange(3)})
    check_seal(path, "file index")
    with pytest.raises(FeatureFileError, match="not a feature file"):
        check_seal(path, "feature file")
    path.write_bytes(b"featx feature file\n" + bytes(600))
    with pytest.raises(FeatureFileError, match="damaged"):
        check_seal(path, "feature file")


def test_what_goes_in_comes_out(path):
    arrays = {
        "empty": np.empty((0, 3), np.float32),
        "numbers": np.arange(2_000_000, dtype=np.int64),  # more than one slice
        "half": np.linspace(0, 1, 7, dtype=np.float16),
        "text": encode_text(np.array(["", "ü", "x" * 700])),
        "none": encode_text(np.array([], dtype=np.str_)),
    }
    facts = {"name": "Zoë", "empty": "", "list": ["b", "ä"], "nothing": [], "number": 7}
    write_sealed(path, "test file", facts, arrays)
    check_seal(path, "test file")
    with open_sealed(path) as sealed:
        assert sealed.attributes == facts
        for name, array in arrays.items():
            found = sealed.arrays[name][:]
            assert np.array_equal(found, array), name
            assert found.dtype == array.dtype, name
        assert sealed.read_text("text").tolist() == ["", "ü", "x" * 700]
        with pytest.raises(TypeError, match="numbers is int64, and not text"):
            sealed.read_text("numbers")


def test_a_slice_at_a_time(path):
    class Lazy:
        shape, dtype = (3_000_000, 2), np.dtype(np.int32)
        longest = 0

        def __getitem__(self, rows):
            self.longest = max(self.longest, rows.stop - rows.start)
            return np.arange(rows.start, min(rows.stop, 3_000_000))[:, None] * np.array(
                [[1, -1]], "i4"
            )

    lazy = Lazy()
    lazy.dtype = np.dtype(np.int64)
    write_sealed(path, "test file", {}, {"x": lazy})
    assert lazy.longest < 300_000
    with open_sealed(path) as sealed:
        assert sealed.arrays["x"][-1].tolist() == [2_999_999, -2_999_999]


def test_all_that_is_hashed_can_be_looked_at(path, monkeypatch):
    monkeypatch.setattr("featx.storage.hdf5.SLICE", 1000)
    write_sealed(path, "test file", {}, {"x": np.arange(5000)})
    parts = []
    check_seal(path, "test file", lambda part: parts.append(bytes(part)))
    assert b"".join(parts) == path.read_bytes()[512:]
    assert {len(part) for part in parts[:-1]} == {1000}


def test_text_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match="NUL"):
        encode_text(np.array(["a\0b", "c"]))
    with pytest.raises(UnicodeEncodeError):
        encode_text(np.array(["caf\udce9"]))
