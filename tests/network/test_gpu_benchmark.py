"""benchmarks/gpu.py, which anybody with a GPU is asked to run, runs on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert len(found["asked for"]) == 6
    assert {"network alone, fp32", "tutorial, autocast bf16"} <= set(found["images/s"])
    assert all(speed > 0 for speed in found["images/s"].values())
    assert "| images/s" in done.stdout
    assert [path.name for path in (tmp_path / "gpu").iterdir()] == ["gpu.json"]
