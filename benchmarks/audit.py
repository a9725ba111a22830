"""Faults planted in a folder of photographs, and what featx audit finds of them.

    python benchmarks/audit.py DIR [--seeds 5]

DIR is DIR/<class>/*. For each seed the images are split at random (0.7, 0.1, 0.2, stratified), 5 %
of all labels become another class at random, and 20 images whose label is untouched are copied into
another split: mirrored, re-encoded (JPEG of quality 30 to 85), resized (40 to 80 % of the side), or
two of these. Extraction, audit and count follow. A pair that the untouched folder has by itself is
neither found nor false: those are audited first and listed, to be looked at; so are pairs of a
planted copy with what its original is a copy of. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from featx.auditing.audit import audit
from featx.auditing.findings import Finding
from featx.extraction.extract import extract
from featx.machine import describe_machine

COPIES, FLIPPED = 20, 0.05
SPLITS, SHARES = ("train", "val", "test"), (0.7, 0.1, 0.2)
CHANGES = ("mirror", "quality", "resize")


def change_picture(source: Path, target: Path, rng: np.random.Generator) -> str:
    """Write a changed copy as JPEG; returns what was done."""
    image = Image.open(source).convert("RGB")
    chosen = sorted(rng.choice(CHANGES, rng.integers(1, 3), replace=False).tolist())
    quality, said = 92, []
    for change in chosen:
        if change == "mirror":
            image = ImageOps.mirror(image)
            said.append("mirrored")
        elif change == "quality":
            quality = int(rng.integers(30, 86))
            said.append(f"quality {quality}")
        else:
            scale = float(rng.uniform(0.4, 0.8))
            image = image.resize([max(1, round(scale * side)) for side in image.size])
            said.append(f"{100 * scale:.0f} % of the side")
    image.save(target, "JPEG", quality=quality)
    return ", ".join(said)


def plant(root: Path, paths: list[str], seed: int) -> tuple[dict[str, Any], Path]:
    """Write the copies and the manifest; returns what was planted."""
    rng = np.random.default_rng(seed)
    classes = sorted({path.split("/")[0] for path in paths})
    labels = {path: path.split("/")[0] for path in paths}
    splits = {}
    for name in classes:
        own = rng.permutation([path for path in paths if labels[path] == name]).tolist()
        ends = np.round(np.cumsum(SHARES) * len(own)).astype(int)
        for i, path in enumerate(own):
            splits[path] = SPLITS[int(np.searchsorted(ends, i, side="right"))]
    flips = rng.choice(paths, round(FLIPPED * len(paths)), replace=False).tolist()
    for path in flips:
        labels[path] = str(rng.choice([name for name in classes if name != labels[path]]))
    left = [path for path in paths if path not in set(flips)]
    copies = {}
    (root / "planted").mkdir()
    for i, path in enumerate(rng.choice(left, COPIES, replace=False).tolist()):
        name = f"planted/{i:02d}.jpg"
        done = change_picture(root / path, root / name, rng)
        splits[name] = str(rng.choice([split for split in SPLITS if split != splits[path]]))
        labels[name], copies[name] = labels[path], (path, done)
    manifest = root / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([path, labels[path], splits[path]] for path in labels)
    return {"flips": set(flips), "copies": copies}, manifest


def list_pairs(findings: tuple[Finding, ...]) -> set[frozenset[str]]:
    return {
        frozenset((one.path, one.other))
        for one in findings
        if one.kind in ("leak", "conflict", "copy")
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "photos", Path(folder) / "cache"
        shutil.copytree(options.data, root)
        first = extract(root, cache_dir=cache)
        clean = audit(first.features, root=root)
        natural = list_pairs(clean.findings)
        paths = [str(path) for path in clean.features.paths.tolist()]
        for seed in range(options.seeds):
            planted, manifest = plant(root, paths, seed)
            done = extract(manifest, cache_dir=cache)
            found = audit(done.features, root=root)
            shutil.rmtree(root / "planted")
            runs.append({"seed": seed, **score(planted, found.findings, natural)})
            runs[-1]["seconds"] = found.seconds
            runs[-1]["leak"] = found.leak.to_dict() if found.leak else None
    summary = {
        key: {"median": statistics.median(values), "worst": worst(values)}
        for key, worst in (
            ("recall", min), ("precision", min), ("copies_found", min), ("copies_false", max)
        )
        if (values := [run[key] for run in runs])
    }  # fmt: skip
    result = {
        "machine": describe_machine(),
        "images": len(paths),
        "natural": sorted(sorted(pair) for pair in natural),
        "clean_counts": clean.counts,
        "summary": summary,
        "runs": runs,
    }
    print(json.dumps(result, indent=1))  # noqa: T201


def score(
    planted: dict[str, Any], findings: tuple[Finding, ...], natural: set[frozenset[str]]
) -> dict[str, Any]:
    """Count what was found of what was planted."""
    flips, copies = planted["flips"], planted["copies"]
    suspects = {one.path for one in findings if one.kind == "label"}
    pairs = list_pairs(findings)
    original = {name: path for name, (path, _) in copies.items()}
    true = {frozenset((name, path)) for name, path in original.items()}
    # The same pairs, by the originals' names: a copy of a natural copy is one, too.
    false = [
        pair
        for pair in pairs - true - natural
        if frozenset(original.get(path, path) for path in pair) not in natural
    ]
    hits = len(suspects & flips)
    return {
        "flips": len(flips),
        "suspects": len(suspects),
        "recall": hits / len(flips),
        "precision": hits / len(suspects) if suspects else 1.0,
        "copies_found": len(pairs & true),
        "copies_false": len(false),
        "false": sorted(sorted(pair) for pair in false),
        "missed": [[path, *copies[path]] for path in original if not any(path in p for p in pairs)],
    }


if __name__ == "__main__":
    main()
