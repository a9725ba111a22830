"""What a comparison found: all candidates on one dataset, and its numbers as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx.comparison.candidates import Candidate, Pair
from featx.comparison.curves import CurvePoint
from featx.comparison.fold_scores import CrossValidation
from featx.comparison.relatives import Inflation, keeps_groups_whole
from featx.comparison.verdict import Verdict
from featx.config import CURVE_DRAWS, SPLITS
from featx.data.dataset import describe_scan
from featx.data.splits import count_labels
from featx.extraction.result import Extraction
from featx.features.content import Features
from featx.novelty.measures import NoveltyScores
from featx.novelty.rank_scores import RankScores


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
    verdict : Verdict
    known : dict of str to str
        Classes that are ImageNet classes by name, and those.
    learning : tuple of CurvePoint
    options : dict
        What decided it, by the names of options; what auto became instead of auto.
    machine : str
    cv : CrossValidation or None
        Where one was asked for.
    val_is_test : bool
        There was no test, and what the data call val stands for it.
    prevalence : dict of str to float
        The classes' shares in the field, where they were given.
    inflation : tuple of Inflation
        What random splits would have said of heads, where test has groups of its own.
    strangers : NoveltyScores or None
        What the chosen candidate knows of what it does not know; None where nobody asked.
    ranks : RankScores or None
        What candidates tell at the ranks of a taxonomy; None where there is none.
    relabelled : tuple of Pair
        Of corrected labels: each head with itself, trained on the labels as they were, and each
        baseline of which there is such a run.
    """

    folder: Path
    root: Path
    features: Features
    extraction: Extraction
    candidates: tuple[Candidate, ...]
    paired: tuple[Pair, ...]
    verdict: Verdict
    known: Mapping[str, str]
    learning: tuple[CurvePoint, ...]
    options: Mapping[str, Any]
    machine: str
    cv: CrossValidation | None = None
    val_is_test: bool = False
    prevalence: Mapping[str, float] = field(default_factory=dict)
    inflation: tuple[Inflation, ...] = ()
    strangers: NoveltyScores | None = None
    ranks: RankScores | None = None
    relabelled: tuple[Pair, ...] = ()

    @property
    def in_train(self) -> dict[str, int]:
        """How many images of val and of test are in train as well, byte for byte."""
        hashes, splits = self.features.hashes, self.features.splits
        train = hashes[splits == "train"]
        return {s: int(np.isin(hashes[splits == s], train).sum()) for s in ("val", "test")}

    @property
    def not_crossed(self) -> list[str]:
        """Candidates that a cross-validation left out."""
        crossed = {one.name for one in self.cv.candidates} if self.cv is not None else set()
        return [one.name for one in self.candidates if one.name not in crossed]

    def to_dict(self) -> dict[str, Any]:
        """All numbers of ``featx compare --json``, and of results.json."""
        counts = {s: int((self.features.splits == s).sum()) for s in SPLITS}
        return {
            "dataset": {
                "name": self.features.dataset,
                "root": str(self.root.resolve()),
                "split": self.features.split_rule,
                "images": counts,
                "per_class": count_labels(
                    self.features.targets, self.features.splits, len(self.features.classes)
                ),
                "skipped": len(self.features.skipped),
                "in_train": self.in_train,
                "val_is_test": self.val_is_test,
                "alike": self.features.alike is not None,
                "fingerprint": self.features.fingerprint,
            },
            **describe_scan(self.extraction.left_out, self.extraction.notes),
            "classes": list(self.features.classes),
            "features": self.features.provenance.to_dict(),
            "options": dict(self.options),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "paired": [pair.to_dict() for pair in self.paired],
            "best": self.verdict.best,
            "verdict": {
                k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.verdict).items()
            },
            "prevalence": dict(self.prevalence) or None,
            "known": {"classes": dict(self.known)} if self.known else None,
            "learning": {
                "draws": CURVE_DRAWS,
                "points": [point.to_dict() for point in self.learning],
            }
            if self.learning
            else None,
            "strangers": self.strangers.to_dict() if self.strangers is not None else None,
            "ranks": self.ranks.to_dict() if self.ranks is not None else None,
            "cv": self.cv.to_dict() if self.cv is not None else None,
            "groups": self._describe_groups(),
            "labels": None
            if (corrected := self.features.corrected) is None
            else {**corrected.to_dict(), "paired": [pair.to_dict() for pair in self.relabelled]},
            "machine": self.machine,
            "versions": self.features.versions,
        }

    def _describe_groups(self) -> dict[str, Any] | None:
        """What groups there are, and where they decided; None without any."""
        features = self.features
        if features.clusters is None:
            return None
        return {
            "counts": {s: len(np.unique(features.clusters[features.splits == s])) for s in SPLITS},
            "whole": keeps_groups_whole(features),
            "interval_method": "cluster-bootstrap",
            "pair_method": "sign-flip-permutation",
            "random_splits": [one.to_dict() for one in self.inflation],
        }
