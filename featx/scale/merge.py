"""The shards of a plan put together."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from featx.data.inventory import Inventory
from featx.errors import DatasetError, FeatureFileError, PlanError
from featx.extraction.extract import check_room
from featx.extraction.place import examine_place
from featx.extraction.result import Extraction, Making, finish, name_widths, summarise_found
from featx.features.cache import (
    cache_path,
    explain_no_cache,
    find_cache_dir,
    prepare_cache,
)
from featx.features.content import FeatureFile
from featx.features.costs import Reused, read_cost
from featx.features.file import open_features, parts_folder
from featx.features.ledger import Ledger, find_changes, holds
from featx.scale.plan_file import Plan, read_all, read_plan, read_shard
from featx.sources.reading import read_inventory
from featx.storage.files import explain_full, resolve_output
from featx.storage.locks import do_without_lock, hold_lock
from featx.storage.places import is_folder
from featx.timing import Meter, Stages

log = logging.getLogger(__name__)
_SHOWN = 5  # shards named one by one


def merge(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    lock: bool = True,
) -> Extraction:
    """Check every shard of a plan and write the one feature file.

    It is byte for byte the file that `featx.extract` makes of the same images alone.

    Parameters
    ----------
    folder : path
        Of the plan.
    output : path, optional
        None: a name of its own in the cache folder.
    cache_dir, overwrite, lock
        See `featx.extract`.

    Returns
    -------
    Extraction

    Raises
    ------
    PlanError
        A shard is missing, damaged, or is not of this plan.
    OutputExistsError, LockedError, StorageError
        See `featx.extract`.
    """
    started = time.perf_counter()
    plan = read_plan(folder)
    inventory = read_all(plan)
    if inventory.fingerprint() != plan.fingerprint:
        raise PlanError(f"{plan.folder}: its lists do not have the fingerprint that it names")
    home, stages = find_cache_dir(cache_dir), Stages()
    if output is None:
        path = cache_path(inventory, plan.provenance, home)
    else:
        path = resolve_output(Path(output))
    with stages.time("find"):
        files = _open_shards(plan)
        _note_changes(plan, inventory)
    width = files[0].columns["features"].shape[1] + plan.provenance.n_columns
    with explain_no_cache(home) if output is None else contextlib.nullcontext():
        size = check_room(path, inventory, width, plan.provenance.storage)
    if output is None:
        prepare_cache(home)
    parts = parts_folder(path)
    kept = f"all shards are kept in {plan.folder}; make room, and the same command goes on"
    with explain_full(path, size, kept), hold_lock(parts, path) if lock else do_without_lock(parts):
        place = examine_place(
            path, inventory, plan.provenance, guarded=output is not None and not overwrite
        )
        if place.action == "reuse" and place.before is not None:
            return summarise_found(place.before, stages, "")
        ledger = Ledger(inventory)
        reused = Reused(ledger)
        for file in files:
            reused.take(file, read_cost(file))
            for one in file.heading.skipped:
                if not one.digest:
                    ledger.skip(one)
        ledger.start()
        making = Making(
            path, plan.provenance, name_widths(width, plan.provenance), ledger, reused,
            place.before, stages, started,
        )  # fmt: skip
        return finish(making, reused.cost.get("device", ""))


def _open_shards(plan: Plan) -> list[FeatureFile]:
    """All shards' features, each checked against its list and the plan."""
    files, wrong = [], []
    meter = Meter("check", plan.images - plan.skipped, False)
    for shard in range(len(plan.shards)):
        path = plan.features_path(shard)
        try:
            file = open_features(path)
            meter.update(len(file))
            if differences := plan.provenance.differences(file.provenance):
                raise FeatureFileError(path, f"made otherwise ({'; '.join(differences)})")
            if not holds(file, read_shard(plan, shard), retry=False):
                raise FeatureFileError(path, "of other images than the plan's")
            files.append(file)
        except FeatureFileError as error:
            wrong.append((shard, "not there" if not path.exists() else error.reason))
    if not wrong:
        return files
    shown = "; ".join(
        f"shard {shard} is {reason} (featx extract --plan {plan.folder} --shard {shard})"
        for shard, reason in wrong[:_SHOWN]
    )
    rest = [shard for shard, _ in wrong[_SHOWN:]]
    more = f"; and shards {_name_shards(rest)}" if rest else ""
    raise PlanError(
        f"{plan.folder}: {len(wrong)} of {len(plan.shards)} shards are not done: {shown}{more}"
    )


def _name_shards(shards: Sequence[int]) -> str:
    """Numbers, runs of them shortened: "3, 5-9"."""
    parts: list[list[int]] = []
    for shard in shards:
        if parts and shard == parts[-1][-1] + 1:
            parts[-1].append(shard)
        else:
            parts.append([shard])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def _note_changes(plan: Plan, planned: Inventory) -> None:
    """Warn where the data has other images by now, as far as names tell and it is in sight."""
    try:
        at = Path(plan.data)
        root = plan.root if at.is_file() and not is_folder(at) else None  # of a manifest
        now = read_inventory(at, None, root, recursive=plan.recursive, boxes=plan.boxes, quiet=True)
    except (DatasetError, OSError):
        return
    for said in find_changes(planned, now):
        log.warning("%s: since the plan was made, %s", plan.folder, said)
