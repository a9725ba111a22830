"""Frozen and fine-tuned candidates on the same images, with what each costs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.assembly import Extraction
from featx.cache import read_seconds_per_image
from featx.config import EPOCHS, SPLITS
from featx.contents import HashedRows
from featx.dataset import Dataset, check_trainable
from featx.errors import DatasetError, ModelError, OutputExistsError
from featx.extraction import extract
from featx.fetch import resolve_weights
from featx.files import hash_json, write_json
from featx.finetuning import finetune_rows, make_tune_recipe, run_name
from featx.heads import fit, make_recipe
from featx.machine import count_cores, describe_machine
from featx.metrics import holm, log_loss, mcnemar
from featx.models import Model, Outcome, read_model
from featx.network import TRAINED
from featx.results import claim_folder
from featx.sources import read_dataset, write_manifest
from featx.store import Features, read_features

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One way to classify the images, and how well and at what cost it does.

    Attributes
    ----------
    model : Model
        With its file's path.
    extract_seconds : float or None
        What the features cost, of all images in all splits; None where that was not measured, and
        for a fine-tuned network, which has none.
    """

    model: Model
    extract_seconds: float | None

    @property
    def name(self) -> str:
        """The head's or the baseline's."""
        return self.model.name

    @property
    def kind(self) -> str:
        """ "frozen" or "finetuned"."""
        return "frozen" if self.model.kind == "head" else "finetuned"

    @property
    def outcome(self) -> Outcome:
        """Scores, probabilities of val and test, history and seconds."""
        return self.model.outcome

    def to_dict(self) -> dict[str, Any]:
        """One entry of "candidates" in results.json."""
        values = self.outcome.to_dict()
        return {
            "name": self.name,
            "kind": self.kind,
            **values,
            "seconds": {"extract": self.extract_seconds, "fit": values.pop("fit_seconds")},
            "model": str(self.model.path),
        }


@dataclass(frozen=True)
class Pair:
    """Two candidates on the same test images: the exact McNemar test."""

    a: str
    b: str
    only_a: int
    only_b: int
    p_value_raw: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """One entry of "paired" in results.json; p_value is Holm's."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """All candidates on one dataset.

    Attributes
    ----------
    folder : Path
    root : Path
        What the features' paths are relative to.
    features : Features
    extraction : Extraction
        What was computed now, and what was reused.
    candidates : tuple of Candidate
    paired : tuple of Pair
    best : str
        The candidate with the highest val accuracy, ties by lower val log-loss; where there is no
        val, the first.
    machine : str
    """

    folder: Path
    root: Path
    features: Features
    extraction: Extraction
    candidates: tuple[Candidate, ...]
    paired: tuple[Pair, ...]
    best: str
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx compare --json``, and of results.json."""
        counts = {s: int((self.features.splits == s).sum()) for s in SPLITS}
        return {
            "dataset": {
                "name": self.features.dataset,
                "root": str(self.root.resolve()),
                "split": self.features.split_rule,
                "images": counts,
                "skipped": len(self.features.skipped),
                "fingerprint": self.features.fingerprint,
            },
            "classes": list(self.features.classes),
            "features": self.features.provenance.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "paired": [pair.to_dict() for pair in self.paired],
            "best": self.best,
            "machine": self.machine,
            "versions": self.features.versions,
        }


