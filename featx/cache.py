"""Where feature files lie, which images they hold, and what of them can be used again."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.catalogue import RECIPES, read_stored_hash
from featx.contents import HashedRows
from featx.dataset import Dataset
from featx.errors import FeatureFileError, OutputExistsError
from featx.features import Features
from featx.files import hash_json, write_json, write_text
from featx.images import describe_colours, describe_decoder, read_decode
from featx.machine import describe_machine
from featx.provenance import Choice, Provenance
from featx.store import cost_path, read_features, read_provenance, read_provenance_key

log = logging.getLogger(__name__)

# Wall seconds of an extraction: all of it, and of that, waiting for images and in the network.
COST_PARTS = ("seconds", "decode", "network")


def find_cache_dir(cache_dir: str | Path | None = None) -> Path:
    """Where features go: the argument, else FEATX_CACHE, else ./cache."""
    return Path(cache_dir or os.environ.get("FEATX_CACHE") or "cache")


def cache_path(dataset: Dataset, provenance: Provenance, cache_dir: Path) -> Path:
    """The name that a dataset's features have in the cache folder."""
    key = hash_json([dataset.split_rule, provenance.key()])[:8]
    return cache_dir / f"{_data_stem(dataset)}-{_plain(provenance.weights)}-{key}.h5"


def write_cost(
    features: Features,
    path: Path,
    before: dict[str, Any],
    seconds: Mapping[str, float],
    images: int,
    device: str,
) -> None:
    """Record beside `path`, for these features alone, what `images` more took: COST_PARTS."""
    if images:
        now = {**seconds, "device": device, "machine": describe_machine()}
        before = _sum_costs(before, now, images)
    write_json(cost_path(path), {**before, "fingerprint": features.fingerprint})


def _sum_costs(a: dict[str, Any], b: dict[str, Any], images: int) -> dict[str, Any]:
    """a with b's seconds for `images` more; where device or machine differ, that is said."""
    total: dict[str, Any] = {"images": a.get("images", 0) + images}
    for part in COST_PARTS:
        if part in b and (part in a or not a):
            total[part] = a.get(part, 0.0) + b[part]
    for key in ("device", "machine"):
        total[key] = b.get(key) if a.get(key, b.get(key)) == b.get(key) else "several"
    return total


def read_image_cost(features: Features) -> dict[str, float]:
    """What one image of a feature file cost, by COST_PARTS; {} where that is not known."""
    cost = read_cost(features)
    return {part: cost[part] / cost["images"] for part in COST_PARTS if part in cost}


def read_cost(features: Features) -> dict[str, Any]:
    """What lies beside the file that these features were read from; {} where it is not theirs."""
    if features.path is None:
        return {}
    try:
        cost = json.loads(cost_path(features.path).read_text("utf-8"))
        parts = {part: float(cost[part]) for part in COST_PARTS if part in cost}
        cost = {**cost, **parts, "images": int(cost["images"])}
        ours = "seconds" in parts and min(parts.values()) >= 0 and cost["images"] > 0
    except (OSError, OverflowError, RecursionError, ValueError, KeyError, TypeError):
        return {}
    return cost if ours and cost.get("fingerprint") == features.fingerprint else {}


@dataclass(frozen=True)
class Known:
    """What is on disk of the wanted contents, under one provenance.

    Attributes
    ----------
    rows : dict of str to ndarray of shape (n_features,), float32
        Features by content hash.
    skipped : dict of str to (str, str)
        Kind and reason of contents that could not be decoded, by hash.
    cost : dict
        COST_PARTS that "images" of these rows cost where they were computed, with "device" and
        "machine"; empty where nothing is known.
    """

    rows: dict[str, npt.NDArray[np.float32]]
    skipped: dict[str, tuple[str, str]]
    cost: dict[str, Any]


def collect_known(
    wanted: Container[str], sources: Iterable[tuple[Features, dict[str, Any]]]
) -> Known:
    """What some features, each with what they cost, hold of the wanted content hashes."""
    rows: dict[str, npt.NDArray[np.float32]] = {}
    skipped: dict[str, tuple[str, str]] = {}
    cost: dict[str, Any] = {}
    for features, there in sources:
        before = len(rows)
        for digest, row in zip(features.hashes.tolist(), features.X[:], strict=True):
            if digest in wanted:
                rows.setdefault(digest, row)
        skipped |= {
            one.digest: (one.kind, one.reason) for one in features.skipped if one.digest in wanted
        }
        new = len(rows) - before
        if there and new:
            share = new / max(new, there["images"])
            parts = {part: share * there[part] for part in COST_PARTS if part in there}
            cost = _sum_costs(cost, {**there, **parts}, new)
    return Known(rows, skipped, cost)


