"""What it costs an extraction that a killed one can go on: with and without shards, in one run.

    python benchmarks/checkpoints.py DATA --split first:30,6 --rounds 3

The two are interleaved, each from nothing into an empty folder; medians, their ratio, and the
seconds spent on keeping shards are printed, and everything is written as JSON with --output.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from featx.extraction.extract import extract
from featx.features.checkpoints import Checkpoints
from featx.machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--split")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    keeping: list[float] = []
    real = Checkpoints.keep

    def timed(*args: object) -> None:
        begun = time.perf_counter()
        real(*args)  # type: ignore[arg-type]
        keeping[-1] += time.perf_counter() - begun

    images = 0
    for number in range(words.rounds + 1):
        for kind in ("with", "without"):
            keeping.append(0.0)
            keep = timed if kind == "with" else lambda *_: None
            with (
                tempfile.TemporaryDirectory(dir=".") as folder,
                mock.patch.object(Checkpoints, "keep", keep),
            ):
                done = extract(
                    words.data, split=words.split, output=Path(folder) / "F.h5", engine="torch"
                )
            images = done.images
            if number:  # the first round warms the system's file cache
                seconds[kind].append(done.seconds)
            else:
                keeping.clear()
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    result = {
        "machine": describe_machine(),
        "images": images,
        "seconds": seconds,
        "median": medians,
        "ratio": medians["with"] / medians["without"],
        "seconds_keeping": [one for one in keeping if one],
        "fraction_keeping": sum(keeping) / sum(seconds["with"]),
    }
    print(json.dumps(result, indent=2))  # noqa: T201
    if words.output:
        words.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
