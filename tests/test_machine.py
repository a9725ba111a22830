import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_cores_are_those_of_the_mask_and_torch_keeps_to_them(tmp_path):
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import torch; torch.set_num_threads(4)\n"
        "from featx.machine import count_cores, is_limited\n"
        "from featx.engine import limit_threads\n"
        "limit_threads()\n"
        "print(count_cores(), is_limited(), torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", str((os.cpu_count() or 1) > 1), "1"]


def test_a_control_groups_quota_counts(monkeypatch):
    # joblib's own way of being told: what it reads of the kernel needs a control group to try.
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    from featx.machine import count_cores

    assert count_cores() == 1
