"""What rougher precisions do to features and to heads, and how fast they are, on a CPU.

    python benchmarks/precisions.py photos --split first:30,6

Extracts all images anew in each precision that the processor has, under OpenVINO, in turn; prints
a table: rows' cosines to fp32's, images/s of the loop, and how many test images logistic regression
and the linear head get right that learned in that precision, and how many those that learned from
fp32. "probe" is what --precision auto judges int8 by, on DRAWS random choices of its size: how many
images fewer than with fp32 it has right, mean and most, and how often that would be borne.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

import featx
from featx.deployment.predict import predict_features
from featx.errors import DeviceError
from featx.extraction.linear_probe import CLASSES, LOSS, ROWS, count_right
from featx.network.engine_choice import compare_rows

DRAWS = 20
PRECISIONS = ("fp32", "bf16", "int8")
HEADS = ("logreg", "linear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--weights", default="auto")
    words = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        exact: dict[str, featx.Model] = {}
        expected = np.empty((0, 0), np.float32)
        for precision in PRECISIONS:
            home = Path(folder) / precision
            try:
                done = featx.extract(
                    words.data, split=words.split, weights=words.weights, engine="openvino",
                    precision=precision, output=home / "F.h5", cache_dir=home,
                )  # fmt: skip
            except DeviceError as error:
                print(error)  # noqa: T201
                continue
            features = featx.load_features(done.features)
            X, told = features.X[:], []
            expected = X if precision == "fp32" else expected
            own, norms = np.linalg.norm(X, axis=1), np.linalg.norm(expected, axis=1)
            cosines = (X * expected).sum(axis=1) / (own * norms)
            y = features.targets[features.splits == "test"]
            for head in HEADS:
                model = featx.fit(features, head, output=home / f"{head}.safetensors")
                exact.setdefault(head, model)
                said = predict_features(exact[head], features)[features.splits == "test"]
                right = model.outcome.scores["test"].correct
                told += [right, int((said.argmax(axis=1) == y).sum())]
            _, least = compare_rows(X, expected)
            pace = done.images_per_second or float("nan")
            told.append(probe(X, expected, features.targets))
            rows.append([precision, f"{pace:.1f}", f"{cosines.mean():.5f}", f"{least:.5f}", *told])
    heads = [f"{head}{of}" for head in HEADS for of in ("", " of fp32")]
    names = ["precision", "images/s", "mean cosine", "least cosine", *heads, "probe"]
    print(tabulate(rows, names, tablefmt="github", disable_numparse=True))  # noqa: T201


def probe(
    X: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], y: npt.NDArray[np.int64]
) -> str:
    """See the top: "mean, most; borne" of as many images."""
    classes = np.unique(y)[:CLASSES]
    lost, n = [], ROWS // len(classes)
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        of_classes = [np.flatnonzero(y == k) for k in classes]
        chosen = np.concatenate([rng.permutation(rows)[:n] for rows in of_classes])
        before, after = (count_right(rows[chosen], y[chosen]) for rows in (expected, X))
        lost.append(before - after)
    borne = sum(one <= LOSS * len(chosen) for one in lost)
    return f"{np.mean(lost):.1f}, {max(lost)} of {len(chosen)}; {borne} of {DRAWS}"


if __name__ == "__main__":
    main()
