"""Where feature files lie, which images they hold, and what of them can be used again."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from featx.data.dataset import Dataset
from featx.data.inventory import Inventory
from featx.decoding.decoders import describe_decoder, read_decode
from featx.decoding.pixel_format import describe_colours, read_colours
from featx.errors import FeatureFileError
from featx.features.content import FeatureFile
from featx.features.file import PARTS, open_features, parts_folder, read_provenance_key
from featx.features.ledger import count_held, has_beside, holds
from featx.features.provenance import Choice, Provenance
from featx.network.catalogue import KNOWN, name_weights, read_stored_hash
from featx.storage.files import explain_denied, hash_json, write_text
from featx.storage.rows import file_state

log = logging.getLogger(__name__)


def find_cache_dir(cache_dir: str | Path | None = None) -> Path:
    """Where features go: the argument, else FEATX_CACHE, else ./cache."""
    return Path(cache_dir or os.environ.get("FEATX_CACHE") or "cache")


def cache_path(dataset: Dataset | Inventory, provenance: Provenance, cache_dir: Path) -> Path:
    """The name that a dataset's features have in the cache folder."""
    key = hash_json([dataset.split_rule, provenance.key()])[:8]
    return cache_dir / f"{_data_stem(dataset)}-{_plain(provenance.weights)}-{key}.h5"


class OpenFiles:
    """Feature files that were found whole, each read once while it stays what it is."""

    def __init__(self) -> None:
        self._files: dict[Path, FeatureFile] = {}

    def open(self, path: Path) -> FeatureFile:
        """See `open_features`, which it raises as."""
        there = self._files.get(path)
        if there is None or not path.exists() or there.state != file_state(path.stat()):
            there = self._files[path] = open_features(path)
        return there


def open_made_alike(
    provenance: Provenance, cache_dir: Path, but: Path, opened: OpenFiles
) -> Iterator[FeatureFile]:
    """The cache's files of that provenance, but one."""
    for candidate in sorted(cache_dir.glob("*.h5")) if cache_dir.is_dir() else ():
        try:
            if candidate == but or read_provenance_key(candidate) != provenance.key():
                continue
        except FeatureFileError:
            continue  # somebody else's
        try:
            yield opened.open(candidate)
        except FeatureFileError as error:
            log.warning("not reused: %s", error)


def list_same_data(
    dataset: Dataset | Inventory, cache_dir: Path, output: Path | None = None
) -> list[Path]:
    """Files that may hold this very data, whatever its splits: `output`, then the cache's."""
    cached = cache_dir.glob(f"{_data_stem(dataset)}-*.h5") if cache_dir.is_dir() else ()
    newest_first = sorted(cached, key=lambda path: -path.stat().st_mtime)
    named = [output] if output is not None and output.is_file() else []
    return [*named, *newest_first]


def list_begun(
    dataset: Dataset | Inventory, cache_dir: Path, output: Path | None = None
) -> list[Path]:
    """A part of each interrupted extraction of this data that is to be gone on with, whatever its
    splits: that of `output`, or those in the cache.
    """
    if output is None:
        folders = sorted(cache_dir.glob(f"{_data_stem(dataset)}-*.h5{PARTS}"))
    else:
        folders = [parts_folder(output)]
    parts = (sorted(folder.glob("[0-9]*.h5")) for folder in folders)
    return [each[0] for each in parts if each]


def find_finished(
    inventory: Inventory,
    candidates: Iterable[Path],
    weights: str,
    choice: Choice,
    opened: OpenFiles,
) -> FeatureFile | None:
    """A file that holds just these images under the choices made; no weights are read for it.

    Weights known by name have one hash and one preprocessing; a local file must be read first.
    """
    name = name_weights(weights, choice.backbone)
    if name != "auto" and name not in KNOWN:
        return None
    for candidate in candidates:
        try:
            found = opened.open(candidate)
        except FeatureFileError:
            continue  # said, and replaced or refused, where it is about to be written
        made = found.provenance
        if (
            is_asked_for(made, weights, choice)
            and found.heading.split_rule == inventory.split_rule
            and holds(found, inventory)
            and has_beside(found, inventory)
        ):
            if name == "auto":
                log.info("weights: %s, since %s has them", made.weights, candidate)
            return found
    return None


def is_asked_for(made: Provenance, weights: str, choice: Choice) -> bool:
    """Whether features of that making are what would be made; no weights are read for it.

    False, too, where that cannot be known without: weights that have no name of their own.
    """
    known = KNOWN.get(made.weights)
    return (
        known is not None
        and name_weights(weights, choice.backbone) in ("auto", made.weights)
        and read_stored_hash(made.weights) in (None, made.weights_sha256)
        and made.preprocessing == choice.frame(known.preprocessing).to_dict()
        and choice.accepts(made)
        and made.decoder == describe_decoder(read_decode(made.decoder))
        and made.colours == describe_colours(read_colours(made.colours))
    )


def find_making(candidates: Iterable[Path], opened: OpenFiles | None = None) -> Provenance | None:
    """How the first readable of these feature files was made."""
    opened = opened or OpenFiles()
    for candidate in candidates:
        try:
            return opened.open(candidate).provenance
        except FeatureFileError:
            continue
    return None


def find_differences(
    there: Sequence[FeatureFile],
    inventory: Inventory,
    provenance: Provenance,
    other_split: bool = False,
) -> tuple[str, ...]:
    """In what files differ from the features of that making and data; () where in nothing.

    The same data may have grown, changed or shrunk, and more layers may be kept of it; but where
    most of what was made is no longer in it, it was made of something else. `other_split` lets
    another split rule pass.
    """
    headings = [one.heading for one in there]
    found = [
        d
        for one in headings
        if not one.provenance.widens_to(provenance)
        for d in one.provenance.differences(provenance)
    ]
    names = {one.dataset for one in headings} - {inventory.name}
    found += [f"data: {name} → {inventory.name}" for name in sorted(names)]
    rules = {one.split_rule for one in headings if not other_split} - {inventory.split_rule}
    found += [f"split: {rule} → {inventory.split_rule}" for rule in sorted(rules)]
    held, kept = count_held(there, inventory)
    if 2 * kept < held:
        found.append(f"images: only {kept} of its {held} are in {inventory.root}")
    return tuple(dict.fromkeys(found))


def explain_no_cache(cache_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Say how another cache folder is named where this one is refused; see `explain_denied`."""
    kept = "features are kept there unless --cache-dir or FEATX_CACHE names another folder"
    return explain_denied(cache_dir, kept)


def prepare_cache(cache_dir: Path) -> None:
    """Make the cache folder, with a .gitignore of its own."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    ignore = cache_dir / ".gitignore"
    if not ignore.exists():
        write_text(ignore, "# Written by featx: extracted features are never committed.\n*\n")


def _data_stem(dataset: Dataset | Inventory) -> str:
    where = [str(dataset.root.resolve()), dataset.name]
    return f"{_plain(dataset.name)}-{hash_json(where)[:8]}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:60] or "data"
