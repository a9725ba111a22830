"""What this machine is, in words, and how much of it we may use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path


def count_cores() -> int:
    """Processor cores that this process may use: by its affinity mask and its control group."""
    import joblib  # here, since it takes longer to import than to ask

    return int(joblib.cpu_count())


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
