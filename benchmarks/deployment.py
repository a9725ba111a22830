"""Models without featx: how near ONNX Runtime's probabilities are, how large the files; and how
fast `featx predict` is beside `featx extract`.

    python benchmarks/deployment.py DATA --split first:30,6 [--every N] [--finetune layer4]

Prints one JSON object. "rates" are images/s of whole calls in one process, in turns, on all images
of DATA; "models" has of every head, on every N-th photograph, the largest difference between ONNX
Runtime's probabilities and featx's, on how many of them both name the same class, bytes of the
file, seconds of the export, and images/s of ONNX Runtime on decoded pixels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from turns import take_medians, take_turns, time_call

from featx.config import CLASSIFIERS
from featx.data.images import load_image
from featx.deployment.classifier import read_classifier
from featx.deployment.export import export_model, import_runtime
from featx.deployment.predict import Prediction, predict
from featx.extraction.extract import extract
from featx.finetuning.finetune import finetune
from featx.heads.fit import fit
from featx.sources.reading import read_dataset

BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--finetune", choices=["fc", "last3", "layer4", "all"])
    asked = parser.parse_args()
    dataset = read_dataset(asked.data, asked.split)
    paths = [dataset.root / name for name in dataset.paths]
    with tempfile.TemporaryDirectory(dir=".") as made:
        folder = Path(made)
        features = extract(
            asked.data, split=asked.split, output=folder / "F.h5", cache_dir=folder / "warm"
        ).features
        models = {}
        for clf in CLASSIFIERS:
            models[clf] = fit(features, clf, output=folder / f"{clf}.safetensors").path
        scaled = folder / "standard.safetensors"
        models["logreg, scaled"] = fit(features, "logreg", scale="standard", output=scaled).path

        def rate_extract() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                return len(paths) / time_call(lambda: extract(asked.data, cache_dir=cache))[0]

        def rate_predict() -> float:
            spent, said = time_call(lambda: sum(1 for _ in predict(models["logreg"], paths)))
            return said / spent

        rates = take_turns({"extract": rate_extract, "predict": rate_predict}, asked.rounds)
        print(rates, file=sys.stderr)  # noqa: T201
        some = paths[:: asked.every]
        found = {}
        for name, model in models.items():
            found[name] = compare(Path(str(model)), some, folder)
            print(name, found[name], file=sys.stderr)  # noqa: T201
        if asked.finetune:
            tuned, _ = finetune(
                asked.data, split=asked.split, train=asked.finetune, epochs=1, output=folder / "run"
            )
            name = f"{asked.finetune} (fine-tuned)"
            found[name] = compare(Path(str(tuned.path)), some, folder)
    ratios = [p / e for p, e in zip(rates["predict"], rates["extract"], strict=True)]
    print(  # noqa: T201
        json.dumps(
            {
                "images": len(paths),
                "rates": take_medians(rates),
                "predict / extract": statistics.median(ratios),
                "photographs": len(some),
                "models": found,
            }
        )
    )


def compare(model: Path, paths: list[Path], folder: Path) -> dict[str, Any]:
    """One model under ONNX Runtime and as `featx predict` has it."""
    out = folder / "model.onnx"
    done = export_model(model, onnx=out, overwrite=True)
    classes = done.classes
    expected = np.empty((len(paths), len(classes)))
    for i, one in enumerate(predict(model, paths, top=len(classes))):
        assert isinstance(one, Prediction)
        chances = dict(one.top)
        expected[i] = [chances[name] for name in classes]
    preprocessing = read_classifier(model).weights.preprocessing
    pixels = np.stack([load_image(path, preprocessing) for path in paths])
    session = import_runtime().InferenceSession(out, providers=["CPUExecutionProvider"])
    begun = time.perf_counter()
    parts = [
        session.run(None, {"pixels": pixels[start : start + BATCH]})[0]
        for start in range(0, len(pixels), BATCH)
    ]
    seconds = time.perf_counter() - begun
    said = np.concatenate(parts)
    difference = np.abs(said - expected)
    return {
        "max_difference": float(difference.max()),
        "check": done.difference,
        "same class": int((said.argmax(1) == expected.argmax(1)).sum()),
        "bytes": done.written[0].bytes,
        "export seconds": done.seconds,
        "images/s": len(paths) / seconds,
    }


if __name__ == "__main__":
    main()
