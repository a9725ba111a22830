"""What an extraction is asked for, and what of it is there already."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from featx.data.dataset import Dataset
from featx.data.hashing import hash_images, write_index
from featx.data.inventory import Inventory, take_inventory
from featx.data.loading import find_depth
from featx.decoding.picture import pixel_limit
from featx.errors import FeatureFileError, FeatxError, ImageError
from featx.extraction.relabelling import correct_inventory
from featx.extraction.result import Extraction, summarise_found
from featx.extraction.runner import start_network
from featx.features.cache import (
    OpenFiles,
    find_cache_dir,
    find_finished,
    find_making,
    list_begun,
    list_same_data,
)
from featx.features.checkpoints import Checkpoints, open_checkpoints
from featx.features.content import FeatureFile
from featx.features.corrections import read_corrections
from featx.features.file import parts_folder
from featx.features.ledger import count_held
from featx.features.provenance import Choice, Provenance
from featx.machine import count_cores
from featx.sources.boxes import Boxes
from featx.sources.groups import Grouping
from featx.sources.reading import read_inventory
from featx.storage.files import resolve_output
from featx.timing import Stages

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an extraction is asked for. What the fields mean is told by `featx.extract`.

    Attributes
    ----------
    data : path, Dataset or Inventory
        Of an Inventory the images are hashed.
    choice : Choice
        Network, engine, precision, decoding, framing, storage.
    output, cache_dir : path or None
    """

    data: str | Path | Dataset | Inventory
    split: str | None = None
    root: str | Path | None = None
    recursive: bool = False
    grouping: Grouping | None = None
    multi_label: bool = False
    boxes: Boxes | None = None
    choice: Choice = field(default_factory=Choice)
    weights: str = "auto"
    device: str = "auto"
    batch_size: int | None = None
    num_workers: int | None = None
    decode_processes: int | None = None
    on_error: str = "skip"
    output: str | Path | None = None
    cache_dir: str | Path | None = None
    overwrite: bool = False
    rehash: bool = False
    lock: bool = True
    progress: bool = False
    labels: str | Path | None = None

    @property
    def guarded(self) -> bool:
        """Whether what lies at the output and is something else must stay."""
        return self.output is not None and not self.overwrite

    def read_images(self) -> Inventory:
        """The images that are asked for, not hashed yet where they were not."""
        if isinstance(self.data, Inventory):
            return self.data
        if isinstance(self.data, Dataset):
            return take_inventory(self.data)
        return read_inventory(
            self.data, self.split, self.root, recursive=self.recursive, grouping=self.grouping,
            multi_label=self.multi_label, boxes=self.boxes,
        )  # fmt: skip

    def settle_depth(self, inventory: Inventory) -> Choice:
        """What was chosen, with how deep samples go where the images are to say it."""
        choice = self.choice
        if choice.depth != "used":
            return choice
        paths = inventory.iterate_paths()
        return replace(choice, depth=find_depth(paths, choice.reading, self.count_workers()))

    def count_workers(self) -> int:
        """Decoding threads."""
        return count_cores() if self.num_workers is None else self.num_workers


@dataclass(frozen=True)
class Lookup:
    """A request, and what of it is there.

    Attributes
    ----------
    request : Request
        Its output is where that really is.
    inventory : Inventory
        Hashed.
    cache_dir : Path
    same_data : list of Path
        Feature files that may hold the same data.
    opened : OpenFiles
    stages : Stages
    found : Extraction or None
        Nothing is left to do: the file that has it all.
    """

    request: Request
    inventory: Inventory
    cache_dir: Path
    same_data: list[Path]
    opened: OpenFiles
    stages: Stages
    found: Extraction | None = None

    def find_making(self) -> Provenance | None:
        """How features of this data were made: a file's, else those that an interrupted run kept.

        What that began in is gone on with: a probe may say another thing today.
        """
        output = self.request.output
        place = None if output is None else Path(output)
        begun = list_begun(self.inventory, self.cache_dir, place)
        return find_making([*self.same_data, *begun], self.opened)


def look_up(request: Request) -> Lookup:
    """Find and hash the images, and a file that holds just them."""
    corrections = None if request.labels is None else read_corrections(request.labels)
    inventory = request.read_images()
    pixel_limit()  # what it says of a wrong setting is better said now
    target = None if request.output is None else resolve_output(Path(request.output))
    request = replace(request, output=target)
    home = find_cache_dir(request.cache_dir)
    stages, opened = Stages(), OpenFiles()
    with ThreadPoolExecutor(1, thread_name_prefix="featx-start") as pool:
        with stages.time("find"):
            same_data = list_same_data(inventory, home, target)
            # Else all may be done, and what finds everything done loads no torch.
            starting = None if same_data else pool.submit(start_network, request.device)
            known = () if request.rehash else same_data
            hash_images(inventory, request.on_error, known, request.progress)
            if corrections is not None:
                correct_inventory(inventory, corrections)
            usable = same_data if target is None else [path for path in same_data if path == target]
            found = find_finished(inventory, usable, request.weights, request.choice, opened)
        if starting is not None:
            with stages.time("start"):
                starting.result()  # a library that does not load says only once why
    lookup = Lookup(request, inventory, home, same_data, opened, stages)
    if found is None:
        return lookup
    clear_finished(found, inventory)
    done = reuse(found, inventory, request.on_error, stages, request.device)
    return replace(lookup, found=done)


def reuse(
    found: FeatureFile, inventory: Inventory, on_error: str, stages: Stages, device: str
) -> Extraction:
    """Take a file that has everything as it is.

    Raises
    ------
    ImageError
        An image was skipped in it, and `on_error` is "fail".
    """
    if on_error == "fail":
        for one in found.heading.skipped:
            raise ImageError(str(inventory.root / one.path), one.reason, one.kind)
    if inventory.read:
        note_index(inventory, found.path)
    return summarise_found(found, stages, device)


def clear_finished(found: FeatureFile, inventory: Inventory) -> None:
    """Remove the parts of a run that was killed between its last two steps.

    Only where all of them are in the file, which holds just that inventory: others may be of
    images that are away for a while.
    """
    if not parts_folder(found.path).is_dir():
        return
    with contextlib.suppress(FeatxError, OSError), open_checkpoints(found.path) as checkpoints:
        drop_held(checkpoints, found, inventory)


def drop_held(checkpoints: Checkpoints, found: FeatureFile, inventory: Inventory) -> None:
    """Remove parts that are all in the file; see `clear_finished`."""
    parts = [part for part, _ in checkpoints.parts]
    held, kept = count_held(parts, inventory)
    if held == kept and all(part.provenance == found.provenance for part in parts):
        checkpoints.discard()


def note_index(inventory: Inventory, path: Path) -> None:
    """Keep what the system said of the images: a convenience, so a failure is no failure."""
    try:
        write_index(inventory, path)
    except (FeatureFileError, OSError) as error:
        log.debug("the next run reads every image again: %s", error)
