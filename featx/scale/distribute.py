"""Images to features on many machines: a plan, its shards on a cluster, one file."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from featx.config import BACKBONE, LAST_LAYER, PLAN_SHARD_IMAGES
from featx.extraction.request import Lookup, Request, look_up
from featx.extraction.result import Extraction
from featx.features.provenance import Choice
from featx.scale.merge import merge
from featx.scale.plan import plan_request
from featx.scale.ray_cluster import find_address, import_ray, run_with_ray
from featx.sources.boxes import Boxes, take_boxes
from featx.sources.groups import choose_grouping
from featx.storage.files import hash_json


def extract_distributed(
    data: str | Path,
    *,
    address: str | None = None,
    workers: int | None = None,
    shard_size: int = PLAN_SHARD_IMAGES,
    output: str | Path | None = None,
    backbone: str = BACKBONE,
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    boxes: str | Path | Boxes | None = None,
    labels: str | Path | None = None,
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
    num_workers: int | None = None,
    decode_processes: int | None = None,
    on_error: str = "skip",
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    rehash: bool = False,
    lock: bool = True,
    progress: bool = False,
) -> Extraction:
    """What `featx.extract` does, with the network on a Ray cluster.

    Shards that are done stay beside the output until the file is there, so that the same call goes
    on after anything. Nothing is taken over from other feature files.

    Parameters
    ----------
    address, workers
        See `run_with_ray`.
    shard_size : int
        Images of a shard.
    data, output, backbone, weights, split, root, recursive, group, group_pattern, group_time
    group_folder, boxes, labels, device, engine, precision, decode, depth, sample_range, channels
        See `featx.extract`.
    profiles, protocol, storage, layers, batch_size, num_workers, decode_processes, on_error
    cache_dir, overwrite, rehash, lock, progress
        See `featx.extract`.

    Returns
    -------
    Extraction

    Raises
    ------
    RunnerError
        See `run_with_ray`.
    """
    started = time.perf_counter()
    import_ray(find_address(address))  # before any work for a cluster that is not there
    lookup = look_up(
        Request(
            data=data,
            split=split,
            root=root,
            recursive=recursive or group_folder,
            grouping=choose_grouping(group, group_pattern, group_time, group_folder),
            boxes=take_boxes(boxes),
            labels=labels,
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
            num_workers=num_workers,
            decode_processes=decode_processes,
            on_error=on_error,
            output=output,
            cache_dir=cache_dir,
            overwrite=overwrite,
            rehash=rehash,
            lock=lock,
            progress=progress,
        )
    )
    if lookup.found is not None:
        return lookup.found
    request, folder = lookup.request, _find_place(lookup)
    plan = plan_request(
        # Shards that are done are used where they fit.
        replace(request, data=lookup.inventory, overwrite=True),
        folder,
        shard_size,
    )
    begun = time.perf_counter()
    computed = run_with_ray(
        plan, address=address, workers=workers, device=device, num_workers=num_workers,
        decode_processes=decode_processes, lock=lock, progress=progress,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    done = merge(folder, request.output, cache_dir=cache_dir, overwrite=overwrite, lock=lock)
    shutil.rmtree(folder)
    return replace(
        done,
        extracted=computed,
        reused=done.images - computed,
        seconds=time.perf_counter() - started,
        images_per_second=computed / seconds if computed else None,
        left_out=lookup.inventory.left_out.list(),
        notes=tuple(lookup.inventory.notes),
    )


def _find_place(lookup: Lookup) -> Path:
    """Where the plan lies meanwhile: beside the output, or in the cache by what is asked for."""
    request, inventory = lookup.request, lookup.inventory
    if request.output is not None:
        output = Path(request.output)
        return output.with_name(f"{output.name}.plan")
    where = str(inventory.root.resolve())
    key = hash_json([where, inventory.split_rule, request.weights, vars(request.choice)])
    return lookup.cache_dir / f"{key[:16]}.plan"
