"""Images to features, once: what is there is reused, what is missing is computed."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.assembly import (
    Extraction,
    build_runner,
    describe_stages,
    make_heading,
    measure_stages,
    shard_features,
    summarise,
)
from featx.cache import (
    Opened,
    cache_path,
    find_cache_dir,
    find_making,
    open_before,
    open_made_alike,
    prepare_cache,
    refuse_other,
)
from featx.checkpoints import open_checkpoints
from featx.config import BACKBONE, BACKBONES, Preprocessing
from featx.costs import Reused, read_cost, write_cost
from featx.data.dataset import Dataset
from featx.data.images import load_image, read_decode
from featx.data.inventory import Image, Inventory
from featx.errors import (
    DatasetError,
    ImageError,
)
from featx.ledger import Ledger, count_held, count_removed
from featx.lookup import look_up, note_index
from featx.machine import count_cores, describe_machine
from featx.provenance import Choice, Provenance
from featx.shards import Shard, estimate_shards, run_shards
from featx.stages import Stages
from featx.storage.files import check_space, check_writable, explain_full
from featx.store import estimate_file, parts_folder, write_columns

if TYPE_CHECKING:
    from featx.engine import Engine

log = logging.getLogger(__name__)


def extract(
    data: str | Path | Dataset,
    *,
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
    view: int = 0,
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
    """Run the frozen network once over a folder of images and keep its features: 2048 numbers each.

    What a feature file of the same provenance holds already is not computed again: the file
    itself, or another of the same folder with other splits. A run that was killed goes on with the
    shards that it finished.

    Parameters
    ----------
    data, split, root
        See `featx.read_dataset`.
    output : path, optional
        The feature file; None: a name of its own in the cache folder.
    backbone : str
        The network, by torchvision's name; ``featx extract --help`` lists them. It decides how many
        numbers an image has.
    weights : str
        See `featx.fetch_weights`.
    device : {"auto", "cpu", "cuda"}
    engine : {"auto", "torch", "openvino"}
        What runs the network; auto: what the same data's file was made with, else the fastest that
        is installed and gives torch's features.
    precision : {"fp32", "bf16", "fp16", "auto"}
        Of the computation; auto: bf16 where a probe finds it as good and really faster.
    decode : {"exact", "fast"}
        fast: large JPEGs at reduced scale; see `load_image`.
    protocol : {"none", "linear-eval"}
    view : int
        See `Preprocessing.frame`; a view is decoded exactly.
    storage : {"float32", "float16"}
        Of the stored numbers; float16 halves the file and keeps three digits.
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    on_error : {"skip", "fail"}
        Skip and list an image that cannot be decoded, or stop.
    cache_dir : path, optional
        None: FEATX_CACHE, else ./cache.
    overwrite : bool
        Replace an `output` that holds something else.
    rehash : bool
        Read every image again instead of trusting sizes and times of those that were read before.
    lock : bool
        False: the caller sees to it that nothing else writes the same file.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Extraction

    Raises
    ------
    DatasetError, WeightsError, DeviceError
    OutputExistsError
        `output` exists, holds something else and `overwrite` is False.
    LockedError
        Another process is writing the same file.
    StorageError
        The disk has no room.
    ImageError
        An image cannot be decoded and `on_error` is "fail".
    ExtractionError
        No image could be decoded, or the network gave numbers that are not finite.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> done.images, len(done.skipped_files)
    (27, 0)
    """
    decode = "exact" if view else decode
    choice = Choice(engine, precision, decode, protocol, view, storage, backbone)
    asked = look_up(
        data,
        choice,
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
    inventory, target, home = asked.inventory, asked.output, asked.cache_dir
    # Before weights are fetched and a network is built for nothing.
    place = target or home / "features.h5"
    size = estimate_file(len(inventory), BACKBONES[backbone], inventory.longest_name(), storage)
    check_space(place, size, size)
    check_writable(place)
    made = find_making(asked.same_data, asked.opened)
    runner, provenance = build_runner(
        inventory.first_paths,
        asked.choice,
        weights,
        made,
        device=device,
        batch_size=batch_size,
        progress=progress,
        stages=asked.stages,
    )
    return extract_inventory(
        inventory,
        runner,
        provenance,
        output=target,
        cache_dir=home,
        num_workers=count_cores() if num_workers is None else num_workers,
        on_error=on_error,
        overwrite=overwrite,
        lock=lock,
        progress=progress,
        stages=asked.stages,
        opened=asked.opened,
    )


def extract_inventory(
    inventory: Inventory,
    engine: Engine,
    provenance: Provenance,
    *,
    output: Path | None,
    cache_dir: Path | None,
    num_workers: int,
    on_error: str = "skip",
    overwrite: bool = False,
    lock: bool = True,
    progress: bool = False,
    stages: Stages | None = None,
    opened: Opened | None = None,
    fixed: bool = False,
) -> Extraction:
    """`extract` with everything resolved: the files hashed, the engine built.

    Parameters
    ----------
    inventory : Inventory
    engine : Engine
    provenance : Provenance
    output : Path or None
    cache_dir : Path or None
        None: nothing is taken from a cache, and there is an `output`.
    stages : Stages, optional
        Of what went into the above, which belongs to the extraction's cost.
    opened : Opened, optional
        Feature files that were read already.
    fixed : bool
        The images are a part of others and were listed before: one that has other bytes now, or is
        gone, is an error; that none can be decoded is none.
    num_workers, on_error, overwrite, lock, progress
        See `extract`.

    Raises
    ------
    DatasetError
        `fixed`, and an image is not what it was.
    """
    stages, opened = stages or Stages(), opened or Opened()
    started = time.perf_counter() - stages.total
    decode = read_decode(provenance.decoder)
    preprocessing = Preprocessing.from_dict(provenance.preprocessing)
    home = cache_dir or find_cache_dir()
    path = output or cache_path(inventory, provenance, home)
    parts = parts_folder(path)
    dim, storage = engine.feature_dim, provenance.storage
    size = estimate_file(len(inventory), dim, inventory.longest_name(), storage)
    check_space(path, size, size)
    if output is None:
        prepare_cache(home)
    check_writable(path)
    kept = f"what was done is kept in {parts}; make room, and the same command goes on"
    with explain_full(path, size, kept), open_checkpoints(path, lock=lock) as checkpoints:
        before = open_before(path, opened, refuse=output is not None and not overwrite)
        shards = [shard for shard, _ in checkpoints.shards]
        # What the cache names, it names by folder and provenance: there is nothing to mix up.
        if output is not None and not overwrite:
            if before is not None:
                refuse_other(path, [before], inventory, provenance)
            refuse_other(parts, shards, inventory, provenance, other_split=True)
        ledger = Ledger(inventory)
        reused = Reused(ledger)
        for shard, spent in checkpoints.shards:
            if shard.provenance == provenance:
                reused.take(shard, spent)
        if shards:
            log.info(
                "going on: %d images were done before this extraction was interrupted",
                count_held(shards, inventory)[1],
            )
        if before is not None and before.provenance == provenance:
            reused.take(before, read_cost(before))
        alike = () if cache_dir is None else open_made_alike(provenance, home, path, opened)
        for file in alike:
            reused.take(file, read_cost(file))
        ledger.start()
        if on_error == "fail" and (error := ledger.find_failure()):
            raise error
        todo = ledger.list_todo()
        check_space(path, size + estimate_shards(todo, dim), size)
        if todo:
            log.info("extracting %d images with %s on %s", todo, engine.name, engine.device)

        def keep(shard: Shard) -> None:
            cost = {
                "seconds": shard.seconds,
                "images": len(shard.X),
                "device": shard.device,
                "machine": describe_machine(),
            }
            ledger.take(checkpoints.keep(shard_features(shard, inventory, provenance), cost))

        def load(image: Image) -> npt.NDArray[np.uint8]:
            where = inventory.root / image.path
            try:
                return load_image(where, preprocessing, image.digest, decode)
            except ImageError as error:
                if fixed and error.kind == "unreadable":
                    raise DatasetError(
                        f"{where} is not what it was when the plan was made ({error.reason}): "
                        "featx plan … --overwrite makes it anew"
                    ) from error
                raise

        done = run_shards(
            ledger,
            engine,
            load,
            keep,
            stages=stages,
            num_workers=num_workers,
            on_error=on_error,
            progress=progress,
        )
        with stages.time("write"):
            gathered = ledger.gather(dim, storage, empty_ok=fixed)
            fingerprint = gathered.fingerprint()
            seconds = time.perf_counter() - started
            # What it cost first: once the file is there, nothing is left to tell.
            cost = {"seconds": seconds} | measure_stages(stages)
            write_cost(path, fingerprint, reused.cost, cost, done.computed, engine.device)
            if not fixed:
                note_index(inventory, path)
            heading = make_heading(inventory, provenance, gathered.skipped)
            removed = 0 if before is None else count_removed(before, inventory)
            file = write_columns(path, gathered.columns, heading, fingerprint)
            checkpoints.discard()
    if done.computed:
        for line in describe_stages(stages, num_workers):
            log.debug("%s", line)
    return summarise(
        file,
        extracted=gathered.count_new(),
        removed=removed,
        seconds=time.perf_counter() - started,
        speed=done.computed / done.seconds if done.computed else None,
        stages=stages,
        device=engine.device,
    )
