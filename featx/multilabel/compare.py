"""Heads of several labels an image on the same images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import EPOCHS, LAST_LAYER, MARGIN, MULTILABEL_CLASSIFIERS, SPLITS
from featx.errors import ArgumentError, DatasetError, ModelError, OutputExistsError
from featx.features.content import Features
from featx.features.costs import read_full_cost
from featx.features.file import read_features
from featx.heads.kind import HeadOptions
from featx.machine import describe_machine
from featx.multilabel.baseline import BASELINE, LabelsTuner
from featx.multilabel.fit import fit_multilabel, make_labels_recipe
from featx.multilabel.judging import draw_labels, settle_splits
from featx.multilabel.metrics import Draws, Interval
from featx.storage.files import check_own_folder, hash_json
from featx.training.model import Model, reuse_model
from featx.training.pairs import judge_difference

RESULTS = "results.json"


@dataclass(frozen=True)
class LabelsPair:
    """Two heads on the same test images.

    Attributes
    ----------
    a, b : str
    difference : float
        mAP of a less that of b, a fraction.
    ci95 : (float, float) or None
        Of the difference in images, or groups, that are drawn again together.
    judgement : str
        See `judge_difference`.
    """

    a: str
    b: str
    difference: float
    ci95: Interval | None
    judgement: str

    def to_dict(self) -> dict[str, Any]:
        """One entry of "paired" in results.json."""
        return {**vars(self), "ci95": self.ci95 and list(self.ci95)}


@dataclass(frozen=True)
class LabelsComparison:
    """Heads of several labels an image on one dataset.

    Attributes
    ----------
    folder : Path
    features : Features
    models : tuple of Model
        The best head first, by mAP out of fold: test chooses nothing. Behind them the baseline.
    paired : tuple of LabelsPair
    margin : float
        Points of mAP that count as no difference.
    val_is_test : bool
    options : mapping
        What decided it, by the names of options.
    """

    folder: Path
    features: Features
    models: tuple[Model, ...]
    paired: tuple[LabelsPair, ...]
    margin: float
    val_is_test: bool
    options: Mapping[str, Any]

    @property
    def best(self) -> Model:
        return self.models[0]

    def to_dict(self) -> dict[str, Any]:
        """All numbers of ``featx compare --multi-label --json``, and of results.json."""
        features, data = self.features, self.best.outcome.details["data"]
        extraction = read_full_cost(features)
        seconds = sum(extraction.values()) if extraction else None
        return {
            "multilabel": True,
            "dataset": {
                **describe_source(features),
                "images": {s: data["images"][s] for s in SPLITS if s in data["images"]},
                "per_class": data["per_class"],
                "skipped": len(features.skipped),
                "val_is_test": self.val_is_test,
                "fingerprint": features.fingerprint,
            },
            "classes": list(features.classes),
            "features": features.provenance.to_dict(),
            "feature_file": str(features.path),
            "options": dict(self.options),
            "candidates": [
                {
                    "name": model.name,
                    **model.outcome.to_dict(),
                    "kind": "finetuned" if model.name == BASELINE else "frozen",
                    "seconds": {
                        "extract": None if model.name == BASELINE else seconds,
                        "fit": model.outcome.seconds,
                    },
                    "kept_bytes": sum(array.nbytes for array in model.arrays.values()),
                    "model": str(model.path),
                }
                for model in self.models
            ],
            "paired": [pair.to_dict() for pair in self.paired],
            "best": self.best.name,
            "machine": describe_machine(),
            "versions": features.versions,
        }


def compare_multilabel(
    features: Features | str | Path,
    *,
    clf: Sequence[str] | None = None,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    class_weight: str = "none",
    calibrate: bool = False,
    learning_rate: float | str = "auto",
    margin: float = MARGIN,
    max_memory: int | None = None,
    tuner: LabelsTuner | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> LabelsComparison:
    """Fit heads on features of several labels an image, and put them on the same test images.

    Models are kept in `output` under names that hold the hash of what decided them; one that is
    there is not fitted again.

    Parameters
    ----------
    features : Features or path of a feature file
        Of `featx.extract` with `multi_label`.
    clf : sequence of str, optional
        Heads; None: logreg, linear, svm and ridge.
    C, scale, epochs, seed, class_weight, calibrate, learning_rate, max_memory
        See `featx.fit_multilabel`; `class_weight` is not linear's.
    margin : float
        Points of mAP that count as no difference between two heads.
    tuner : LabelsTuner, optional
        Trains the baseline, a new last layer, through which images go in every epoch; None: there
        is none.
    output : path, optional
        The comparison's folder; None: results/NAME.
    overwrite : bool
        Use an `output` that holds the comparison of another dataset.

    Returns
    -------
    LabelsComparison
        Not yet written.

    Raises
    ------
    FeatureFileError
        As of `featx.fit_multilabel`.
    DatasetError
        There are no test images.
    OutputExistsError
        `output` holds something else and `overwrite` is False.
    ModelError, BudgetError
        As of `featx.fit_multilabel`.
    """
    if not 0 < margin < 100:
        raise ArgumentError(f"margin is {margin}: points of mAP between 0 and 100")
    held = features if isinstance(features, Features) else read_features(features)
    held, promoted = settle_splits(held)
    check_judged(held.splits, held.path or held.dataset)
    if clf is not None and not clf:
        raise ModelError("nothing to compare: name a head")
    names = list(dict.fromkeys(MULTILABEL_CLASSIFIERS if clf is None else clf))
    folder = Path(output) if output is not None else Path("results") / held.dataset
    if not overwrite:
        _claim(folder, held)
    asked: dict[str, Any] = {
        "C": C, "scale": scale, "epochs": epochs, "seed": seed, "class_weight": class_weight,
        "calibrate": calibrate, "learning_rate": learning_rate,
    }  # fmt: skip
    options = HeadOptions(**asked, layers=LAST_LAYER)
    plain: dict[str, dict[str, Any]] = {"linear": {"class_weight": "none"}}
    # All of them first: what is wrong of one is said before another is fitted.
    recipes = {
        name: make_labels_recipe(held, name, replace(options, **plain.get(name, {})))
        for name in names
    }
    models = []
    for name, recipe in recipes.items():
        path = folder / f"{name}-{hash_json(recipe)[:8]}.safetensors"
        models.append(
            reuse_model(path, recipe)
            or fit_multilabel(
                held,
                name,
                max_memory=max_memory,
                output=path,
                overwrite=True,
                **{**asked, **plain.get(name, {})},
            )
        )
    models.sort(key=lambda one: -(one.outcome.details["out_of_fold"]["mAP"] or 0.0))
    if tuner is not None:
        recipe = tuner.make_recipe(held)
        path = folder / f"{BASELINE}-{hash_json(recipe)[:8]}.safetensors"
        models.append(reuse_model(path, recipe) or tuner.train(held, recipe, path))
    drawn = [draw_labels(held, one) for one in models]
    pairs = itertools.combinations(zip(models, drawn, strict=True), 2)
    return LabelsComparison(
        folder=folder,
        features=held,
        models=tuple(models),
        paired=tuple(_pair(a, b, margin) for a, b in pairs),
        margin=margin,
        val_is_test=promoted,
        options={"clf": names, **asked, "margin": margin},
    )


def check_judged(splits: npt.NDArray[np.str_], where: object) -> None:
    """Raise DatasetError where images are in no split that could judge heads."""
    if not np.isin(splits, ("val", "test")).any():
        raise DatasetError(
            f"{where} has no test images to compare on: give --split, such as 0.7,0.1,0.2@0, or "
            "each line of the manifest a split"
        )


def describe_source(features: Features) -> dict[str, str]:
    """What a comparison's folder is about."""
    return {"name": features.dataset, "split": features.split_rule}


def _pair(a: tuple[Model, Draws], b: tuple[Model, Draws], margin: float) -> LabelsPair:
    (one, mine), (other, theirs) = a, b
    values = [m.outcome.details["evaluation"]["test"]["mAP"] or 0.0 for m in (one, other)]
    interval = mine.find_interval(mine.values["mAP"] - theirs.values["mAP"])
    judgement = "unknown" if interval is None else judge_difference(interval, margin)
    return LabelsPair(one.name, other.name, values[0] - values[1], interval, judgement)


def _claim(folder: Path, features: Features) -> None:
    """Raise OutputExistsError where a folder holds something else."""
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(folder, ("a file, not a folder",))
    # Models alone are what an interrupted comparison leaves.
    if any(one.suffix != ".safetensors" for one in (folder.iterdir() if folder.is_dir() else ())):
        check_own_folder(folder, RESULTS)
    try:
        results = json.loads((folder / RESULTS).read_text("utf-8"))
        there, wanted = results["dataset"], describe_source(features)
        wrong = [f"{k}: {there.get(k)} → {v}" for k, v in wanted.items() if there.get(k) != v]
        wrong += ["a comparison of one label an image"] * (not results.get("multilabel"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if wrong:
        raise OutputExistsError(folder, tuple(wrong))
