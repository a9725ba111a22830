"""benchmarks/gpu.py, which anybody with a GPU is asked to run, runs on a CPU."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from shared import load_script

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM.exists(), reason="away from the checkout")
def test_it_runs_and_finds_all_right(tmp_path):
    words = ["--device", "cpu", "--quick", "--output", tmp_path / "gpu"]
    done = subprocess.run(
        [sys.executable, PROGRAM, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads((tmp_path / "gpu" / "gpu.json").read_text("utf-8"))
    right = found["right"]
    assert float(right["fp32 against the CPU, relative error"]) == 0  # it is the CPU
    assert float(right["bf16 against the CPU, least cosine"]) > 0.999
    same = {name: value for name, value in right.items() if name.startswith("the same bits")}
    assert same == dict.fromkeys(same, True)
    assert len(same) == 3
    assert float(right["tuning fc, loss against the CPU's, relative"]) == 0
    assert found["asked for"]["the same bits"] == "yes"
    assert "failed" not in found
    assert len(found["asked for"]) == 8
    speeds = {"network alone, fp32", "loop of both, bf16", "tutorial, fp32"}
    assert speeds | {"tutorial, autocast bf16"} <= set(found["images/s"])
    assert all(speed > 0 for speed in found["images/s"].values())
    assert "| images/s" in done.stdout
    assert [path.name for path in (tmp_path / "gpu").iterdir()] == ["gpu.json"]


def test_a_section_that_fails_takes_no_others_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, PROGRAM.stem, ModuleType(PROGRAM.stem))  # for dataclasses
    program = load_script(PROGRAM)

    def fail(bench):
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might")

    monkeypatch.setattr(program, "draw_photos", lambda *_: None)
    monkeypatch.setattr(program, "save_random", lambda path: path)
    note = lambda bench: bench.note("right", "the same bits again", True)  # noqa: E731
    monkeypatch.setattr(program, "SECTIONS", {"network": fail, "features": note})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--output", str(tmp_path)])
    program.main()
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert found["failed"] == {"network": "RuntimeError: CUDA error: unspecified launch failure"}
    assert found["right"] == {"the same bits again": True}
    assert found["asked for"]["the same bits"] == "yes"
    assert "unspecified launch failure" in capsys.readouterr().out
