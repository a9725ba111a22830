import os
import subprocess
import sys

import pytest

from featx.machine import measure_memory


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_cores_are_those_of_the_mask_and_torch_keeps_to_them(tmp_path):
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import torch; torch.set_num_threads(4)\n"
        "from featx.machine import count_cores, is_limited\n"
        "from featx.network.engine import limit_threads\n"
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


PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("version", [1, 2])
def test_the_smallest_limit_on_the_way_to_the_root_counts(tmp_path, version):
    mount = tmp_path / "fs"
    name = ["", "memory.limit_in_bytes", "memory.max"][version]
    (mount / "job" / "step").mkdir(parents=True)
    (tmp_path / "cgroup").write_text(
        ["", "4:cpu,memory:/job/step\n0::/\n", "0::/job/step\n"][version]
    )
    kind = ["", "cgroup cgroup rw,cpu,memory", "cgroup2 none rw"][version]
    (tmp_path / "mountinfo").write_text(
        f"31 23 0:28 / /proc rw - proc proc rw\n35 31 0:32 / {mount} rw shared:9 - {kind}\n"
    )
    assert measure_memory(tmp_path) == PHYSICAL
    for folder, limit, expected in (
        ("job/step", "max", PHYSICAL),
        ("job", 3_000_000, 3_000_000),
        ("", 2**63 - 4096, 3_000_000),
        ("job/step", 5_000_000, 3_000_000),
        ("job/step", 1_000_000, 1_000_000),
    ):
        (mount / folder / name).write_text(f"{limit}\n")
        assert measure_memory(tmp_path) == expected


def test_a_container_sees_its_own_group_at_the_mount(tmp_path):
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "memory.max").write_text("7000000\n")
    for root, place in (("/docker/1", "/docker/1"), ("/", "/not/there"), ("/../..", "/")):
        (tmp_path / "cgroup").write_text(f"0::{place}\n")
        (tmp_path / "mountinfo").write_text(
            f"35 31 0:32 {root} {tmp_path / 'fs'} rw - cgroup2 n rw\n"
        )
        assert measure_memory(tmp_path) == 7_000_000
    assert measure_memory(tmp_path / "nowhere") == PHYSICAL
    assert 0 < measure_memory() <= PHYSICAL
