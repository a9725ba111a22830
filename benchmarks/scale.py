"""What grows with the number of images, and what does not: memory of an extraction, time of a plan.

    python benchmarks/scale.py memory --images 2000      peak memory at 2,000 and at 20,000 images
    python benchmarks/scale.py plan --files 1000000      scanning, hashing and cutting into shards
    python benchmarks/scale.py merge --shards 20         putting shards of 10,000 images together
    python benchmarks/scale.py decode --photos DIR/*/*   milliseconds of one core for a photograph

Every figure is of a child process of its own. The network is replaced by averages of pixels, since
it is not what grows; all else is featx's own code. JSON goes to standard output.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from featx.config import FEATURE_DIM, TORCHVISION_V1
from featx.data.hashing import hash_images
from featx.data.images import load_image
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.content import Heading
from featx.features.file import write_columns
from featx.features.provenance import Provenance
from featx.machine import describe_machine
from featx.network.engine import TorchEngine  # noqa: F401 (what a real extraction has in memory, too)
from featx.scale.merge import merge
from featx.scale.plan import make_plan
from featx.scale.plan_file import open_list, read_plan, read_shard
from featx.sources.reading import read_inventory

PROVENANCE = Provenance(
    backbone="resnet50",
    weights="averages",
    weights_sha256="0" * 64,
    preprocessing=TORCHVISION_V1.to_dict(),
    decoder="pillow",
    colours="rgb",
    engine="averages 1",
    precision="fp32",
    storage="float32",
)
CLASSES = 100


class Averages:
    """2048 averages of pixels: an engine that costs next to nothing."""

    name, precision, device, batch_size, feature_dim = "averages 1", "fp32", "cpu", 16, FEATURE_DIM

    def run(self, pixels):
        """As `featx.network.engine.Engine.run`."""
        rows = pixels.reshape(len(pixels), -1)[:, : FEATURE_DIM * 64]
        return rows.reshape(len(pixels), FEATURE_DIM, 64).mean(axis=2).astype(np.float32)


def measure(function, *args):
    """What a function returns in a process of its own, with seconds and peak memory in bytes."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=run_measured, args=(results, function, args))
    process.start()
    found = results.get()
    process.join()
    return found


def run_measured(results, function, args):
    """The child's side of `measure`."""
    begun = time.perf_counter()
    value = function(*args)
    seconds = time.perf_counter() - begun
    # Linux's own mark of this process: getrusage counts what the parent had when it forked.
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    peak = 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    results.put({"seconds": seconds, "peak_bytes": peak, **value})


def write_pictures(folder, n):
    """Small pictures in classes, no two alike."""
    rng = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"{i % CLASSES:03d}" / f"{i:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(data, "PNG")
        path.write_bytes(data.getvalue())


def write_files(folder, n):
    """Files with an image's name and a few bytes that are no picture, no two alike."""
    for k in range(CLASSES):
        (folder / f"class-{k:03d}").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        handle = os.open(
            folder / f"class-{i % CLASSES:03d}" / f"image-{i:08d}.jpg", os.O_CREAT | os.O_WRONLY
        )
        os.write(handle, b"%d" % i)
        os.close(handle)


def extract_all(root, output):
    """A whole extraction without a network."""
    inventory = hash_images(read_inventory(root, "0.7,0.1,0.2"), "skip")
    done = extract_inventory(
        inventory, Averages(), PROVENANCE, Request(data=root, output=output, num_workers=2)
    )
    return {"images": done.images, "bytes": output.stat().st_size}


def scan(root):
    """Only the names, and their split."""
    return {"images": len(read_inventory(root, "0.7,0.1,0.2"))}


def plan(root, folder):
    """Scanning, hashing, cutting; what makes the features is settled without a network."""
    from featx.scale import plan as planning

    planning._settle = lambda *_, **__: (PROVENANCE, 16)
    made = make_plan(root, folder, split="0.7,0.1,0.2", cache_dir=folder.parent)
    return {"images": made.images, "shards": len(made.shards)}


def merge_all(folder, output):
    """`featx merge`."""
    done = merge(folder, output)
    return {"images": done.images, "bytes": output.stat().st_size}


def write_shards(folder):
    """Features for every shard of a plan, without any image."""
    made = read_plan(folder)
    block = np.random.default_rng(0).random((1024, FEATURE_DIM), np.float32)
    for shard in range(len(made.shards)):
        columns = open_list(made, shard)
        n = len(columns["paths"])
        rows = {
            "features": np.resize(block, (n, FEATURE_DIM)),
            "targets": columns["targets"],
            "splits": np.array([b"train", b"val", b"test"])[columns["splits"][:]],
            "paths": columns["paths"],
            "hashes": columns["hashes"],
        }
        fingerprint = read_shard(made, shard).fingerprint()
        heading = Heading(made.classes, made.provenance, made.dataset, made.split_rule)
        write_columns(made.features_path(shard), rows, heading, fingerprint)


def time_decoding(photos, folder):
    """Milliseconds of one core to decode photographs of two usual sizes; medians of five rounds."""
    found = {}
    for name, size in (("500x375", (500, 375)), ("256 on the short side", None)):
        paths = []
        for i, photo in enumerate(photos):
            with Image.open(photo) as image:
                scale = 256 / min(image.size)
                small = tuple(round(scale * side) for side in image.size)
                image.convert("RGB").resize(size or small, Image.Resampling.BICUBIC).save(
                    folder / f"{name}-{i}.jpg", quality=90
                )
            paths.append(folder / f"{name}-{i}.jpg")
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            for path in paths:
                load_image(path, TORCHVISION_V1)
            rounds.append(1000 * (time.process_time() - begun) / len(paths))
        kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        found[name] = {"ms": sorted(rounds)[2], "kilobytes": kilobytes}
    return found


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["memory", "plan", "merge", "decode"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        home = Path(name)
        found = {"machine": describe_machine()}
        if args.what == "memory":
            for n in (args.images, 10 * args.images):
                write_pictures(home / f"{n}", n)
                found[f"{n}"] = measure(extract_all, home / f"{n}", home / f"{n}.h5")
                # Again, with everything there: what is kept of every image is read and believed.
                found[f"{n} again"] = measure(extract_all, home / f"{n}", home / f"{n}.h5")
                shutil.rmtree(home / f"{n}")
            few, many = found[f"{args.images}"], found[f"{10 * args.images}"]
            found["ratio"] = many["peak_bytes"] / few["peak_bytes"]
        elif args.what == "plan":
            write_files(home / "data", args.files)
            found["scan"] = measure(scan, home / "data")
            found["plan"] = measure(plan, home / "data", home / "plan")
        elif args.what == "decode":
            found |= time_decoding(args.photos, home)
        else:
            write_files(home / "data", args.shards * 10_000)
            measure(plan, home / "data", home / "plan")
            shutil.rmtree(home / "data")
            write_shards(home / "plan")
            found["merge"] = measure(merge_all, home / "plan", home / "F.h5")
        print(json.dumps(found, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
