"""Whether maps point at a patch that was planted, and whether the class with it is named.

    python benchmarks/shortcuts.py caltech101-animals animals.h5 -o shortcuts.json

A patch of 24 pixels is put into a corner of what the network sees of 40 pictures: of 40 of one
class, which the network knows without it; and of 40 of all classes, which become a class that
nothing but the patch tells. Heads are fitted on them and the rest, and their maps looked at. How
much a head uses the patch is what its logit (less the mean of all classes') loses without it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import featx
from featx.arrays import Labels
from featx.data.images import load_image
from featx.deployment.classifier import read_classifier
from featx.explaining.maps import FoldedHead, fold_head
from featx.explaining.shortcuts import find_shortcuts
from featx.features.content import Features
from featx.heads.head import load_head
from featx.machine import describe_machine
from featx.network.engine_choice import make_engine

SIDE, PLANTED, BATCH = 24, 40, 16
HEADS = (("logreg", "none"), ("logreg", "standard"), ("ridge", "none"))
PARTS = ("clean", "known", "alone")
# Class by its place, patch, and whether it is at the bottom and at the right.
KNOWN = (
    (1, "noise", 0, 0), (1, "checker", 0, 1), (7, "noise", 1, 1), (7, "rings", 0, 0),
    (0, "red", 1, 0), (0, "noise", 0, 1), (5, "checker", 1, 1), (6, "rings", 1, 0),
)  # fmt: skip
ALONE = (("noise", 0, 0), ("checker", 0, 1), ("rings", 1, 0), ("red", 1, 1))


def draw_patches() -> dict[str, Any]:
    """Patches of shape (24, 24, 3), uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    middle = (SIDE - 1) / 2

    def choose(first: Any, one: list[int], other: list[int]) -> Any:
        return np.where(first[..., None], one, other).astype(np.uint8)

    rings = np.hypot(y - middle, x - middle).astype(int) // 3 % 2 == 1
    return {
        "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8),
        "checker": choose((y // 4 + x // 4) % 2 == 1, [255, 0, 255], [0, 255, 0]),
        "red": np.full((SIDE, SIDE, 3), [255, 0, 0], np.uint8),
        "rings": choose(rings, [255, 255, 0], [0, 0, 255]),
    }


class Eye:
    """The network that made a feature file, with what it finds at every place."""

    def __init__(self, photos: Path, features: Features, scratch: Path) -> None:
        model = featx.fit(features, "centroid", layers="last", output=scratch, overwrite=True)
        self.classifier = read_classifier(model)
        self.photos, self.engine = photos, features.provenance.engine.split()[0]
        self.runner: Any = None

    def load(self, path: str) -> Any:
        """The square that the network sees, shape (224, 224, 3), uint8."""
        made = self.classifier
        seen = made.weights.preprocessing
        return load_image(self.photos / path, seen, None, made.decode, made.reading)

    def look(self, pixels: Any) -> tuple[Any, Any]:
        """Features (n, 2048) and places (n, 2048, 7, 7), float16, of squares."""
        weights = self.classifier.weights
        self.runner = self.runner or make_engine(
            weights, lambda most: pixels[:most], engine=self.engine, batch_size=BATCH, places=True
        )
        rows = np.concatenate(
            [self.runner.run(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
        )
        places = rows[:, weights.feature_dim :].astype(np.float16)
        return rows[:, : weights.feature_dim], places.reshape(len(rows), -1, 7, 7)


def spread(folded: FoldedHead, X: Any, places: Any) -> tuple[Any, Any]:
    """Maps (n, n_classes, 7, 7) less the mean of all classes', and the logits so."""
    maps, biases = [], []
    for i in range(0, len(X), 64):
        found, bias = folded.spread(X[i : i + 64], places[i : i + 64].astype(np.float32))
        maps.append(found - found.mean(axis=1, keepdims=True))
        biases.append(bias - bias.mean(axis=1, keepdims=True))
    every = np.concatenate(maps)
    return every, every.mean(axis=(2, 3)) + np.concatenate(biases)


def find_named(maps: Any, y: Labels, classes: tuple[str, ...]) -> list[tuple[str, str, int, int]]:
    """Shortcuts that are named: class, place, count, images."""
    own = np.maximum(maps[np.arange(len(y)), y], 0)
    shares = own / np.maximum(own.sum(axis=(1, 2), keepdims=True), 1e-12)
    evidence = find_shortcuts(shares, y, classes)
    told = () if evidence is None else evidence.shortcuts
    return [(one.label, one.where, one.count, one.images) for one in told]


def judge(features: Features, places: Any, rows: Labels, corner: int, bare: Any) -> list[Any]:
    """What each head makes of planted pictures.

    Parameters
    ----------
    features : Features
    places : ndarray of shape (n, 2048, 7, 7)
    rows : ndarray of int
        The planted ones, all of one class.
    corner : int
        Their place among the 49.
    bare : (ndarray, ndarray)
        Features and places of the same pictures without the patch.
    """
    found, k = [], int(features.targets[rows[0]])
    for clf, scale in HEADS:
        model = featx.fit(features, clf, scale=scale, layers="last")
        folded = fold_head(load_head(model))
        maps, logits = spread(folded, features.X, places)
        _, without = spread(folded, *bare)
        mine, own = maps[rows], logits[rows]
        rest = np.delete(np.arange(len(features.classes)), k)
        following = rest[own[:, rest].argmax(axis=1)]
        against = mine[:, k] - mine[np.arange(len(rows)), following]
        found.append(
            {
                "head": f"{clf}, scale {scale}",
                "lost_without": float((own[:, k] - without[:, k]).mean()),
                "logit": float(own[:, k].mean()),
                "right_without": float((without.argmax(axis=1) == k).mean()),
                "at_patch": share_at(mine[:, k], corner),
                "at_patch_against_next": share_at(against, corner),
                "named": find_named(maps, features.targets, features.classes),
            }
        )
    return found


def share_at(maps: Any, corner: int) -> float:
    """Of maps (n, 7, 7) the share whose largest number is at a place."""
    return float((maps.reshape(len(maps), -1).argmax(axis=1) == corner).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kept", type=Path, help="what the network gave of the plain pictures")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    held = featx.load_features(args.features)
    held = replace(held, X=np.asarray(held.X[:]))
    eye = Eye(args.photos, held, args.output.with_suffix(".safetensors"))
    paths, y, patches = held.paths.tolist(), held.targets, draw_patches()
    if args.kept and args.kept.exists():
        X, places = (np.load(args.kept)[name] for name in ("X", "places"))
    else:
        clean = [eye.look(np.stack([eye.load(path) for path in paths[i : i + 64]]))
                 for i in range(0, len(paths), 64)]  # fmt: skip
        X, places = (np.concatenate(part) for part in zip(*clean, strict=True))
        if args.kept:
            np.savez(args.kept, X=X, places=places)

    def plant(rows: Labels, patch: str, down: int, right: int, like: Features) -> list[Any]:
        squares = np.stack([eye.load(paths[i]) for i in rows])
        top, left = (one * (squares.shape[1] - SIDE) for one in (down, right))
        squares[:, top : top + SIDE, left : left + SIDE] = patches[patch]
        bare = X[rows], places[rows].copy()
        seen, places[rows] = eye.look(squares)
        changed = X.copy()
        changed[rows] = seen
        told = judge(replace(like, X=changed), places, rows, 6 * (7 * down + right), bare)
        places[rows] = bare[1]
        return told

    results: dict[str, Any] = {"machine": describe_machine(), **{part: [] for part in args.parts}}
    for clf, scale in HEADS if "clean" in args.parts else ():
        model = featx.fit(replace(held, X=X), clf, scale=scale, layers="last")
        maps, _ = spread(fold_head(load_head(model)), X, places)
        results["clean"].append([clf, scale, find_named(maps, y, held.classes)])
    for k, *how in KNOWN if "known" in args.parts else ():
        rows = np.flatnonzero(y == k)[:PLANTED]
        results["known"].append([held.classes[k], *how, plant(rows, *how, held)])
    order = np.random.default_rng(0).permutation(len(y))
    for number, how in enumerate(ALONE if "alone" in args.parts else ()):
        rows = np.sort(order[number * PLANTED :][:PLANTED])
        marked = np.zeros(len(y), np.int64)
        marked[rows] = 1
        splits = np.full(len(y), "train", "<U5")
        splits[np.concatenate([rows[1::2], np.flatnonzero(marked == 0)[1::2]])] = "test"
        like = replace(held, targets=marked, splits=splits, classes=("plain", "marked"))
        results["alone"].append(["marked", *how, plant(rows, *how, like)])
    args.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
