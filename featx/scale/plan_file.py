"""A plan: an extraction cut into shards that any machine computes, in any order.

A plan is a folder: `plan.json` says how features are to be made, `lists/` holds for each shard
which images it has, `features/` the shards' feature files as they come. Nothing else is shared.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from featx.config import PLAN_SCHEMA
from featx.data.dataset import LeftOut, Skipped, describe_scan
from featx.data.inventory import Inventory
from featx.errors import FeatureFileError, PlanError
from featx.features.ledger import iterate_digests
from featx.features.provenance import Choice, Provenance
from featx.sources.boxes import Boxes
from featx.storage.files import hash_json, take_path
from featx.storage.hdf5 import check_seal, open_sealed
from featx.storage.rows import StoredRows, decode_text, iterate_slices

LIST_KIND = "shard list"
MARK = "plan.json"
UNREAD = ("path", "kind", "reason")
_BLOCK = 4096  # rows in memory at a time


@dataclass(frozen=True)
class Plan:
    """What is to be extracted, how, and in which parts.

    Attributes
    ----------
    folder : Path
    data, root : str
        What was named, and the folder that images' paths are relative to; absolute.
    split : str or None
        The rule that was given.
    dataset, split_rule, classes
        See `featx.Dataset`.
    weights : str
        Where the parameters come from: a name, or an absolute path.
    choice : Choice
        With engine and precision settled.
    provenance : Provenance
        That every shard's features must have.
    batch_size : int
        Of every forward pass, so that an image has the same features wherever they are computed.
    on_error : {"skip", "fail"}
    shard_size, images, skipped : int
        Images of a shard at most; of all shards; of those, images that could not be read.
    fingerprint : str
        Of all that could; see `featx.Features.fingerprint`.
    shards : tuple of str
        SHA-256 of each shard's list.
    recursive : bool
        Whether folders below class folders were read, too.
    left_out, notes, skipped_files
        See `featx.Extraction`; told when a plan is made, and not kept.
    groups : str
        SHA-256 of what each image belongs to; "" where nothing is known of that.
    boxes : Boxes or None
        What the images are of the pictures; their file's path is absolute.
    """

    folder: Path
    data: str
    root: str
    split: str | None
    dataset: str
    split_rule: str
    classes: tuple[str, ...]
    weights: str
    choice: Choice
    provenance: Provenance
    batch_size: int
    on_error: str
    shard_size: int
    images: int
    skipped: int
    fingerprint: str
    shards: tuple[str, ...] = ()
    recursive: bool = False
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    skipped_files: tuple[Skipped, ...] = field(default=(), compare=False)
    groups: str = ""
    boxes: Boxes | None = None

    def list_path(self, shard: int) -> Path:
        """Which images a shard has."""
        return self.folder / "lists" / f"{shard:06d}.h5"

    def features_path(self, shard: int) -> Path:
        """Where a shard's features go."""
        return self.folder / "features" / f"{shard:06d}.h5"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx plan --json``."""
        made = self.provenance
        return {
            "plan": str(self.folder),
            "images": self.images,
            "skipped": self.skipped,
            "skipped_files": [one.to_dict() for one in self.skipped_files],
            "shards": len(self.shards),
            "shard_size": self.shard_size,
            "dataset": self.dataset,
            "split": self.split_rule,
            "classes": list(self.classes),
            "weights": made.weights,
            "engine": made.engine,
            "precision": made.precision,
            "storage": made.storage,
            "batch_size": self.batch_size,
            "fingerprint": self.fingerprint,
            **describe_scan(self.left_out, self.notes),
        }


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What plan.json holds, but for the hash of it all."""
    facts = {"schema": PLAN_SCHEMA, **asdict(plan)}
    for name in ("folder", "left_out", "notes", "skipped_files"):
        del facts[name]
    if plan.boxes is None:
        del facts["boxes"]  # as plans were before there were any
    return {**facts, "classes": list(plan.classes), "shards": list(plan.shards)}


