"""What other engines read is what the feature file holds, value by value."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from featx.data.dataset import Skipped
from featx.errors import ExportError, FeatureFileError, OutputExistsError, StorageError
from featx.features import export
from featx.features.content import Features
from featx.features.export import export_features, export_npy, export_parquet
from featx.features.file import open_features, write_features

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CLASSES = ("plain", 'with "quotes", commas', "two\nlines\r", "käse 🦉", "")


def make_features(provenance, n=23, storage="float32"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 12)).astype(storage).astype(np.float32)
    X[:1, :2] = np.finfo(storage).max, -np.finfo(storage).smallest_subnormal
    splits = np.array(["train", "val", "test", ""])
    return Features(
        X=X,
        targets=np.arange(n) % (len(CLASSES) + 1) - 1,
        splits=splits[np.arange(n) % 4],
        paths=np.array([f'a, "b"/Zoë {i}🦉.jpg' for i in range(n)], dtype=np.str_),
        hashes=np.array([f"{i:064x}" for i in range(n)], dtype=np.str_),
        classes=CLASSES,
        provenance=replace(provenance, storage=storage),
        dataset="odd",
        split_rule="manifest",
        skipped=(Skipped("a/bad.jpg", "f" * 64, "empty", "empty file"),),
        versions={"torch": "2"},
    )


@pytest.fixture(params=["float32", "float16"])
def features(provenance, request):
    return make_features(provenance, storage=request.param)


@pytest.fixture
def file(features, tmp_path):
    write_features(features, tmp_path / "F.h5")
    return open_features(tmp_path / "F.h5")


@pytest.fixture
def small_steps(monkeypatch):
    """More than one row group and more than one slice, the last of them short."""
    monkeypatch.setattr(export, "ROW_GROUP", 10)
    monkeypatch.setattr(export, "_ROWS", 10)


def labels_of(features):
    return [CLASSES[k] if k >= 0 else None for k in features.targets]


def test_parquet_has_every_value(features, file, small_steps, tmp_path):
    (written,) = export_parquet(file, tmp_path / "out" / "O.parquet")
    assert written.path.stat().st_size == written.bytes
    found = pq.ParquetFile(written.path)
    groups = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
    assert groups == [10, 10, 3]
    table = found.read()
    assert table.schema.names == ["path", "label", "target", "split", "sha256", "features"]
    assert table.schema.field("features").type.list_size == 12
    assert table.schema.field("features").type.value_type == pa.float32()
    assert [field.nullable for field in table.schema] == [False, True, False, False, False, False]
    assert table["path"].to_pylist() == features.paths.tolist()
    assert table["label"].to_pylist() == labels_of(features)
    assert table["target"].to_pylist() == features.targets.tolist()
    assert table["split"].to_pylist() == features.splits.tolist()
    assert table["sha256"].to_pylist() == features.hashes.tolist()
    X = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, 12)
    assert np.array_equal(X, features.X)
    facts = json.loads(found.metadata.metadata[b"featx"])
    assert facts["classes"] == list(CLASSES)
    assert facts["fingerprint"] == features.fingerprint
    assert (facts["skipped"], facts["storage"]) == (1, features.provenance.storage)


def test_npy_has_every_value_and_its_table_the_same_order(features, file, small_steps, tmp_path):
    written = export_npy(file, tmp_path / "O.npy")
    assert [(one.format, one.path.name) for one in written] == [
        ("npy", "O.npy"), ("csv", "O.csv"), ("json", "O.json")
    ]  # fmt: skip
    X = np.load(tmp_path / "O.npy", mmap_mode="r")
    assert isinstance(X, np.memmap)
    assert X.dtype == features.provenance.storage
    assert np.array_equal(X, features.X)
    np.save(tmp_path / "numpy.npy", X)
    assert (tmp_path / "numpy.npy").read_bytes() == (tmp_path / "O.npy").read_bytes()
    with (tmp_path / "O.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["path"] for row in rows] == features.paths.tolist()
    assert [row["label"] or None for row in rows] == [k or None for k in labels_of(features)]
    assert [row["split"] for row in rows] == features.splits.tolist()
    assert [row["sha256"] for row in rows] == features.hashes.tolist()
    facts = json.loads((tmp_path / "O.json").read_text("utf-8"))
    assert (facts["images"], facts["classes"]) == (23, list(CLASSES))


def test_groups_are_one_more_column(provenance, small_steps, tmp_path):
    features = make_features(provenance)
    groups = np.array([f'site "{i // 3}", Zoë' for i in range(23)])
    write_features(replace(features, groups=groups), tmp_path / "F.h5")
    out = tmp_path / "O.npy"
    export_features(tmp_path / "F.h5", parquet=tmp_path / "O.parquet", npy=out)
    table = pq.read_table(tmp_path / "O.parquet")
    assert table.schema.names[-2:] == ["group", "features"]
    assert table["group"].to_pylist() == groups.tolist()
    assert not table.schema.field("group").nullable
    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == groups.tolist()
    # With other groups it is another file, though its features are the same.
    write_features(replace(features, groups=groups[::-1]), tmp_path / "F.h5")
    again = export_features(tmp_path / "F.h5", npy=out, overwrite=True)
    assert again.images == 23
    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == groups[::-1].tolist()


def test_no_rows_and_no_classes(provenance, tmp_path):
    none = replace(make_features(provenance, 0), classes=())
    unlabelled = replace(make_features(provenance, 3), classes=(), targets=np.full(3, -1))
    for n, features in ((0, none), (3, unlabelled)):
        write_features(features, tmp_path / f"F{n}.h5")
        done = export_features(
            tmp_path / f"F{n}.h5", parquet=tmp_path / f"{n}.parquet", npy=tmp_path / f"{n}.npy"
        )
        assert done.images == n
        table = pq.read_table(tmp_path / f"{n}.parquet")
        assert table["label"].to_pylist() == [None] * n
        assert table["features"].type.list_size == 12
        X = np.load(tmp_path / f"{n}.npy", mmap_mode="r")
        assert X.shape == (n, 12)
        assert len((tmp_path / f"{n}.csv").read_text("utf-8").splitlines()) == n + 1


def test_duckdb_reads_the_parquet(features, file, small_steps, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    export_parquet(file, tmp_path / "O.parquet")
    with duckdb.connect() as db:
        rows = db.execute(
            "SELECT path, label, target, split, features FROM read_parquet(?) "
            "WHERE split = 'val' ORDER BY sha256",
            [str(tmp_path / "O.parquet")],
        ).fetchall()
        ((facts,),) = db.execute(
            "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'featx'",
            [str(tmp_path / "O.parquet")],
        ).fetchall()
    at = np.flatnonzero(features.splits == "val")
    assert [row[0] for row in rows] == features.paths[at].tolist()
    assert [row[1] for row in rows] == [labels_of(features)[i] for i in at]
    assert [row[2] for row in rows] == features.targets[at].tolist()
    assert np.array_equal(np.array([row[4] for row in rows], np.float32), features.X[at])
    assert json.loads(facts)["fingerprint"] == features.fingerprint


def test_the_same_features_give_the_same_bytes(file, tmp_path):
    for name in ("a", "b"):
        export_features(file.path, parquet=tmp_path / f"{name}.parquet", npy=tmp_path / name)
    for suffix in (".parquet", "", ".csv", ".json"):
        a, b = (tmp_path / f"{name}{suffix}" for name in ("a", "b"))
        assert a.read_bytes() == b.read_bytes()


@pytest.fixture
def another(provenance, tmp_path):
    """The same images with features of other weights."""
    made = make_features(replace(provenance, weights="others"))
    write_features(made, tmp_path / "G.h5")
    return tmp_path / "G.h5"


def test_an_export_may_be_repeated_but_not_with_other_features(file, another, tmp_path):
    out = {"parquet": tmp_path / "O.parquet", "npy": tmp_path / "O.npy"}
    for _ in range(2):
        export_features(file.path, **out)
    for name, path in out.items():
        with pytest.raises(OutputExistsError, match="weights: tiny → others"):
            export_features(another, **{name: path})
    export_features(another, **out, overwrite=True)
    for path in (out["npy"].with_suffix(".json"), out["parquet"]):
        assert b'"weights": "others"' in path.read_bytes()


@pytest.mark.parametrize("name", ["O.parquet", "O.npy", "O.csv", "O.json"])
def test_what_others_wrote_is_refused_before_anything_is_written(file, tmp_path, name):
    (tmp_path / name).write_text('["mine"]')
    with pytest.raises(OutputExistsError, match=f"{name} exists .*not a file that featx exported"):
        export_features(file.path, parquet=tmp_path / "O.parquet", npy=tmp_path / "O.npy")
    assert [path.name for path in tmp_path.glob("O.*")] == [name]
    assert (tmp_path / name).read_text() == '["mine"]'


def test_parquet_that_others_wrote_is_refused(file, tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "O.parquet")
    with pytest.raises(OutputExistsError, match="not a file that featx exported"):
        export_parquet(file, tmp_path / "O.parquet")


def test_outputs_that_would_be_each_other(file, tmp_path):
    for out in (
        {"npy": file.path},
        {"parquet": tmp_path / "x.csv", "npy": tmp_path / "x.npy"},
    ):
        with pytest.raises(ExportError, match="would be written over another file of this"):
            export_features(file.path, **out, overwrite=True)
    with pytest.raises(OutputExistsError, match="no regular file"):
        export_features(file.path, npy=tmp_path, overwrite=True)
    open_features(file.path)


def test_a_link_is_written_through(file, tmp_path):
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    export_npy(file, tmp_path / "link.npy")
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").shape == (23, 12)


def test_damaged_features_are_refused_and_nothing_is_written(file, tmp_path):
    data = bytearray(file.path.read_bytes())
    data[9000] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(FeatureFileError, match="damaged"):
        export_features(file.path, parquet=tmp_path / "O.parquet", npy=tmp_path / "O.npy")
    # One that changes between being checked and being read is found, too.
    for write, name in ((export_parquet, "O.parquet"), (export_npy, "O.npy")):
        with pytest.raises(FeatureFileError, match="changed or replaced"):
            write(file, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["F.h5"]


def test_without_pyarrow_the_remedy_is_named(file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'featx\[parquet\]'"):
        export_features(file.path, parquet=tmp_path / "O.parquet")
    export_features(file.path, npy=tmp_path / "O.npy")


def test_where_it_does_not_fit_it_is_not_begun(file, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.storage.files._file_size_limit", lambda: 1000)
    for write, name in ((export_parquet, "O.parquet"), (export_npy, "O.npy")):
        with pytest.raises(StorageError, match="this process may write files of 1 kB at most"):
            write(file, tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


CHILD = """
import resource, sys
from dataclasses import fields
from pathlib import Path
import numpy as np
from featx.features import export
from featx.config import TORCHVISION_V1
from featx.features.content import Heading
from featx.features.provenance import Provenance
from featx.features.file import open_features, write_columns
from featx.data.dataset import Fingerprint

