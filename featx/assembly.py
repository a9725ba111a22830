"""One feature file's content from all that was computed, and what an extraction did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.costs import read_cost
from featx.data.dataset import Skipped
from featx.data.images import Source, describe_colours, describe_decoder
from featx.data.inventory import Inventory
from featx.data.loading import decode_some
from featx.errors import CONTENT_FAULTS, ExtractionError
from featx.features import FeatureFile, Features, Heading
from featx.provenance import Choice, Provenance
from featx.shards import Shard
from featx.stages import Stages

if TYPE_CHECKING:
    from featx.engine import Engine
    from featx.weights import Weights


def make_provenance(weights: Weights, engine: str, choice: Choice) -> Provenance:
    """All that decides an image's features.

    Parameters
    ----------
    weights : Weights
    engine : str
        Its name with its version.
    choice : Choice
        Whose precision is settled.
    """
    return Provenance(
        backbone=weights.backbone,
        weights=weights.name,
        weights_sha256=weights.sha256,
        preprocessing=weights.preprocessing.to_dict(),
        decoder=describe_decoder(choice.decode),
        colours=describe_colours(),
        engine=engine,
        precision=choice.precision,
        storage=choice.storage,
    )


def build_runner(
    find_paths: Callable[[int], Iterable[Source]],
    choice: Choice,
    weights: str,
    made: Provenance | None,
    *,
    device: str,
    batch_size: int | None,
    progress: bool,
    stages: Stages,
) -> tuple[Engine, Provenance]:
    """The engine that runs the network as chosen, and what its features will say made them.

    Parameters
    ----------
    find_paths : callable
        Gives some images, files or pictures, at most as many as it is told, to probe with where
        there is something to probe.
    choice : Choice
    weights : str
        See `featx.fetch_weights`.
    made : Provenance or None
        Of features of the same data; what is left open is taken from it.
    device : {"auto", "cpu", "cuda"}
    batch_size : int or None
    progress : bool
    stages : Stages
        Counts "start".
    """
    # Here, since torch takes seconds to import, and who had nothing to compute is done by now.
    from featx.engines import make_engine

    found = resolve_framed(choice, weights, made, progress)

    def decode_first(most: int) -> npt.NDArray[np.uint8]:
        return decode_some(find_paths(most), found.preprocessing, most, choice.decode)

    with stages.time("start"):
        settled = choice.settle(made)
        engine = make_engine(
            found,
            decode_first,
            engine=settled.engine,
            precision=settled.precision,
            device=device,
            batch_size=batch_size,
        )
    made_with = replace(choice, precision=engine.precision)
    return engine, make_provenance(found, engine.name, made_with)


def resolve_framed(
    choice: Choice, weights: str, made: Provenance | None, progress: bool
) -> Weights:
    """Weights with their preprocessing as chosen; see `build_runner`."""
    from featx.fetch import resolve_weights

    prefer = made.weights if made is not None and weights == "auto" else None
    found = resolve_weights(weights, prefer=prefer, progress=progress, backbone=choice.backbone)
    return replace(found, preprocessing=choice.frame(found.preprocessing))


def make_heading(
    inventory: Inventory, provenance: Provenance, skipped: tuple[Skipped, ...]
) -> Heading:
    """What a feature file of these images, made here and now, says of them all."""
    return Heading(
        classes=inventory.classes,
        provenance=provenance,
        dataset=inventory.name,
        split_rule=inventory.split_rule,
        skipped=skipped,
        versions={name: version(name) for name in ("featx", "torch", "numpy")},
    )


def shard_features(shard: Shard, inventory: Inventory, provenance: Provenance) -> Features:
    """A shard as the content of a feature file.

    Raises
    ------
    ExtractionError
        A feature is too large for the type that is to be stored.
    """
    images = shard.images
    skipped = [
        # Without its hash a failure is not remembered: the next run tries again.
        Skipped(image.path, image.digest * (error.kind in CONTENT_FAULTS), error.kind, error.reason)
        for image, error in shard.failures
    ]
    largest, end = np.abs(shard.X).max(initial=0), np.finfo(provenance.storage).max
    if largest > end:
        raise ExtractionError(
            f"a feature is {largest:.6g} and {provenance.storage} ends at {end:.6g}: say "
            "--storage float32"
        )
    return Features(
        X=shard.X,
        targets=np.array([image.target for image in images], dtype=np.int64),
        splits=np.array([image.split for image in images], dtype="<U5"),
        paths=np.array([image.path for image in images], dtype=np.str_),
        hashes=np.array([image.digest for image in images], dtype="<U64"),
        **vars(make_heading(inventory, provenance, tuple(sorted(skipped)))),
    )


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
    file: FeatureFile,
    *,
    extracted: int,
    removed: int,
    seconds: float,
    speed: float | None,
    stages: Stages,
    device: str,
) -> Extraction:
    """`Extraction` of the file that it made or found."""
    return Extraction(
        features=file.path,
        images=len(file),
        extracted=extracted,
        reused=len(file) - extracted,
        removed=removed,
        skipped_files=file.heading.skipped,
        seconds=seconds,
        images_per_second=speed,
        stages={**stages.seconds, **stages.beside},
        weights=file.provenance.weights,
        engine=file.provenance.engine,
        precision=file.provenance.precision,
        device=device,
        fingerprint=file.fingerprint,
    )


def summarise_found(file: FeatureFile, stages: Stages, device: str) -> Extraction:
    """`Extraction` that found all in a file; where it was computed, as far as that is known."""
    return summarise(
        file,
        extracted=0,
        removed=0,
        seconds=stages.total,
        speed=None,
        stages=stages,
        device=read_cost(file).get("device") or device,
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
