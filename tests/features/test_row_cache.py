"""Rows in batch files: what is damaged, shared or interrupted."""

import errno
import hashlib
import logging
import threading

import numpy as np
import pytest
from shared import PROVENANCE

from featx.errors import StorageError
from featx.features import row_cache as rowcache
from featx.features.row_cache import RowCache, list_provenances, note_provenance, open_rows
from featx.storage import locks
from featx.storage.locks import hold_lock


def name(i):
    return hashlib.sha256(str(i).encode()).hexdigest()


def make_rows(*numbers):
    return {name(i): np.arange(4, dtype=np.float32) + i for i in numbers}


def list_files(folder):
    return sorted(folder.glob("*.rows"))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for digest, row in expected.items():
        assert found[digest].dtype == np.float32
        assert np.array_equal(found[digest], row)


@pytest.fixture
def cache(tmp_path):
    return RowCache(tmp_path / "rows", 4)


def test_rows_come_back(cache):
    assert cache.read([name(0)]) == {}
    cache.write({})
    assert not cache.folder.exists()
    cache.write(make_rows(0, 1, 2))
    cache.write(make_rows(3))
    assert len(list_files(cache.folder)) == 2
    assert_equal(cache.read([name(3), name(1), name(9)]), make_rows(1, 3))
    # Another process, and what it writes after we looked.
    other = RowCache(cache.folder, 4)
    assert_equal(other.read(make_rows(0, 1)), make_rows(0, 1))
    cache.write(make_rows(9))
    assert_equal(other.read(make_rows(9)), make_rows(9))


def test_any_flipped_bit_is_found_and_the_rows_are_taken_from_elsewhere(cache, caplog):
    cache.write(make_rows(0, 1))
    (file,) = list_files(cache.folder)
    whole = file.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1
        file.write_bytes(data)
        assert RowCache(cache.folder, 4).read(make_rows(0, 1)) == {}
        file.write_bytes(whole)
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        assert RowCache(cache.folder, 4).read(make_rows(0)) == {}
    assert "removed, since it is damaged; its rows are computed again: " in caplog.text
    file.write_bytes(whole[:-1] + b"x")
    cache = RowCache(cache.folder, 4)
    cache.write(make_rows(1, 2))
    assert_equal(cache.read(make_rows(0, 1, 2)), make_rows(1, 2))
    assert not file.exists()


def test_what_is_not_ours_stays(cache, caplog):
    cache.folder.mkdir()
    other = cache.folder / "x.rows"
    other.write_bytes(b"featx rows 2\n and more of it")
    cache.write(make_rows(0))
    assert_equal(cache.read(make_rows(0)), make_rows(0))
    assert caplog.text.count("ignored, since it holds no rows of this version") == 1
    assert other.exists()


def test_a_full_disk_is_said(cache, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(StorageError, match="the rows written before are kept"):
        cache.write(make_rows(0))
    assert list_files(cache.folder) == []


def test_small_files_are_put_together(cache, caplog):
    reader = RowCache(cache.folder, 4)
    for i in range(100):
        cache.write(make_rows(i))
        if i == 20:
            assert len(reader.read(make_rows(*range(20)))) == 20
    assert len(list_files(cache.folder)) < 40
    assert_equal(reader.read(make_rows(*range(100))), make_rows(*range(100)))
    assert not caplog.records


def test_of_two_at_work_each_image_goes_to_one(cache):
    numbers, computed, lock = range(300), [], threading.Lock()
    many = make_rows(*numbers)

    def work(begin):
        own = RowCache(cache.folder, 4)  # as another process has it
        missing = dict.fromkeys(many)
        begin.wait()
        while missing:
            with own.claim(missing, 40) as claimed:
                assert 1 <= len(claimed) <= 40
                found = own.read(claimed)
                left = [digest for digest in claimed if digest not in found]
                with lock:
                    computed.extend(left)
                own.write({digest: many[digest] for digest in left})
            for digest in claimed:
                del missing[digest]

    begin = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(begin,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(computed) == sorted(many)
    assert_equal(cache.read(many), many)


def test_what_another_claimed_is_waited_for(cache, caplog):
    caplog.set_level(logging.INFO)
    held = hold_lock(cache.folder / "claimed" / f"{int(name(0)[:2], 16) % 64:02d}", cache.folder)
    held.__enter__()
    told = []
    ended = threading.Timer(0.3, lambda: (told.append(True), held.__exit__(None, None, None)))
    ended.start()
    with cache.claim([name(0)], 5) as claimed:
        assert claimed == [name(0)]
        assert told
    ended.join()
    assert caplog.text.count("waiting for rows that are being computed elsewhere") == 1


def test_without_locks_all_are_given_out(cache, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", refuse)
    with cache.claim(make_rows(*range(9)), 9) as one, cache.claim(make_rows(*range(9)), 9) as two:
        assert sorted(one) == sorted(two) == sorted(make_rows(*range(9)))
    for i in range(40):
        cache.write(make_rows(i))
    assert len(list_files(cache.folder)) == 40


def test_a_folder_says_what_made_its_rows(tmp_path, caplog):
    cache = open_rows(tmp_path, PROVENANCE, 4)
    assert open_rows(tmp_path, PROVENANCE, 4) is cache
    assert list_provenances(tmp_path) == []
    note_provenance(cache, PROVENANCE)
    note_provenance(cache, PROVENANCE)
    assert list_provenances(tmp_path) == [PROVENANCE]
    note = cache.folder / rowcache._MADE_BY
    note.write_text(note.read_text().replace("tiny", "else"))
    assert list_provenances(tmp_path) == []
    assert not caplog.records
    note.write_text("{")
    assert list_provenances(tmp_path) == []
    assert "ignored, since it cannot be read" in caplog.text