class Block:
    dtype = np.dtype(np.float16)
    block = np.random.default_rng(0).normal(size=(1000, 2048)).astype(dtype)
    def __init__(self, n):
        self.shape = (n, 2048)
    def __getitem__(self, some):
        return self.block[np.arange(some.start, some.stop) % 1000]

def make(path, n):
    hashes = [f"{i:064x}" for i in range(n)]
    columns = {
        "features": Block(n), "targets": np.full(n, -1), "splits": np.full(n, b"train"),
        "paths": np.array([b"%d" % i for i in range(n)]), "hashes": np.array(hashes, "S"),
    }
    made = Fingerprint(())
    made.add(map(str, range(n)), hashes, [-1] * n, ["train"] * n)
    facts = {one.name: "x" for one in fields(Provenance) if one.name != "layers"}
    facts |= {"preprocessing": TORCHVISION_V1.to_dict(), "storage": "float16"}
    provenance = Provenance(**facts)
    write_columns(path, columns, Heading((), provenance, "x", "none"), made.hexdigest())
    return open_features(path)
"""


def run_child(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", CHILD + code, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux'")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    code = """
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
name, folder = sys.argv[1], Path(sys.argv[2])
write, suffix = getattr(export, "export_" + name), "." + name
export.ROW_GROUP = 1000
peaks = []
for n in (5_000, 40_000):  # 20 MB and 164 MB
    file = make(folder / f"{n}.h5", n)
    write(file, folder / f"{n}{suffix}")
    peaks.append(most())
    (folder / f"{n}{suffix}").unlink()
    file.path.unlink()
