"""What this machine is, in words, and how much of it we may use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def count_cores() -> int:
    """Processor cores that this process may use: by its affinity mask and its control group."""
    import joblib  # here, since it takes longer to import than to ask

    return int(joblib.cpu_count())


def measure_memory(proc: Path = Path("/proc/self")) -> int:
    """Bytes of memory that this process may use: by its control groups, or that there are.

    A group's limit holds for all groups below it, so that the smallest on the way to the root is
    the one that counts. See cgroups(7) and proc_pid_mountinfo(5).

    Parameters
    ----------
    proc : Path
        Where the kernel describes the process.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder, name in _find_groups(proc):
        try:
            limits.append(int((folder / name).read_text("ascii")))
        except (OSError, ValueError):
            continue  # no such file at the root; "max"
    return min(limits)


def _find_groups(proc: Path) -> Iterator[tuple[Path, str]]:
    """Folders of the memory control groups that the process is in, and their file of the limit."""
    try:
        groups = (proc / "cgroup").read_text("utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return  # no Linux
    places: dict[str, str] = {}
    for line in groups:
        _, controllers, place = line.split(":", 2)
        places |= {one: place for one in controllers.split(",") if one in ("", "memory")}
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        root, mount = fields.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup2" and "" in places:
            place, name = places[""], "memory.max"
        elif kind == "cgroup" and "memory" in options.split(",") and "memory" in places:
            place, name = places["memory"], "memory.limit_in_bytes"
        else:
            continue
        inside = Path(place)
        if inside.is_relative_to(root):  # what is mounted may be a part of the tree
            inside = inside.relative_to(root)
        folder = Path(mount) / str(inside).lstrip("/")
        for one in (folder, *folder.parents):
            if one.is_relative_to(mount):
                yield one, name


def is_limited() -> bool:
    """Whether this process may use fewer cores than the machine has."""
    return count_cores() < (os.cpu_count() or 1)


def describe_machine() -> str:
    """Processor and the cores in use, for tables of timings."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {count_cores()} cores"


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def describe_engine(name: str) -> str:
    """An engine's name with its version, as the provenance has it; "" where it is not installed.

    Neither is imported for that: torch alone takes seconds.
    """
    if name == "openvino":
        if not has_openvino():
            return ""
        return f"openvino {importlib.metadata.version('openvino').partition('-')[0]}"
    return f"torch {importlib.metadata.version('torch').partition('+')[0]}"
