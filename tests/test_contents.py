import os
import shutil

import numpy as np
import pytest
from conftest import TINY, CountingEngine, draw_photo, reseal

from featx import contents
from featx.container import write_sealed
from featx.contents import FileIndex, hash_rows, index_path, read_indexes, write_index
from featx.errors import ImageError
from featx.extraction import extract, extract_rows
from featx.rows import encode_text
from featx.sources import read_dataset


@pytest.fixture
def settled(monkeypatch):
    """Believe states at once: the files of a test are never older than the two seconds."""
    monkeypatch.setattr(contents, "_RACY_NS", -(10**12))


def look(root, known=None):
    return hash_rows(read_dataset(root), "skip", known)


def test_what_did_not_change_is_not_read_again(photos, settled):
    first = look(photos)
    assert (first.read, len(first.index.states)) == (27, 27)
    again = look(photos, first.index)
    assert again.read == 0
    assert again.hashes.tolist() == first.hashes.tolist()
    assert again.fingerprint == first.fingerprint


def test_new_bytes_are_seen_though_size_and_time_are_the_old_ones(photos, settled):
    first = look(photos)
    path = photos / "dog" / "01.png"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = look(photos, first.index)
    assert again.read == 1
    changed = [
        p for p, a, b in zip(again.dataset.paths, first.hashes, again.hashes, strict=True) if a != b
    ]
    assert changed == ["dog/01.png"]


def test_a_file_put_in_anothers_place_is_seen(photos, settled):
    first = look(photos)
    (photos / "cat" / "00.jpg").replace(photos / "cat" / "02.jpg")
    shutil.copy2(photos / "cat" / "04.jpg", photos / "cat" / "00.jpg")
    again = look(photos, first.index)
    by_path = dict(zip(again.dataset.paths, again.hashes.tolist(), strict=True))
    old = dict(zip(first.dataset.paths, first.hashes.tolist(), strict=True))
    assert by_path["cat/02.jpg"] == old["cat/00.jpg"]
    assert by_path["cat/00.jpg"] == old["cat/04.jpg"]


def test_a_file_that_changed_just_now_is_not_believed(photos):
    first = look(photos)
    assert len(first.index.states) == 0
    old = photos / "cat" / "00.jpg"
    os.utime(old, (1, 1))  # its mtime is old; its ctime tells
    assert len(look(photos).index.states) == 0


def test_the_index_comes_back_and_a_damaged_one_is_not_believed(photos, settled, tmp_path, caplog):
    first = look(photos)
    path = tmp_path / "F.h5"
    write_index(first.index, path)
    assert look(photos, read_indexes([path, tmp_path / "none.h5"])).read == 0
    data = bytearray(index_path(path).read_bytes())
    data[-40] ^= 4
    index_path(path).write_bytes(data)
    assert len(read_indexes([path]).states) == 0
    assert any(m.startswith("every image is read again: ") for m in caplog.messages)
    index_path(path).write_bytes(data[:600])
    reseal(index_path(path), "file index")
    assert len(read_indexes([path]).states) == 0


def test_the_newer_of_two_indexes_counts(photos, settled, tmp_path):
    write_index(look(photos).index, tmp_path / "old.h5")
    draw_photo(photos / "cat" / "00.jpg", 2, 99)
    write_index(look(photos).index, tmp_path / "new.h5")
    joined = read_indexes([tmp_path / "new.h5", tmp_path / "old.h5"])
    assert look(photos, joined).read == 0
    assert look(photos, joined).hashes.tolist() == look(photos).hashes.tolist()


def test_extract_reads_images_once(stored, photos, settled, monkeypatch, tmp_path):
    done = extract(photos, cache_dir=tmp_path / "c")
    reads = []
    real = contents._read
    monkeypatch.setattr(contents, "_read", lambda path: reads.append(path) or real(path))
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
    extract_rows(look(folder), engine, provenance, TINY, **options)
    assert engine.images == 100
    for i in range(10):
        draw_photo(folder / f"new{i}.png", 1, i, size=(24, 24))
    for i in range(3):
        (folder / f"{i:05d}.png").unlink()
    known = read_indexes([tmp_path / "F.h5"])
    rows = look(folder, known)
    done = extract_rows(rows, engine, provenance, TINY, **options)
    assert engine.images == 110
    assert (done.images, done.extracted, done.reused, done.removed) == (10_007, 10, 9_997, 3)


def test_pipes_and_folders_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opened like a file, it would wait for ever
    draw_photo(tmp_path / "x.png", 0, 0)
    rows = look(tmp_path)
    assert [(one.path, one.kind, one.reason) for one in rows.unread] == [
        ("pipe.png", "unreadable", "not a regular file")
    ]
    with pytest.raises(ImageError, match=r"pipe.png: not a regular file"):
        hash_rows(read_dataset(tmp_path), "fail")


def test_an_empty_index_knows_nothing(photos, settled):
    index = look(photos).index
    assert FileIndex().find(index.names, index.states).tolist() == [-1] * 27


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
def test_an_index_of_another_shape_is_not_believed(photos, settled, tmp_path, caplog, change):
    index = look(photos).index
    columns = {name: np.ascontiguousarray(index.states[name]) for name in index.states.dtype.names}
    columns |= {"names": index.names, "digests": index.digests}
    columns = {name: array for name, array in (columns | change).items() if array is not None}
    write_sealed(index_path(tmp_path / "F.h5"), "file index", {}, columns)
    assert len(read_indexes([tmp_path / "F.h5"]).names) == 0
    (message,) = caplog.messages
    assert message.startswith(f"every image is read again: {tmp_path / 'F.h5.files'}: damaged: ")
