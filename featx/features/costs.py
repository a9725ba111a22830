"""What features cost: kept beside their file, for tables and people alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featx.features.content import FeatureFile, Features
from featx.features.file import cost_path
from featx.features.ledger import Ledger
from featx.machine import describe_machine
from featx.storage.files import write_json

# Wall seconds of an extraction: all of it, and of that, waiting for images and in the network.
COST_PARTS = ("seconds", "decode", "network")


def write_cost(
    path: Path,
    fingerprint: str,
    before: Mapping[str, Any],
    seconds: Mapping[str, float],
    images: int,
    device: str,
) -> None:
    """Record beside `path`, for features of that fingerprint alone, what `images` more took.

    Parameters
    ----------
    path : Path
    fingerprint : str
    before : mapping
        What the other rows cost; see `read_cost`.
    seconds : mapping of str to float
        COST_PARTS.
    images : int
        Contents that the network saw: of identical files one.
    device : str
    """
    total = dict(before)
    if images:
        now = {**seconds, "device": device, "machine": describe_machine()}
        total = add_costs(before, now, images)
    write_json(cost_path(path), {**total, "fingerprint": fingerprint})


def add_costs(a: Mapping[str, Any], b: Mapping[str, Any], images: int) -> dict[str, Any]:
    """a with b's seconds for `images` more; where device or machine differ, that is said."""
    total: dict[str, Any] = {"images": a.get("images", 0) + images}
    for part in COST_PARTS:
        if part in b and (part in a or not a):
            total[part] = a.get(part, 0.0) + b[part]
    for key in ("device", "machine"):
        total[key] = b.get(key) if a.get(key, b.get(key)) == b.get(key) else "several"
    return total


class Reused:
    """Features that are taken from files into a ledger, and what they cost there.

    Attributes
    ----------
    cost : dict
        See `read_cost`; {} where nothing is known of any.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.cost: dict[str, Any] = {}

    def take(self, file: FeatureFile, spent: Mapping[str, Any]) -> None:
        """Take what a file has; `spent` is what all of its rows cost."""
        new = self._ledger.take(file)
        if spent and new and spent["images"] > 0:
            # Of no more images than it is known of.
            known = min(new, spent["images"])
            share = known / spent["images"]
            parts = {part: share * spent[part] for part in COST_PARTS if part in spent}
            self.cost = add_costs(self.cost, {**spent, **parts}, known)


def read_full_cost(features: Features) -> dict[str, float]:
    """What all images of a feature file cost, by COST_PARTS; {} where that is not known.

    Copies cost nothing: the network sees a content once. Where the cost of some is unknown, it is
    taken to be the mean of the others.
    """
    cost = read_cost(features)
    share = len(np.unique(features.hashes)) / cost.get("images", 1)
    return {part: share * cost[part] for part in COST_PARTS if part in cost}


def read_cost(features: Features | FeatureFile) -> dict[str, Any]:
    """What lies beside the file that these features were read from; {} where it is not theirs.

    Seconds, by COST_PARTS; "images", the distinct ones whose seconds these are; "device" and
    "machine".
    """
    if features.path is None:
        return {}
    try:
        cost = json.loads(cost_path(features.path).read_text("utf-8"))
        parts = {part: float(cost[part]) for part in COST_PARTS if part in cost}
        cost = {**cost, **parts, "images": int(cost["images"])}
        ours = "seconds" in parts and min(parts.values()) >= 0 and cost["images"] > 0
    except (OSError, OverflowError, RecursionError, ValueError, KeyError, TypeError):
        return {}
    corrected = features.corrected if isinstance(features, Features) else None
    made = features.fingerprint if corrected is None else corrected.fingerprint
    return cost if ours and cost.get("fingerprint") == made else {}
