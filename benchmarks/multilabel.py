"""Several labels a picture: a planted set of two labels, and handwritten digits, several a picture.

    python benchmarks/multilabel.py FOLDER --images 600 -o multilabel.json

Draws pictures into FOLDER: of `planted` each has a red disc or none, and stripes or none; of
`digits` each has none to three of scikit-learn's handwritten digits, so that the ten labels say
which are there. Extracts them with ImageNet's ResNet50 as featx has it stored, a tenth val and
three tenths test, dealt by sets of labels; compares the heads. Prints and writes mAP, F1, Hamming
loss and whole sets of each on test, with intervals and seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

import featx
from featx.machine import describe_machine

SIDE = 192  # pixels
SPLIT = "0.6,0.1,0.3@0"


def draw_planted(rng: np.random.Generator) -> tuple[Image.Image, Sequence[str]]:
    """A disc or none, stripes or none, on noise."""
    noise = rng.integers(90, 170, (SIDE, SIDE, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    pen, labels = ImageDraw.Draw(picture), []
    if rng.random() < 0.4:
        labels.append("stripes")
        step, width = int(rng.integers(14, 30)), int(rng.integers(3, 7))
        for x in range(0, SIDE, step):
            pen.line([(x, 0), (x, SIDE)], (20, 20, 20), width)
    if rng.random() < 0.4:
        labels.append("disc")
        r, x, y = rng.integers(18, 40), *rng.integers(45, SIDE - 45, 2)
        pen.ellipse([x - r, y - r, x + r, y + r], (210, 30, 30))
    return picture, labels


def draw_digits(rng: np.random.Generator) -> tuple[Image.Image, Sequence[str]]:
    """None to three digits, each in a quarter of its own."""
    digits = load_digits()
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    places = rng.permutation([(x, y) for x in (8, 100) for y in (8, 100)])
    labels = set()
    for x, y in places[: rng.integers(0, 4)].tolist():
        one = int(rng.integers(len(digits.images)))
        shades = (255 - digits.images[one] * 15).astype(np.uint8)
        picture.paste(Image.fromarray(shades).resize((84, 84), Image.Resampling.BICUBIC), (x, y))
        labels.add(str(digits.target[one]))
    return picture, sorted(labels)


def draw_set(
    folder: Path, draw: Callable[[np.random.Generator], tuple[Image.Image, Sequence[str]]], n: int
) -> Path:
    """Pictures in a folder, and the CSV that names their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for i in range(n):
            picture, labels = draw(np.random.default_rng([7, i]))
            picture.save(folder / f"{i:05}.png")
            writer.writerow([f"{i:05}.png", "|".join(labels)])
    return folder / "labels.csv"


def measure(manifest: Path, weights: str) -> dict[str, Any]:
    """Extract and compare; what test says of each head."""
    home = manifest.parent
    done = featx.extract(
        manifest, multi_label=True, split=SPLIT, weights=weights, output=home / "F.h5"
    )
    begun = time.perf_counter()
    comparison = featx.compare_multilabel(done.features, output=home / "results", overwrite=True)
    told = {
        model.name: {
            **{
                k: v
                for k, v in model.outcome.details["evaluation"]["test"].items()
                if k != "labels"
            },
            "fit_seconds": model.outcome.seconds,
        }
        for model in comparison.models
    }
    return {
        "images": done.images,
        "best": comparison.best.name,
        "seconds": time.perf_counter() - begun,
        "heads": told,
        "pairs": [one.to_dict() for one in comparison.paired],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--weights", default="keras-imagenet")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    told: dict[str, Any] = {"machine": describe_machine()}
    for name, draw in (("planted", draw_planted), ("digits", draw_digits)):
        told[name] = measure(draw_set(args.folder / name, draw, args.images), args.weights)
    text = json.dumps(told, indent=2)
    sys.stdout.write(text + "\n")
    if args.output is not None:
        args.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
