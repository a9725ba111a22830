"""Two featx programs on the same folder, in turn: what an extraction takes of one and the other.

    python benchmarks/paired.py DATA --other OLD/.venv/bin/featx --rounds 9
    python benchmarks/paired.py DATA --words "--decode exact" --other-words "--decode pillow"

Runs `featx extract DATA`, of this environment and of the other, or of this one with other options,
each into an empty folder, A B B A, and so on, so that a machine which slows down or warms up does
it to both. Prints one JSON object: for each engine the medians of both in seconds, wall and CPU of
all threads, and the ratios this to other, pair by pair, as median, smallest and largest.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from turns import take_turns

from featx.machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--other", help="the featx that is held against this one; default: itself")
    parser.add_argument("--words", default="", help="options of this one, in quotes")
    parser.add_argument("--other-words", default="", help="options of the other, in quotes")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--engine", action="append", help="default: openvino and torch")
    asked = parser.parse_args()
    this = str(Path(sys.executable).with_name("featx"))
    commands = {
        "this": [this, *shlex.split(asked.words)],
        "other": [asked.other or this, *shlex.split(asked.other_words)],
    }
    found: dict[str, object] = {"rounds": asked.rounds}
    for engine in asked.engine or ("openvino", "torch"):
        ways = {
            name: partial(run, command, asked.data.resolve(), engine)
            for name, command in commands.items()
        }
        seconds = take_turns(ways, asked.rounds, warming=1)
        found[engine] = {
            kind: summarise([one[k] for one in seconds["this"]], [o[k] for o in seconds["other"]])
            for k, kind in enumerate(("wall", "cpu"))
        }
    print(json.dumps({**found, "machine": describe_machine()}, indent=2))  # noqa: T201


def run(command: list[str], data: Path, engine: str) -> tuple[float, float]:
    """Wall and CPU seconds of one extraction, by the system's own account of the process."""
    program, *options = command
    words = ["extract", str(data), "--split", "0.7,0.1,0.2", "--engine", engine, "-o", "F.h5", "-q"]
    words += options
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        child = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd "$0" && exec "$@" > /dev/null', folder, program, *words],
            os.environ,
        )
        _, status, used = os.wait4(child, 0)
        wall = time.perf_counter() - begun
        if status:
            raise SystemExit(f"{program} {' '.join(words)} failed")
    return wall, used.ru_utime + used.ru_stime


def summarise(this: list[float], other: list[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(this, other, strict=True)]
    return {
        "this": statistics.median(this),
        "other": statistics.median(other),
        "ratio": statistics.median(ratios),
        "smallest": min(ratios),
        "largest": max(ratios),
    }


if __name__ == "__main__":
    main()
