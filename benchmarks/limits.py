"""Three questions about the same pictures, and which of them frozen features can answer.

    python benchmarks/limits.py DIR [--epochs 10] [--clf logreg …] [--baseline layer4 …]

DIR is DIR/<class>/*. Every photograph becomes one picture of 256 x 256 pixels: mirrored or not, by
a coin, and then with a Landolt ring (an optician's: black on a white disc, as thick as its gap is
wide, five times as wide as that) somewhere on it, its gap to the right, below, to the left or
above. The questions are: which class, which way the gap is, mirrored or not. Files, features and
splits (half train, a fifth val, the rest test, at random) are the same for all three, so that what
differs is the question. Each is put to `featx.compare`. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from featx.comparison.compare import compare
from featx.comparison.result import Comparison
from featx.machine import describe_machine
from featx.report.verdict import say_verdict

SIDE, EDGE = 256, 16  # the network is given the middle 224
GAPS = ("right", "below", "left", "above")  # as Pillow's angles run: clockwise
SPLITS, SHARES = ("train", "val", "test"), (0.5, 0.2, 0.3)


def draw_ring(image: Image.Image, gap: int, width: int, rng: np.random.Generator) -> None:
    """Draw a ring whose gap is `width` wide, whole within what the network is given."""
    radius = 5 * width / 2
    x, y = rng.uniform(EDGE + 2 * width + radius, SIDE - EDGE - 2 * width - radius, 2)
    draw = ImageDraw.Draw(image)
    draw.circle((x, y), radius + width, "white")
    draw.circle((x, y), radius, "black")
    draw.circle((x, y), radius - width, "white")
    dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[gap]
    ends = [(x - dy * width / 2, y - dx * width / 2)]
    ends.append((x + dx * radius + dy * width / 2, y + dy * radius + dx * width / 2))
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(*ends, strict=True))
    draw.rectangle((left, top, right, bottom), "white")


def make_pictures(data: Path, folder: Path, width: int, seed: int) -> dict[str, Path]:
    """Write the pictures and a manifest for each question; returns the manifests."""
    rng = np.random.default_rng(seed)
    paths = sorted(path for path in data.glob("*/*") if path.is_file())
    ends = np.round(np.cumsum(SHARES) * len(paths)).astype(int)
    place = rng.permutation(len(paths))
    rows = []
    (folder / "pictures").mkdir()
    for i, path in enumerate(paths):
        image = ImageOps.fit(Image.open(path).convert("RGB"), (SIDE, SIDE))
        mirrored, gap = bool(rng.integers(2)), int(rng.integers(4))
        if mirrored:
            image = ImageOps.mirror(image)
        draw_ring(image, gap, width, rng)
        name = f"pictures/{i:05d}.png"
        image.save(folder / name)
        split = SPLITS[int(np.searchsorted(ends, place[i], side="right"))]
        labels = {"class": path.parent.name, "gap": GAPS[gap]}
        labels["mirrored"] = "mirrored" if mirrored else "as taken"
        rows.append((name, split, labels))
    manifests = {}
    for question in ("class", "gap", "mirrored"):
        manifests[question] = folder / f"{question}.csv"
        with manifests[question].open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "split"])
            writer.writerows([name, labels[question], split] for name, split, labels in rows)
    return manifests


def tell(comparison: Comparison) -> dict[str, Any]:
    """What of a comparison is reported."""
    values = comparison.to_dict()
    kept = ("name", "kind", "accuracy", "counts", "ci95", "seconds", "seconds_per_epoch")
    return {
        "candidates": [{key: one[key] for key in kept} for one in values["candidates"]],
        "paired": values["paired"],
        "verdict": say_verdict(comparison),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--gap", type=int, default=8, help="width of the gap in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clf", nargs="*", default=["logreg", "linear", "svm", "knn"])
    parser.add_argument("--baseline", nargs="*", default=["last3", "layer4"])
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = Path(place).resolve()
        manifests = make_pictures(options.data, folder, options.gap, options.seed)
        for question, manifest in manifests.items():
            comparison = compare(
                manifest,
                clf=options.clf,
                baseline=options.baseline,
                epochs=options.epochs,
                learning_curves=False,
                cache_dir=folder / "cache",
                output=folder / question,
            )
            found[question] = tell(comparison)
    result = {"machine": describe_machine(), "options": vars(options) | {"data": options.data.name}}
    print(json.dumps(result | {"questions": found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