print(peaks[1] - peaks[0])
"""
    for name in ("npy", "parquet"):
        grown = int(run_child(code, name, tmp_path))  # KiB
        assert grown < 60 * 1024, name


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a file's size there")
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path):
    code = """
folder = Path(sys.argv[1])
file = make(folder / "F.h5", 5_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
export.check_space = lambda *_: None  # room is lost later than one looks
for write, name in ((export.export_npy, "O.npy"), (export.export_parquet, "O.parquet")):
    try:
        write(file, folder / name)
    except Exception as error:
        print(type(error).__name__, error)
print(sorted(path.name for path in folder.iterdir() if path.name != "here"))
"""
    said = run_child(code, tmp_path).splitlines()
    for line, name in zip(said[:2], ("O.npy", "O.parquet"), strict=True):
        assert line.startswith(f"StorageError {tmp_path / name}: file too large: about ")
        assert line.endswith("nothing was written; make room, or name another place")
    assert said[2] == "['F.h5']"


def test_a_place_that_cannot_be_written(file, tmp_path):
    (tmp_path / "plain").write_text("x")
    for write, name in ((export_parquet, "O.parquet"), (export_npy, "O.npy")):
        with pytest.raises(OSError, match="plain"):
            write(file, tmp_path / "plain" / "below" / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["F.h5", "here", "plain"]
