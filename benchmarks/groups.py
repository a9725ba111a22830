"""Groups: how long a split of a million rows takes, what intervals cover, what relatives inflate.

    python benchmarks/groups.py split
    python benchmarks/groups.py coverage
    python benchmarks/groups.py photographs DIR    # DIR/<class>/*, thirty or more of each class
    python benchmarks/groups.py bursts DIR OUT

The photographs: of each class twenty, with three copies each that are cropped by up to a tenth and
brightened or darkened by up to a fifth, are a dataset whose groups are the twenty; all others tell
the truth. A head's inflation is what random splits say of it less what whole groups say; the true
one is what random splits say less what the others say. Both are means over splits. `bursts` writes
the dataset, as OUT/<class>/<burst>/*, the example of docs/trust.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from scipy import stats

from featx.comparison.relatives import draw_splits, measure_inflation
from featx.config import SPLITS
from featx.data.inventory import Inventory
from featx.extraction.extract import extract
from featx.features.content import Features
from featx.features.file import read_features
from featx.heads.fit import fit
from featx.heads.head import load_head
from featx.machine import describe_machine
from featx.sources.group_splits import apportion_groups, split_groups
from featx.sources.groups import Grouping
from featx.training.clusters import bootstrap_ratio

ROWS = 1_000_000
FRACTIONS = (0.7, 0.1, 0.2)
DRAWS = 200
PER_CLASS, COPIES, SPLIT_SEEDS = 20, 3, 20


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def time_split(n_groups: int, n_classes: int) -> None:
    """A million rows in a list of images, split by groups as `--split` does it."""
    rng = np.random.default_rng(0)
    groups = np.append(np.arange(n_groups), rng.integers(0, n_groups, ROWS - n_groups))
    targets = np.append(np.arange(n_classes), rng.integers(0, n_classes, ROWS - n_classes))
    found = Inventory(Path(), "none")
    found.classes = tuple(f"{k:04d}" for k in range(n_classes))
    rows = ((b"%d" % i, 3, k, None, None) for i, k in enumerate(targets.tolist()))
    found.put(rows, map(str, groups.tolist()))
    started, used = time.perf_counter(), time.process_time()
    split_groups(found, "0.7,0.1,0.2", Grouping("column", "site"))
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    divided = found.count(
        "SELECT count(*) FROM (SELECT team FROM images GROUP BY team "
        "HAVING count(DISTINCT split) > 1)"
    )
    shares = [found.count("SELECT count(*) FROM images WHERE split = ?", (s,)) for s in range(3)]
    say(
        f"{ROWS:,} rows, {n_groups:,} groups, {n_classes} classes: {seconds:.1f} s, {cpu:.1f} s of "
        f"one core, "
        f"{divided} groups divided, shares {[round(n / ROWS, 4) for n in shares]}"
    )


def measure_coverage() -> None:
    """How often the interval of an accuracy holds the truth, 40 groups of 2 to 12 images each."""
    rng = np.random.default_rng(0)
    # Groups' own accuracies are beta distributed about 85 %, with a correlation of 0.15 within.
    a, b = 0.85 * (1 / 0.15 - 1), 0.15 * (1 / 0.15 - 1)
    by_groups = by_images = 0
    for seed in range(DRAWS):
        sizes = rng.integers(2, 13, 40)
        right = rng.binomial(sizes, rng.beta(a, b, 40))
        low, high = bootstrap_ratio(right.astype(float), sizes.astype(float), seed) or (0.0, 1.0)
        by_groups += low <= 0.85 <= high
        plain = stats.binomtest(int(right.sum()), int(sizes.sum())).proportion_ci(0.95, "wilson")
        by_images += plain.low <= 0.85 <= plain.high
    say(
        f"{DRAWS} draws of 40 groups: the cluster bootstrap covers in {100 * by_groups / DRAWS:.1f}"
        f" %, Wilson's interval of images in {100 * by_images / DRAWS:.1f} %"
    )


def write_relatives(source: Path, target: Path) -> None:
    """Twenty photographs a class with jittered copies in relatives/, the rest in others/."""
    rng = np.random.default_rng(0)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.jpg"))
        for i, at in enumerate(rng.permutation(len(files)).tolist()):
            picture = Image.open(files[at]).convert("RGB")
            part = "relatives" if i < PER_CLASS else "others"
            place = target / folder.name / f"{part}-{i:03d}"
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.save(place.with_name(f"{place.name}-0.jpg"), quality=92)
            for copy in range(1, 1 + COPIES if part == "relatives" else 1):
                edges = rng.uniform(0, 0.1, 4) * [*picture.size, *picture.size]
                box = (edges[0], edges[1], picture.width - edges[2], picture.height - edges[3])
                jittered = ImageEnhance.Brightness(picture.crop(tuple(map(int, box)))).enhance(
                    rng.uniform(0.8, 1.2)
                )
                jittered.save(place.with_name(f"{place.name}-{copy}.jpg"), quality=92)


def write_bursts(source: Path, target: Path) -> None:
    """The relatives of `write_relatives`, each photograph and its copies in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_relatives(source, Path(folder))
        for path in sorted(Path(folder).glob("*/relatives-*.jpg")):
            _, burst, copy = path.stem.split("-")
            place = target / path.parent.name / f"{path.parent.name}-{burst}" / f"{copy}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def measure_photographs(source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_relatives(source, Path(folder) / "data")
        done = extract(
            Path(folder) / "data",
            output=Path(folder) / "F.h5",
            group_pattern="([^/]*/[^-]*-[0-9]+)",
        )
        held = read_features(done.features)
        held = replace(held, X=np.asarray(held.X))
    related = np.char.find(held.paths, "relatives-") >= 0
    others = held.X[~related], held.targets[~related]
    rows = np.flatnonzero(related)
    say(f"{len(rows)} images in {len(np.unique(held.groups[rows]))} groups, {sum(~related)} others")
    inside = replace(
        held, X=held.X[rows], targets=held.targets[rows], splits=held.splits[rows],
        paths=held.paths[rows], hashes=held.hashes[rows], groups=held.groups[rows],
    )  # fmt: skip
    report("logreg", inside, others)


