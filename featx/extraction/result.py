"""The end of every extraction: the file from all that was computed, and what was done."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featx.data.dataset import LeftOut, Skipped, describe_scan
from featx.data.inventory import Inventory
from featx.features.content import LAYERS, FeatureFile, Heading
from featx.features.costs import Reused, read_cost, write_cost
from featx.features.file import write_columns
from featx.features.ledger import Ledger, count_removed
from featx.features.provenance import Provenance
from featx.timing import Stages


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
    left_out : tuple of LeftOut
        Files that lie among the images and are none of them, by kind.
    notes : tuple of str
        What one should know of the data besides.
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
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx extract --json``."""
        return {
            **asdict(self),
            "features": str(self.features),
            "skipped": len(self.skipped_files),
            "skipped_files": [one.to_dict() for one in self.skipped_files],
            **describe_scan(self.left_out, self.notes),
        }


@dataclass(frozen=True)
class Making:
    """A feature file while it is made, by one machine or from the shards of many.

    Attributes
    ----------
    path : Path
    provenance : Provenance
    widths : dict of str to int
        See `Ledger.gather`.
    ledger : Ledger
        Whose features lie where.
    reused : Reused
        What was taken from other files, and what that cost.
    before : FeatureFile or None
        What the path holds until it is replaced.
    stages : Stages
    started : float
        `time.perf_counter` when it began.
    """

    path: Path
    provenance: Provenance
    widths: dict[str, int]
    ledger: Ledger
    reused: Reused
    before: FeatureFile | None
    stages: Stages
    started: float


def name_widths(width: int, provenance: Provenance) -> dict[str, int]:
    """How many of an image's numbers are features, and how many of other layers."""
    beside = provenance.n_columns
    return {"features": width - beside, **({LAYERS: beside} if beside else {})}


def finish(
    making: Making,
    device: str,
    *,
    computed: int = 0,
    speed: float | None = None,
    empty_ok: bool = False,
) -> Extraction:
    """Write the file, and beside it what it cost.

    Parameters
    ----------
    making : Making
        Whose ledger has everything.
    device : str
        What computed them.
    computed : int
        Images that the network saw now, and of which the stages tell the cost.
    speed : float, optional
        Images per second of those.
    empty_ok : bool
        That no image could be decoded is no error.
    """
    path, ledger, stages = making.path, making.ledger, making.stages
    with stages.time("write"):
        gathered = ledger.gather(making.widths, making.provenance.storage, empty_ok)
        fingerprint = gathered.fingerprint()
        cost = {"seconds": time.perf_counter() - making.started} | measure_stages(stages)
        # What it cost first: once the file is there, nothing is left to tell.
        write_cost(path, fingerprint, making.reused.cost, cost, computed, device)
        heading = make_heading(ledger.inventory, making.provenance, gathered.skipped)
        removed = 0 if making.before is None else count_removed(making.before, ledger.inventory)
        file = write_columns(path, gathered.columns, heading, fingerprint)
    return summarise(
        file,
        extracted=gathered.count_new(),
        removed=removed,
        seconds=time.perf_counter() - making.started,
        speed=speed,
        stages=stages,
        device=device,
    )


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


def describe_stages(stages: Stages, decoders: str) -> tuple[str, str]:
    """What each stage of an extraction cost, and what bounds it: two lines.

    `decoders` says what decoded, such as "2 threads".
    """
    each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.seconds.items())
    decoding = stages.beside.get("decode", 0.0)
    beside = f"decode {decoding:.2f} in {decoders} beside them"
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
