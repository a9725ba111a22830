"""Images to features on many machines: a plan, its shards on a cluster, one file."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from featx.assembly import Extraction
from featx.config import BACKBONE, PLAN_SHARD_IMAGES
from featx.lookup import Asked, look_up
from featx.merging import merge
from featx.planning import make_plan
from featx.provenance import Choice
from featx.ray_runner import find_address, import_ray, run_with_ray
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
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    protocol: str = "none",
    storage: str = "float32",
    batch_size: int | None = None,
    num_workers: int | None = None,
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
    data, output, backbone, weights, split, root, device, engine, precision, decode, protocol
        See `featx.extract`.
    storage, batch_size, num_workers, on_error, cache_dir, overwrite, rehash, lock, progress
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
    asked = look_up(
        data,
        Choice(engine, precision, decode, protocol, storage=storage, backbone=backbone),
        output=output,
        weights=weights,
        split=split,
        root=root,
        device=device,
        on_error=on_error,
        cache_dir=cache_dir,
        rehash=rehash,
        progress=progress,
    )
    if asked.found is not None:
        return asked.found
    folder = _find_place(asked, weights)
    plan = make_plan(
        asked.inventory,
        folder,
        split=split,
        backbone=backbone,
        weights=weights,
        device=device,
        engine=engine,
        precision=precision,
        decode=decode,
        protocol=protocol,
        storage=storage,
        batch_size=batch_size,
        on_error=on_error,
        shard_size=shard_size,
        cache_dir=cache_dir,
        overwrite=True,  # shards that are done are used where they fit
        progress=progress,
    )
    begun = time.perf_counter()
    computed = run_with_ray(
        plan,
        address=address,
        workers=workers,
        device=device,
        num_workers=num_workers,
        lock=lock,
        progress=progress,
    )
    seconds = time.perf_counter() - begun
    done = merge(folder, asked.output, cache_dir=cache_dir, overwrite=overwrite, lock=lock)
    shutil.rmtree(folder)
    return replace(
        done,
        extracted=computed,
        reused=done.images - computed,
        seconds=time.perf_counter() - started,
        images_per_second=computed / seconds if computed else None,
    )


def _find_place(asked: Asked, weights: str) -> Path:
    """Where the plan lies meanwhile: beside the output, or in the cache by what is asked for."""
    if asked.output is not None:
        return asked.output.with_name(f"{asked.output.name}.plan")
    inventory = asked.inventory
    key = hash_json(
        [str(inventory.root.resolve()), inventory.split_rule, weights, vars(asked.choice)]
    )
    return asked.cache_dir / f"{key[:16]}.plan"
