"""Three questions about the same pictures, and which of them frozen features can answer.

    python benchmarks/limits.py DIR [--epochs 10] [--clf logreg …] [--baseline layer4 …]
    python benchmarks/limits.py cells [--drawn 1000] [--epochs 10] [--clf …] [--baseline …]
    python benchmarks/limits.py DIR --layers [--seeds 5] [--draws 10]
    python benchmarks/limits.py cells --layers

DIR is DIR/<class>/*. Every photograph becomes one picture of 256 x 256 pixels: mirrored or not, by
a coin, and then with a Landolt ring (an optician's: black on a white disc, as thick as its gap is
wide, five times as wide as that) somewhere on it, its gap to the right, below, to the left or
above. The questions are: which class, which way the gap is, mirrored or not. Files, features and
splits (half train, a fifth val, the rest test, at random) are the same for all three, so that what
differs is the question. Each is put to `featx.compare`, whose heads may read all stages, too;
`--questions` asks some of them alone.

--layers puts the first two to logistic regression alone, on each set of what the network's stages
gave in one pass and on the set that held-out rows choose: the gap of `--seeds` drawings of the
rings, the class in `--draws` random splits of the first. "cells" are solar cells of PyPI's
elpv-dataset (the extra `limits`; the pictures are CC BY-NC-SA 4.0) that are sound or defect without
doubt; each fold of five is predicted by the other four. Without --layers `--drawn` of them, split
as the photographs are, are put to `featx.compare`. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from featx.comparison.compare import compare
from featx.comparison.result import Comparison
from featx.config import AUTO_LAYERS, LAST_LAYER, LAYER_SETS
from featx.extraction.extract import extract
from featx.features.content import Features
from featx.features.file import read_features
from featx.heads.fit import fit
from featx.machine import describe_machine
from featx.report.verdict import say_verdict
from featx.training.metrics import log_loss, score_labels
from featx.training.model import Model
from featx.training.pairs import compare_paired
from featx.training.resampling import Resampling, draw_folds

SIDE, EDGE = 256, 16  # the network is given the middle 224
GAPS = ("right", "below", "left", "above")  # as Pillow's angles run: clockwise
SPLITS, SHARES = ("train", "val", "test"), (0.5, 0.2, 0.3)
CELLS = "cells"


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
    splits, rows = deal_splits(len(paths), rng), []
    (folder / "pictures").mkdir()
    for i, path in enumerate(paths):
        image = ImageOps.fit(Image.open(path).convert("RGB"), (SIDE, SIDE))
        mirrored, gap = bool(rng.integers(2)), int(rng.integers(4))
        if mirrored:
            image = ImageOps.mirror(image)
        draw_ring(image, gap, width, rng)
        name = f"pictures/{i:05d}.png"
        image.save(folder / name)
        labels = {"class": path.parent.name, "gap": GAPS[gap]}
        labels["mirrored"] = "mirrored" if mirrored else "as taken"
        rows.append((name, splits[i], labels))
    manifests = {}
    for question in ("class", "gap", "mirrored"):
        listed = ((name, labels[question], split) for name, split, labels in rows)
        manifests[question] = write_manifest(folder / f"{question}.csv", listed)
    return manifests


def deal_splits(n: int, rng: np.random.Generator) -> list[str]:
    """A split for each of n pictures, at random."""
    ends = np.round(np.cumsum(SHARES) * n).astype(int)
    place = rng.permutation(n)
    return [SPLITS[i] for i in np.searchsorted(ends, place, side="right").tolist()]


def make_cells(folder: Path, drawn: int | None = None, seed: int = 0) -> Path:
    """Write the solar cells that are sound or defect without doubt, and their manifest.

    Of all the splits are empty; some that are drawn are dealt into them.
    """
    from elpv_dataset.utils import load_dataset

    pictures, probabilities, _ = load_dataset()
    taken = np.flatnonzero(np.isin(probabilities, (0, 1)))
    splits = [""] * len(taken)
    if drawn is not None:
        rng = np.random.default_rng(seed)
        taken = np.sort(rng.permutation(taken)[:drawn])
        splits = deal_splits(len(taken), rng)
    rows = []
    for i, split in zip(taken.tolist(), splits, strict=True):
        rows.append((f"{i:04d}.png", "defect" if probabilities[i] else "sound", split))
        Image.fromarray(pictures[i]).save(folder / rows[-1][0])
    return write_manifest(folder / "cells.csv", rows)


def write_manifest(path: Path, rows: Iterable[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows(rows)
    return path


def keep_stages(manifest: Path, cache: Path) -> Features:
    """Features of a manifest's pictures with all that `--layers all` keeps beside them."""
    return read_features(extract(manifest, layers="all", cache_dir=cache).features)


