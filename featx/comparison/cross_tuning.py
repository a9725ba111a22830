"""Cross-validation of fine-tuned networks: the folds of the heads, at the price of a run each."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.comparison.candidates import Candidate
from featx.comparison.cross_validation import DealtRows
from featx.comparison.fold_scores import FoldScore, FoldScores, FoldStore
from featx.comparison.trainers import NetworkTrainer
from featx.data.dataset import HashedRows
from featx.finetuning.finetune import finetune_rows
from featx.finetuning.recipe import TuneOptions, make_tune_recipe
from featx.text import format_duration
from featx.training.metrics import log_loss
from featx.training.resampling import Fold, Resampling, draw_folds, hold_part

log = logging.getLogger(__name__)


def cross_tune(
    tuner: NetworkTrainer,
    candidate: Candidate,
    options: TuneOptions,
    rows: DealtRows,
    spec: Resampling,
    kept: Path,
) -> FoldScores:
    """Fine-tune a baseline anew on all images but a fold of them, for every fold; score the fold.

    The epoch is chosen, as ever, on val: on a stratified part of the images that it learns from,
    a fifth of them. Where a class has too few for that, the last epoch is kept.

    Parameters
    ----------
    tuner : NetworkTrainer
    candidate : Candidate
        The baseline on the comparison's own split, which says what a run takes.
    options : TuneOptions
    rows : DealtRows
    spec : Resampling
    kept : Path
        A JSON file of what is known already.
    """
    seconds = spec.runs * candidate.outcome.seconds
    log.info(
        "cross-validation of %s: %d runs, about %s in all, since one took %s here",
        candidate.name, spec.runs, format_duration(seconds), format_duration(seconds / spec.runs),
    )  # fmt: skip
    store, scores = FoldStore(kept, "baselines"), list[FoldScore]()
    for fold in draw_folds(rows.y, rows.groups, spec, options.seed):
        dealt = _deal(tuner.rows, rows, fold, options.seed)
        recipe = make_tune_recipe(dealt, tuner.weights, candidate.model.name, options)
        known = store.find(recipe)
        if known is None:
            known = (_tune_fold(tuner, dealt, recipe),)
            store.keep(recipe, known)
        scores += known
    return FoldScores(candidate.name, candidate.kind, tuple(scores))


def _deal(all_rows: HashedRows, rows: DealtRows, fold: Fold, seed: int) -> HashedRows:
    """The dataset with the fold as its test, and a part of the others as its val."""
    inside, outside = fold
    part = hold_part(rows.y[inside], rows.groups[inside], seed)
    splits = np.full(len(all_rows.dataset), "", all_rows.dataset.splits.dtype)
    splits[rows.here[inside]] = "train"
    splits[rows.here[outside]] = "test"
    if part is not None:
        splits[rows.here[inside[part[1]]]] = "val"
    return replace(all_rows, dataset=replace(all_rows.dataset, splits=splits))


def _tune_fold(tuner: NetworkTrainer, dealt: HashedRows, recipe: dict[str, Any]) -> FoldScore:
    """A run in a folder that goes when its scores are known."""
    with tempfile.TemporaryDirectory(prefix="fold-", dir=tuner.folder) as folder:
        outcome = finetune_rows(
            dealt, tuner.weights, recipe, Path(folder),
            device=tuner.device, num_workers=tuner.num_workers,
            decode_processes=tuner.decode_processes, progress=tuner.progress,
        ).outcome  # fmt: skip
    dataset = dealt.dataset
    truth = dataset.targets[(dataset.splits == "test") & (dataset.targets >= 0)]
    return FoldScore(
        accuracy=outcome.scores["test"].accuracy,
        log_loss=log_loss(truth, outcome.probabilities["test"]),
        chosen=None,
        seconds=outcome.seconds,
    )
