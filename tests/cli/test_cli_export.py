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
    assert "Name an output: --parquet or --npy of a feature file, or --onnx" in done.stderr
    both = run("export", features, "--npy", tmp_path / "O.npy", "--onnx", tmp_path / "O.onnx")
    assert both.exit_code == 2
    features.write_bytes(features.read_bytes()[:-1])
    done = run("export", features, "--parquet", tmp_path / "O.parquet")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {features}: damaged: it has ")
    assert not (tmp_path / "O.parquet").exists()


@pytest.mark.full_width
def test_export_of_a_model(run, features, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model, out = tmp_path / "m.safetensors", tmp_path / "O.onnx"
    run("fit", features, "-o", model, "-q")
    done = run("export", model, "--onnx", out, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    values = json.loads(done.stdout)
    assert values["classes"] == ["cat", "dog", "owl"]
    assert values["input"] == {"name": "pixels", "dtype": "uint8", "shape": ["n", 64, 64, 3]}
    assert values["output"]["shape"] == ["n", 3]
    assert values["check"]["max_difference"] <= values["check"]["tolerance"] == 1e-4
    assert (values["opset"], values["clf"]) == (17, "logreg")
    assert values["written"] == [{"format": "onnx", "path": str(out), "bytes": out.stat().st_size}]
    text = run("export", model, "--onnx", out).stdout
    assert text.startswith(f"{model}: logreg, 3 classes; probabilities differ from featx's by ")
    assert f"written: {out} (94" in text
    wrong = run("export", model, "--npy", tmp_path / "O.npy")
    assert wrong.exit_code == 1
    assert f"{model} is a model, and --parquet and --npy are for feature files" in wrong.stderr
    wrong = run("export", features, "--onnx", tmp_path / "F.onnx")
    assert wrong.exit_code == 1
    assert f"{features} is a feature file, and --onnx" in wrong.stderr
