"""Images in archives against the same images in a folder: what a run takes, and its memory.

    python benchmarks/archives.py rate caltech101-animals --rounds 5
    python benchmarks/archives.py memory --images 100000

`rate` extracts a folder and the same packed in every way, in turn, each in a process of its own.
`memory` finds, hashes and decodes as many small pictures, and says the peak of each process; the
network, which takes the same whatever comes to it, is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import random
import re
import statistics
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet
from tabulate import tabulate
from turns import run_script, take_turns

from featx.config import Preprocessing
from featx.data.hashing import hash_images
from featx.data.images import load_image
from featx.data.loading import load_batches
from featx.extraction.extract import extract
from featx.features.ledger import Ledger
from featx.machine import count_cores, describe_machine
from featx.sources.reading import read_inventory

Picture = tuple[str, str, bytes]  # class, name, bytes
SHARDS = 8
SMALL = Preprocessing(32, 32, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    rate = parts.add_parser("rate")
    rate.add_argument("folder", type=Path)
    rate.add_argument("--rounds", type=int, default=3)
    memory = parts.add_parser("memory")
    memory.add_argument("--images", type=int, default=100_000)
    for name in ("extract", "walk"):  # one process of the above
        parts.add_parser(name).add_argument("path", type=Path)
    words = parser.parse_args()
    if words.part == "extract":
        say(time_extraction(words.path))
    elif words.part == "walk":
        say(walk(words.path))
    else:
        with tempfile.TemporaryDirectory(dir=".") as place:
            measure = measure_rate if words.part == "rate" else measure_memory
            table = measure(words, Path(place))
        print(describe_machine())  # noqa: T201
        print(table)  # noqa: T201


def measure_rate(words: argparse.Namespace, place: Path) -> str:
    paths = sorted(path for path in words.folder.glob("*/*") if path.is_file())
    ways = {"folder": words.folder, **pack_all(lambda: read(paths), place)}
    runs = take_turns(
        {
            way: lambda path=path: run_script("archives.py", "extract", path)
            for way, path in ways.items()
        },
        words.rounds,
    )
    rates = {way: [one["images_per_second"] for one in each] for way, each in runs.items()}
    base = rates["folder"]
    rows = [
        (way, statistics.median(told), statistics.median(np.divide(told, base)))
        for way, told in rates.items()
    ]
    return tabulate(rows, ("", "images/s", "of the folder's"), floatfmt=("", ".1f", ".3f"))


def measure_memory(words: argparse.Namespace, place: Path) -> str:
    folder = place / "folder"
    for label, name, data in draw(words.images):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / name).write_bytes(data)
    ways = {"folder": folder, **pack_all(lambda: draw(words.images), place)}
    found = {way: run_script("archives.py", "walk", path) for way, path in ways.items()}
    base = found["folder"]["peak"]
    rows = [(way, told["images"], told["peak"], told["peak"] - base) for way, told in found.items()]
    return tabulate(rows, ("", "images", "peak MB", "more than the folder"), floatfmt=".0f")


def time_extraction(path: Path) -> dict[str, float]:
    """A whole extraction, with all that comes before and after the network."""
    with tempfile.TemporaryDirectory(dir=".") as place:
        done = extract(path, output=Path(place) / "F.h5", cache_dir=Path(place) / "cache")
    return {"images_per_second": done.extracted / done.seconds}


def walk(path: Path) -> dict[str, float]:
    """Everything up to the network: images are found, hashed and decoded, in batches."""
    # The peak so far was that of importing; what follows would hide below it (Linux).
    Path("/proc/self/clear_refs").write_text("5")
    inventory = hash_images(read_inventory(path), "fail")
    ledger = Ledger(inventory)
    ledger.list_todo()
    under_way = {}

    def positions() -> Iterator[int]:
        for image in ledger.iterate_todo():
            under_way[image.position] = image
            yield image.position

    def load(position: int) -> np.ndarray:
        image = under_way.pop(position)
        return load_image(inventory.root / image.path, SMALL, image.digest)

    batches = load_batches(load, positions(), 16, count_cores())
    count = sum(len(batch.rows) for batch in batches)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"images": count, "peak": int(peak) / 1000}


def read(paths: list[Path]) -> Iterator[Picture]:
    """Files in the order in which data sets are packed: shuffled."""
    for path in random.Random(0).sample(paths, len(paths)):
        yield path.parent.name, path.name, path.read_bytes()


def draw(count: int) -> Iterator[Picture]:
    """Small pictures, no two alike, of ten classes, shuffled."""
    rng = np.random.default_rng(0)
    for i in range(count):
        buffer = io.BytesIO()
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        yield str(i % 10), f"{rng.integers(1 << 40):013d}-{i:07d}.png", buffer.getvalue()


def pack_all(pictures: Callable[[], Iterator[Picture]], place: Path) -> dict[str, Path]:
    """The same pictures, packed in every way that is read."""
    return {
        "tar": pack_tar(pictures(), place / "packed.tar", "w"),
        "tar.gz": pack_tar(pictures(), place / "packed.tar.gz", "w:gz"),
        "WebDataset": pack_shards(pictures(), place / "shards"),
        "zip": pack_zip(pictures(), place / "packed.zip"),
        "Parquet": pack_parquet(pictures(), place / "packed.parquet"),
    }


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def pack_tar(pictures: Iterator[Picture], path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as tar:
        for label, name, data in pictures:
            add(tar, f"{label}/{name}", data)
    return path


def pack_shards(pictures: Iterator[Picture], folder: Path) -> Path:
    folder.mkdir()
    with contextlib.ExitStack() as opened:
        tars = [
            opened.enter_context(tarfile.open(folder / f"shard-{k:03d}.tar", "w"))
            for k in range(SHARDS)
        ]
        for i, (label, name, data) in enumerate(pictures):
            add(tars[i % SHARDS], f"{i:08d}{Path(name).suffix}", data)
            add(tars[i % SHARDS], f"{i:08d}.cls", label.encode())
    return folder


def pack_zip(pictures: Iterator[Picture], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for label, name, data in pictures:
            packed.writestr(f"{label}/{name}", data)
    return path


def pack_parquet(pictures: Iterator[Picture], path: Path) -> Path:
    kinds = {"bytes": pyarrow.binary(), "path": pyarrow.string()}
    schema = pyarrow.schema({"image": pyarrow.struct(kinds), "label": pyarrow.string()})
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(itertools.islice(pictures, 100)):  # a row group, as `datasets` has them
            images = [{"bytes": data, "path": name} for _, name, data in some]
            labels = [label for label, *_ in some]
            writer.write_table(pyarrow.table({"image": images, "label": labels}, schema))
    return path


def say(found: dict[str, float]) -> None:
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
