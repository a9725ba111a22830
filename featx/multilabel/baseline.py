"""The baseline of several labels an image: a new last layer, images through the network each epoch.

It is fine-tuning's `fc` with a sigmoid a label: same images, same loop, same choice of epoch. What
it leaves is a linear classifier a label on the network's features, and is kept as one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featx.config import SPLITS, Preprocessing
from featx.data.dataset import Dataset, HashedRows
from featx.decoding.decoders import read_decode
from featx.errors import ModelError
from featx.features.content import Features
from featx.finetuning.recipe import TuneOptions, list_rates, make_tune_recipe, plan_epochs
from featx.finetuning.tuned_network import TunedNetwork, open_images
from featx.machine import count_cores, describe_machine
from featx.multilabel.fit import hash_sets
from featx.multilabel.head import EVEN, LabelFit, make_arrays
from featx.multilabel.judging import describe_fits, judge_model, take_sets
from featx.multilabel.metrics import choose_threshold
from featx.network.backbone import flush_denormals
from featx.network.cuda_engine import explain_device
from featx.network.engine import choose_device, full_float32, limit_threads
from featx.network.fetch import resolve_weights
from featx.network.weights import Weights
from featx.timing import Stages
from featx.training.epochs import score_softmax, train_softmax
from featx.training.learner import describe_rates
from featx.training.model import MULTILABEL, Model, Outcome, write_model
from featx.training.scaling import Scaler

log = logging.getLogger(__name__)

BASELINE = "fc"


@dataclass(frozen=True)
class LabelsTuner:
    """Trains the baseline on the images of features.

    Attributes
    ----------
    root : Path
        What the features' paths are relative to.
    weights : str
        See `featx.fetch_weights`; they have to be the features' own.
    options : TuneOptions
    device : str
    num_workers : int or None
        Decoding threads; None: as many as cores.
    decode_processes : int or None
        See `featx.extract`.
    progress : bool
    """

    root: Path
    weights: str
    options: TuneOptions
    device: str = "auto"
    num_workers: int | None = None
    decode_processes: int | None = None
    progress: bool = False

    def make_recipe(self, features: Features) -> dict[str, Any]:
        """All that decides what `train` finds, as JSON values."""
        made = features.provenance
        options = replace(self.options, decode=read_decode(made.decoder), colours=made.colours)
        recipe = make_tune_recipe(
            self._list_rows(features), self._find(features), BASELINE, options
        )
        return {**recipe, "multilabel": True, "label_sets": hash_sets(features)}

    @explain_device()
    def train(self, features: Features, recipe: Mapping[str, Any], output: Path) -> Model:
        """Train as a recipe of `make_recipe` says.

        Each label's threshold is the one with the highest F1 on val, which is not learned from; but
        val chooses the epoch as well, and where there is none it is a half.
        """
        settings, weights, sets = dict(recipe), self._find(features), take_sets(features)
        place = choose_device(self.device)
        limit_threads()
        network = TunedNetwork(weights, sets.shape[1], BASELINE, settings["seed"]).to(place)
        stages, workers = Stages(), self.num_workers
        with (
            full_float32(),
            flush_denormals(),
            open_images(
                self._list_rows(features), network, settings, weights.preprocessing,
                num_workers=count_cores() if workers is None else workers,
                processes=self.decode_processes,
            ) as opened,
        ):  # fmt: skip
            images = {
                split: replace(
                    one, y=torch.from_numpy(sets[features.splits == split].astype(np.float32))
                )
                for split, one in opened.items()
            }
            first, *more = list_rates(settings)
            training = train_softmax(
                [network.learn(first), *(network.fork().learn(rate) for rate in more)],
                images,
                plan_epochs(settings),
                prepare=network.prepare,
                device=place,
                stages=stages,
                name=BASELINE,
                progress=self.progress,
            )
            network.load_state_dict(training.state, strict=False)
            plain = replace(images["train"], augment_seed=None)
            on_train = score_softmax(network, plain, settings["batch_size"], place, stages)
        coef, bias = (
            training.state[f"head.{name}"].numpy().astype(np.float64) for name in ("weight", "bias")
        )
        held, val = training.probabilities.get("val"), sets[features.splits == "val"]
        by = "val" if len(more) else "given"
        fits = [
            LabelFit(
                coef[k], float(bias[k]), 1.0,
                choose_threshold(val[:, k], held[:, k])
                if held is not None and val[:, k].any() else EVEN,
                training.learning_rate, by,
            )
            for k in range(sets.shape[1])
        ]  # fmt: skip
        arrays = make_arrays(Scaler("none"), fits)
        model = Model(
            kind=MULTILABEL,
            name=BASELINE,
            classes=features.classes,
            provenance=features.provenance.to_dict(),
            recipe=settings,
            outcome=Outcome(
                scores={},
                probabilities=dict(training.probabilities),
                seconds=sum(epoch.seconds for epoch in training.history),
                trainable_parameters=coef.size + bias.size,
                machine=f"{describe_machine()}, {place.type}",
                history=training.history,
                best_epoch=training.best_epoch,
                details={
                    **describe_rates(training.learning_rate, training.attempts),
                    "calibrated": False,
                    "val_is_test": False,
                    "notes": [],
                    "out_of_fold": None,
                    **describe_fits(features, fits, "learning_rate"),
                },
            ),
            arrays=arrays,
        )
        return write_model(judge_model(model, features, on_train), output)

    def _find(self, features: Features) -> Weights:
        made = features.provenance
        found = resolve_weights(self.weights, backbone=made.backbone)
        if found.sha256 != made.weights_sha256:
            raise ModelError(
                f"{features.path} was made by other weights than {found.name} holds now: the "
                "candidates would not be comparable"
            )
        return replace(found, preprocessing=Preprocessing.from_dict(made.preprocessing))

    def _list_rows(self, features: Features) -> HashedRows:
        """The images that are in a split, as what has one label: it is not looked at."""
        targets = np.where(np.isin(features.splits, SPLITS), 0, -1)
        return HashedRows(
            Dataset(
                root=self.root, name=features.dataset, classes=features.classes,
                paths=tuple(features.paths.tolist()), targets=targets, splits=features.splits,
                split_rule=features.split_rule,
            ),
            features.hashes,
        )  # fmt: skip
