"""What it takes to find the nearest of a million images exactly.

    python benchmarks/similar.py FOLDER --images 1000000

Writes a feature file of made-up float16 features into FOLDER (4 GB for a million), and takes it
away again. Reads it once, so that the system has it in memory; then gives the seconds of finding
the ten nearest rows, the best of three, and of checking every byte of the file, which featx similar
does before. The rows found are held against brute force, a block at a time in float64. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import operator
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scale_fit import MadeRows, write_made
from turns import time_call

import featx
from featx.config import FEATURE_DIM
from featx.features.file import open_features
from featx.machine import describe_machine
from featx.storage.rows import iterate_slices

K, BLOCK = 10, 1 << 13


class QuickRows(MadeRows):
    """Numbers between 1/16 and 1, in a tenth of the time; another slice has other ones."""

    def _make(self, start: int, stop: int) -> Iterator[Any]:
        rng = np.random.default_rng([self.seed, start])
        bits = rng.integers(0x2C00, 0x3C00, (stop - start, FEATURE_DIM), np.uint16)
        yield bits.view(np.float16)


def search(X: Any, queries: Any) -> tuple[Any, Any]:
    """Brute force in float64: all cosines, then all of them sorted."""
    wanted = torch.nn.functional.normalize(torch.from_numpy(queries).double())
    cosines = [
        torch.nn.functional.normalize(torch.from_numpy(X[some]).double()) @ wanted.T
        for some in iterate_slices(len(X), BLOCK)
    ]
    every, rows = torch.cat(cosines).T.sort(descending=True, stable=True)
    return every[:, :K].numpy(), rows[:, :K].numpy()


def time_best(function: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Seconds of the quickest of some calls, and what it gave."""
    return min((time_call(function) for _ in range(times)), key=operator.itemgetter(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 16])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "made.h5"
        write_made(path, args.images, QuickRows)
        checking, file = time_best(lambda: open_features(path), 2)
        X = file.columns["features"]
        rng = np.random.default_rng(2)
        told = []
        for n in args.queries:
            rows = np.sort(rng.choice(args.images, n, replace=False))
            noise = rng.standard_normal((n, X.shape[1]), dtype=np.float32)
            queries = X[rows].astype(np.float32) + noise / 4
            seconds, (cosines, found) = time_best(partial(featx.find_nearest, X, queries, K), 3)
            sys.stderr.write(f"{n} queries: {seconds:.2f} s; now by brute force\n")
            exact, expected = search(X, queries)
            told.append(
                {
                    "queries": n,
                    "seconds": seconds,
                    "same_rows": bool((found == expected).all()),
                    "largest_difference": float(np.abs(cosines - exact).max()),
                }
            )
    values = {
        "machine": describe_machine(), "images": args.images, "k": K, "check_seconds": checking,
        "results": told,
    }  # fmt: skip
    sys.stdout.write(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
