"""What an audit finds, one image or pair at a time, and which images are unlike the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels
from featx.auditing.copies import Copies, Copy
from featx.auditing.labels import Suspect
from featx.auditing.pixels import Looks
from featx.data.splits import NO_LABEL
from featx.features.content import Features

# In the order in which they matter.
KINDS = {
    "leak": "a copy of an image of another split",
    "divided": "of a group that is in another split, too",
    "conflict": "a copy with another label",
    "label": "a label that is probably wrong",
    "copy": "a copy within its split",
    "unconfirmed": "as near as a copy; no picture to confirm it",
    "relative": "perhaps of one group with another image, which no group says",
    "stranger": "unlike all classes",
    "outlier": "unlike all other images",
    "tiny": "too few pixels",
    "blurred": "without detail",
    "unseen": "no picture found, or another one",
    "skipped": "not in the features",
}
COLUMNS = (
    "kind", "path", "other", "score", "split", "other_split", "label", "other_label", "suggested",
    "detail",
)  # fmt: skip

_FENCE = 1.5  # interquartile ranges beyond the quartiles: Tukey 1977
_TINY = 4  # times that the network's resizing magnifies a picture, beyond which it is tiny
# Variances of the Laplacian: below the first a picture has no edge at all; above the second, the
# usual figure for photographs (Pech-Pacheco et al. 2000 give the measure), it is not accused.
_FLAT, _SHARP = 10.0, 100.0
_ORDER = {"test": 0, "val": 1, "train": 2, "": 3}


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    path, split, label : str
        The image; "" where it has no split or label.
    score : float or None
        Of leak, divided, conflict, copy, unconfirmed, relative: cosine of the features. Of label:
        out-of-fold probability of the label it has. Of stranger: the score of strangers. Of
        outlier: mean cosine distance to its neighbours. Of tiny: the short side in pixels. Of
        blurred: variance of the Laplacian.
    other, other_split, other_label : str
        Of a pair: the other image.
    suggested : str
        Of label: what it probably is.
    detail : str
        In words.
    """

    kind: str
    path: str
    split: str = ""
    label: str = ""
    score: float | None = None
    other: str = ""
    other_split: str = ""
    other_label: str = ""
    suggested: str = ""
    detail: str = ""


def list_findings(
    features: Features,
    copies: Copies,
    suspects: tuple[Suspect, ...],
    looks: Looks | None,
    others: Iterable[Finding] = (),
) -> tuple[Finding, ...]:
    """All findings, by kind in the order of `KINDS`, the worst of each first."""
    found = [
        *(one for pair in copies.pairs for one in _judge_pair(features, pair)),
        *(make_pair(features, "unconfirmed", pair) for pair in copies.unconfirmed),
        *(_make_suspect(features, one) for one in suspects),
        *others,
        *_list_outliers(features, copies.distances),
        *(_judge_looks(features, looks) if looks else ()),
        *(Finding("skipped", one.path, detail=one.reason) for one in features.skipped),
    ]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def find_leaked(features: Features, groups: Labels) -> Labels:
    """Rows of labelled test images of which train or val has a copy, ascending."""
    seen = np.isin(features.splits, ("train", "val"))
    rows = features.rows("test")
    return rows[np.isin(groups[rows], groups[seen])]


def _judge_pair(features: Features, pair: Copy) -> Iterator[Finding]:
    splits = features.splits[pair.a], features.splits[pair.b]
    labels = features.targets[pair.a], features.targets[pair.b]
    leaks = splits[0] != splits[1] and all(splits)
    conflicts = labels[0] != labels[1] and min(labels) > NO_LABEL
    if leaks:
        yield make_pair(features, "leak", pair)
    if conflicts:
        yield make_pair(features, "conflict", pair)
    if not leaks and not conflicts:
        yield make_pair(features, "copy", pair)


def make_pair(features: Features, kind: str, pair: Copy, detail: str | None = None) -> Finding:
    """A finding of two images; `detail` in other words than those of copies."""
    # The one to act on first: an image without a label rather than the labelled one that it copies,
    # and a test image rather than a train image.
    row, other = pair.b, pair.a
    lacking = [features.targets[one] == NO_LABEL for one in (row, other)]
    if lacking[0] != lacking[1]:
        row, other = (row, other) if lacking[0] else (other, row)
    elif _ORDER.get(str(features.splits[other]), 3) < _ORDER.get(str(features.splits[row]), 3):
        row, other = other, row
    words = "same bytes" if pair.exact else "near" if pair.bits is None else "same picture"
    if pair.bits:
        words += f", hashes differ in {pair.bits} of 256 bits"
    return Finding(
        kind, **name_row(features, row), score=pair.cosine, other=str(features.paths[other]),
        other_split=str(features.splits[other]), other_label=_label(features, other),
        detail=detail or words + (", mirrored" if pair.mirrored else ""),
    )  # fmt: skip


def _make_suspect(features: Features, one: Suspect) -> Finding:
    suggested = features.classes[one.suggested]
    return Finding(
        "label", **name_row(features, one.row), score=one.given, suggested=suggested,
        detail=f"{100 * one.best:.0f} % {suggested}",
    )  # fmt: skip


def _list_outliers(features: Features, distances: npt.NDArray[np.float32]) -> Iterator[Finding]:
    low, high = np.quantile(distances, [0.25, 0.75]) if len(distances) else (0.0, 0.0)
    rows = np.flatnonzero(distances > high + _FENCE * (high - low))
    for row in rows[np.argsort(-distances[rows], kind="stable")].tolist():
        words = (
            f"{distances[row]:.2f} from its neighbours; the median is {np.median(distances):.2f}"
        )
        yield Finding(
            "outlier", **name_row(features, row), score=float(distances[row]), detail=words
        )


def _judge_looks(features: Features, looks: Looks) -> Iterator[Finding]:
    table = looks.table
    short = np.minimum(table["width"], table["height"])
    least = int(features.provenance.preprocessing["resize"]) / _TINY
    for row in np.flatnonzero(table["seen"] & (short < least)).tolist():
        size = f"{table['width'][row]} x {table['height'][row]} pixels"
        yield Finding("tiny", **name_row(features, row), score=float(short[row]), detail=size)
    least = find_blur(table["sharpness"][table["seen"]])
    rows = np.flatnonzero(table["seen"] & (table["sharpness"] < least))
    for row in rows[np.argsort(table["sharpness"][rows], kind="stable")].tolist():
        score = float(table["sharpness"][row])
        words = f"variance of the Laplacian {score:.0f}, fewer than {least:.0f}"
        yield Finding("blurred", **name_row(features, row), score=score, detail=words)
    for row, reason in looks.failures:
        yield Finding("unseen", **name_row(features, row), detail=reason)


def find_blur(sharpness: npt.NDArray[np.floating]) -> float:
    """The sharpness below which a picture is blurred, by the others' and by what is usual."""
    if not len(sharpness):
        return 0.0
    low, high = np.quantile(np.log1p(sharpness.astype(np.float64)), [0.25, 0.75])
    fence = float(np.expm1(low - _FENCE * (high - low)))
    return max(_FLAT, min(_SHARP, fence))


def name_row(features: Features, row: int) -> dict[str, Any]:
    """Path, split and label of an image, as a finding has them."""
    return {
        "path": str(features.paths[row]),
        "split": str(features.splits[row]),
        "label": _label(features, row),
    }


def _label(features: Features, row: int) -> str:
    code = int(features.targets[row])
    return features.classes[code] if code >= 0 else ""
