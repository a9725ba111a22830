"""Images to features, once: what is there is reused, what is missing is computed."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.assembly import (
    assemble_features,
    describe_skipped,
    longest_path,
    make_features,
    plan_rows,
)
from featx.cache import (
    add_cost,
    cache_path,
    collect_known,
    count_removed,
    find_cache_dir,
    find_finished,
    find_preferred_weights,
    list_same_data,
    prepare_cache,
    refuse_other,
)
from featx.checkpoints import Checkpoints, clear_finished, open_checkpoints
from featx.config import BACKBONE, BATCH_SIZE, Preprocessing
from featx.contents import FileIndex, HashedRows, hash_rows, read_indexes, write_index
from featx.dataset import Dataset, Skipped, read_dataset
from featx.engine import Engine, TorchEngine, choose_device, describe_torch
from featx.errors import FeatureFileError, ImageError
from featx.fetch import resolve_weights
from featx.files import check_space, check_writable, explain_full
from featx.images import describe_colours, describe_decoder, load_image
from featx.machine import count_cores, describe_machine
from featx.shards import Shard, estimate_shards, run_shards
from featx.store import (
    Features,
    Provenance,
    estimate_file,
    read_features,
    write_features,
)
from featx.weights import Weights

log = logging.getLogger(__name__)

_GO_ON = "make room, and the same command goes on"


@dataclass(frozen=True)
class Extraction:
    """What an extraction did.

    Attributes
    ----------
    features : Path
        The feature file.
    images : int
        Rows in it.
    extracted, reused : int
        Rows computed now, and taken from what was there. Identical files are computed once.
    removed : int
        Images that the file held before and that are gone from the data.
    skipped_files : tuple of Skipped
        The images that could not be decoded, and why.
    seconds : float
        Wall time of finding, decoding, computing and writing.
    images_per_second : float or None
        Of the images computed; None where there were none.
    weights, engine, precision, device : str
    fingerprint : str
        Of the dataset as stored.
    """

    features: Path
    images: int
    extracted: int
    reused: int
    removed: int
    skipped_files: tuple[Skipped, ...]
    seconds: float
    images_per_second: float | None
    weights: str
    engine: str
    precision: str
    device: str
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx extract --json``."""
        return {
            **asdict(self),
            "features": str(self.features),
            "skipped": len(self.skipped_files),
            "skipped_files": [one.to_dict() for one in self.skipped_files],
        }


