"""How often featx drift calls folders drift: of known images, of another class, of spoilt copies.

    python benchmarks/drift.py DIR --splits 10 --folders 10 -o drift.json

DIR is DIR/<class>/*. The network runs over the images, and over copies that are blurred (Gaussian,
sigma of 2 pixels of the original) or darkened (half of the brightness). Of each split half of a
class is to fit and half to draw folders of 50 from; for folders of another class each class in turn
is left out of what is fitted. "one class" are folders of known images of one class alone: their
shares of classes are far from those of train. Logistic regression at C = 1. Beside what featx drift
says there is each of its two scores alone, and Wilcoxon's test of both without regard to classes.
Prints the share of folders that are called drift, and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy.stats import mannwhitneyu
from tabulate import tabulate

import featx
from featx.features.content import Features
from featx.heads.head import Head, load_head
from featx.machine import describe_machine
from featx.novelty.detector import Detector, load_detectors
from featx.novelty.shift import Watch

IMAGES, RATES = 50, (0.05, 0.01)
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
}
COLUMNS = ("featx drift", "stranger's score alone", "centre alone", "without classes")


def extract_all(folder: Path, home: Path) -> dict[str, Features]:
    """Features of the images as they are and of their changed copies, in the same order."""
    made = {"known": featx.load_features(featx.extract(folder, output=home / "known.h5").features)}
    for name, change in CHANGES.items():
        for path in made["known"].paths.tolist():
            target = (home / name / path).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            change(Image.open(folder / path).convert("RGB")).save(target)
        done = featx.extract(home / name, output=home / f"{name}.h5")
        made[name] = featx.load_features(done.features)
        assert [Path(p).stem for p in made[name].paths] == [
            Path(p).stem for p in made["known"].paths
        ]
    return made


@dataclass(frozen=True)
class Judge:
    """A head with what it knows of strangers."""

    head: Head
    detectors: tuple[Detector, ...]

    def test(self, X: Any) -> dict[str, float]:
        """p of a folder's features, by each of `COLUMNS`."""
        scaled, logits = self.head.decide(X)
        watch = Watch(self.detectors, self.head.classes)
        watch.look([""] * len(X), X, scaled, logits)
        drift = watch.sum_up()
        pooled = [
            mannwhitneyu(one.score.measure(scaled, logits), one.held, alternative="greater").pvalue
            for one in self.detectors
        ]
        alone = [one.p_value for one in drift.tests]
        return dict(
            zip(COLUMNS, (drift.p_value, *alone, len(pooled) * float(min(pooled))), strict=True)
        )


def fit_half(features: Features, seed: int, without: int | None = None) -> tuple[Judge, Any]:
    """A head on half of each class but one, and the rows of the other half."""
    rng, fitted = np.random.default_rng(seed), []
    kept = [k for k in range(len(features.classes)) if k != without]
    for k in kept:
        rows = rng.permutation(np.flatnonzero(features.targets == k))
        fitted.append(rows[: len(rows) // 2])
    rows = np.sort(np.concatenate(fitted))
    held = replace(
        features, X=features.X[rows], targets=np.searchsorted(kept, features.targets[rows]),
        splits=np.full(len(rows), "train"), paths=features.paths[rows],
        hashes=features.hashes[rows], classes=tuple(features.classes[k] for k in kept),
    )  # fmt: skip
    model = featx.fit(held, "logreg", C=1.0, seed=seed, strangers=True)
    return Judge(load_head(model), load_detectors(model)), np.setdiff1d(
        np.arange(len(features.targets)), rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--folders", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    scores: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        every = {
            name: replace(one, X=one.X[:])
            for name, one in extract_all(args.folder, Path(home)).items()
        }
    known = every["known"]
    n_classes = len(known.classes)
    for seed in range(args.splits):
        judge, left = fit_half(known, seed)
        scores.append(judge.detectors[0].name)
        rng = np.random.default_rng(seed)
        for _ in range(args.folders):
            rows = rng.choice(left, IMAGES, replace=False)
            for name, features in every.items():
                found.setdefault(name, []).append(judge.test(features.X[rows]))
            own = left[known.targets[left] == rng.integers(n_classes)]
            rows = rng.choice(own, min(IMAGES, len(own)), replace=False)
            found.setdefault("one class", []).append(judge.test(known.X[rows]))
        strange = seed % n_classes
        judge, left = fit_half(known, seed, without=strange)
        own = left[known.targets[left] == strange]
        for _ in range(args.folders):
            rows = rng.choice(own, min(IMAGES, len(own)), replace=False)
            found.setdefault("another class", []).append(judge.test(known.X[rows]))
    told = [
        {
            "folders": name,
            "of": len(ps),
            **{
                f"{test} at {rate:g}": float(np.mean([p[test] <= rate for p in ps]))
                for test in COLUMNS
                for rate in RATES
            },
        }
        for name, ps in found.items()
    ]
    values = {"machine": describe_machine(), "scores": scores, "results": told}
    args.output.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    sys.stdout.write(tabulate(told, headers="keys") + "\n")


if __name__ == "__main__":
    main()