def read_made_alike(
    provenance: Provenance, cache_dir: Path, but: Path
) -> Iterator[tuple[Features, dict[str, Any]]]:
    """The cache's files of that provenance, but one, each with what it cost."""
    for candidate in sorted(cache_dir.glob("*.h5")) if cache_dir.is_dir() else ():
        try:
            if candidate == but or read_provenance_key(candidate) != provenance.key():
                continue
        except FeatureFileError:
            continue  # somebody else's
        try:
            features = read_features(candidate)
        except FeatureFileError as error:
            log.warning("not reused: %s", error)
            continue
        yield features, read_cost(features)


def count_removed(before: Features, rows: HashedRows) -> int:
    """Images that a feature file holds and that are gone: neither their names nor their contents.

    A renamed file and one with new contents are not; of two identical files, one that went is.
    """
    old = set(zip(before.paths.tolist(), before.hashes.tolist(), strict=True))
    new = set(zip(rows.dataset.paths, rows.hashes.tolist(), strict=True))
    here = set(rows.dataset.paths)
    gone = Counter(digest for path, digest in old - new if path not in here)
    there = set(before.paths.tolist())
    come = Counter(digest for path, digest in new - old if path not in there)
    return (gone - come).total()


def list_same_data(dataset: Dataset, cache_dir: Path, output: Path | None = None) -> list[Path]:
    """Files that may hold this very data, whatever its splits: `output`, then the cache's."""
    cached = cache_dir.glob(f"{_data_stem(dataset)}-*.h5") if cache_dir.is_dir() else ()
    newest_first = sorted(cached, key=lambda path: -path.stat().st_mtime)
    named = [output] if output is not None and output.is_file() else []
    return [*named, *newest_first]


def find_finished(
    rows: HashedRows,
    candidates: Iterable[Path],
    weights: str,
    choice: Choice,
) -> Features | None:
    """A file that holds just these rows under the choices made; no weights are read for it.

    Weights known by name have one hash and one preprocessing; a local file must be read first.
    """
    if weights != "auto" and weights not in RECIPES:
        return None
    for candidate in candidates:
        try:
            found = read_features(candidate)
        except FeatureFileError:
            continue  # said, and replaced or refused, where it is about to be written
        made = found.provenance
        recipe = RECIPES.get(made.weights)
        if (
            recipe is not None
            and weights in ("auto", made.weights)
            and read_stored_hash(made.weights) in (None, made.weights_sha256)
            and made.preprocessing == choice.frame(recipe.preprocessing).to_dict()
            and choice.accepts(made)
            and made.decoder == describe_decoder(read_decode(made.decoder))
            and made.colours == describe_colours()
            and found.split_rule == rows.dataset.split_rule
            and _holds(found, rows)
        ):
            if weights == "auto":
                log.info("weights: %s, since %s has them", made.weights, candidate)
            return found
    return None


def _holds(found: Features, rows: HashedRows) -> bool:
    """Whether a file has these rows, all of them and no others, but for those it had to skip."""
    skipped = {one.digest for one in found.skipped if one.digest}
    keep = np.array([digest not in skipped for digest in rows.hashes.tolist()], dtype=bool)
    left = rows.select(~keep)
    expected = {(one.path, one.digest) for one in rows.unread}
    expected |= set(zip(left.dataset.paths, left.hashes.tolist(), strict=True))
    listed = {(one.path, one.digest) for one in found.skipped}
    return listed == expected and found.fingerprint == rows.select(keep).fingerprint


def find_making(candidates: Iterable[Path]) -> Provenance | None:
    """How the first readable of these feature files was made."""
    for candidate in candidates:
        try:
            return read_provenance(candidate)
        except FeatureFileError:
            continue
    return None


def refuse_other(
    where: Path,
    there: Sequence[Features],
    rows: HashedRows,
    provenance: Provenance,
    other_split: bool = False,
) -> None:
    """Raise OutputExistsError unless what is `there` is of the same making and data.

    The same data may have grown, changed or shrunk; but where most of what was made is no longer
    in it, it was made of something else. `other_split` lets another split rule pass.
    """
    data = rows.dataset
    differences = [d for one in there for d in one.provenance.differences(provenance)]
    names = {one.dataset for one in there} - {data.name}
    differences += [f"data: {name} → {data.name}" for name in sorted(names)]
    rules = {one.split_rule for one in there if not other_split} - {data.split_rule}
    differences += [f"split: {rule} → {data.split_rule}" for rule in sorted(rules)]
    held = {digest for one in there for digest in one.hashes.tolist()}
    kept = len(held & set(rows.hashes.tolist()))
    if 2 * kept < len(held):
        differences.append(f"images: only {kept} of its {len(held)} are in {data.root}")
    if differences:
        raise OutputExistsError(where, tuple(dict.fromkeys(differences)))


def prepare_cache(cache_dir: Path) -> None:
    """Make the cache folder, with a .gitignore of its own."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    ignore = cache_dir / ".gitignore"
    if not ignore.exists():
        write_text(ignore, "# Written by featx: extracted features are never committed.\n*\n")


def _data_stem(dataset: Dataset) -> str:
    where = [str(dataset.root.resolve()), dataset.name]
    return f"{_plain(dataset.name)}-{hash_json(where)[:8]}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:60] or "data"
