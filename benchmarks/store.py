"""How fast a feature file is written and read, against the disk's own rate in the same run.

    python benchmarks/store.py --rows 1000000 --rounds 3 --folder .

Synthetic float16 rows, a block of them prepared once and repeated. Before everything that reads,
what the system keeps of the file in memory is dropped, so that reading is reading. The rounds are
interleaved, the disk's own rate among them: a file of the same size, written and synced, and read,
by plain system calls. Medians, seconds of processor and ratios are printed; JSON with --output.

At most two such files are there at a time. GB are those of the features, or of the whole file
where that is written or checked.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from featx.config import FEATURE_DIM, TORCHVISION_V1
from featx.data.dataset import Fingerprint
from featx.features.content import FeatureFile, Heading
from featx.features.export import export_npy, export_parquet
from featx.features.file import open_features, write_columns
from featx.features.provenance import Provenance
from featx.machine import describe_machine
from featx.storage.rows import Rows, decode_text, iterate_slices

BLOCK = 1 << 12  # rows
CHUNK = 4 << 20  # bytes of one system call
CLASSES = tuple(f"class {k}" for k in range(100))
DRAWS = {32: 200, 4096: 10}  # index arrays of how many rows, and how many of them

PROVENANCE = Provenance(
    "resnet50", "synthetic", "0" * 64, TORCHVISION_V1.to_dict(), "none", "none", "none", "fp16",
    "float16",
)  # fmt: skip


class Repeated:
    """A block of rows, over and over, as what can be written."""

    def __init__(self, block: npt.NDArray[Any], n: int) -> None:
        self.block, self.shape, self.dtype = block, (n, *block.shape[1:]), block.dtype

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start = rows.start % BLOCK
        if start + rows.stop - rows.start <= BLOCK:
            return self.block[start : start + rows.stop - rows.start]
        return self.block[np.arange(rows.start, rows.stop) % BLOCK]


def make_columns(n: int) -> dict[str, Rows]:
    """What `write_columns` takes; features that are never negative, as ResNet50's are."""
    rng = np.random.default_rng(0)
    block = np.maximum(rng.normal(0.2, 0.4, (BLOCK, FEATURE_DIM)), 0).astype(np.float16)
    numbers = np.arange(n)
    digests = np.frombuffer(b"".join(b"%064x" % k for k in range(n)), "S64")
    return {
        "features": Repeated(block, n),
        "targets": numbers % len(CLASSES),
        "splits": np.array([b"train", b"val", b"test"])[numbers % 3],
        "paths": np.array([b"folder/%09d.jpg" % k for k in range(n)]),
        "hashes": digests,
    }


def find_fingerprint(columns: dict[str, Rows], n: int) -> str:
    """Of those rows."""
    made = Fingerprint(CLASSES)
    for some in iterate_slices(n, BLOCK):
        text = {name: decode_text(columns[name][some]) for name in ("paths", "hashes", "splits")}
        made.add(text["paths"], text["hashes"], columns["targets"][some], text["splits"])
    return made.hexdigest()


def forget(path: Path) -> None:
    """Drop what the system keeps of a file in memory."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def write_plain(path: Path, size: int) -> None:
    """As many bytes, written and synced."""
    data = np.random.default_rng(1).bytes(CHUNK)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for start in range(0, size, CHUNK):
        os.write(handle, data[: size - start])
    os.fsync(handle)
    os.close(handle)


def read_plain(path: Path) -> None:
    """All bytes of a file."""
    buffer = bytearray(CHUNK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def read_slices(file: FeatureFile) -> None:
    """All features, block by block."""
    for some in iterate_slices(len(file), BLOCK):
        file.columns["features"][some]


def read_random(file: FeatureFile, count: int) -> None:
    """Index arrays of `count` rows, drawn at random."""
    rng = np.random.default_rng(count)
    for _ in range(DRAWS[count]):
        file.columns["features"][rng.integers(0, len(file), count)]


class Stopwatch:
    """Seconds of each stage, a round at a time, and how they compare with the disk's own."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}  # seconds of processor
        self.size: dict[str, tuple[int, str]] = {}

    def run(
        self, name: str, size: int, disk: str, call: Callable[[], Any], reads: Path | None = None
    ) -> Any:
        """Time one stage of so many bytes, to be compared with the stage `disk`."""
        if reads:
            forget(reads)
        wall, work = time.perf_counter(), time.process_time()
        found = call()
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.work.setdefault(name, []).append(time.process_time() - work)
        self.size[name] = size, disk
        return found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Medians, and the median of the ratios within each round."""
        result = {}
        for name, (size, disk) in self.size.items():
            own = [self.size[disk][0] / seconds for seconds in self.wall[disk]]
            rates = [size / seconds for seconds in self.wall[name]]
            ratios = [rate / plain for rate, plain in zip(rates, own, strict=True)]
            result[name] = {
                "bytes": size,
                "seconds": self.wall[name],
                "cpu_seconds": self.work[name],
                "bytes_per_second": statistics.median(rates),
                "ratio": statistics.median(ratios),
                "disk": disk,
            }
        return result


def measure(folder: Path, n: int, rounds: int) -> Stopwatch:
    """All stages, round after round."""
    columns = make_columns(n)
    heading = Heading(CLASSES, PROVENANCE, "synthetic", "none")
    fingerprint = find_fingerprint(columns, n)
    plain, path = folder / "plain", folder / "F.h5"
    row = FEATURE_DIM * 2
    watch = Stopwatch()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)  # noqa: T201
        watch.run(
            "write", 0, "disk write", lambda: write_columns(path, columns, heading, fingerprint)
        )
        size = path.stat().st_size
        watch.size["write"] = size, "disk write"
        watch.run("disk write", size, "disk write", lambda s=size: write_plain(plain, s))
        watch.run("disk read", size, "disk read", lambda: read_plain(plain), plain)
        plain.unlink()
        file = watch.run("open (verify)", size, "disk read", lambda: open_features(path), path)
        watch.run("all rows", n * row, "disk read", partial(read_slices, file), path)
        for count, draws in DRAWS.items():
            call = partial(read_random, file, count)
            watch.run(f"{count} random rows", draws * count * row, "disk read", call, path)
        for suffix, export in ((".npy", export_npy), (".parquet", export_parquet)):
            call = partial(export, file, folder / f"out{suffix}")
            watch.run(f"export {suffix}", n * row, "disk write", call, path)
            for one in folder.glob("out.*"):
                one.unlink()
        path.unlink()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        stages = measure(Path(folder), words.rows, words.rounds).to_dict()
    result = {"machine": describe_machine(), "rows": words.rows, "stages": stages}
    table = [
        [
            name,
            f"{one['bytes'] / 1e9:.3f}",
            f"{statistics.median(one['seconds']):.3g}",
            f"{statistics.median(one['cpu_seconds']):.3g}",
            f"{one['bytes_per_second'] / 1e9:.3g}",
            f"{one['ratio']:.2f} of {one['disk']}",
        ]
        for name, one in stages.items()
    ]
    print(f"{words.rows:,} rows, {words.rounds} rounds; {result['machine']}\n")  # noqa: T201
    print(tabulate(table, ["what", "GB", "seconds", "cpu s", "GB/s", "ratio"]))  # noqa: T201
    if words.output:
        words.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
