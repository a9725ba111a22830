"""What of a cache folder goes together, how old and how large it is, and what may go."""

import os
import time

import pytest
from made_cache import DAY, fill_cache

from featx.errors import LockedError
from featx.features.file import parts_folder
from featx.features.housekeeping import choose_entries, list_cache, remove_entry
from featx.storage.locks import hold_lock


@pytest.fixture
def cache(photos, stored, tmp_path):
    """The folder, and the whole file in it."""
    return tmp_path / "c", fill_cache(photos, tmp_path / "c")


def test_age_counts_from_the_last_writing(cache):
    folder, whole = cache
    for path in folder.glob(f"{whole.name}*"):
        os.utime(path, times=2 * (time.time() - 40 * DAY,))
    found = list_cache(folder)
    old = {one.path for one in choose_entries(found, older_than=30)}
    assert old - {one.path for one in choose_entries(found)} == {whole}
    assert choose_entries(found, everything=True) == found
    assert whole not in {one.path for one in choose_entries(found, older_than=50)}


def test_every_byte_of_ours_belongs_to_one_entry(cache):
    folder, _ = cache
    found = list_cache(folder)
    files = [path for one in found for path in one.files]
    assert len(files) == len(set(files))
    assert sum(one.bytes for one in found) == sum(path.stat().st_size for path in files)
    others = {"notes.h5", "other.h5", "linked.h5", "notes.txt", "x", ".gitignore"}
    assert not {path.name for path in files} & others


def test_an_entry_goes_whole_and_takes_nothing_else(cache):
    folder, _ = cache
    before = {path for path in folder.rglob("*") if path.is_file()}
    (begun,) = [one for one in list_cache(folder) if one.kind == "unfinished"]
    remove_entry(begun)
    gone = before - {path for path in folder.rglob("*") if path.is_file()}
    assert gone == {one for one in begun.files if one.is_relative_to(folder)}
    assert (folder / "begun.h5.parts" / "notes.txt").exists()


def test_what_is_at_work_is_not_removed(cache):
    folder, whole = cache
    entry = next(one for one in list_cache(folder) if one.path == whole)
    with hold_lock(parts_folder(whole), whole), pytest.raises(LockedError):
        remove_entry(entry)
    assert whole.exists()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert list_cache(tmp_path / "nowhere") == []
