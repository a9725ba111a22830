"""The folder that a comparison is kept in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from featx.data.dataset import Dataset
from featx.errors import OutputExistsError
from featx.features.corrections import CORRECTIONS_NAME, Corrections
from featx.sources.manifest import MANIFEST_STARTS
from featx.storage.files import check_own_folder, check_replaceable, check_writable, write_whole


def claim_folder(folder: Path, dataset: Dataset, named: bool, overwrite: bool) -> None:
    """Raise OutputExistsError where `folder` holds something else; else make it.

    A comparison of the same data, split by the same rule, is brought up to date: models have names
    of their own, and results.json follows the images as they are now.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(folder, ("a file, not a folder",))
    if overwrite:
        return
    split = folder / "split.csv"
    if named:
        check_own_folder(folder, split.name)
    check_replaceable(split, *MANIFEST_STARTS)
    there = _read_dataset_facts(folder / "results.json")
    if there is not None:
        wanted = {
            "name": dataset.name,
            "root": str(dataset.root.resolve()),
            "split": dataset.split_rule,
        }
        wrong = tuple(f"{k}: {there.get(k)} → {v}" for k, v in wanted.items() if there.get(k) != v)
        if wrong:
            raise OutputExistsError(folder, wrong)
    check_writable(split)


def _read_dataset_facts(path: Path) -> dict[str, Any] | None:
    """What a results.json is about; None where there is none."""
    try:
        facts = json.loads(path.read_text("utf-8"))["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if isinstance(facts, dict) else None


def keep_corrections(corrections: Corrections, folder: Path) -> Path:
    """Keep a copy where the comparison's command finds it again."""
    path = folder / CORRECTIONS_NAME
    if path.resolve() != corrections.path.resolve():  # else it is that copy
        with write_whole(path) as temporary:
            temporary.write_bytes(corrections.path.read_bytes())
    return path.resolve()
