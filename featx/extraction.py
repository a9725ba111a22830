"""Images to features, once: what is there is reused, what is missing is computed."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featx.assembly import (
    Extraction,
    assemble_features,
    describe_skipped,
    describe_stages,
    longest_path,
    make_features,
    make_provenance,
    measure_stages,
    plan_rows,
    summarise,
)
from featx.cache import (
    cache_path,
    collect_known,
    count_removed,
    find_cache_dir,
    find_finished,
    find_making,
    list_same_data,
    prepare_cache,
    read_cost,
    read_made_alike,
    refuse_other,
    write_cost,
)
from featx.checkpoints import Checkpoints, open_checkpoints
from featx.config import FEATURE_DIM, Preprocessing
from featx.contents import FileIndex, HashedRows, hash_rows, read_indexes, write_index
from featx.dataset import Dataset
from featx.errors import FeatureFileError, FeatxError, ImageError, OutputExistsError
from featx.features import Features
from featx.files import check_space, check_writable, explain_full, resolve_output
from featx.images import load_image, pixel_limit, read_decode
from featx.machine import count_cores, describe_machine
from featx.provenance import Choice, Provenance
from featx.shards import Shard, decode_some, estimate_shards, run_shards
from featx.sources import read_dataset
from featx.stages import Stages
from featx.store import estimate_file, parts_folder, read_features, write_features
from featx.text import printable

if TYPE_CHECKING:
    from featx.engine import Engine

log = logging.getLogger(__name__)


def extract(
    data: str | Path | Dataset,
    *,
    output: str | Path | None = None,
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    protocol: str = "none",
    view: int = 0,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    rehash: bool = False,
    lock: bool = True,
    progress: bool = False,
) -> Extraction:
    """Run the frozen network once over a folder of images and keep 2048 numbers of each.

    What a feature file of the same provenance holds already is not computed again: the file
    itself, or another of the same folder with other splits. A run that was killed goes on with the
    shards that it finished.

    Parameters
    ----------
    data, split, root
        See `featx.sources.read_dataset`.
    output : path, optional
        The feature file; None: a name of its own in the cache folder.
    weights : str
        See `featx.fetch.resolve_weights`.
    device : {"auto", "cpu", "cuda"}
    engine : {"auto", "torch", "openvino"}
        What runs the network; auto: what the same data's file was made with, else the fastest that
        is installed and gives torch's features.
    precision : {"fp32", "bf16", "fp16", "auto"}
        Of the computation; auto: bf16 where a probe finds it as good and really faster.
    decode : {"exact", "fast"}
        fast: large JPEGs at reduced scale; see `featx.images.load_image`.
    protocol : {"none", "linear-eval"}
    view : int
        See `featx.config.Preprocessing.frame`; a view is decoded exactly.
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
    """
    dataset = data if isinstance(data, Dataset) else read_dataset(data, split, root)
    _note_ignored(dataset)
    pixel_limit()  # what it says of a wrong setting is better said now
    target = None if output is None else resolve_output(Path(output))
    home = find_cache_dir(cache_dir)
    stages = Stages()
    decode = "exact" if view else decode
    choice = Choice(engine, precision, decode, protocol, view)
    with stages.time("find"):
        same_data = list_same_data(dataset, home, target)
        rows = hash_rows(dataset, on_error, FileIndex() if rehash else read_indexes(same_data))
        usable = same_data if target is None else [path for path in same_data if path == target]
        found = find_finished(rows, usable, weights, choice)
    if found is not None:
        if on_error == "fail":
            _fail_on_skipped(found, dataset)
        path = found.path or Path()
        _clear_finished(found, path)
        if rows.read:
            _note_index(rows, path)
        return summarise(
            found,
            extracted=0,
            removed=0,
            seconds=stages.total,
            speed=None,
            stages=stages,
            device=read_cost(found).get("device") or device,
            path=path,
        )
    # Here, since torch takes seconds to import, and who had nothing to compute is done by now.
    from featx.engines import make_engine
    from featx.fetch import resolve_weights

    # Before weights are fetched and a network is built for nothing.
    place = target or home / "features.h5"
    size = estimate_file(len(dataset), FEATURE_DIM, longest_path(dataset))
    check_space(place, size, size)
    check_writable(place)
    made = find_making(same_data)
    prefer = made.weights if made is not None and weights == "auto" else None
    resolved = resolve_weights(weights, prefer=prefer, progress=progress)
    resolved = replace(resolved, preprocessing=choice.frame(resolved.preprocessing))
    with stages.time("start"):
        runner = make_engine(
            resolved,
            choice.settle(made),
            lambda most: decode_some(rows, resolved.preprocessing, most, decode),
            device=device,
            batch_size=batch_size,
        )
    return extract_rows(
        rows,
        runner,
        make_provenance(resolved, runner, decode),
        resolved.preprocessing,
        output=target,
        cache_dir=home,
        num_workers=count_cores() if num_workers is None else num_workers,
        on_error=on_error,
        overwrite=overwrite,
        lock=lock,
        progress=progress,
        stages=stages,
    )


def extract_rows(
    rows: HashedRows,
    engine: Engine,
    provenance: Provenance,
    preprocessing: Preprocessing,
    *,
    output: Path | None,
    cache_dir: Path,
    num_workers: int,
    on_error: str = "skip",
    overwrite: bool = False,
    lock: bool = True,
    progress: bool = False,
    stages: Stages | None = None,
) -> Extraction:
    """`extract` with everything resolved: the files hashed, the engine built.

    Parameters
    ----------
    rows : HashedRows
    engine : Engine
    provenance : Provenance
    preprocessing : Preprocessing
    stages : Stages, optional
        Of what went into the above, which belongs to the extraction's cost.
    output, cache_dir, num_workers, on_error, overwrite, lock, progress
        See `extract`.
    """
    stages = stages or Stages()
    started = time.perf_counter() - stages.total
    decode = read_decode(provenance.decoder)
    path = output or cache_path(rows.dataset, provenance, cache_dir)
    parts = parts_folder(path)
    digests = rows.hashes.tolist()
    size = estimate_file(len(digests), engine.feature_dim, longest_path(rows.dataset))
    check_space(path, size, size)
    if output is None:
        prepare_cache(cache_dir)
    check_writable(path)
    kept = f"what was done is kept in {parts}; make room, and the same command goes on"
    with explain_full(path, size, kept), open_checkpoints(path, lock=lock) as checkpoints:
        before = _read_before(path, refuse=output is not None and not overwrite)
        shards = [shard for shard, _ in checkpoints.shards]
        # What the cache names, it names by folder and provenance: there is nothing to mix up.
        if output is not None and not overwrite:
            if before is not None:
                refuse_other(path, [before], rows, provenance)
            refuse_other(parts, shards, rows, provenance, other_split=True)
        sources = [(one, cost) for one, cost in checkpoints.shards]
        if before is not None:
            sources.append((before, read_cost(before)))
        alike = ((one, cost) for one, cost in sources if one.provenance == provenance)
        known = collect_known(
            frozenset(digests), itertools.chain(alike, read_made_alike(provenance, cache_dir, path))
        )
        if shards:
            held = {digest for shard in shards for digest in shard.hashes.tolist()}
            log.info(
                "going on: %d images were done before this extraction was interrupted",
                len(held & set(digests)),
            )
        plan = plan_rows(rows, known.rows, known.skipped, on_error)
        more = estimate_shards(len(plan.todo), engine.feature_dim)
        check_space(path, size + more, size)
        if plan.todo:
            log.info(
                "extracting %d images with %s on %s", len(plan.todo), engine.name, engine.device
            )
        computed = run_shards(
            rows,
            plan.todo,
            engine,
            lambda i: load_image(rows.locate(i), preprocessing, digests[i], decode),
            lambda shard: _keep(checkpoints, shard, rows, provenance),
            stages=stages,
            num_workers=num_workers,
            on_error=on_error,
            progress=progress,
        )
        with stages.time("write"):
            table = known.rows | {digests[i]: row for i, row in computed.rows.items()}
            features = assemble_features(
                rows, table, plan.failed | computed.failures, provenance, engine.feature_dim
            )
            seconds = time.perf_counter() - started
            # What it cost first: once the file is there, nothing is left to tell.
            cost = {"seconds": seconds} | measure_stages(stages)
            write_cost(features, path, known.cost, cost, len(computed.rows), engine.device)
            _note_index(rows, path)
            write_features(features, path)
            checkpoints.discard()
    if computed.rows:
        for line in describe_stages(stages, num_workers):
            log.debug("%s", line)
    new = {digests[i] for i in computed.rows}
    return summarise(
        features,
        extracted=sum(digest in new for digest in features.hashes.tolist()),
        removed=0 if before is None else count_removed(before, rows),
        seconds=time.perf_counter() - started,
        speed=len(computed.rows) / computed.seconds if computed.rows else None,
        stages=stages,
        device=engine.device,
        path=path,
    )


def _keep(checkpoints: Checkpoints, shard: Shard, rows: HashedRows, provenance: Provenance) -> None:
    """Have a shard on the disk: a feature file of its rows, with what it cost."""
    here = np.zeros(len(rows.hashes), dtype=bool)
    here[shard.positions] = True
    skipped = (describe_skipped(rows, i, error) for i, error in shard.failures.items())
    features = make_features(rows.select(here), shard.X, tuple(sorted(skipped)), provenance)
    cost = {
        "seconds": shard.seconds,
        "images": len(shard.X),
        "device": shard.device,
        "machine": describe_machine(),
    }
    checkpoints.keep(features, cost)


def _read_before(path: Path, refuse: bool) -> Features | None:
    """What the file holds now; one that cannot be read is refused, or made again and said so."""
    if not path.exists():
        return None
    try:
        return read_features(path)
    except FeatureFileError as error:
        if refuse:
            raise OutputExistsError(path, (error.reason,)) from error
        log.warning("not reused: %s", error)
        return None


def _clear_finished(found: Features, path: Path) -> None:
    """Remove the shards of a run that was killed between its last two steps.

    Only where all of them are in the file: others may be of images that are away for a while.
    """
    if not parts_folder(path).is_dir():
        return
    there = {*found.hashes.tolist(), *(one.digest for one in found.skipped)}
    with contextlib.suppress(FeatxError, OSError), open_checkpoints(path) as checkpoints:
        if all(
            shard.provenance == found.provenance and there.issuperset(shard.hashes.tolist())
            for shard, _ in checkpoints.shards
        ):
            checkpoints.discard()


def _note_index(rows: HashedRows, path: Path) -> None:
    """Keep what the system said of the images: a convenience, so a failure is no failure."""
    try:
        write_index(rows.index, path)
    except (FeatureFileError, OSError) as error:
        log.debug("the next run reads every image again: %s", error)


def _fail_on_skipped(found: Features, dataset: Dataset) -> None:
    for one in found.skipped:
        raise ImageError(str(dataset.root / one.path), one.reason, one.kind)


def _note_ignored(dataset: Dataset) -> None:
    if dataset.ignored:
        named = ", ".join([*dataset.ignored[:3], *["…"][: len(dataset.ignored) > 3]])
        log.info("ignored, since no images: %d (%s)", len(dataset.ignored), printable(named))
