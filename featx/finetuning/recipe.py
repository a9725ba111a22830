"""What decides a fine-tuning run, and the name that it gives the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featx.config import (
    CLASS_WEIGHTS,
    EPOCHS,
    HEAD_LEARNING_RATE,
    HEAD_LEARNING_RATES,
    RACE,
    TRAIN_BATCH_SIZE,
    TRAINED,
    TUNE_LEARNING_RATE,
    TUNE_LEARNING_RATES,
)
from featx.data.dataset import HashedRows
from featx.decoding.decoders import describe_decoder, name_scale
from featx.decoding.pixel_format import FIRST_COLOURS, describe_colours
from featx.errors import ModelError
from featx.finetuning.tuned_network import CACHEABLE
from featx.network.weights import Weights
from featx.storage.files import hash_json
from featx.training.epochs import Schedule
from featx.training.learner import check_rate


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """What is asked of a fine-tuning run; see `featx.finetune`."""

    epochs: int = EPOCHS
    augment: bool = False
    prefix_cache: bool = True
    class_weight: str = "none"
    calibrate: bool = False
    decode: str = "exact"
    colours: str = field(default_factory=describe_colours)
    seed: int = 0
    batch_size: int = TRAIN_BATCH_SIZE
    learning_rate: float | str = "auto"


def make_tune_recipe(
    rows: HashedRows, weights: Weights, train: str, options: TuneOptions
) -> dict[str, Any]:
    """All that decides what a run finds, as JSON values.

    Raises
    ------
    ModelError
        Unknown `train` or class weight, no epochs, a learning rate that is not positive, or
        `calibrate` without val images.
    """
    if train not in TRAINED:
        raise ModelError(f"unknown train {train!r}: say one of {', '.join(TRAINED)}")
    if options.epochs < 1:
        raise ModelError(f"epochs is {options.epochs}: at least 1")
    if options.class_weight not in CLASS_WEIGHTS:
        known = " or ".join(CLASS_WEIGHTS)
        raise ModelError(f"unknown class_weight {options.class_weight!r}: say {known}")
    rate = check_rate(options.learning_rate)
    dataset = rows.dataset
    has_val = bool(((dataset.splits == "val") & (dataset.targets >= 0)).any())
    if options.calibrate and not has_val:
        raise ModelError(
            f"{dataset.root} has no val images, and options.calibrate needs them: give a split"
        )
    # Of runs that read pixels as the first ones did, recipes are theirs.
    colours = {} if options.colours == FIRST_COLOURS else {"colours": options.colours}
    recipe: dict[str, Any] = {
        **colours,
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
        "decode": name_scale(options.decode),
        "decoder": describe_decoder(options.decode),
        "prefix_cache": options.prefix_cache and train in CACHEABLE and not options.augment,
        "class_weight": options.class_weight,
        "calibrate": options.calibrate,
        "fingerprint": rows.fingerprint,
    }
    if rate is not None:
        recipe[_name_rate(train)] = rate
    elif has_val:  # elsewhere nothing can choose
        rates = HEAD_LEARNING_RATES if train == "fc" else TUNE_LEARNING_RATES
        recipe[_name_rate(train)] = list(rates)
        if train != "fc":
            recipe["race"] = [list(one) for one in RACE]
    return recipe


def list_rates(recipe: Mapping[str, Any]) -> list[float]:
    """The learning rates that a recipe has its run choose from; one where it is given."""
    rates = recipe[_name_rate(recipe["train"])]
    return list(rates) if isinstance(rates, Sequence) else [rates]


def plan_epochs(recipe: Mapping[str, Any]) -> Schedule:
    """How long, in which batches, and after which epochs losers stop."""
    return Schedule(
        epochs=recipe["epochs"],
        batch_size=recipe["batch_size"],
        seed=recipe["seed"],
        race=recipe.get("race", ()),
    )


def _name_rate(train: str) -> str:
    """What a recipe calls the rate that is asked about."""
    return "learning_rate" if train == "fc" else "tune_learning_rate"


def run_name(recipe: dict[str, Any]) -> str:
    """The folder's name of a run, one for each recipe."""
    return f"{recipe['train']}-{hash_json(recipe)[:8]}"
