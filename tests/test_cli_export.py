import json

import numpy as np
import pytest

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def features(run, photos, stored, tmp_path):
    (photos / "cat" / "bad.jpg").write_bytes(b"")
    run("extract", photos, "--split", "first:4,2", "-o", tmp_path / "F.h5", "-q")
    return tmp_path / "F.h5"


def test_export_as_json(run, features, tmp_path):
    out = tmp_path / "O.parquet", tmp_path / "O.npy"
    done = run("export", features, "--parquet", out[0], "--npy", out[1], "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    values = json.loads(done.stdout)
    assert set(values) == {"features", "images", "skipped", "written", "seconds"}
    assert (values["features"], values["images"], values["skipped"]) == (str(features), 27, 1)
    names = {"parquet": "O.parquet", "npy": "O.npy", "csv": "O.csv", "json": "O.json"}
    assert values["written"] == [
        {"format": kind, "path": str(tmp_path / name), "bytes": (tmp_path / name).stat().st_size}
        for kind, name in names.items()
    ]
    table = pq.read_table(out[0])
    assert table["path"].to_pylist()[0] == "cat/00.jpg"
    assert np.load(out[1]).shape == (27, 2048)


def test_export_as_text(run, features, tmp_path):
    done = run("export", features, "--npy", tmp_path / "O.npy")
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{features}: 27 images; 1 skipped ones are no rows (")
    assert second.startswith(f"written: {tmp_path / 'O.npy'} (221 kB), {tmp_path / 'O.csv'} (")
    (tmp_path / "O.csv").write_text("mine")
    (tmp_path / "O.json").unlink()
    refused = run("export", features, "--npy", tmp_path / "O.npy")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"Error: {tmp_path / 'O.npy'} exists and holds something else (not a file that featx "
        "exported); name another output, or say --overwrite to replace it\n"
    )
    assert run("export", features, "--npy", tmp_path / "O.npy", "--overwrite").exit_code == 0


def test_export_needs_an_output_and_whole_features(run, features, tmp_path):
    done = run("export", features)
    assert done.exit_code == 2
    assert "Name an output: --parquet OUT.parquet, --npy OUT.npy, or both." in done.stderr
    features.write_bytes(features.read_bytes()[:-1])
    done = run("export", features, "--parquet", tmp_path / "O.parquet")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {features}: damaged: it has ")
    assert not (tmp_path / "O.parquet").exists()
