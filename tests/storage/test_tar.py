import gzip
import re
import tarfile
import zlib

import pytest
from made_archives import add_member

from featx.storage.places import find_damage, iterate_members, open_place


@pytest.fixture
def three(tmp_path):
    """Three members of a header and a block each, and the mark of the end."""
    path = tmp_path / "three.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("1.png", "2.png", "3.png"):
            add_member(tar, name, name.encode() * 100)
    return path


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return [name for _, name in iterate_members(path)]


@pytest.mark.parametrize(
    ("size", "whole", "said"),
    [
        (512 * 6, 3, "the archive ends at byte 3,072, after 3.png, without its end mark"),
        (512 * 5 + 200, 2, "the archive ends at byte 2,760, within 3.png"),
        (512 * 4 + 200, 2, "the archive ends at byte 2,248, after 2.png, without its end mark"),
        (512 * 4, 2, "the archive ends at byte 2,048, after 2.png, without its end mark"),
        (512 + 1, 0, "the archive ends at byte 513, within 1.png"),
    ],
)
def test_a_tar_that_was_cut_off_says_where(three, size, whole, said):
    names = cut(three, size)
    for i, name in enumerate(names):
        if i < whole:
            with open_place(three / name) as file:
                assert file.read() == name.encode() * 100
        else:
            with pytest.raises(OSError, match=r"ends at byte [\d,]+, within it"):
                open_place(three / name)
    assert find_damage(three) == said


def test_damage_amid_a_tar_is_no_end(three):
    data = bytearray(three.read_bytes())
    data[1024:1124] = b"x" * 100
    three.write_bytes(data)
    assert [name for _, name in iterate_members(three)] == ["1.png"]
    assert "no tar's header at byte 1,024, after 1.png" in find_damage(three)


def test_a_compressed_tar_that_was_cut_off(three):
    whole = gzip.compress(three.read_bytes(), mtime=0)
    packed = three.with_name("three.tar.gz")
    packed.write_bytes(whole)
    assert [name for _, name in iterate_members(packed)] == ["1.png", "2.png", "3.png"]
    assert find_damage(packed) == ""
    data = zlib.compressobj(level=0, wbits=31)
    packed.write_bytes(data.compress(three.read_bytes()[:2100]) + data.flush(zlib.Z_FULL_FLUSH))
    assert [name for _, name in iterate_members(packed)] == ["1.png", "2.png"]
    with open_place(packed / "2.png") as file:
        assert file.read() == b"2.png" * 100
    assert re.fullmatch(r"the archive ends at byte [\d,]+, too soon", find_damage(packed))


def test_a_flipped_bit_in_a_compressed_tar_is_seen_by_its_sum(three):
    packed = three.with_name("three.tar.gz")
    data = zlib.compressobj(level=0, wbits=31)  # what is merely stored shows no damage itself
    stored = bytearray(data.compress(three.read_bytes()) + data.flush())
    stored[stored.index(b"2.png" * 9)] ^= 1
    packed.write_bytes(stored)
    assert len(list(iterate_members(packed))) == 3
    assert "incorrect data check" in find_damage(packed)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_form(tmp_path, form):
    path = tmp_path / "names.tar"
    names = ["ünïcode/b.png", f"{'long' * 20}/{'name' * 20}.png"]
    with tarfile.open(path, "w", format=form) as tar:
        for name in names:
            add_member(tar, name, name.encode())
    assert [name for _, name in iterate_members(path)] == names
    for name in names:
        with open_place(path / name) as file:
            assert file.read() == name.encode()


def write_header(path, name, size, kind=tarfile.REGTYPE):
    """A tar whose second of three members has this size in its header, as GNU's base 256."""
    with tarfile.open(path, "w") as tar:
        add_member(tar, "1.png", b"1" * 100)
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, size
        tar.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
        tar.offset += tarfile.BLOCKSIZE
        add_member(tar, "3.png", b"3" * 100)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("size", [2**87, -1024, -3])
@pytest.mark.parametrize("packed", [False, True])
def test_a_size_that_no_file_has(tmp_path, kind, size, packed):
    path = tmp_path / "1.tar"
    write_header(path, "2.png", size, kind)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert [name for _, name in iterate_members(path)] == ["1.png"]
    said = find_damage(path)
    assert re.match(r"the archive (is damaged at byte 1,024, after|ends at byte .* within) 1", said)
    assert "int" not in said


def test_a_name_of_gigabytes_is_not_read(tmp_path):
    write_header(tmp_path / "1.tar", "2.png", 2**33, tarfile.GNUTYPE_LONGNAME)
    assert [name for _, name in iterate_members(tmp_path / "1.tar")] == ["1.png"]
    assert "(2.png has no size that a header has)" in find_damage(tmp_path / "1.tar")


def test_a_header_of_pax_that_makes_no_sense(tmp_path):
    path = tmp_path / "1.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add_member(tar, "1.png", b"1")
        add_member(tar, "2.png", b"2", pax_headers={"GNU.sparse.size": "x"})
    assert [name for _, name in iterate_members(path)] == ["1.png"]
    assert find_damage(path) == (
        "the archive is damaged at byte 1,024, after 1.png (a header in it makes no sense)"
    )
