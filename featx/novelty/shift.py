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
        How strange it is.
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


class Tested(NamedTuple):
    """What one score says of some images.

    Attributes
    ----------
    score : str
        Of `KEPT_SCORES`.
    p_value : float
        How rarely so many images like the known ones are as strange.
    least : float
        The lowest that it could be, were each stranger than all known ones.
    auroc : float
        How often one of them is stranger than a known one of its class; 0.5 where they are alike.
    """

    score: str
    p_value: float
    least: float
    auroc: float


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
    tests : tuple of Tested
        One for each score.
    rate : float
        Of folders of known images, so many at most are called drift.
    unusual : tuple of Unusual
        The strangest first, by the score of the lowest p-value.
    skipped_files : tuple of Skipped
        Files that are no images, and why.
    """

    images: int
    distinct: int
    known: int
    tests: tuple[Tested, ...]
    rate: float
    unusual: tuple[Unusual, ...]
    skipped_files: tuple[Skipped, ...] = ()

    @property
    def clearest(self) -> Tested:
        """The test of the lowest p-value."""
        return min(self.tests, key=lambda one: one.p_value)

    @property
    def p_value(self) -> float:
        """The lowest p-value times the number of tests (Bonferroni), at most 1."""
        return min(1.0, len(self.tests) * self.clearest.p_value)

    @property
    def found(self) -> bool:
        """Whether it is drift."""
        return self.p_value <= self.rate

    @property
    def enough(self) -> bool:
        """Whether there are so many images that it could be."""
        return len(self.tests) * min(one.least for one in self.tests) <= self.rate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the files that were skipped."""
        return {
            "drift": self.found,
            "p_value": self.p_value,
            "rate": self.rate,
            "enough": self.enough,
            "images": self.images,
            "distinct": self.distinct,
            "known": self.known,
            "score": self.clearest.score,
            "tests": [
                {"score": one.score, "p_value": one.p_value, "auroc": one.auroc}
                for one in self.tests
            ],
            "unusual": [one.to_dict() for one in self.unusual],
        }


@dataclass
class _Seen:
    """How strange images were by one score, and the strangest of them."""

    detector: Detector
    scores: array[float] = field(default_factory=lambda: array("d"))
    # By digest, so that copies are named once: how strange, which image (negative), its path.
    strangest: dict[int, tuple[float, int, str]] = field(default_factory=dict)

    def add(self, score: float, digest: int, path: str, most: int) -> None:
        if digest not in self.strangest:
            self.strangest[digest] = score, -len(self.scores), path
            if len(self.strangest) > most:
                del self.strangest[min(self.strangest, key=self.strangest.__getitem__)]
        self.scores.append(score)


class Watch:
    """Is told how strange images are as they pass, and says in the end whether they drifted.

    Of each image 32 bytes are kept.

    Parameters
    ----------
    detectors : sequence of Detector
        See `load_detectors`.
    classes : tuple of str
        The model's.
    most : int
        How many of the strangest are named.
    """

    def __init__(
        self, detectors: Sequence[Detector], classes: tuple[str, ...], most: int = UNUSUAL
    ) -> None:
        self._seen = [_Seen(one) for one in detectors]
        self._classes, self._most = classes, most
        self._labels, self._digests = array("q"), array("q")

    def look(self, paths: Sequence[object], rows: Matrix, scaled: Matrix, logits: Matrix) -> None:
        """Take some images: what the network gave, that scaled as the head has it, the logits."""
        digests = [hash(row.tobytes()) for row in rows]
        for seen in self._seen:
            scores = seen.detector.score.measure(scaled, logits).tolist()
            for path, digest, score in zip(paths, digests, scores, strict=True):
                seen.add(score, digest, str(path), self._most)
        self._digests.extend(digests)
        self._labels.extend(logits.argmax(axis=1).tolist())

    def sum_up(self, rate: float = DRIFT_RATE) -> Drift:
        """What there is to say of all of them; `rate` as `Drift` has it."""
        labels = np.array(self._labels, np.int64)
        _, first = np.unique(np.array(self._digests, np.int64), return_index=True)
        tests = tuple(
            compare_scores(seen.detector, np.array(seen.scores)[first], labels[first])
            for seen in self._seen
        )
        _, told = min(zip(tests, self._seen, strict=True), key=lambda one: one[0].p_value)
        strangest = sorted(told.strangest.values(), reverse=True)
        p_values = told.detector.find_p_values(np.array([score for score, _, _ in strangest]))
        return Drift(
            images=len(labels),
            distinct=len(first),
            known=len(told.detector.held),
            tests=tests,
            rate=rate,
            unusual=tuple(
                Unusual(path, self._classes[labels[-number]], score, p)
                for (score, number, path), p in zip(strangest, p_values.tolist(), strict=True)
            ),
        )


def check_share(rate: float) -> None:
    """Raise ModelError where a rate of false alarms is none."""
    if not 0 < rate < 1:
        raise ModelError(f"rate is {rate}: it is a share between 0 and 1, such as 0.01")


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
    return Tested(detector.name, p_value, least, above / pairs)


def _share_few(labels: Labels, n: int) -> Labels:
    """Strata: classes, but for those of few among the first n rows, which are one together."""
    counts = np.bincount(labels[:n], minlength=int(labels.max()) + 1)
    few = counts < DRIFT_CLASS
    stratum = np.where(few, -1, np.arange(len(counts)))
    if counts[few].sum() < DRIFT_CLASS:
        stratum[few] = counts.argmax()
    found: Labels = stratum[labels]
    return found
