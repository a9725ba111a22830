"""What a million images cost once their features are there: time and memory of each step.

    python benchmarks/scale_fit.py FOLDER --images 1000000 --max-memory 2GB

Writes a feature file of made-up float16 features into FOLDER (4 GB for a million; what is there is
used again), then verifies it, describes it, and fits heads on it, each in a process of its own.
Prints a table and JSON: wall seconds, GB of features a second, and the process's peak memory. The
rate of a fit counts the file once, however often it was read.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from featx.config import FEATURE_DIM, TORCHVISION_V2
from featx.data.dataset import fingerprint_rows
from featx.features.content import Heading
from featx.features.file import write_columns
from featx.features.provenance import Provenance
from featx.machine import describe_machine
from featx.storage.rows import encode_text

CLASSES = 100
CHUNK = 4096  # rows that are made together
# How far the classes' centres lie apart, in deviations of the noise in each feature: linear heads
# get most images right and not all.
APART = 0.08


@dataclass(frozen=True)
class MadeRows:
    """Features that are made when they are asked for: the same numbers for the same rows."""

    targets: Any
    seed: int = 0

    @property
    def dtype(self) -> Any:
        """float16, as it is stored."""
        return np.dtype(np.float16)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_samples, n_features)."""
        return len(self.targets), FEATURE_DIM

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(len(self.targets))
        return np.concatenate([self._make_none(), *self._make(start, stop)])

    def _make_none(self) -> Any:
        return np.empty((0, FEATURE_DIM), self.dtype)

    def _make(self, start: int, stop: int) -> Iterator[Any]:
        centres = np.random.default_rng(self.seed).normal(0, APART, (CLASSES, FEATURE_DIM))
        for chunk in range(start // CHUNK, -(-stop // CHUNK)):
            first, last = chunk * CHUNK, min((chunk + 1) * CHUNK, len(self.targets))
            rng = np.random.default_rng([self.seed, chunk])
            noise = rng.standard_normal((last - first, FEATURE_DIM), dtype=np.float32)
            made = 2 + noise + centres[self.targets[first:last]].astype(np.float32)
            yield made[max(start - first, 0) : stop - first].astype(self.dtype)


def write_made(path: Path, images: int, rows: type[MadeRows] = MadeRows) -> None:
    """A sealed feature file; its paths are sorted by class, as a folder's are."""
    rng = np.random.default_rng(1)
    targets = np.sort(np.arange(images) % CLASSES)
    splits = rng.choice(np.array(["train", "val", "test"]), images, p=[0.8, 0.1, 0.1])
    classes = tuple(f"class {k:02d}" for k in range(CLASSES))
    paths = np.array([f"{classes[k]}/{i:09d}.jpg" for i, k in enumerate(targets.tolist())])
    hashes = np.array([f"{i:064x}" for i in range(images)])
    provenance = Provenance(
        backbone="resnet50", weights="made-up", weights_sha256="0" * 64,
        preprocessing=TORCHVISION_V2.to_dict(), decoder="none", colours="none", engine="none",
        precision="fp32", storage="float16",
    )  # fmt: skip
    columns = {
        "features": rows(targets), "targets": targets.astype(np.int64),
        "splits": encode_text(splits), "paths": encode_text(paths), "hashes": encode_text(hashes),
    }  # fmt: skip
    heading = Heading(classes, provenance, "made-up", "manifest")
    write_columns(path, columns, heading, fingerprint_rows(classes, paths, hashes, targets, splits))


def measure(words: list[str], size: int) -> dict[str, Any]:
    """Run a command of featx in a process of its own."""
    # Linux's own mark of this process: getrusage counts what the parent had when it forked.
    code = (
        "import sys\n"
        "from featx.cli.main import main\n"
        "try: main(sys.argv[1:], prog_name='featx')\n"
        "finally:\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    peak = next(line.split()[1] for line in lines if line.startswith('VmHWM'))\n"
        "    print(peak, file=sys.stderr)\n"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    *said, peak = done.stderr.splitlines() or ["0"]
    if done.returncode:
        raise SystemExit(f"featx {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    values = json.loads(done.stdout)
    kept = ("C", "accuracy", "n_iter", "converged", "fit_seconds", "epochs")
    return {
        "command": " ".join(words[:1] + words[2:]),
        "seconds": seconds,
        "gb_per_second": size / seconds / 1e9,
        "peak_mb": int(peak) * 1024 / 1e6,
        "said": said,
        **{name: values[name] for name in kept if name in values},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--max-memory", default="2GB")
    parser.add_argument("-C", default="0.01")
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    path = words.folder / f"made-{words.images}.h5"
    steps = []
    if not path.exists():
        started = time.perf_counter()
        write_made(path, words.images)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        steps.append({
            "command": "(make and write)", "seconds": seconds,
            "gb_per_second": path.stat().st_size / seconds / 1e9,
            "peak_mb": peak / (1000 if sys.platform != "darwin" else 1e6),
        })  # fmt: skip
    size = path.stat().st_size
    fitting = ["--max-memory", words.max_memory, "-v", "--json"]
    for command in (
        ["verify", str(path), "--json"],
        ["info", str(path), "--json"],
        ["fit", str(path), "--clf", "linear", "--epochs", "1", *fitting],
        ["fit", str(path), "--clf", "logreg", "-C", words.C, *fitting],
    ):
        steps.append(measure(command, size))
        print(json.dumps(steps[-1]), file=sys.stderr, flush=True)  # noqa: T201
    result = {
        "machine": describe_machine(), "images": words.images, "bytes": size, "steps": steps
    }  # fmt: skip
    rows = [
        [step["command"], step["seconds"], step["gb_per_second"], step["peak_mb"]] for step in steps
    ]
    print(tabulate(rows, ["command", "s", "GB/s", "peak MB"], floatfmt=".3g"))  # noqa: T201
    print(json.dumps(result, indent=2))  # noqa: T201
    if words.output:
        words.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
