"""What `--layers all` costs an extraction and its file: with and without, in one run.

    python benchmarks/stages.py DATA [--engine openvino torch] [--rounds 5]

The two take turns, each from nothing into an empty folder, who goes first changing with every
round. Where other work disturbs it, the seconds of cores say more than the clock's. Prints one JSON
object: of each engine both, their ratios round by round, the medians of these, and how many times
as large the file is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import take_turns

from featx.extraction.extract import extract
from featx.machine import describe_machine

WAYS = ("last", "all")


def time_extraction(
    data: str, layers: str, engine: str, storage: str = "float32"
) -> tuple[float, float, int]:
    """Seconds by the clock and of cores, and the file's bytes."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, used = Path(folder) / "F.h5", time.process_time()
        done = extract(
            data, layers=layers, engine=engine, storage=storage, output=path, cache_dir=folder
        )
        return done.seconds, time.process_time() - used, path.stat().st_size


def compare_layers(data: str, engine: str, rounds: int) -> dict[str, Any]:
    """All of one engine's rounds; the first, which warms the system's file cache, not counted."""
    ways = {layers: partial(time_extraction, data, layers, engine) for layers in WAYS}
    spent = take_turns(ways, rounds, warming=1)
    last, every = (np.array(spent[layers]) for layers in WAYS)
    told: dict[str, Any] = {}
    for i, of in enumerate(("clock", "cores")):
        ratios = every[:, i] / last[:, i]
        told[of] = {
            "last": last[:, i].tolist(),
            "all": every[:, i].tolist(),
            "ratios": ratios.tolist(),
            "median ratio": float(np.median(ratios)),
        }
    _, _, halved = time_extraction(data, "all", engine, "float16")
    plain = last[0, 2]
    told["file"] = {"all": every[0, 2] / plain, "all, float16": halved / plain}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--engine", nargs="+", default=["openvino", "torch"])
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    found = {engine: compare_layers(words.data, engine, words.rounds) for engine in words.engine}
    print(json.dumps({"machine": describe_machine(), "engines": found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
