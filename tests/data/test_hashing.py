import os
import shutil

import h5py
import numpy as np
import pytest
from shared import CountingEngine, draw_photo, reseal

from featx.data import hashing
from featx.data.hashing import hash_images, index_path, write_index
from featx.errors import ImageError
from featx.extraction.extract import extract, extract_inventory
from featx.extraction.request import Request
from featx.sources.reading import read_inventory
from featx.storage.hdf5 import write_sealed
from featx.storage.rows import encode_text


@pytest.fixture
def settled(monkeypatch):
    """Believe states at once: the files of a test are never older than the two seconds."""
    monkeypatch.setattr(hashing, "_RACY_NS", -(10**12))


def look(root, *known_beside):
    return hash_images(read_inventory(root), "skip", known_beside)


def hashes(inventory):
    held = inventory.load_read()
    return dict(zip(held.dataset.paths, held.hashes.tolist(), strict=True))


@pytest.fixture
def noted(photos, settled, tmp_path):
    """The photographs as they were, and a feature file's place with an index beside it."""
    first, path = look(photos), tmp_path / "F.h5"
    write_index(first, path)
    return first, path


def test_what_did_not_change_is_not_read_again(photos, noted):
    first, path = noted
    assert first.read == 27
    again = look(photos, path)
    assert again.read == 0
    assert hashes(again) == hashes(first)
    assert again.fingerprint() == first.fingerprint() == first.load_read().fingerprint


def test_new_bytes_are_seen_though_size_and_time_are_the_old_ones(photos, noted):
    first, index = noted
    path = photos / "dog" / "01.png"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = look(photos, index)
    assert again.read == 1
    old, new = hashes(first), hashes(again)
    assert [name for name in new if new[name] != old[name]] == ["dog/01.png"]


def test_a_file_put_in_anothers_place_is_seen(photos, noted):
    first, index = noted
    (photos / "cat" / "00.jpg").replace(photos / "cat" / "02.jpg")
    shutil.copy2(photos / "cat" / "04.jpg", photos / "cat" / "00.jpg")
    old, new = hashes(first), hashes(look(photos, index))
    assert new["cat/02.jpg"] == old["cat/00.jpg"]
    assert new["cat/00.jpg"] == old["cat/04.jpg"]


def test_a_file_that_changed_just_now_is_not_believed(photos, tmp_path):
    path = tmp_path / "F.h5"
    write_index(look(photos), path)
    assert look(photos, path).read == 27
    os.utime(photos / "cat" / "00.jpg", (1, 1))  # its mtime is old; its ctime tells
    write_index(look(photos), path)
    assert look(photos, path).read == 27


def test_a_damaged_index_is_not_believed(photos, noted, tmp_path, caplog):
    _, path = noted
    assert look(photos, path, tmp_path / "none.h5").read == 0
    data = bytearray(index_path(path).read_bytes())
    data[-40] ^= 4
    index_path(path).write_bytes(data)
    assert look(photos, path).read == 27
    assert any(m.startswith("every image is read again: ") for m in caplog.messages)
    index_path(path).write_bytes(data[:600])
    reseal(index_path(path), "file index")
    assert look(photos, path).read == 27


def test_the_newer_of_two_indexes_counts(photos, noted, tmp_path):
    _, old = noted
    draw_photo(photos / "cat" / "00.jpg", 2, 99)
    write_index(look(photos), tmp_path / "new.h5")
    joined = look(photos, tmp_path / "new.h5", old)
    assert joined.read == 0
    assert hashes(joined) == hashes(look(photos))


def test_extract_reads_images_once(stored, photos, settled, monkeypatch, tmp_path):
    done = extract(photos, cache_dir=tmp_path / "c")
    reads = []
    real = hashing._read
    monkeypatch.setattr(hashing, "_read", lambda path: reads.append(path) or real(path))
    assert extract(photos, cache_dir=tmp_path / "c").fingerprint == done.fingerprint
    assert reads == []
    assert extract(photos, cache_dir=tmp_path / "c", rehash=True).extracted == 0
    assert len(reads) == 27


def test_ten_of_ten_thousand(tmp_path, provenance, settled):
    # Few pictures, many names: identical files cost one pass.
    folder = tmp_path / "many"
    for i in range(100):
        draw_photo(folder / f"{i:05d}.png", 0, i, size=(24, 24))
    for i in range(100, 10_000):
        os.link(folder / f"{i % 100:05d}.png", folder / f"{i:05d}.png")
    engine = CountingEngine()
    options = {"output": tmp_path / "F.h5", "cache_dir": tmp_path, "num_workers": 0}
    extract_inventory(look(folder), engine, provenance, Request(data=folder, **options))
    assert engine.images == 100
    for i in range(10):
        draw_photo(folder / f"new{i}.png", 1, i, size=(24, 24))
    for i in range(3):
        (folder / f"{i:05d}.png").unlink()
    inventory = look(folder, tmp_path / "F.h5")
    assert inventory.read == 10 + 3 * 99  # what lost a name has another time of change
    done = extract_inventory(inventory, engine, provenance, Request(data=folder, **options))
    assert engine.images == 110
    assert (done.images, done.extracted, done.reused, done.removed) == (10_007, 10, 9_997, 3)


def test_pipes_and_folders_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opened like a file, it would wait for ever
    draw_photo(tmp_path / "x.png", 0, 0)
    inventory = look(tmp_path)
    assert [(one.path, one.kind, one.reason) for one in inventory.unread] == [
        ("pipe.png", "unreadable", "not a regular file")
    ]
    with pytest.raises(ImageError, match=r"pipe.png: not a regular file"):
        hash_images(read_inventory(tmp_path), "fail")


@pytest.mark.parametrize(
    "change",
    [
        {"inode": encode_text(np.array(["x"] * 27))},
        {"size": np.zeros(1, np.int64)},
        {"digests": np.zeros((27, 40), np.uint8)},
        {"digests": np.zeros((27, 32), np.float32)},
        {"names": np.zeros(27, np.int64)},
        {"mtime": None},
    ],
)
def test_an_index_of_another_shape_is_not_believed(photos, noted, tmp_path, caplog, change):
    _, path = noted
    with h5py.File(index_path(path)) as file:
        columns = {name: file[name][:] for name in file}
    columns = {name: array for name, array in (columns | change).items() if array is not None}
    write_sealed(index_path(path), "file index", {}, columns)
    assert look(photos, path).read == 27
    (message,) = caplog.messages
    assert message.startswith(f"every image is read again: {index_path(path)}: damaged: ")
