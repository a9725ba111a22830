import json

import pytest

from featx import doctor
from featx.doctor import Check


@pytest.mark.full_width
def test_doctor_looks_at_everything(run, stored, tmp_path):
    done = run("doctor", "--cache-dir", tmp_path / "c", "--batch-size", "2")
    assert done.exit_code == 0
    marks = {line[2:].split()[0]: line[0] for line in done.stdout.splitlines()}
    assert marks["cache"] == marks["engine"] == "✓"
    assert marks["openvino"] == " "  # not there, as far as this test sees
    assert marks["weights"] == "✓"
    assert "HDF5" in done.stdout
    assert "pip install 'featx[openvino]'" in done.stdout
    assert "of --precision auto: bf16" in done.stdout
    assert "0 entries, 0 bytes" in done.stdout
    assert not (tmp_path / "c").exists()


def test_a_quick_look_runs_no_network_and_says_what_gets_weights(run, monkeypatch):
    monkeypatch.setattr(doctor, "make_engine", None)
    monkeypatch.setattr(doctor, "_has_module", lambda name: name not in ("ray", "onnx"))
    done = run("doctor", "--quick")
    assert done.exit_code == 1
    marks = {line[2:].split()[0]: line[0] for line in done.stdout.splitlines()}
    assert marks["weights"] == "✗"
    assert "featx weights fetch" in done.stdout
    assert {"ray", "onnx", "openvino"} <= marks.keys()
    assert not {"parquet", "engine", "precision", "threads"} & marks.keys()


def test_what_is_amiss_is_said_and_exit_1(run, monkeypatch):
    found = [Check("featx", None, "1"), Check("cache", False, "read-only")]
    monkeypatch.setattr("featx.doctor.examine", lambda *_, **__: iter(found))
    done = run("doctor")
    assert (done.exit_code, done.stdout) == (1, "  featx      1\n✗ cache      read-only\n")
    values = json.loads(run("doctor", "--json").stdout)
    assert values["healthy"] is False
    assert values["findings"][1] == {"name": "cache", "good": False, "text": "read-only"}
