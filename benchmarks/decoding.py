"""Decoding photographs: plain Pillow and every `--decode`; whole extractions, and what is learned.

    python benchmarks/decoding.py DATA [--split first:30,6]

Prints one JSON object. Twelve megapixels: sixteen photographs of DATA, enlarged to a short side of
3000 pixels, sharpened, with grain of 8 levels, as JPEGs of quality 92: some 4.5 MB each, as a
telephone's are. 500 x 375: the same, to a short side of 375. "seconds" are of one core, for one
photograph, from a file to the square; "loop" are images/s of whole extractions on two cores, from
the first photograph to the last feature, of sixty-four of twelve megapixels; "accuracy" is that of
logistic regression on DATA's own images, as the split has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from turns import take_medians, take_turns, time_call

import featx
from featx.config import DECODES, TORCHVISION_V1
from featx.data.images import load_image
from featx.network.engine_choice import compare_rows, make_engine
from featx.network.fetch import resolve_weights

COUNT, COPIES, ROUNDS = 16, 4, 3
SHORT = {"12 megapixels": 3000, "500 x 375": 375}

Load = Callable[[Path], npt.NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="DIR/<class>/*")
    parser.add_argument("--split", default="first:30,6")
    words = parser.parse_args()
    paths = sorted(p for p in words.data.glob("*/*") if p.is_file())
    chosen = paths[:: max(1, len(paths) // COUNT)][:COUNT]
    ways: dict[str, Load] = {
        "plain Pillow": load_plain,
        **{
            one: lambda path, one=one: load_image(path, TORCHVISION_V1, decode=one)
            for one in DECODES
        },
    }
    found: dict[str, Any] = {"MB": {}, "seconds": {}, "smallest cosine": {}}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for size, short in SHORT.items():
            made = [
                enlarge(path, Path(folder) / size / f"{i}.jpg", i, short)
                for i, path in enumerate(chosen)
            ]
            found["MB"][size] = statistics.mean(path.stat().st_size for path in made) / 1e6
            found["seconds"][size], pixels = time_ways(ways, made, 1 if short > 1000 else 10)
            found["smallest cosine"][size] = compare_features(pixels)
            found[f"pillow is plain Pillow's, {size}"] = bool(
                np.array_equal(pixels["pillow"], pixels["plain Pillow"])
            )
        found["loop"] = time_loops(Path(folder) / "12 megapixels", Path(folder))
        found["accuracy"] = {
            decode: score(words.data, words.split, decode, Path(folder)) for decode in DECODES
        }
    print(json.dumps(found))  # noqa: T201


def time_ways(
    ways: dict[str, Load], paths: Sequence[Path], times: int
) -> tuple[dict[str, float], dict[str, npt.NDArray[np.uint8]]]:
    """Seconds of one core for a photograph, medians over rounds in turn; and the pixels."""
    pixels = {}

    def read(name: str) -> float:
        spent, pixels[name] = time_call(
            lambda: np.stack([ways[name](path) for path in paths]), time.process_time
        )
        return spent / len(paths)

    seconds = take_turns({name: partial(read, name) for name in ways}, ROUNDS * times)
    return take_medians(seconds), pixels


def compare_features(pixels: dict[str, npt.NDArray[np.uint8]]) -> dict[str, float]:
    """The smallest cosine of a photograph's features to those of pixels by Pillow alone."""
    engine = make_engine(
        resolve_weights("auto"), lambda most: pixels["pillow"][:most], batch_size=COUNT
    )
    usual = engine.run(pixels["pillow"])
    return {name: compare_rows(engine.run(pixels[name]), usual)[1] for name in DECODES}


def time_loops(photographs: Path, folder: Path) -> dict[str, float]:
    """Images/s of extractions of all photographs and copies that differ in a comment."""
    for path in sorted(photographs.iterdir()):
        data = path.read_bytes()
        for i in range(COPIES):
            comment = b"\xff\xfe" + struct.pack(">HB", 3, i)
            copy = folder / "loop" / f"{path.stem}-{i}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data[:2] + comment + data[2:])

    def extract(decode: str) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            done = featx.extract(
                folder / "loop", decode=decode, precision="auto", num_workers=2, cache_dir=cache
            )
        return done.extracted / sum(done.stages[k] for k in ("wait", "network", "keep"))

    return take_medians(take_turns({one: partial(extract, one) for one in DECODES}, ROUNDS))


def score(data: Path, split: str, decode: str, folder: Path) -> str:
    """Test images that logistic regression on features so decoded has right, of how many."""
    done = featx.extract(data, split=split, decode=decode, cache_dir=folder / decode)
    test = featx.fit(done.features, output=folder / f"{decode}.safetensors").outcome.scores["test"]
    return f"{test.correct} of {test.total}"


def enlarge(path: Path, target: Path, seed: int, short: int) -> Path:
    """A photograph of a short side of so many pixels of what was a small one."""
    image = Image.open(path).convert("RGB")
    scale = short / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    image = image.filter(ImageFilter.UnsharpMask(6, 150, 0))
    grain = np.random.default_rng(seed).normal(0, 8, (image.height, image.width, 1))
    noisy = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(target, quality=92)
    return target


def load_plain(path: Path) -> npt.NDArray[np.uint8]:
    """What torchvision does with Pillow: the short side to 256, the centre of 224."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    size = (256, int(256 * h / w)) if w <= h else (int(256 * w / h), 256)
    image = image.resize(size, Image.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


if __name__ == "__main__":
    main()
