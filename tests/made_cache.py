"""A cache folder in which all is that may be: what is whole, of no use, others' and unfinished."""

import os
import time

from shared import reseal

from featx.extraction.extract import extract
from featx.extraction.transformer import ResNet50Features

DAY = 86400


def fill_cache(photos, folder):
    """A whole file, one cut short, one of another schema, an unfinished one, leftovers, others'.

    Returns the whole one.
    """
    whole = extract(photos, cache_dir=folder).features
    data = whole.read_bytes()
    (folder / "cut.h5").write_bytes(data[:-100])
    (folder / "cut.h5.cost.json").write_text("{}")
    (folder / "old.h5").write_bytes(data.replace(b"schema", b"schemb"))
    reseal(folder / "old.h5", "feature file")
    parts = folder / "begun.h5.parts"
    parts.mkdir()
    (parts / "000000.h5").write_bytes(data)
    (parts / "journal").write_text("x")
    (parts / "notes.txt").write_text("mine")
    (folder / "gone.h5.files").write_text("x")
    ResNet50Features(cache_dir=folder).transform([photos / "cat" / "00.jpg"])
    for name, age in ((f".a.h5.{32 * 'a'}.tmp", 2), (f".b.h5.{32 * 'b'}.tmp", 0)):
        (folder / name).write_text("half")
        os.utime(folder / name, times=2 * (time.time() - age * DAY,))
    (folder / "other.h5").write_bytes(b"\x89HDF\r\n\x1a\n and so on")
    (folder / "notes.h5").write_text("mine")
    (folder / "linked.h5").symlink_to(whole)
    (folder / "rows" / "mine").mkdir()
    (folder / "rows" / "mine" / "x").write_text("mine")
    return whole
