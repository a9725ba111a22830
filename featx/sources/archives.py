"""What is to be known of images in archives besides what is known of those in folders."""

from __future__ import annotations

from featx.data.dataset import Skipped
from featx.data.inventory import Inventory
from featx.storage.places import find_damage, is_archive, iterate_strays


def note_archive(found: Inventory) -> None:
    """Tell an inventory what its archive holds that no folder does, and where it is damaged."""
    if not is_archive(found.root):
        return
    for kind, name in iterate_strays(found.root):
        found.left_out.add(kind, name)
    if damage := find_damage(found.root):
        # As a folder that cannot be read does, what is lost counts as one file that cannot be.
        found.unread.append(Skipped("./", "", "unreadable", damage))