def extract(
    data: str | Path | Dataset,
    *,
    output: str | Path | None = None,
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    device: str = "auto",
    engine: str = "auto",
    batch_size: int = BATCH_SIZE,
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
        See `featx.dataset.read_dataset`.
    output : path, optional
        The feature file; None: a name of its own in the cache folder.
    weights : str
        See `featx.fetch.resolve_weights`.
    device : {"auto", "cpu", "cuda"}
    engine : {"auto", "torch"}
    batch_size : int
        Images of one forward pass.
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
    target = None if output is None else Path(output)
    home = find_cache_dir(cache_dir)
    started = time.perf_counter()
    same_data = list_same_data(dataset, home, target)
    rows = hash_rows(dataset, on_error, FileIndex() if rehash else read_indexes(same_data))
    usable = same_data if target is None else [path for path in same_data if path == target]
    wanted_engine = None if engine == "auto" else describe_torch()
    found = find_finished(rows, usable, weights, wanted_engine)
    seconds = time.perf_counter() - started
    if found is not None:
        if on_error == "fail":
            _fail_on_skipped(found, dataset)
        path = found.path or Path()
        clear_finished(path)
        if rows.read:
            _note_index(rows, path)
        return _summarise(
            found,
            extracted=0,
            removed=0,
            seconds=seconds,
            speed=None,
            device=choose_device(device).type,
            path=path,
        )
    prefer = find_preferred_weights(same_data) if weights == "auto" else None
    resolved = resolve_weights(weights, prefer=prefer, progress=progress)
    started = time.perf_counter()
    runner = TorchEngine(resolved, device=device, batch_size=batch_size)
    return extract_rows(
        rows,
        runner,
        make_provenance(resolved, runner),
        resolved.preprocessing,
        output=target,
        cache_dir=home,
        num_workers=count_cores() if num_workers is None else num_workers,
        on_error=on_error,
        overwrite=overwrite,
        lock=lock,
        progress=progress,
        spent=seconds + time.perf_counter() - started,
    )


def make_provenance(weights: Weights, engine: Engine) -> Provenance:
    """All that decides the features of an image under these weights and this engine."""
    return Provenance(
        backbone=BACKBONE,
        weights=weights.name,
        weights_sha256=weights.sha256,
        preprocessing=weights.preprocessing.to_dict(),
        decoder=describe_decoder(),
        colours=describe_colours(),
        engine=engine.name,
        precision=engine.precision,
        storage="float32",
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
    spent: float = 0.0,
) -> Extraction:
    """`extract` with everything resolved: the files hashed, the engine built.

    Parameters
    ----------
    rows : HashedRows
    engine : Engine
    provenance : Provenance
    preprocessing : Preprocessing
    spent : float
        Seconds that went into the above and belong to the extraction's cost.
    output, cache_dir, num_workers, on_error, overwrite, lock, progress
        See `extract`.
    """
    started = time.perf_counter() - spent
    path = output or cache_path(rows.dataset, provenance, cache_dir)
    if output is None:
        prepare_cache(cache_dir)
    check_writable(path)
    with open_checkpoints(path, provenance, overwrite=overwrite, lock=lock) as checkpoints:
        if output is not None and output.exists() and not overwrite:
            refuse_other(output, rows, provenance)
        digests = rows.hashes.tolist()
        known = collect_known(frozenset(digests), path, provenance, cache_dir, checkpoints.shards)
        if checkpoints.shards:
            held = sum(len(shard.X) for shard, _ in checkpoints.shards)
            log.info("going on: %d images were done before this extraction was interrupted", held)
        plan = plan_rows(rows, known.rows, known.skipped, on_error)
        size = estimate_file(len(digests), engine.feature_dim, longest_path(rows.dataset))
        check_space(path, size + estimate_shards(len(plan.todo), engine.feature_dim))
        if plan.todo:
            log.info(
                "extracting %d images with %s on %s", len(plan.todo), engine.name, engine.device
            )
        computed = run_shards(
            rows,
            plan.todo,
            engine,
            lambda i: load_image(rows.locate(i), preprocessing, digests[i]),
            lambda shard: _keep(checkpoints, shard, rows, provenance, path),
            num_workers=num_workers,
            on_error=on_error,
            progress=progress,
        )
        table = known.rows | {digests[i]: row for i, row in computed.rows.items()}
        features = assemble_features(
            rows, table, plan.failed | computed.failures, provenance, engine.feature_dim
        )
        before = _read_before(path)
        with explain_full(path, size, f"all features are kept in {checkpoints.folder}; {_GO_ON}"):
            write_features(features, path)
        _note_index(rows, path)
        seconds = time.perf_counter() - started
        add_cost(path, known.cost, seconds, len(computed.rows), engine.device)
        checkpoints.discard()
    new = {digests[i] for i in computed.rows}
    return _summarise(
        features,
        extracted=sum(digest in new for digest in features.hashes.tolist()),
        removed=0 if before is None else count_removed(before, rows),
        seconds=seconds,
        speed=len(computed.rows) / computed.seconds if computed.rows else None,
        device=engine.device,
        path=path,
    )


def _keep(
    checkpoints: Checkpoints, shard: Shard, rows: HashedRows, provenance: Provenance, path: Path
) -> None:
    """Have a shard on the disk: a feature file of its rows, with what it cost."""
    here = np.zeros(len(rows.hashes), dtype=bool)
    here[shard.positions] = True
    features = make_features(
        rows.select(here),
        shard.X,
        tuple(describe_skipped(rows, i, error) for i, error in sorted(shard.failures.items())),
        provenance,
    )
    cost = {
        "seconds": shard.seconds,
        "images": len(shard.X),
        "device": shard.device,
        "machine": describe_machine(),
    }
    size = estimate_shards(len(shard.X), shard.X.shape[1])
    kept = f"the shards before it are kept in {checkpoints.folder}; {_GO_ON}"
    with explain_full(path, size, kept):
        checkpoints.keep(features, cost)


def _read_before(path: Path) -> Features | None:
    try:
        return read_features(path) if path.exists() else None
    except FeatureFileError:
        return None  # said already, where its rows were looked for


def _note_index(rows: HashedRows, path: Path) -> None:
    """Keep what the system said of the images: a convenience, so a failure is no failure."""
    try:
        write_index(rows.index, path)
    except OSError as error:
        log.debug("the next run reads every image again: %s", error)


def _fail_on_skipped(found: Features, dataset: Dataset) -> None:
    for one in found.skipped:
        raise ImageError(str(dataset.root / one.path), one.reason, one.kind)


def _note_ignored(dataset: Dataset) -> None:
    if dataset.ignored:
        names = [ascii(name)[1:-1] for name in dataset.ignored[:3]]
        more = ", …" if len(dataset.ignored) > 3 else ""
        log.info(
            "ignored, since no images: %d (%s%s)", len(dataset.ignored), ", ".join(names), more
        )


def _summarise(
    features: Features,
    *,
    extracted: int,
    removed: int,
    seconds: float,
    speed: float | None,
    device: str,
    path: Path,
) -> Extraction:
    return Extraction(
        features=path,
        images=len(features.X),
        extracted=extracted,
        reused=len(features.X) - extracted,
        removed=removed,
        skipped_files=features.skipped,
        seconds=seconds,
        images_per_second=speed,
        weights=features.provenance.weights,
        engine=features.provenance.engine,
        precision=features.provenance.precision,
        device=device,
        fingerprint=features.fingerprint,
    )