def compare(
    data: str | Path | Dataset,
    *,
    clf: Sequence[str] = ("logreg", "linear"),
    baseline: Sequence[str] = ("fc",),
    epochs: int = EPOCHS,
    C: float | str = "auto",
    scale: str = "none",
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    augment: bool = False,
    prefix_cache: bool = True,
    seed: int = 0,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    cache_dir: str | Path | None = None,
    rehash: bool = False,
    lock: bool = True,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Comparison:
    """Do what is missing, reuse what is there, and put all candidates on the same images.

    Models are kept in `output` under a name that holds the hash of all that decided them; one
    that is there is not trained again.

    Parameters
    ----------
    clf : sequence of str
        Heads; see `featx.heads.fit`, also for `C` and `scale`.
    baseline : sequence of str
        Fine-tuned networks; see `featx.finetuning.finetune`, also for `augment` and
        `prefix_cache`.
    epochs : int
        Of the linear head and of every baseline.
    output : path, optional
        The comparison's folder; None: results/NAME.
    overwrite : bool
        Use an `output` that holds the comparison of another dataset.
    data, split, root, weights, device, engine, precision, decode, batch_size, num_workers
    on_error, cache_dir, rehash, lock
        See `featx.extraction.extract`.
    seed, progress
        See `featx.heads.fit`.

    Returns
    -------
    Comparison
        Not yet written; see `featx.report`.

    Raises
    ------
    DatasetError
        The data cannot be compared on: no labels, one class, no test images.
    OutputExistsError
        `output` holds another dataset's comparison and `overwrite` is False.
    FeatxError
        Whatever extraction, fitting and fine-tuning raise.
    """
    if not clf and not baseline:
        raise ModelError("nothing to compare: name a head (--clf) or a baseline (--baseline)")
    unknown = [name for name in baseline if name not in TRAINED]
    if unknown:
        raise ModelError(f"unknown baseline {unknown[0]!r}: say one of {', '.join(TRAINED)}")
    dataset = data if isinstance(data, Dataset) else read_dataset(data, split, root)
    _check_comparable(dataset)
    folder = Path(output) if output is not None else Path("results") / dataset.name
    if not isinstance(data, Dataset) and Path(data).resolve() == (folder / "split.csv").resolve():
        raise OutputExistsError(folder, ("the manifest that is compared on",))
    claim_folder(folder, dataset, output is not None, overwrite)
    extraction = extract(
        dataset,
        weights=weights,
        device=device,
        engine=engine,
        precision=precision,
        decode=decode,
        num_workers=num_workers,
        on_error=on_error,
        cache_dir=cache_dir,
        batch_size=batch_size,
        rehash=rehash,
        lock=lock,
        progress=progress,
    )
    log.info("features: %s", extraction.features)
    features = read_features(extraction.features)
    rows = _rows_of(dataset, features)
    _check_comparable(rows.dataset)  # again, now that some images may have been skipped
    write_manifest(rows.dataset, folder / "split.csv", overwrite)
    each = read_seconds_per_image(features)
    extract_seconds = None if each is None else each * len(features.X)
    candidates = []
    for name in dict.fromkeys(clf):
        recipe = make_recipe(features, name, C=C, scale=scale, epochs=epochs, seed=seed)
        path = folder / f"{name}-{hash_json(recipe)[:8]}.safetensors"
        model = _reuse(path, recipe)
        if model is None:
            model = fit(
                features, name, C=C, scale=scale, epochs=epochs, seed=seed, output=path,
                overwrite=True,
            )  # fmt: skip
        candidates.append(Candidate(model, extract_seconds))
    if baseline:
        network = resolve_weights(extraction.weights if weights == "auto" else weights)
        if network.sha256 != features.provenance.weights_sha256:
            raise ModelError(
                f"{extraction.features} was made by other weights than {network.name} holds now: "
                "the candidates would not be comparable"
            )
    for name in dict.fromkeys(baseline):
        recipe = make_tune_recipe(
            rows, network, train=name, epochs=epochs, augment=augment, seed=seed,
            prefix_cache=prefix_cache, decode=decode,
        )  # fmt: skip
        run = folder / run_name(recipe)
        model = _reuse(run / "model.safetensors", recipe) or finetune_rows(
            rows,
            network,
            recipe,
            run,
            device=device,
            num_workers=count_cores() if num_workers is None else num_workers,
            progress=progress,
        )
        candidates.append(Candidate(model, None))
    return Comparison(
        folder=folder,
        root=dataset.root,
        features=features,
        extraction=extraction,
        candidates=tuple(candidates),
        paired=tuple(pair_candidates(candidates, features.split("test")[1])),
        best=_choose_best(candidates, features.split("val")[1]),
        machine=describe_machine(),
    )


def pair_candidates(candidates: Sequence[Candidate], y: npt.NDArray[np.int64]) -> list[Pair]:
    """McNemar's exact test for every two candidates, Holm-corrected.

    Parameters
    ----------
    candidates : sequence of Candidate
        With probabilities of "test".
    y : ndarray of shape (n_samples,), int64
        True labels of the test images.
    """
    pairs = list(itertools.combinations(candidates, 2))
    predicted = {c.name: c.outcome.probabilities["test"].argmax(axis=1) for c in candidates}
    found = [mcnemar(y, predicted[a.name], predicted[b.name]) for a, b in pairs]
    adjusted = holm([p for _, _, p in found])
    return [
        Pair(a.name, b.name, only_a, only_b, p, p_holm)
        for (a, b), (only_a, only_b, p), p_holm in zip(pairs, found, adjusted, strict=True)
    ]


def _choose_best(candidates: Sequence[Candidate], y_val: npt.NDArray[np.int64]) -> str:
    """By val accuracy, ties by val log-loss; the first where there is no val. Never by test."""
    if not len(y_val):
        return candidates[0].name

    def rank(candidate: Candidate) -> tuple[float, float]:
        loss = log_loss(y_val, candidate.outcome.probabilities["val"])
        return candidate.outcome.scores["val"].accuracy, -loss

    return max(candidates, key=rank).name


def _reuse(path: Path, recipe: dict[str, Any]) -> Model | None:
    """The model that is there, if it is the one that `recipe` makes."""
    if not path.exists():
        return None
    try:
        there = read_model(path)
    except ModelError as error:
        log.warning("trained again: %s", error)
        return None
    if there.recipe_key != hash_json(recipe):
        return None
    log.info("reused: %s", path)
    return there


def _check_comparable(dataset: Dataset) -> None:
    check_trainable(dataset)
    if not ((dataset.splits == "test") & (dataset.targets >= 0)).any():
        raise DatasetError(
            f"{dataset.root} has no test images to compare on: give --split, such as first:60,10 "
            "or 0.7,0.1,0.2@0"
        )


def _rows_of(dataset: Dataset, features: Features) -> HashedRows:
    """The dataset's rows that the feature file holds: what could be decoded."""
    held = set(features.paths.tolist())
    keep = np.array([path in held for path in dataset.paths], dtype=bool)
    return HashedRows(dataset.select(keep), features.hashes)


def write_results(comparison: Comparison, report: str) -> Path:
    """Write results.json; `report` is the page that people read."""
    path = comparison.folder / "results.json"
    write_json(path, {**comparison.to_dict(), "report": report})
    return path
