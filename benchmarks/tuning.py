"""Fine-tuning with and without the prefix cache, and the linear head against the fc baseline.

    python benchmarks/tuning.py DATA SPLIT

Prints one JSON object: seconds of every epoch, losses of the last one, what the linear head took.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from featx.extraction.extract import extract
from featx.finetuning.finetune import finetune
from featx.heads.fit import fit

EPOCHS = 3


def main() -> None:
    data, split = sys.argv[1:3]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = Path(place)
        for number, (train, prefix_cache) in enumerate(
            [("layer4", True), ("layer4", False), ("last3", True), ("fc", False)]
        ):
            model, _ = finetune(
                data,
                split=split,
                train=train,
                epochs=EPOCHS,
                prefix_cache=prefix_cache,
                output=folder / str(number),
            )
            history = model.outcome.history
            found[f"{train}{', prefix cache' * prefix_cache}"] = {
                "seconds": [epoch.seconds for epoch in history],
                "loss": history[-1].loss,
                "accuracy": history[-1].accuracy,
            }
        done = extract(data, split=split, output=folder / "F.h5")
        # The first fit in a process sets up threads and kernels.
        for _ in range(2):
            head = fit(done.features, "linear", epochs=15)
        found["linear"] = {
            "seconds": [epoch.seconds for epoch in head.outcome.history],
            "fit": head.outcome.seconds,
            "extract": done.seconds,
        }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
