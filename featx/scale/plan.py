"""Planning: images are found, hashed and cut into shards; how features are made is settled."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from featx.config import BACKBONE, CUDA_BATCH_SIZE, LAST_LAYER, PLAN_SHARD_IMAGES
from featx.data.columns import Selection
from featx.data.hashing import hash_images
from featx.data.inventory import Inventory
from featx.errors import DeviceError, OutputExistsError, PlanError
from featx.extraction.linear_probe import choose_probed
from featx.extraction.request import Request
from featx.extraction.runner import build_runner, make_provenance, resolve_framed
from featx.features.cache import find_cache_dir, find_making, list_same_data
from featx.features.ledger import find_changes
from featx.features.provenance import Choice, Provenance
from featx.machine import describe_engine
from featx.scale.plan_file import LIST_KIND, MARK, UNREAD, Plan, describe_plan, read_all, read_plan
from featx.sources.boxes import Boxes, take_boxes
from featx.sources.groups import choose_grouping, hash_groups
from featx.storage.files import check_own_folder, hash_json, write_json
from featx.storage.hdf5 import write_sealed
from featx.storage.rows import Rows, encode_text, iterate_slices
from featx.text import as_text, say_one_label
from featx.timing import Stages

log = logging.getLogger(__name__)

# What else two plans are compared by.
_COMPARED = (
    "root", "dataset", "split_rule", "weights", "batch_size", "on_error", "shard_size",
    "recursive", "groups", "boxes",
)  # fmt: skip


def make_plan(
    data: str | Path | Inventory,
    folder: str | Path,
    *,
    split: str | None = None,
    root: str | Path | None = None,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    boxes: str | Path | Boxes | None = None,
    backbone: str = BACKBONE,
    weights: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    depth: str = "auto",
    sample_range: tuple[float, float] | str | None = None,
    channels: tuple[int, ...] | str | None = None,
    profiles: str = "auto",
    protocol: str = "none",
    storage: str = "float32",
    layers: str = LAST_LAYER,
    batch_size: int | None = None,
    on_error: str = "skip",
    shard_size: int = PLAN_SHARD_IMAGES,
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    rehash: bool = False,
    progress: bool = False,
) -> Plan:
    """Find and hash the images of `data`, settle how features are made, and cut it into shards.

    Parameters
    ----------
    data, split, root, recursive, group, group_pattern, group_time, group_folder
    boxes
        See `featx.read_dataset`; or an inventory that was hashed.
    folder : path
        Where the plan goes.
    backbone, weights, engine, precision, decode, depth, sample_range, channels, profiles
    protocol, storage, layers, batch_size, on_error, cache_dir, rehash
        See `featx.extract`.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
        Where the shards will be computed. "cuda" need not be here: the engine is torch then.
    shard_size : int
        Images of a shard.
    overwrite : bool
        Replace a plan of something else, or of the same data before it changed. Features that its
        shards have already are used where they fit.
    progress : bool

    Returns
    -------
    Plan

    Raises
    ------
    DatasetError, WeightsError, DeviceError, ImageError
    OutputExistsError
        The folder holds something else, or a plan of data that has changed since, and `overwrite`
        is False.
    """
    return plan_request(
        Request(
            data=data,
            split=split,
            root=root,
            recursive=recursive or group_folder,
            grouping=choose_grouping(group, group_pattern, group_time, group_folder),
            boxes=take_boxes(boxes),
            choice=Choice(
                engine=engine,
                precision=precision,
                decode=decode,
                depth=depth,
                sample_range=sample_range,
                channels=channels,
                profiles=profiles,
                protocol=protocol,
                storage=storage,
                backbone=backbone,
                layers=layers,
            ),
            weights=weights,
            device=device,
            batch_size=batch_size,
            on_error=on_error,
            cache_dir=cache_dir,
            overwrite=overwrite,
            rehash=rehash,
            progress=progress,
        ),
        Path(folder),
        shard_size,
    )


def plan_request(request: Request, folder: Path, shard_size: int) -> Plan:
    """See `make_plan`, whose other arguments a request holds."""
    before = None if request.overwrite else _read_before(folder)
    inventory, weights = request.read_images(), request.weights
    same_data = list_same_data(inventory, find_cache_dir(request.cache_dir))
    if inventory is not request.data:
        known = () if request.rehash else same_data
        hash_images(inventory, request.on_error, known, request.progress)
    made = find_making(same_data) if before is None else before.provenance
    settled = replace(request, choice=request.settle_depth(inventory))
    provenance, batch_size = _settle(inventory, settled, made)
    plan = Plan(
        folder=folder,
        data=str(Path(inventory.source).resolve()),
        root=str(inventory.root.resolve()),
        split=request.split,
        recursive=request.recursive,
        boxes=request.boxes
        and replace(request.boxes, file=str(Path(request.boxes.file).resolve())),
        left_out=inventory.left_out.list(),
        notes=tuple(inventory.notes),
        dataset=inventory.name,
        split_rule=inventory.split_rule,
        classes=inventory.classes,
        weights=str(Path(weights).resolve()) if Path(weights).is_file() else provenance.weights,
        choice=replace(
            request.choice,
            engine=provenance.engine.split()[0],
            precision=provenance.precision,
            layers=provenance.layers,
        ),
        provenance=provenance,
        batch_size=batch_size,
        on_error=request.on_error,
        shard_size=shard_size,
        images=len(inventory),
        skipped=len(inventory.unread),
        skipped_files=tuple(inventory.unread),
        fingerprint=inventory.fingerprint(),
        groups=hash_groups(inventory),
    )
    if before is not None:
        if replace(before, shards=()) == plan:
            log.info("%s is this plan already", folder)
            return replace(
                before,
                left_out=plan.left_out,
                notes=plan.notes,
                skipped_files=plan.skipped_files,
            )
        raise OutputExistsError(folder, _find_differences(before, plan, inventory))
    return _write_plan(plan, inventory)


def _read_before(folder: Path) -> Plan | None:
    """The plan that is there; a folder of something else is refused."""
    check_own_folder(folder, MARK)
    if not (folder / MARK).exists():
        return None
    try:
        return read_plan(folder)
    except PlanError as error:
        raise OutputExistsError(folder, (str(error),)) from error


def _settle(
    inventory: Inventory, request: Request, made: Provenance | None
) -> tuple[Provenance, int]:
    """What all shards' features will be made by, and the images of a forward pass."""
    from featx.network.engine import choose_device

    choice = request.choice
    try:
        choose_device(request.device)
    except DeviceError:
        # Planned on a machine without the GPUs that the shards are for.
        if choice.engine == "openvino" or choice.precision == "auto":
            raise
        found = resolve_framed(choice, request.weights, None, request.progress)
        return (
            make_provenance(found, describe_engine("torch"), choice),
            request.batch_size or CUDA_BATCH_SIZE,
        )
    engine, provenance = build_runner(
        inventory.first_paths,
        choice,
        request.weights,
        made,
        device=request.device,
        batch_size=request.batch_size,
        progress=request.progress,
        stages=Stages(),
        labelled=partial(choose_probed, inventory),
    )
    return provenance, engine.batch_size