def draw_splits(features: Features, draws: int, seed: int) -> Iterator[Features]:
    """The same with other images in the splits, as many as before."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield replace(features, splits=rng.permutation(features.splits))


def deal_folds(features: Features, seed: int) -> Iterator[Features]:
    """Each of five stratified folds as test, the rest as train."""
    y = features.targets
    for _, outside in draw_folds(y, np.arange(len(y)), Resampling(1, 5), seed):
        splits = np.full(len(y), "train", dtype="<U5")
        splits[outside] = "test"
        yield replace(features, splits=splits)


def judge_layers(splits: Sequence[Features], seed: int) -> dict[str, Any]:
    """logreg by each set of layers on the same splits, and by the set that auto takes of them."""
    truth = [features.split("test")[1] for features in splits]
    models = {
        layers: [fit(features, "logreg", layers=layers, seed=seed) for features in splits]
        for layers in LAYER_SETS
    }
    # As `fit` chooses, which would train all of them again.
    models[AUTO_LAYERS] = [min(each, key=find_loss) for each in zip(*models.values(), strict=True)]
    y, found, right = np.concatenate(truth), {}, {}
    for layers, each in models.items():
        given = [model.outcome.probabilities["test"] for model in each]
        predicted = np.concatenate(given).argmax(axis=1)
        right[layers] = predicted == y
        accuracies = [model.outcome.scores["test"].accuracy for model in each]
        pair = compare_paired(right[layers], right[LAST_LAYER])
        found[layers] = {
            "accuracy": float(np.mean(accuracies)),
            "each": accuracies,
            "log_loss": float(np.mean([log_loss(*one) for one in zip(truth, given, strict=True)])),
            "mean_per_class": score_labels(y, predicted).mean_per_class,
            "read": [model.outcome.details.get("layers") for model in each],
            "seconds": float(np.mean([model.outcome.seconds for model in each])),
            "against last": {
                "difference": pair.difference, "ci95": pair.interval, "p_value": pair.p_value,
                "only": pair.only_a, "only_last": pair.only_b,
            },
        }  # fmt: skip
    return found


def find_loss(model: Model) -> float:
    """The log-loss of held-out rows that chose C."""
    loss: float = model.outcome.details["choice"]["log_loss"]
    return loss


def measure_layers(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """`judge_layers` on every question that the data have."""
    cache = options.cache_dir or folder / "cache"
    if options.data == Path(CELLS):
        features = keep_stages(make_cells(folder), cache)
        return {"defect": judge_layers([*deal_folds(features, options.seed)], options.seed)}
    drawn = []
    for seed in range(options.seed, options.seed + options.seeds):
        place = folder / f"{seed}"
        place.mkdir()
        drawn.append(make_pictures(options.data, place, options.gap, seed))
    animals = keep_stages(drawn[0]["class"], cache)
    gaps = [keep_stages(one["gap"], cache) for one in drawn]
    return {
        "gap": judge_layers(gaps, options.seed),
        "class": judge_layers([*draw_splits(animals, options.draws, options.seed)], options.seed),
    }


def tell(comparison: Comparison) -> dict[str, Any]:
    """What of a comparison is reported."""
    values = comparison.to_dict()
    kept = ("name", "kind", "accuracy", "counts", "ci95", "mean_per_class", "chosen", "seconds")
    return {
        "candidates": [
            {key: one[key] for key in (*kept, "seconds_per_epoch")}
            | {"layers": one.get("layers"), "log_loss": one["evaluation"]["test"]["log_loss"]}
            for one in values["candidates"]
        ],
        "paired": values["paired"],
        "verdict": say_verdict(comparison),
    }


def compare_questions(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Each question that the data have, or that is asked for, put to `featx.compare`."""
    if options.data == Path(CELLS):
        manifests = {"defect": make_cells(folder, options.drawn, options.seed)}
    else:
        manifests = make_pictures(options.data, folder, options.gap, options.seed)
    found = {}
    for question in options.questions or manifests:
        comparison = compare(
            manifests[question],
            clf=options.clf,
            baseline=options.baseline,
            layers=AUTO_LAYERS,
            epochs=options.epochs,
            seed=options.seed,
            learning_curves=False,
            strangers=False,
            cache_dir=options.cache_dir or folder / "cache",
            output=folder / question,
            progress=True,
        )
        found[question] = tell(comparison)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="DIR/<class>/*, or cells")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--gap", type=int, default=8, help="width of the gap in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clf", nargs="*", default=["logreg", "linear", "svm", "knn"])
    parser.add_argument("--baseline", nargs="*", default=["last3", "layer4"])
    parser.add_argument("--questions", nargs="*", help="some alone: class, gap, mirrored")
    parser.add_argument("--drawn", type=int, default=1000, help="cells, without --layers")
    parser.add_argument("--layers", action="store_true", help="sets of stages, instead")
    parser.add_argument("--seeds", type=int, default=5, help="drawings of rings, of --layers")
    parser.add_argument("--draws", type=int, default=10, help="splits by class, of --layers")
    parser.add_argument("--cache-dir", type=Path, help="of features, for another run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        measure = measure_layers if options.layers else compare_questions
        found = measure(options, Path(place).resolve())
    asked = {key: value for key, value in vars(options).items() if key != "cache_dir"}
    result = {"machine": describe_machine(), "options": asked | {"data": options.data.name}}
    print(json.dumps(result | {"questions": found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
