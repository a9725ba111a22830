"""What an extraction is asked for, and what of it is there already."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from featx.assembly import Extraction, summarise_found
from featx.cache import Opened, find_cache_dir, find_finished, list_same_data
from featx.checkpoints import open_checkpoints
from featx.data.dataset import Dataset
from featx.data.hashing import hash_images, write_index
from featx.data.images import pixel_limit
from featx.data.inventory import Inventory, take_inventory
from featx.data.sources import read_inventory
from featx.errors import FeatureFileError, FeatxError, ImageError
from featx.features import FeatureFile
from featx.ledger import count_held
from featx.provenance import Choice
from featx.stages import Stages
from featx.storage.files import resolve_output
from featx.store import parts_folder
from featx.text import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What is asked for, and what of it is there.

    Attributes
    ----------
    inventory : Inventory
        Hashed.
    choice : Choice
    output : Path or None
        Where a named output really is.
    cache_dir : Path
    same_data : list of Path
        Feature files that may hold the same data.
    opened : Opened
    stages : Stages
    found : Extraction or None
        Nothing is left to do: the file that has it all.
    """

    inventory: Inventory
    choice: Choice
    output: Path | None
    cache_dir: Path
    same_data: list[Path]
    opened: Opened
    stages: Stages
    found: Extraction | None = None


def look_up(
    data: str | Path | Dataset,
    choice: Choice,
    *,
    output: str | Path | None,
    weights: str,
    split: str | None,
    root: str | Path | None,
    device: str,
    on_error: str,
    cache_dir: str | Path | None,
    rehash: bool,
    progress: bool,
) -> Asked:
    """Find and hash the images, and a file that holds just them; see `extract`."""
    if isinstance(data, Dataset):
        inventory = take_inventory(data)
    else:
        inventory = read_inventory(data, split, root)
    _note_ignored(inventory)
    pixel_limit()  # what it says of a wrong setting is better said now
    target = None if output is None else resolve_output(Path(output))
    home = find_cache_dir(cache_dir)
    stages, opened = Stages(), Opened()
    with stages.time("find"):
        same_data = list_same_data(inventory, home, target)
        hash_images(inventory, on_error, () if rehash else same_data, progress)
        usable = same_data if target is None else [path for path in same_data if path == target]
        found = find_finished(inventory, usable, weights, choice, opened)
    asked = Asked(inventory, choice, target, home, same_data, opened, stages)
    if found is None:
        return asked
    if on_error == "fail":
        _fail_on_skipped(found, inventory.root)
    clear_finished(found, inventory)
    if inventory.read:
        note_index(inventory, found.path)
    return replace(asked, found=summarise_found(found, stages, device))


def clear_finished(found: FeatureFile, inventory: Inventory) -> None:
    """Remove the shards of a run that was killed between its last two steps.

    Only where all of them are in the file, which holds just that inventory: others may be of
    images that are away for a while.
    """
    if not parts_folder(found.path).is_dir():
        return
    with contextlib.suppress(FeatxError, OSError), open_checkpoints(found.path) as checkpoints:
        shards = [shard for shard, _ in checkpoints.shards]
        held, kept = count_held(shards, inventory)
        if held == kept and all(shard.provenance == found.provenance for shard in shards):
            checkpoints.discard()


def note_index(inventory: Inventory, path: Path) -> None:
    """Keep what the system said of the images: a convenience, so a failure is no failure."""
    try:
        write_index(inventory, path)
    except (FeatureFileError, OSError) as error:
        log.debug("the next run reads every image again: %s", error)


def _fail_on_skipped(found: FeatureFile, root: Path) -> None:
    for one in found.heading.skipped:
        raise ImageError(str(root / one.path), one.reason, one.kind)


def _note_ignored(inventory: Inventory) -> None:
    if inventory.n_ignored:
        named = ", ".join([*inventory.ignored[:3], *["…"][: inventory.n_ignored > 3]])
        log.info("ignored, since no images: %d (%s)", inventory.n_ignored, printable(named))
