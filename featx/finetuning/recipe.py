"""What decides a fine-tuning run, and the name that it gives the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featx.config import (
    CLASS_WEIGHTS,
    EPOCHS,
    HEAD_LEARNING_RATE,
    TRAIN_BATCH_SIZE,
    TRAINED,
    TUNE_LEARNING_RATE,
)
from featx.data.dataset import HashedRows
from featx.data.images import describe_decoder
from featx.errors import ModelError
from featx.finetuning.tuned_network import CACHEABLE
from featx.network.weights import Weights
from featx.storage.files import hash_json


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """What is asked of a fine-tuning run; see `featx.finetune`."""

    epochs: int = EPOCHS
    augment: bool = False
    prefix_cache: bool = True
    class_weight: str = "none"
    calibrate: bool = False
    decode: str = "exact"
    seed: int = 0
    batch_size: int = TRAIN_BATCH_SIZE


def make_tune_recipe(
    rows: HashedRows, weights: Weights, train: str, options: TuneOptions
) -> dict[str, Any]:
    """All that decides what a run finds, as JSON values.

    Raises
    ------
    ModelError
        Unknown `train` or class weight, no epochs, or `calibrate` without val images.
    """
    if train not in TRAINED:
        raise ModelError(f"unknown train {train!r}: say one of {', '.join(TRAINED)}")
    if options.epochs < 1:
        raise ModelError(f"epochs is {options.epochs}: at least 1")
    if options.class_weight not in CLASS_WEIGHTS:
        known = " or ".join(CLASS_WEIGHTS)
        raise ModelError(f"unknown class_weight {options.class_weight!r}: say {known}")
    dataset = rows.dataset
    if options.calibrate and not ((dataset.splits == "val") & (dataset.targets >= 0)).any():
        raise ModelError(
            f"{dataset.root} has no val images, and options.calibrate needs them: give a split"
        )
    return {
        "train": train,
        "epochs": options.epochs,
        "augment": options.augment,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "learning_rate": HEAD_LEARNING_RATE,
        "tune_learning_rate": TUNE_LEARNING_RATE,
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "preprocessing": weights.preprocessing.to_dict(),
        "decode": options.decode,
        "decoder": describe_decoder(options.decode),
        "prefix_cache": options.prefix_cache and train in CACHEABLE and not options.augment,
        "class_weight": options.class_weight,
        "calibrate": options.calibrate,
        "fingerprint": rows.fingerprint,
    }


def run_name(recipe: dict[str, Any]) -> str:
    """The folder's name of a run, one for each recipe."""
    return f"{recipe['train']}-{hash_json(recipe)[:8]}"
