"""Images to features, once: what is there is reused, what is missing is computed."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from featx import __version__
from featx.cache import (
    HashedRows,
    add_cost,
    cache_path,
    collect_known,
    find_cache_dir,
    find_finished,
    find_preferred_weights,
    hash_rows,
    list_same_data,
    prepare_cache,
    refuse_other,
)
from featx.config import BACKBONE, BATCH_SIZE, Preprocessing
from featx.dataset import Dataset, read_dataset
from featx.engine import Engine, TorchEngine, choose_device, describe_torch
from featx.errors import ExtractionError, ImageError
from featx.fetch import resolve_weights
from featx.files import check_writable
from featx.images import describe_decoder, load_batches, load_image
from featx.machine import count_cores
from featx.store import Features, Provenance, write_features
from featx.weights import Weights

log = logging.getLogger(__name__)


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
    skipped_files : tuple of (str, str)
        Path and reason of every image that could not be decoded.
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
    skipped_files: tuple[tuple[str, str], ...]
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
            "skipped_files": [{"path": p, "reason": r} for p, r in self.skipped_files],
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
    progress: bool = False,
) -> Extraction:
    """Run the frozen network once over a folder of images and keep 2048 numbers of each.

    What a feature file of the same provenance holds already is not computed again: the file
    itself, or another of the same folder with other splits.

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
    rows = hash_rows(dataset, on_error)
    same_data = list_same_data(dataset, home, target)
    usable = same_data if target is None else [path for path in same_data if path == target]
    wanted_engine = None if engine == "auto" else describe_torch()
    found = find_finished(rows, usable, weights, wanted_engine)
    seconds = time.perf_counter() - started
    if found is not None:
        if on_error == "fail":
            _fail_on_skipped(found, dataset)
        return _summarise(found, 0, seconds, None, choose_device(device).type)
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
    output, cache_dir, num_workers, on_error, overwrite, progress
        See `extract`.
    """
    started = time.perf_counter() - spent
    path = output or cache_path(rows.dataset, provenance, cache_dir)
    if output is None:
        prepare_cache(cache_dir)
    elif output.exists() and not overwrite:
        refuse_other(output, rows, provenance)
    check_writable(path)
    digests = rows.hashes.tolist()
    known = collect_known(frozenset(digests), path, provenance, cache_dir)
    first: dict[str, int] = {}
    for i, digest in enumerate(digests):
        first.setdefault(digest, i)
    reasons = {digest: known.skipped[digest] for digest in first if digest in known.skipped}
    if reasons and on_error == "fail":
        digest, reason = next(iter(reasons.items()))
        raise ImageError(str(rows.dataset.root / rows.dataset.paths[first[digest]]), reason)
    todo = [i for d, i in first.items() if d not in known.rows and d not in reasons]
    if todo:
        log.info("extracting %d images with %s on %s", len(todo), engine.name, engine.device)
    begun = time.perf_counter()
    computed, failed = _compute(
        rows.dataset, todo, engine, preprocessing, num_workers, on_error, progress
    )
    computing = time.perf_counter() - begun
    reasons |= {digests[i]: error.reason for i, error in failed.items()}
    transient = {digests[i] for i, error in failed.items() if error.transient}
    table = known.rows | {digests[i]: row for i, row in computed.items()}
    features = _assemble(rows, table, reasons, transient, provenance, engine.feature_dim)
    write_features(features, path)
    seconds = time.perf_counter() - started
    add_cost(path, known.cost, seconds, len(computed), engine.device)
    new = {digests[i] for i in computed}
    extracted = sum(digest in new for digest in features.hashes.tolist())
    speed = len(computed) / computing if computed else None
    return _summarise(features, extracted, seconds, speed, engine.device, path)


def _compute(
    dataset: Dataset,
    positions: list[int],
    engine: Engine,
    preprocessing: Preprocessing,
    num_workers: int,
    on_error: str,
    progress: bool,
) -> tuple[dict[int, npt.NDArray[np.float32]], dict[int, ImageError]]:
    """Features by position, and why there are none for the others."""
    computed: dict[int, npt.NDArray[np.float32]] = {}
    failed: dict[int, ImageError] = {}

    def load(position: int) -> npt.NDArray[np.uint8]:
        return load_image(dataset.root / dataset.paths[position], preprocessing)

    disable = not progress or not positions
    with tqdm(total=len(positions), unit="image", desc="extract", disable=disable) as bar:
        for batch in load_batches(load, positions, engine.batch_size, num_workers):
            for position, error in batch.failures:
                if on_error == "fail":
                    raise error
                failed[position] = error
            if len(batch.rows):
                features = engine.run(batch.pixels)
                _check_finite(features, [dataset.paths[i] for i in batch.rows])
                computed.update(zip(batch.rows.tolist(), features, strict=True))
            bar.update(len(batch.rows) + len(batch.failures))
    return computed, failed


def _check_finite(features: npt.NDArray[np.float32], names: list[str]) -> None:
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise ExtractionError(
            f"the network gave NaN or infinite features for {names[int(np.argmax(bad))]}; nothing "
            "was stored: check the weights and the device"
        )


def _assemble(
    rows: HashedRows,
    table: dict[str, npt.NDArray[np.float32]],
    reasons: dict[str, str],
    transient: set[str],
    provenance: Provenance,
    feature_dim: int,
) -> Features:
    digests = rows.hashes.tolist()
    keep = np.array([digest not in reasons for digest in digests], dtype=bool)
    skipped = [*rows.unread]
    skipped += [
        # Without its hash a failure is not remembered: the next run tries again.
        (path, "" if digest in transient else digest, reasons[digest])
        for path, digest in zip(rows.dataset.paths, digests, strict=True)
        if digest in reasons
    ]
    if not keep.any():
        shown = "; ".join(f"{path}: {reason}" for path, _, reason in skipped[:3])
        raise ExtractionError(f"none of {len(skipped)} images could be decoded ({shown})")
    X = np.empty((int(keep.sum()), feature_dim), np.float32)
    for i, row in enumerate(np.flatnonzero(keep)):
        X[i] = table[digests[row]]
    return Features(
        X=X,
        targets=rows.dataset.targets[keep],
        splits=rows.dataset.splits[keep],
        paths=np.array(rows.dataset.paths, dtype=np.str_)[keep],
        hashes=rows.hashes[keep],
        classes=rows.dataset.classes,
        provenance=provenance,
        dataset=rows.dataset.name,
        split_rule=rows.dataset.split_rule,
        skipped=tuple(sorted(skipped)),
        versions={"featx": __version__, "torch": torch.__version__, "numpy": np.__version__},
    )


def _fail_on_skipped(found: Features, dataset: Dataset) -> None:
    for path, _, reason in found.skipped:
        raise ImageError(str(dataset.root / path), reason)


def _note_ignored(dataset: Dataset) -> None:
    if dataset.ignored:
        names = [ascii(name)[1:-1] for name in dataset.ignored[:3]]
        more = ", …" if len(dataset.ignored) > 3 else ""
        log.info(
            "ignored, since no images: %d (%s%s)", len(dataset.ignored), ", ".join(names), more
        )


def _summarise(
    features: Features,
    extracted: int,
    seconds: float,
    speed: float | None,
    device: str,
    path: Path | None = None,
) -> Extraction:
    return Extraction(
        features=path or features.path or Path(),
        images=len(features.X),
        extracted=extracted,
        reused=len(features.X) - extracted,
        skipped_files=tuple((name, reason) for name, _, reason in features.skipped),
        seconds=seconds,
        images_per_second=speed,
        weights=features.provenance.weights,
        engine=features.provenance.engine,
        precision=features.provenance.precision,
        device=device,
        fingerprint=features.fingerprint,
    )
