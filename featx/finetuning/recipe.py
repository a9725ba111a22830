"""What decides a fine-tuning run, and the name that it gives the run."""

from __future__ import annotations

from typing import Any

from featx.config import HEAD_LEARNING_RATE, TRAIN_BATCH_SIZE, TUNE_LEARNING_RATE
from featx.data.dataset import HashedRows
from featx.data.images import describe_decoder
from featx.errors import ModelError
from featx.finetuning.tuned_network import CACHEABLE, TRAINED
from featx.network.weights import Weights
from featx.storage.files import hash_json


def make_tune_recipe(
    rows: HashedRows,
    weights: Weights,
    *,
    train: str,
    epochs: int,
    augment: bool,
    seed: int,
    batch_size: int = TRAIN_BATCH_SIZE,
    prefix_cache: bool = True,
    class_weight: str = "none",
    calibrate: bool = False,
    decode: str = "exact",
) -> dict[str, Any]:
    """All that decides what a run finds, as JSON values.

    Raises
    ------
    ModelError
        Unknown `train` or `class_weight`, no epochs, or `calibrate` without val images.
    """
    if train not in TRAINED:
        raise ModelError(f"unknown train {train!r}: say one of {', '.join(TRAINED)}")
    if epochs < 1:
        raise ModelError(f"epochs is {epochs}: at least 1")
    if class_weight not in ("none", "balanced"):
        raise ModelError(f"unknown class_weight {class_weight!r}: say none or balanced")
    dataset = rows.dataset
    if calibrate and not ((dataset.splits == "val") & (dataset.targets >= 0)).any():
        raise ModelError(
            f"{dataset.root} has no val images, and calibrate needs them: give a split"
        )
    return {
        "train": train,
        "epochs": epochs,
        "augment": augment,
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": HEAD_LEARNING_RATE,
        "tune_learning_rate": TUNE_LEARNING_RATE,
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "preprocessing": weights.preprocessing.to_dict(),
        "decode": decode,
        "decoder": describe_decoder(decode),
        "prefix_cache": prefix_cache and train in CACHEABLE and not augment,
        "class_weight": class_weight,
        "calibrate": calibrate,
        "fingerprint": rows.fingerprint,
    }


def run_name(recipe: dict[str, Any]) -> str:
    """The folder's name of a run, one for each recipe."""
    return f"{recipe['train']}-{hash_json(recipe)[:8]}"
