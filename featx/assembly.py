"""What is left to compute, one feature file's content from all that was, and what was done."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx import __version__
from featx.config import BACKBONE
from featx.contents import HashedRows
from featx.dataset import Dataset, Skipped
from featx.errors import CONTENT_FAULTS, ExtractionError, ImageError
from featx.features import Features
from featx.images import describe_colours, describe_decoder
from featx.provenance import Provenance
from featx.stages import Stages

if TYPE_CHECKING:
    from featx.engine import Engine
    from featx.weights import Weights


def make_provenance(weights: Weights, engine: Engine, decode: str = "exact") -> Provenance:
    """All that decides an image's features under these weights, this engine and decoding."""
    return Provenance(
        backbone=BACKBONE,
        weights=weights.name,
        weights_sha256=weights.sha256,
        preprocessing=weights.preprocessing.to_dict(),
        decoder=describe_decoder(decode),
        colours=describe_colours(),
        engine=engine.name,
        precision=engine.precision,
        storage="float32",
    )


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do.

    Attributes
    ----------
    todo : list of int
        Positions to compute, ascending.
    failed : dict of int to ImageError
        Failures that are known already, by position.
    """

    todo: list[int]
    failed: dict[int, ImageError]


def plan_rows(
    rows: HashedRows,
    known: Container[str],
    failed_before: Mapping[str, tuple[str, str]],
    on_error: str,
) -> Plan:
    """What is left to do, of identical files the first.

    Parameters
    ----------
    rows : HashedRows
    known : container of str
        Content hashes whose features are there.
    failed_before : mapping of str to (str, str)
        Kind and reason of contents that cannot be decoded.
    on_error : {"skip", "fail"}

    Raises
    ------
    ImageError
        Something failed before and `on_error` is "fail".
    """
    first: dict[str, int] = {}
    for i, digest in enumerate(rows.hashes.tolist()):
        first.setdefault(digest, i)
    failed = {
        i: ImageError(str(rows.locate(i)), *reversed(failed_before[digest]))
        for digest, i in first.items()
        if digest in failed_before and digest not in known
    }
    if failed and on_error == "fail":
        raise failed[min(failed)]
    todo = [i for d, i in first.items() if d not in known and i not in failed]
    return Plan(todo, failed)


def assemble_features(
    rows: HashedRows,
    table: dict[str, npt.NDArray[np.float32]],
    failures: dict[int, ImageError],
    provenance: Provenance,
    feature_dim: int,
) -> Features:
    """The features of all images that have any.

    Parameters
    ----------
    rows : HashedRows
    table : dict of str to ndarray of shape (n_features,), float32
        By content hash.
    failures : dict of int to ImageError
        By position; identical files share what is the content's own fault.
    provenance : Provenance
    feature_dim : int

    Raises
    ------
    ExtractionError
        There is no image that has.
    """
    digests = rows.hashes.tolist()
    of_content = {digests[i]: e for i, e in failures.items() if e.kind in CONTENT_FAULTS}
    keep = np.array([digest in table for digest in digests], dtype=bool)
    skipped = [*rows.unread]
    for i in np.flatnonzero(~keep).tolist():
        error = failures.get(i) or of_content[digests[i]]
        skipped.append(describe_skipped(rows, i, error))
    if not keep.any():
        shown = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
        raise ExtractionError(f"none of {len(skipped)} images could be decoded ({shown})")
    X = np.empty((int(keep.sum()), feature_dim), np.float32)
    for i, row in enumerate(np.flatnonzero(keep)):
        X[i] = table[digests[row]]
    return make_features(rows.select(keep), X, tuple(sorted(skipped)), provenance)


def describe_skipped(rows: HashedRows, position: int, error: ImageError) -> Skipped:
    """A failure as the file lists it."""
    # Without its hash a failure is not remembered: the next run tries again.
    digest = str(rows.hashes[position]) if error.kind in CONTENT_FAULTS else ""
    return Skipped(rows.dataset.paths[position], digest, error.kind, error.reason)


def make_features(
    rows: HashedRows,
    X: npt.NDArray[np.float32],
    skipped: tuple[Skipped, ...],
    provenance: Provenance,
) -> Features:
    """`Features` of just these rows, made here and now."""
    dataset = rows.dataset
    return Features(
        X=X,
        targets=dataset.targets,
        splits=dataset.splits,
        paths=np.array(dataset.paths, dtype=np.str_),
        hashes=rows.hashes,
        classes=dataset.classes,
        provenance=provenance,
        dataset=dataset.name,
        split_rule=dataset.split_rule,
        skipped=skipped,
        versions={"featx": __version__, "torch": version("torch"), "numpy": np.__version__},
    )


def longest_path(dataset: Dataset) -> int:
    """Bytes of its longest path in UTF-8."""
    return max((len(path.encode("utf-8", "replace")) for path in dataset.paths), default=1)


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
    stages : dict of str to float
        Seconds of what was done one after the other: "find" (reading and hashing), "start" (the
        network), "wait" (for decoded images), "network", "keep" (shards) and "write"; and thread
        seconds of "decode", which runs beside.
    weights, engine, precision : str
    device : str
        Where the network ran. Where all was there: where it ran then, as far as that is known.
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
    stages: dict[str, float]
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


def summarise(
    features: Features,
    *,
    extracted: int,
    removed: int,
    seconds: float,
    speed: float | None,
    stages: Stages,
    device: str,
    path: Path,
) -> Extraction:
    """`Extraction` of these features."""
    return Extraction(
        features=path,
        images=len(features.X),
        extracted=extracted,
        reused=len(features.X) - extracted,
        removed=removed,
        skipped_files=features.skipped,
        seconds=seconds,
        images_per_second=speed,
        stages={**stages.seconds, **stages.beside},
        weights=features.provenance.weights,
        engine=features.provenance.engine,
        precision=features.provenance.precision,
        device=device,
        fingerprint=features.fingerprint,
    )


def measure_stages(stages: Stages) -> dict[str, float]:
    """Wall seconds of images (reading them, and waiting for them to be decoded) and network."""
    seconds = stages.seconds
    return {
        "decode": seconds.get("find", 0.0) + seconds.get("wait", 0.0),
        "network": seconds.get("network", 0.0),
    }


def describe_stages(stages: Stages, num_workers: int) -> tuple[str, str]:
    """What each stage of an extraction cost, and what bounds it: two lines."""
    each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.seconds.items())
    decoding = stages.beside.get("decode", 0.0)
    beside = f"decode {decoding:.2f} in {num_workers} thread{'s' * (num_workers != 1)} beside them"
    network, wait = stages.seconds.get("network", 0.0), stages.seconds.get("wait", 0.0)
    computed, waited = (100 * part / max(network + wait, 1e-9) for part in (network, wait))
    if network >= wait:
        bound = (
            f"the network bounds this run: it computed {computed:.0f} % of the time and waited for "
            f"images {waited:.0f} %"
        )
    else:
        bound = (
            f"reading and decoding bound this run: the network waited {waited:.0f} % of the time; "
            "more --num-workers help where cores are free, --decode fast where JPEGs are large"
        )
    return f"seconds: {each}; {beside}", bound
