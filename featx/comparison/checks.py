"""What can be compared at all: names that exist, a dataset that has what is needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featx.config import CLASSIFIERS, SPLITS, TRAINED
from featx.data.dataset import Dataset, HashedRows, check_trainable
from featx.errors import DatasetError, ModelError
from featx.extraction.result import Extraction
from featx.features.content import Features
from featx.finetuning.recipe import TuneOptions
from featx.heads.kind import find_kind
from featx.network.catalogue import KNOWN
from featx.network.fetch import resolve_weights
from featx.network.weights import Weights
from featx.novelty.ranks import check_precision
from featx.training.resampling import Resampling, find_unfoldable, parse_resampling

log = logging.getLogger(__name__)


def check_names(heads: Sequence[str], networks: Sequence[str]) -> None:
    if not heads and not networks:
        raise ModelError("nothing to compare: name a head (--clf) or a baseline (--baseline)")
    for names, known, what in (
        (heads, CLASSIFIERS, "clf"), (networks, TRAINED, "baseline")
    ):  # fmt: skip
        if unknown := [name for name in names if name not in known]:
            raise ModelError(f"unknown {what} {unknown[0]!r}: say one of {', '.join(known)}")


def check_asked(margin: float, precision: float) -> None:
    check_precision(precision)
    if not 0 < margin < 100:
        raise ModelError(f"a margin of {margin:g} points: say a number above 0 and below 100")


def check_comparable(dataset: Dataset, needs_val: str = "") -> None:
    check_trainable(dataset)
    if needs_val and not ((dataset.splits == "val") & (dataset.targets >= 0)).any():
        raise DatasetError(
            f"{dataset.root} has no val images beside those of test, and {needs_val} needs them: "
            "put some into a val split, or give --split"
        )
    if not ((dataset.splits == "test") & (dataset.targets >= 0)).any():
        unlabelled = int((dataset.splits == "test").sum())
        if dataset.split_rule in ("folders", "manifest"):
            advice = "put some into its test split, each with its class"
        else:
            advice = "give --split, such as first:60,10 or 0.7,0.1,0.2@0"
        held = f" (the {unlabelled} it has are without a label)" if unlabelled else ""
        raise DatasetError(f"{dataset.root} has no test images to compare on{held}: {advice}")


def find_uncalibrated(
    dataset: Dataset, heads: Sequence[str], networks: Sequence[str]
) -> frozenset[str]:
    """Candidates that cannot be calibrated: they have no folds, and there is no val.

    Raises
    ------
    DatasetError
        All of them are such.
    """
    if ((dataset.splits == "val") & (dataset.targets >= 0)).any():
        return frozenset()
    without = [name for name in heads if find_kind(name).grid is None] + list(networks)
    if len(without) == len(heads) + len(networks):
        check_comparable(dataset, needs_val="calibrate")
    told = [name for name in without if name in networks or find_kind(name).logits]
    if told:
        log.warning(
            "there are no val images to calibrate %s by, which stay as they are; folds of train "
            "calibrate the others", ", ".join(told),
        )  # fmt: skip
    return frozenset(without)


def check_cross_validation(
    dataset: Dataset, cv: str | None, cv_baselines: bool
) -> Resampling | None:
    """What `cv` says; images that turn out to be copies are for later."""
    if cv is None:
        if cv_baselines:
            raise ModelError("--cv-baselines goes with --cv: say --cv 5x5 as well")
        return None
    spec = parse_resampling(cv)
    y = dataset.targets[np.isin(dataset.splits, SPLITS) & (dataset.targets >= 0)]
    if reason := find_unfoldable(dataset.classes, y, np.arange(len(y)), spec):
        raise ModelError(reason)
    return spec


def resolve_same(weights: str, features: Features, extraction: Extraction, framing: str) -> Weights:
    """The weights that made the features, framed as the features' images were."""
    network = resolve_weights(weights, backbone=features.provenance.backbone)
    if network.sha256 != features.provenance.weights_sha256:
        raise ModelError(
            f"{extraction.features} was made by other weights than {network.name} holds now: "
            "the candidates would not be comparable"
        )
    return replace(network, preprocessing=network.preprocessing.frame(framing))


def settle_options(features: Features, weights: str) -> dict[str, str]:
    """Options with which the same features are made again."""
    made = features.provenance
    return {
        "backbone": made.backbone,
        "weights": made.weights if made.weights in KNOWN else weights,
        "engine": made.engine.split()[0],
        "precision": made.precision,
    }


def keep_rows(dataset: Dataset, features: Features) -> HashedRows:
    """The dataset's rows that features hold, which could be decoded, by the labels they have."""
    held = set(features.paths.tolist())
    keep = np.array([path in held for path in dataset.paths], dtype=bool)
    here = replace(dataset.select(keep), targets=features.targets, classes=features.classes)
    return HashedRows(here, features.hashes)


def list_tuning(tuning: TuneOptions) -> dict[str, Any]:
    """What is asked of baselines, but for what no option of a comparison says."""
    untold = ("batch_size", "colours")
    return {name: value for name, value in vars(tuning).items() if name not in untold}
