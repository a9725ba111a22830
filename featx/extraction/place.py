"""What is done where a feature file goes, by what lies there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.data.inventory import Inventory
from featx.errors import FeatureFileError, OutputExistsError
from featx.features.cache import OpenFiles, find_differences
from featx.features.content import FeatureFile
from featx.features.file import parts_folder
from featx.features.ledger import has_beside, holds
from featx.features.provenance import Provenance

log = logging.getLogger(__name__)


def choose_action(file: str, parts: str = "none", *, guarded: bool = False) -> str:
    """What to do where a feature file goes; nothing but these words decides it.

    Parameters
    ----------
    file : {"none", "damaged", "other", "narrower", "alike", "fitting", "finished"}
        What lies there: nothing; what cannot be read as a feature file; features made otherwise;
        made of the same data with fewer layers; made alike, of other data or splits; made alike, of
        the same data before it changed; just what is asked for.
    parts : {"none", "other", "narrower", "alike", "fitting"}
        What an interrupted extraction kept beside it, in the same words.
    guarded : bool
        The place was named, and what is something else there may not be overwritten.

    Returns
    -------
    {"reuse", "refuse", "resume", "extend", "make"}
        Take the file as it is; leave all as it is and say why; go on with the parts, and with what
        the file has; compute what the file has not; compute everything that no other file has.
    """
    if file == "finished":
        return "reuse"
    if guarded and (file in ("damaged", "other", "alike") or parts in ("other", "alike")):
        return "refuse"
    if parts in ("alike", "fitting"):
        return "resume"
    if file in ("alike", "fitting"):
        return "extend"
    return "make"


@dataclass(frozen=True)
class Place:
    """Where a feature file goes, and what is to be done there.

    Attributes
    ----------
    path : Path
    action : {"reuse", "resume", "extend", "make"}
        See `choose_action`.
    before : FeatureFile or None
        What the file there holds.
    """

    path: Path
    action: str
    before: FeatureFile | None


def examine_place(
    path: Path,
    inventory: Inventory,
    provenance: Provenance,
    *,
    guarded: bool,
    parts: Sequence[FeatureFile] = (),
    opened: OpenFiles | None = None,
) -> Place:
    """Look at what lies where features of that making and data go, and decide what to do.

    Raises
    ------
    OutputExistsError
        It is to be left as it is.
    """
    before, file, reasons = None, "none", tuple[str, ...]()
    if path.exists():
        try:
            before = (opened or OpenFiles()).open(path)
        except FeatureFileError as error:
            file, reasons = "damaged", (error.reason,)
            if not guarded:
                log.warning("not reused: %s", error)
        else:
            # Counting what is still there takes time, and only a refusal would say it.
            reasons = find_differences([before], inventory, provenance) if guarded else ()
            file = _compare([before], provenance, reasons)
            same_split = before.heading.split_rule == inventory.split_rule
            if file == "fitting" and same_split and holds(before, inventory):
                # With other groups or sets of labels it is written anew; its features are taken.
                file = "finished" if has_beside(before, inventory) else "fitting"
    # An interrupted extraction by another split rule is of the same images.
    others = find_differences(parts, inventory, provenance, other_split=True) if guarded else ()
    action = choose_action(file, _compare(parts, provenance, others), guarded=guarded)
    if action == "refuse":
        raise OutputExistsError(path if reasons else parts_folder(path), reasons or others)
    return Place(path, action, before)


def _compare(
    there: Sequence[FeatureFile], provenance: Provenance, differences: Sequence[str]
) -> str:
    """One of the words of `choose_action` for files that are there."""
    if not there:
        return "none"
    if all(one.provenance != provenance for one in there):
        narrower = not differences and all(one.provenance.widens_to(provenance) for one in there)
        return "narrower" if narrower else "other"
    return "alike" if differences else "fitting"