def _find_differences(before: Plan, plan: Plan, inventory: Inventory) -> tuple[str, ...]:
    """In what the plan that is there differs from the one that is asked for."""
    found = list(before.provenance.differences(plan.provenance))
    for name in _COMPARED:
        mine, theirs = getattr(before, name), getattr(plan, name)
        if mine != theirs:
            found.append(f"{name}: {mine} → {theirs}")
    found += find_changes(read_all(before), inventory)
    return tuple(found) or ("it differs",)


def _write_plan(plan: Plan, inventory: Inventory) -> Plan:
    """Cut the images into shards, a list for each; plan.json last, since it makes them count."""
    if inventory.multilabel:
        raise PlanError(f"{inventory.source}: {say_one_label('featx plan')}")
    (plan.folder / MARK).unlink(missing_ok=True)
    hashes: list[str] = []
    unread = {one.path: one for one in inventory.unread}
    for some in iterate_slices(len(inventory), plan.shard_size):
        where = f"position >= {some.start} AND position < {some.stop}"
        chosen = Selection(
            inventory, f"SELECT position FROM images WHERE {where} AND digest IS NOT NULL"
        )
        left_out = [
            unread[as_text(name)]
            for name in inventory.iterate_names(f"WHERE {where} AND digest IS NULL")
        ]
        if not some.start:
            left_out += (one for one in inventory.unread if one.path.endswith("/"))
        columns: dict[str, Rows] = {
            "paths": chosen.text("name"),
            "splits": chosen.numbers("split"),
            "targets": chosen.numbers("target"),
            "hashes": chosen.text("lower(hex(digest))"),
            "sizes": chosen.numbers("size"),
        }
        if inventory.grouped:
            columns["groups"] = chosen.text("CAST(team AS BLOB)")
        for name in UNREAD:
            values = np.array([getattr(one, name) for one in left_out], dtype=np.str_)
            columns[f"unread_{name}s"] = encode_text(values)
        seal, _ = write_sealed(plan.list_path(len(hashes)), LIST_KIND, {}, columns)
        hashes.append(seal.sha256)
    plan = replace(plan, shards=tuple(hashes))
    facts = describe_plan(plan)
    write_json(plan.folder / MARK, {**facts, "sha256": hash_json(facts)})
    return plan