def report(clf: str, inside: Features, others: tuple[np.ndarray, np.ndarray]) -> None:
    """What random splits, whole groups and the others say of a head, means over splits."""
    said, grouped, true = [], [], []
    for seed in range(SPLIT_SEEDS):
        model = fit(split_whole(inside, seed), clf, C=1.0, seed=seed)
        (found,) = measure_inflation(split_whole(inside, seed), [model], draws=1, seed=seed)
        said.append(found.expected)
        grouped.append(found.grouped)
        true.append(score_others(inside, clf, others, seed))
    random, whole, truth = (100 * float(np.mean(one)) for one in (said, grouped, true))
    say(
        f"{clf}: random split {random:.1f} %, new groups {whole:.1f} %, others {truth:.1f} %: "
        f"inflation shown {random - whole:.1f} points, true {random - truth:.1f}"
    )


def split_whole(inside: Features, seed: int) -> Features:
    """The same, with whole groups in 50 % train, 10 % val and 40 % test."""
    names, group = np.unique(inside.groups, return_inverse=True)
    cells = np.stack(
        [np.arange(len(names)), inside.targets[np.unique(group, return_index=True)[1]]]
    )
    counts = np.bincount(group)
    sides = apportion_groups(np.column_stack([*cells, counts]), (0.5, 0.1, 0.4), seed)
    return replace(inside, splits=np.array(SPLITS)[sides[group]])


def score_others(
    inside: Features, clf: str, others: tuple[np.ndarray, np.ndarray], seed: int
) -> float:
    """Accuracy on photographs that are nobody's relatives, of a head from a random split."""
    drawn = draw_splits(split_whole(inside, seed), np.random.default_rng([seed, 0]))
    model = fit(replace(inside, splits=drawn, groups=None), clf, C=1.0, seed=seed)
    X, y = others
    return float((load_head(model).predict(X) == y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["split", "coverage", "photographs", "bursts"])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("out", nargs="?", type=Path)
    asked = parser.parse_args()
    say(describe_machine())
    if asked.what == "bursts":
        write_bursts(asked.data, asked.out)
    elif asked.what == "split":
        for n_groups, n_classes in ((10_000, 10), (100_000, 10), (200, 1000)):
            time_split(n_groups, n_classes)
    elif asked.what == "coverage":
        measure_coverage()
    else:
        measure_photographs(asked.data)


if __name__ == "__main__":
    main()
