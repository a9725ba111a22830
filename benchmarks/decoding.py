"""Decoding photographs of twelve megapixels: Pillow, featx exact and fast; and the features.

    python benchmarks/decoding.py DATA

Prints one JSON object. The photographs are those of DATA, sixteen of them, enlarged to a short side
of 3000 pixels, sharpened, with grain of 8 levels, as JPEGs of quality 92: some 4.5 MB each, as a
telephone's are. Seconds are of one core.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from featx.config import TORCHVISION_V1
from featx.data.images import load_image
from featx.network.engine_choice import compare_rows, make_engine
from featx.network.fetch import resolve_weights

COUNT = 16
ROUNDS = 3


def main() -> None:
    paths = sorted(p for p in Path(sys.argv[1]).glob("*/*") if p.is_file())
    ways: dict[str, Callable[[Path], npt.NDArray[np.uint8]]] = {
        "pillow": load_plain,
        "exact": lambda path: load_image(path, TORCHVISION_V1),
        "fast": lambda path: load_image(path, TORCHVISION_V1, decode="fast"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    pixels: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        large = [
            enlarge(path, Path(folder) / f"{i}.jpg", i)
            for i, path in enumerate(paths[:: max(1, len(paths) // COUNT)][:COUNT])
        ]
        for _ in range(ROUNDS):
            for name, load in ways.items():
                begun = time.process_time()
                pixels[name] = np.stack([load(path) for path in large])
                seconds[name].append((time.process_time() - begun) / len(large))
        megabytes = statistics.mean(path.stat().st_size for path in large) / 1e6
    engine = make_engine(
        resolve_weights("auto"),
        lambda most: pixels["exact"][:most],
        batch_size=len(large),
    )
    _, cosine = compare_rows(engine.run(pixels["fast"]), engine.run(pixels["exact"]))
    found = {
        "MB": megabytes,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "smallest cosine": cosine,
        "exact is pillow's": bool(np.array_equal(pixels["exact"], pixels["pillow"])),
    }
    print(json.dumps(found))  # noqa: T201


def enlarge(path: Path, target: Path, seed: int) -> Path:
    """Twelve megapixels or more of what was a small photograph."""
    image = Image.open(path).convert("RGB")
    scale = 3000 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    image = image.filter(ImageFilter.UnsharpMask(6, 150, 0))
    grain = np.random.default_rng(seed).normal(0, 8, (image.height, image.width, 1))
    noisy = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
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
