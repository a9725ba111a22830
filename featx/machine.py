"""What this machine is, in words, and how much of it we may use."""

from __future__ import annotations

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
