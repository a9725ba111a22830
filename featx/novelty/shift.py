"""Whether many images together are stranger than known ones: a test of a folder."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm, rankdata

from featx.arrays import Labels, Matrix
from featx.config import DRIFT_CLASS, DRIFT_RATE, UNUSUAL
from featx.data.dataset import Skipped
from featx.errors import ModelError
from featx.novelty.detector import Detector
from featx.novelty.scores import Numbers


@dataclass(frozen=True)
class Unusual:
    """One of the strangest images.

    Attributes
    ----------
    path : str
    label : str
        What the model takes it for.
    score : float
        How strange it is, by the model's score.
    p_value : float
        How rarely a known image is as strange; see `Detector.find_p_values`.
    """

    path: str
    label: str
    score: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "path": self.path, "class": self.label, "p_value": self.p_value,
            "stranger_score": self.score,
        }  # fmt: skip


@dataclass(frozen=True)
class Drift:
    """Whether some images look like those that a model knows.

    Attributes
    ----------
    images : int
    distinct : int
        Without those whose features are another's to the bit, such as copies: they are tested.
    known : int
        Held-out images that they are compared with.
    score : str
        What says how strange an image is; of `SCORES`.
    p_value : float
        How rarely so many images like the known ones are as strange.
    least : float
        The lowest that it could be, were each stranger than all known ones.
    auroc : float
        How often one of them is stranger than a known one of its class; 0.5 where they are alike.
    rate : float
        Of folders of known images, so many are called drift.
    unusual : tuple of Unusual
        The strangest first.
    skipped_files : tuple of Skipped
        Files that are no images, and why.
    """

    images: int
    distinct: int
    known: int
    score: str
    p_value: float
    least: float
    auroc: float
    rate: float
    unusual: tuple[Unusual, ...]
    skipped_files: tuple[Skipped, ...] = ()

    @property
    def found(self) -> bool:
        """Whether it is drift."""
        return self.p_value <= self.rate

    @property
    def enough(self) -> bool:
        """Whether there are so many images that it could be."""
        return self.least <= self.rate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the files that were skipped."""
        return {
            "drift": self.found,
            "p_value": self.p_value,
            "rate": self.rate,
            "enough": self.enough,
            "auroc": self.auroc,
            "images": self.images,
            "distinct": self.distinct,
            "known": self.known,
            "score": self.score,
            "unusual": [one.to_dict() for one in self.unusual],
        }


@dataclass
class Watch:
    """Is told how strange images are as they pass, and says in the end whether they drifted.

    Of each image 24 bytes are kept.

    Attributes
    ----------
    detector : Detector
    classes : tuple of str
        The model's.
    most : int
        How many of the strangest are named.
    """

    detector: Detector
    classes: tuple[str, ...]
    most: int = UNUSUAL
    _scores: array[float] = field(default_factory=lambda: array("d"), init=False)
    _labels: array[int] = field(default_factory=lambda: array("q"), init=False)
    _digests: array[int] = field(default_factory=lambda: array("q"), init=False)
    # By digest, so that copies are named once: how strange, which image, its path.
    _strangest: dict[int, tuple[float, int, str]] = field(default_factory=dict, init=False)

    def look(self, paths: Sequence[object], rows: Matrix, scaled: Matrix, logits: Matrix) -> None:
        """Take some images: what the network gave, that scaled as the head has it, the logits."""
        scores = self.detector.score.measure(scaled, logits).tolist()
        for path, row, score in zip(paths, rows, scores, strict=True):
            digest = hash(row.tobytes())
            if digest not in self._strangest:
                self._strangest[digest] = score, -len(self._digests), str(path)
                if len(self._strangest) > self.most:
                    del self._strangest[min(self._strangest, key=self._strangest.__getitem__)]
            self._digests.append(digest)
        self._scores.extend(scores)
        self._labels.extend(logits.argmax(axis=1).tolist())

    def sum_up(self, rate: float = DRIFT_RATE) -> Drift:
        """What there is to say of all of them; `rate` as `Drift` has it."""
        scores, labels = np.array(self._scores), np.array(self._labels, np.int64)
        _, first = np.unique(np.array(self._digests, np.int64), return_index=True)
        tested = compare_scores(self.detector, scores[first], labels[first])
        strangest = sorted(self._strangest.values(), reverse=True)
        at = [-number for _, number, _ in strangest]
        p_values = self.detector.find_p_values(scores[at])
        return Drift(
            images=len(scores),
            distinct=len(first),
            known=len(self.detector.held),
            score=self.detector.name,
            **tested._asdict(),
            rate=rate,
            unusual=tuple(
                Unusual(path, self.classes[labels[i]], score, p)
                for i, (score, _, path), p in zip(at, strangest, p_values.tolist(), strict=True)
            ),
        )


def check_share(rate: float) -> None:
    """Raise ModelError where a rate of false alarms is none."""
    if not 0 < rate < 1:
        raise ModelError(f"rate is {rate}: it is a share between 0 and 1, such as 0.01")


class Tested(NamedTuple):
    """See `Drift`."""

    p_value: float
    least: float
    auroc: float


def compare_scores(detector: Detector, scores: Numbers, labels: Labels) -> Tested:
    """Test whether images are stranger than held-out ones that are taken for the same classes.

    A two-sample test and no test of p-values against the uniform distribution: p-values of one
    calibration lean together (Bates et al. 2023). Wilcoxon's ranks within each class that the model
    says, summed over classes with weights 1 / (N + 1) (van Elteren 1960), so that it does not
    matter how frequent a class is in the folder; by the normal distribution, with the variance of
    ranks without ties, which is the larger one. One-sided: what the model was fitted on is less
    strange than held-out images, and that is no drift. Classes of fewer than `DRIFT_CLASS` held
    images share.

    Parameters
    ----------
    detector : Detector
    scores : ndarray of shape (n_samples,), float64
    labels : ndarray of shape (n_samples,), int64
        Codes of the classes that the model says.
    """
    n = len(detector.held)
    every = detector.round_scores(np.concatenate([detector.held, scores]))
    known = np.zeros(n, np.int64) if detector.labels is None else detector.labels
    strata = _share_few(np.concatenate([known, labels]), n)
    excess = most = variance = above = pairs = 0.0
    for k in np.unique(strata[n:]):
        here = np.flatnonzero(strata == k)
        new, size = here >= n, len(here)
        m, ranks = int(new.sum()), rankdata(every[here])
        excess += (ranks[new].sum() - m * (size + 1) / 2) / (size + 1)
        most += m * (size - m) / 2 / (size + 1)
        variance += m * (size - m) / 12 / (size + 1)
        above += ranks[new].sum() - m * (m + 1) / 2
        pairs += m * (size - m)
    p_value, least = norm.sf(np.array([excess, most]) / variance**0.5).tolist()
    return Tested(p_value, least, above / pairs)


def _share_few(labels: Labels, n: int) -> Labels:
    """Strata: classes, but for those of few among the first n rows, which are one together."""
    counts = np.bincount(labels[:n], minlength=int(labels.max()) + 1)
    few = counts < DRIFT_CLASS
    stratum = np.where(few, -1, np.arange(len(counts)))
    if counts[few].sum() < DRIFT_CLASS:
        stratum[few] = counts.argmax()
    found: Labels = stratum[labels]
    return found