def read_plan(folder: str | Path) -> Plan:
    """Read a plan.

    Raises
    ------
    PlanError
        There is none, or it is damaged or of another schema.
    """
    folder = take_path(folder, "folder")
    path = folder / MARK
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise PlanError(f"no plan in {folder}: featx plan DATA -o {folder} makes one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict) or facts.get("schema") != PLAN_SCHEMA:
        raise PlanError(f"{path} is no plan of schema {PLAN_SCHEMA}: plan again with --overwrite")
    if facts.pop("sha256", None) != hash_json(facts):
        raise PlanError(f"{path} is damaged (SHA-256): plan again with --overwrite")
    try:
        del facts["schema"]
        facts["choice"] = Choice(**facts["choice"])
        facts["provenance"] = Provenance(**facts["provenance"])
        if "boxes" in facts:
            facts["boxes"] = Boxes(**facts["boxes"])
        facts["classes"], facts["shards"] = tuple(facts["classes"]), tuple(facts["shards"])
        return Plan(folder=folder, **facts)
    except (KeyError, TypeError) as error:
        raise PlanError(f"{path} is damaged: {error}") from error


def read_shard(plan: Plan, shard: int, root: Path | None = None) -> Inventory:
    """The images of one shard, hashed when the plan was made.

    Parameters
    ----------
    plan : Plan
    shard : int
        From 0.
    root : path, optional
        Where the images are on this machine; None: where they were.

    Raises
    ------
    PlanError
        There is no such shard, or its list is damaged.
    """
    return _fill(_start(plan, root), plan, shard)


def _start(plan: Plan, root: Path | None = None) -> Inventory:
    """An inventory without images, of what the plan is of."""
    made = Inventory(root or Path(plan.root), plan.split_rule, plan.dataset)
    made.classes = plan.classes
    return made


def read_all(plan: Plan) -> Inventory:
    """The images of all shards.

    Raises
    ------
    PlanError
        A list is damaged.
    """
    made = _start(plan)
    for shard in range(len(plan.shards)):
        _fill(made, plan, shard)
    return made


def _fill(inventory: Inventory, plan: Plan, shard: int) -> Inventory:
    columns = open_list(plan, shard)
    digests = iterate_digests(columns["hashes"])
    for some in iterate_slices(len(columns["paths"]), _BLOCK):
        names, splits, targets, sizes = (
            columns[name][some].tolist() for name in ("paths", "splits", "targets", "sizes")
        )
        groups = decode_text(columns["groups"][some]).tolist() if "groups" in columns else None
        rows = zip(names, splits, targets, islice(digests, len(names)), sizes, strict=True)
        inventory.put(rows, groups)
    texts = (decode_text(columns[f"unread_{name}s"][:]).tolist() for name in UNREAD)
    inventory.unread += (
        Skipped(path, "", kind, reason) for path, kind, reason in zip(*texts, strict=True)
    )
    inventory.unread.sort()
    return inventory


def open_list(plan: Plan, shard: int) -> dict[str, StoredRows]:
    """The columns of a shard's list: paths, splits, targets, hashes and sizes of its images.

    Where they are known, groups as well.

    Raises
    ------
    PlanError
        There is no such shard, or its list is damaged.
    """
    if not 0 <= shard < len(plan.shards):
        raise PlanError(
            f"{plan.folder} has {len(plan.shards)} shards, from 0 to {len(plan.shards) - 1}: "
            f"there is no shard {shard}"
        )
    path = plan.list_path(shard)
    try:
        seal = check_seal(path, LIST_KIND)
        if seal.sha256 != plan.shards[shard]:
            raise FeatureFileError(path, "it is not the list that the plan was made with")
        with open_sealed(path) as sealed:
            return {name: sealed.store_rows(name, path, seal.state) for name in sealed.arrays}
    except FeatureFileError as error:
        raise PlanError(f"{error}; plan again with --overwrite") from error
