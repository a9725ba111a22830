import bz2
import hashlib
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from made_archives import add_member, pack_parquet, pack_tar, pack_zip

from featx.errors import DatasetError
from featx.storage import places
from featx.storage.places import (
    find_damage,
    hash_place,
    is_folder,
    is_place,
    iterate_members,
    iterate_strays,
    locate,
    open_place,
    read_head,
    scan_place,
    state_of,
)


@pytest.fixture
def packed(photos, tmp_path):
    return pack_tar(photos, tmp_path / "photos.tar")


def read(path):
    with open_place(path) as file:
        return file.read()


def test_a_member_is_its_file(photos, packed):
    for path in sorted(photos.rglob("*.*")):
        member = packed / path.relative_to(photos)
        assert read(member) == read(path) == path.read_bytes()
        assert hash_place(member) == hashlib.sha256(path.read_bytes()).hexdigest()
        assert state_of(member).size == state_of(path).size == path.stat().st_size
        assert is_place(member)
        assert not is_folder(member)


@pytest.mark.parametrize("pack", [pack_tar, pack_zip, pack_parquet])
def test_a_head_is_read_alone(photos, tmp_path, pack):
    packed = pack(photos, tmp_path / f"photos{SUFFIXES[pack]}")
    for _, name in iterate_members(packed):
        for most in (0, 1, 26, 5000, 10**6):
            assert read_head(packed / name, most) == read(packed / name)[:most]
    plain = photos / "cat" / "00.jpg"
    assert read_head(plain, 26) == plain.read_bytes()[:26]


SUFFIXES = {pack_tar: ".tar", pack_zip: ".zip", pack_parquet: ".parquet"}


def test_an_archive_is_a_folder(photos, packed):
    def walk(folder):
        with scan_place(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from walk(folder / entry.name)
                else:
                    yield folder / entry.name

    found = {path.relative_to(packed) for path in walk(packed)}
    assert found == {path.relative_to(photos) for path in photos.rglob("*.*")}
    assert is_folder(packed)
    assert is_folder(packed / "cat")
    assert not is_folder(packed / "cow")
    with pytest.raises(NotADirectoryError), scan_place(packed / "cow"):
        pass


def test_what_is_not_there_is_said_as_of_a_file(photos, packed):
    for path in (packed / "cat" / "99.jpg", photos.with_name("gone.tar") / "cat" / "00.jpg"):
        with pytest.raises(FileNotFoundError):
            read(path)
        assert not is_place(path)
    inside = photos / "cat" / "00.jpg" / "[0,0,9,9]"  # through a file that is no archive
    with pytest.raises(NotADirectoryError):
        read(inside)
    assert not is_place(inside)
    assert not is_folder(inside)


def test_an_archive_that_changes_is_listed_anew(photos, packed):
    member, state = packed / "cat" / "00.jpg", state_of(packed / "cat" / "00.jpg")
    (photos / "cat" / "00.jpg").write_bytes(b"other bytes")
    (photos / "cat" / "01.png").unlink()
    pack_tar(photos, packed)
    assert read(member) == b"other bytes"
    assert state_of(member) != state
    assert not is_place(packed / "cat" / "01.png")


def test_members_are_numbered_as_they_lie(photos, packed):
    names = [name for _, name in iterate_members(packed)]
    assert names == [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("*.*"))]
    numbers = [locate(packed / name)[1] for name in names]
    assert numbers == sorted(set(numbers))
    assert locate(photos / names[0]) is None


def test_threads_read_one_archive_together(photos, packed):
    paths = sorted(photos.rglob("*.*")) * 5
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: read(packed / path.relative_to(photos)), paths))
    assert found == [path.read_bytes() for path in paths]


def test_what_does_not_belong_into_an_archive_is_left_out_by_kind(tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a/1.png", b"first")
        add_member(tar, "/etc/1.png", b"absolute")
        add_member(tar, "a/../../1.png", b"out")
        add_member(tar, "a/link.png", type=tarfile.SYMTYPE, linkname="1.png")
        add_member(tar, "a/hard.png", type=tarfile.LNKTYPE, linkname="a/1.png")
        add_member(tar, "a/pipe.png", type=tarfile.FIFOTYPE)
        add_member(tar, "./a//1.png", b"again")
    assert [name for _, name in iterate_members(path)] == ["a/1.png"]
    assert read(path / "a" / "1.png") == b"again"  # as it would be where all is unpacked
    assert [name for _, name in iterate_strays(path)] == [
        "a/pipe.png", "a/hard.png", "a/link.png", "a/1.png", "/etc/1.png", "a/../../1.png",
    ]  # fmt: skip
    assert find_damage(path) == ""


def test_what_is_no_archive_by_its_contents(tmp_path):
    path = tmp_path / "no.tar"
    path.write_bytes(b"path,label\n" * 100)
    with pytest.raises(DatasetError, match=r"no\.tar: it is no tar file"):
        read(path / "1.png")


def test_limits(packed, monkeypatch):
    monkeypatch.setattr(places, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(OSError, match="100 bytes is the most"):
        read(packed / "cat" / "00.jpg")
    monkeypatch.setattr("featx.storage.members.MAX_MEMBERS", 5)
    packed.touch()
    with pytest.raises(DatasetError, match="more than 5 members"):
        read(packed / "cat" / "00.jpg")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip", ".parquet"])
@pytest.mark.parametrize("pack", [pack_tar, pack_zip, pack_parquet])
def test_an_archive_is_what_it_holds(photos, tmp_path, pack, suffix):
    names = [name for _, name in iterate_members(pack(photos, tmp_path / f"1{SUFFIXES[pack]}"))]
    wrong = pack(photos, tmp_path / f"2{suffix}")
    assert [name for _, name in iterate_members(wrong)] == names


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("1.parquet", b"", r"no Parquet file \(empty file\)"),
        ("1.parquet", b"x" * 999, r"no Parquet file \(another begin\)"),
        ("1.tar", b"", r"no tar file \(empty file\)"),
        ("1.tar", bz2.compress(b"x"), r"by bzip2, .*unpack it \(bunzip2 -k 1\.tar\)"),
    ],
)
def test_what_is_no_archive_says_what_it_is(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match=said):
        list(iterate_members(tmp_path / name))
