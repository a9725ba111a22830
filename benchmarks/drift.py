"""How often featx drift calls folders drift: of known images, of another class, of spoilt copies.

    python benchmarks/drift.py DIR --splits 10 --folders 10 -o drift.json

DIR is DIR/<class>/*. The network runs over the images, and over copies that are blurred (Gaussian,
sigma of 2 pixels of the original) or darkened (half of the brightness). Of each split half of a
class is to fit and half to draw folders of 50 from; for folders of another class each class in turn
is left out of what is fitted. "one class" are folders of known images of one class alone: their
shares of classes are far from those of train. Logistic regression at C = 1. Beside van Elteren's
test, which featx uses, there are Wilcoxon's and Kolmogorov and Smirnov's without classes, one-sided
as well. Prints the share of folders that are called drift, and writes it as JSON.
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
from scipy.stats import ks_2samp, mannwhitneyu
from tabulate import tabulate

import featx
from featx.features.content import Features
from featx.heads.head import Head, load_head
from featx.machine import describe_machine
from featx.novelty.detector import Detector, load_detector
from featx.novelty.shift import compare_scores

IMAGES, RATES = 50, (0.05, 0.01)
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
}
TESTS: dict[str, Callable[[Detector, Any, Any], float]] = {
    "van Elteren": lambda known, s, labels: compare_scores(known, s, labels).p_value,
    "Wilcoxon": lambda known, s, _: float(
        mannwhitneyu(s, known.held, alternative="greater").pvalue
    ),
    "Kolmogorov-Smirnov": lambda known, s, _: float(
        ks_2samp(s, known.held, alternative="less").pvalue
    ),
}


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
    detector: Detector

    def test(self, X: Any) -> dict[str, float]:
        """p of a folder's features by each test."""
        scaled, logits = self.head.decide(X)
        scores = self.detector.score.measure(scaled, logits)
        return {name: test(self.detector, scores, logits.argmax(1)) for name, test in TESTS.items()}


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
    return Judge(load_head(model), load_detector(model)), np.setdiff1d(
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
        scores.append(judge.detector.name)
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
                for test in TESTS
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
