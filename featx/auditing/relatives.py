"""Images that are no copies and yet no independent samples: of one group, or suspected to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from featx.auditing.copies import Copies, Copy
from featx.auditing.findings import Finding, make_pair
from featx.config import SPLITS
from featx.features.content import Features
from featx.sources.groups import Shot, read_shot

MOST_SUSPECTS = 200  # pairs that are listed
NEAR_COSINE = 0.90  # of features, from which two images are suspected by that alone
_MINUTE = 60.0  # seconds between photographs of one camera


def list_divided(features: Features) -> Iterator[Finding]:
    """Groups that are in more than one split: a finding for each, with an image of two sides."""
    if features.groups is None or features.clusters is None:
        return
    in_split = np.isin(features.splits, SPLITS)
    order = np.flatnonzero(in_split)[np.argsort(features.clusters[in_split], kind="stable")]
    edges = np.flatnonzero(np.diff(features.clusters[order])) + 1
    for rows in np.split(order, edges):
        splits, first, counts = np.unique(
            features.splits[rows], return_index=True, return_counts=True
        )
        if len(splits) > 1:
            where = ", ".join(f"{n} {split}" for split, n in zip(splits, counts, strict=True))
            a, b = sorted(rows[first[:2]].tolist())
            said = f"{features.groups[a]}: {where}"
            yield make_pair(features, "divided", Copy(a, b, False, cosine(features, a, b)), said)


def list_related(features: Features, copies: Copies, root: Path | None) -> list[Finding]:
    """Pairs of images that may be relatives and that no group joins, those across splits first.

    Parameters
    ----------
    features : Features
    copies : Copies
    root : Path or None
        Where the pictures are; None: nothing is asked of EXIF.
    """
    reasons: dict[tuple[int, int], list[str]] = {}
    cosines = {(one.a, one.b): one.cosine for one in copies.near}
    numbers = [_split_number(path) for path in features.paths.tolist()]
    for one in copies.near:
        neighbours = _are_neighbours(numbers[one.a], numbers[one.b])
        if one.cosine >= NEAR_COSINE or neighbours:
            said = reasons.setdefault((one.a, one.b), [f"near in features ({one.cosine:.2f})"])
            said += ["neighbouring numbers"] * neighbours
    for a, b, words in _iterate_shots(features, root):
        reasons.setdefault((a, b), []).append(words)
    known = features.clusters
    apart = [
        pair
        for pair in reasons
        if copies.groups[pair[0]] != copies.groups[pair[1]]
        and (known is None or known[pair[0]] != known[pair[1]])
    ]

    def rank(pair: tuple[int, int]) -> tuple[bool, int, float, tuple[int, int]]:
        same_side = features.splits[pair[0]] == features.splits[pair[1]]
        return bool(same_side), -len(reasons[pair]), -cosines.get(pair, 0.0), pair

    return [
        make_pair(
            features,
            "relative",
            Copy(*pair, False, cosines.get(pair) or cosine(features, *pair)),
            "; ".join(reasons[pair]),
        )
        for pair in sorted(apart, key=rank)[:MOST_SUSPECTS]
    ]


def cosine(features: Features, a: int, b: int) -> float:
    """Of the features of two rows."""
    one, other = features.X[np.array([a, b])]
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0


def _split_number(path: str) -> tuple[str, int]:
    """What is before the last number of a file's name, and that number; -1 without one."""
    folder, _, name = path.rpartition("/")
    found = re.fullmatch(r"(.*?)(\d{1,15})(\D*)", name)
    return (f"{folder}/{found[1]}", int(found[2])) if found else (path, -1)


def _are_neighbours(one: tuple[str, int], other: tuple[str, int]) -> bool:
    return one[0] == other[0] and min(one[1], other[1]) >= 0 and abs(one[1] - other[1]) == 1


def _iterate_shots(features: Features, root: Path | None) -> Iterator[tuple[int, int, str]]:
    """Pairs that one camera took within a minute, one right after the other."""
    if root is None:
        return
    shots: list[tuple[Shot, int]] = []
    for row, path in enumerate(features.paths.tolist()):
        if shot := read_shot(root / path):
            shots.append((shot, row))
    for (before, a), (after, b) in pairwise(sorted(shots)):
        if before.camera == after.camera and after.seconds - before.seconds <= _MINUTE:
            seconds = after.seconds - before.seconds
            yield min(a, b), max(a, b), f"{seconds:.0f} s apart, {after.camera or 'one camera'}"
