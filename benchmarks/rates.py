"""Learning rates: each that is tried, the one that val chooses, and other ways of fine-tuning.

    python benchmarks/rates.py linear F.h5 [--draws 12]
    python benchmarks/rates.py tuned DATA SPLIT [--train layer4] [--epochs 10] [--ways auto fixed …]
    python benchmarks/rates.py gap PHOTOGRAPHS [--ways …]

linear trains the linear head on a feature file's own split and on random ones with as many images
of each class. tuned fine-tunes the network in several ways:

- auto: the rate that val chooses in a race; a number: that rate;
- head: auto, from the fitted last layer instead of random numbers (Kumar et al. 2022);
- cosine: auto, each rate going down to 0 along a cosine (Loshchilov and Hutter 2017; so fine-tune
  Kornblith et al. 2019);
- decay: auto, by AdamW with a weight decay of 0.01 (Loshchilov and Hutter 2019; torch's default).

gap does it for the ring's gap of `limits.py`. Test accuracy and log-loss of all; prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from limits import make_pictures

from featx.config import EPOCHS, HEAD_LEARNING_RATE, HEAD_LEARNING_RATES, TRAIN_BATCH_SIZE
from featx.extraction.extract import extract
from featx.features.content import Features
from featx.features.file import read_features
from featx.finetuning.finetune import finetune
from featx.finetuning.tuned_network import TunedNetwork
from featx.heads.linear import LinearClassifier
from featx.machine import describe_machine
from featx.training.learner import Learner
from featx.training.metrics import log_loss


def draw_split(features: Features, seed: int) -> npt.NDArray[np.str_]:
    """Another split, with as many train and val images of each class."""
    rng, splits = np.random.default_rng(seed), np.full(len(features.targets), "test", dtype="<U5")
    for k in range(len(features.classes)):
        here = np.flatnonzero(features.targets == k)
        counts = [int((features.splits[here] == split).sum()) for split in ("train", "val")]
        order = rng.permutation(here)
        splits[order[: counts[0]]] = "train"
        splits[order[counts[0] : sum(counts)]] = "val"
    return splits


def try_linear(features: Features, splits: npt.NDArray[np.str_]) -> dict[str, tuple[float, float]]:
    """Test accuracy and log-loss at each rate, as val chooses, and were it by the best epochs."""
    data = {
        split: (features.X[splits == split], features.targets[splits == split])
        for split in ("train", "val", "test")
    }
    others = {split: data[split] for split in ("val", "test")}
    kept = {}
    for rate in (*HEAD_LEARNING_RATES, HEAD_LEARNING_RATES):
        head = LinearClassifier(EPOCHS, learning_rate=rate).fit(*data["train"], others)
        name = "auto" if isinstance(rate, tuple) else f"{rate:g}"
        kept[name] = head.history_[head.best_epoch_ - 1]
    kept["by the best epoch"] = min(kept.values(), key=lambda epoch: epoch.loss["val"])
    return {name: (one.accuracy["test"], one.loss["test"]) for name, one in kept.items()}


def measure_linear(path: Path, draws: int) -> dict[str, Any]:
    """`try_linear` on the file's own split, and the means over random ones."""
    features = read_features(path)
    drawn = [try_linear(features, draw_split(features, seed)) for seed in range(draws)]
    return {
        "own split": try_linear(features, features.splits),
        "random splits": {
            name: np.mean([one[name] for one in drawn], axis=0).tolist() for name in drawn[0]
        }
        if drawn
        else {},
    }


def start_from(features: Features) -> type[TunedNetwork]:
    """Networks whose last layer is the linear head of these features, fitted."""
    X, y = features.split("train")
    val = features.split("val")
    head = LinearClassifier(EPOCHS, learning_rate=HEAD_LEARNING_RATES).fit(X, y, {"val": val})

    class Started(TunedNetwork):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            weight, bias = torch.from_numpy(head.coef_), torch.from_numpy(head.intercept_)
            self.head.load_state_dict({"weight": weight, "bias": bias})

    return Started


def anneal(steps: int) -> type[TunedNetwork]:
    """Networks whose learning rates go down to 0 in so many steps."""

    class Annealed(TunedNetwork):
        def learn(self, rate: float) -> Learner:
            learner = super().learn(rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(learner.optimizer, steps)
            learner.optimizer.register_step_post_hook(lambda *_: schedule.step())
            return learner

    return Annealed


class Decayed(TunedNetwork):
    """With decoupled weight decay."""

    def learn(self, rate: float) -> Learner:
        learner = super().learn(rate)
        groups = [
            {"params": group["params"], "lr": group["lr"]}
            for group in learner.optimizer.param_groups
        ]
        optimizer = torch.optim.AdamW(groups, lr=HEAD_LEARNING_RATE)
        return Learner(rate, self, optimizer, self.copy_state)


def tune(data: str | Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Each way's test accuracy and log-loss, what it chose, and how long it took."""
    done = extract(data, split=options.split, output=folder / "F.h5")
    features = read_features(done.features)
    truth = features.split("test")[1]
    steps = -(-len(features.split("train")[1]) // TRAIN_BATCH_SIZE) * options.epochs
    networks = {"cosine": anneal(steps), "decay": Decayed}
    found = {}
    for way in options.ways:
        network = start_from(features) if way == "head" else networks.get(way, TunedNetwork)
        rate: float | str = "auto" if way in ("auto", "head", *networks) else float(way)
        with mock.patch("featx.finetuning.finetune.TunedNetwork", network):
            model, _ = finetune(
                data,
                split=options.split,
                train=options.train,
                epochs=options.epochs,
                learning_rate=rate,
                output=folder / way,
            )
        outcome = model.outcome
        found[way] = {
            "correct": outcome.scores["test"].correct,
            "of": outcome.scores["test"].total,
            "accuracy": outcome.scores["test"].accuracy,
            "log_loss": log_loss(truth, outcome.probabilities["test"]),
            "seconds": outcome.seconds,
            "best_epoch": outcome.best_epoch,
            "chosen": outcome.details["chosen"],
            "rates": outcome.details["rates"],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["linear", "tuned", "gap"])
    parser.add_argument("data", type=Path)
    parser.add_argument("split", nargs="?")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--train", default="layer4")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--ways", nargs="+", default=["auto", "0.0001", "head", "cosine", "decay"])
    options = parser.parse_args()
    if options.what == "linear":
        found = measure_linear(options.data, options.draws)
    else:
        with tempfile.TemporaryDirectory(dir=".") as place:
            folder = Path(place).resolve()
            data = options.data
            if options.what == "gap":
                data = make_pictures(options.data, folder, width=8, seed=0)["gap"]
            found = tune(data, folder, options)
    named = vars(options) | {"data": options.data.name}
    print(json.dumps({"machine": describe_machine(), "options": named, "found": found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
