import stat
import zipfile
import zlib

import pytest

from featx.errors import DatasetError
from featx.storage.members import DAMAGES, OUTSIDE
from featx.storage.places import iterate_members, iterate_strays, open_place
from featx.storage.zip import ZipReader

PNG = bytes(range(256)) * 40


def read(path):
    with open_place(path) as file:
        return file.read()


@pytest.fixture
def made(tmp_path):
    """Members packed in each way that zipfile knows, under names of Unix and Windows."""
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.mkdir("empty")
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
            packed.writestr(f"cät/{method}.png", PNG + bytes([method]), method)
    return path


def test_stored_and_deflated_members_are_read(made):
    assert read(made / "cät" / "0.png") == PNG + b"\0"
    assert read(made / "cät" / "8.png") == PNG + b"\x08"
    with pytest.raises(OSError, match="packed by zip's method 14, which is not read"):
        read(made / "cät" / "14.png")


def test_a_streamed_zip_and_one_behind_a_program(made, tmp_path):
    class Pipe:  # cannot be gone back in: sizes and CRC follow each member's bytes
        def __init__(self, file):
            self.write, self.flush = file.write, file.flush

    path = tmp_path / "streamed.zip"
    with path.open("wb") as file, zipfile.ZipFile(Pipe(file), "w") as packed:
        packed.writestr("1.png", PNG, zipfile.ZIP_DEFLATED)
    assert read(path / "1.png") == PNG
    made.write_bytes(b"#!/bin/sh\n" * 100 + made.read_bytes())
    assert read(made / "cät" / "8.png") == PNG + b"\x08"


def change(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_damage_is_found_by_the_sum(made):
    change(made, PNG[:100], b"x" * 100)
    with pytest.raises(OSError, match="CRC-32"):
        read(made / "cät" / "0.png")
    assert read(made / "cät" / "8.png") == PNG + b"\x08"


def test_damaged_deflate(tmp_path):
    path = tmp_path / "1.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("1.png", PNG, zipfile.ZIP_DEFLATED)
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -15)
    stream = packer.compress(PNG) + packer.flush()
    change(path, stream, b"\xff" * len(stream))
    with pytest.raises(OSError, match="damaged in its archive"):
        read(path / "1.png")


def test_an_encrypted_member_is_said_to_be_one(made):
    data = bytearray(made.read_bytes())
    at = data.rindex(b"PK\1\2")  # the directory's last entry
    data[at + 8] |= 1
    made.write_bytes(data)
    with pytest.raises(OSError, match="encrypted"):
        read(made / "cät" / "14.png")


def test_links_are_left_out(tmp_path):
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("a/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "../../etc/passwd")
        packed.writestr("a/1.png", PNG)
        packed.writestr("../a/2.png", PNG)
    assert [name for _, name in iterate_members(path)] == ["a/1.png"]
    assert list(iterate_strays(path)) == [
        ("links in archives", "a/link.png"),
        ("members whose names lead out of their archive", "../a/2.png"),
    ]


def test_bombs(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("1.png", bytes(10**6))
    assert len(read(path / "1.png")) == 10**6  # a picture of one colour
    monkeypatch.setattr("featx.storage.zip.BOMB_BYTES", 10**5)
    with pytest.raises(OSError, match="as in a bomb: more than 200 to 1 is not unpacked"):
        read(path / "1.png")
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    entry, end = data[at : data.index(b"PK\5\6")], bytearray(data[data.index(b"PK\5\6") :])
    end[8:16] = (2).to_bytes(2, "little") * 2 + (2 * len(entry)).to_bytes(4, "little")
    path.write_bytes(data[:at] + 2 * entry + end)
    read_small = pytest.raises(DatasetError, match="its members lie upon each other")
    with read_small:
        list(iterate_members(path))


@pytest.mark.parametrize("size", [0, 10, 300])
def test_a_zip_that_was_cut_off(made, size):
    made.write_bytes(made.read_bytes()[:size])
    with pytest.raises(DatasetError, match="no zip file, or was cut off"):
        read(made / "cät" / "0.png")


def test_a_member_without_a_name_is_left_out(made):
    data = made.read_bytes()
    at = data.rindex("cät/14.png".encode())
    made.write_bytes(data[:at] + b"\0" + data[at + 1 :])
    assert [name for _, name in iterate_members(made)] == ["cät/0.png", "cät/8.png"]
    assert [kind for kind, _ in iterate_strays(made)] == [OUTSIDE]


def test_a_name_that_is_no_text(made):
    made.write_bytes(made.read_bytes().replace("cät/14".encode(), b"c\xff\xfft/14"))
    with pytest.raises(DatasetError, match="a name in it is no UTF-8, though it says so: unpack"):
        list(iterate_members(made))


def test_what_is_damaged_raises_one_kind_of_error(made, monkeypatch):
    """Whatever the libraries raise: a traceback of one shard would end a run of thousands."""
    for number, error in enumerate(DAMAGES):
        raised = UnicodeDecodeError("utf-8", b"x", 0, 1, "") if error is ValueError else error("x")

        def fail(*told, raised=raised):
            raise raised

        with monkeypatch.context() as patch:
            patch.setattr(ZipReader, "read", fail)
            with pytest.raises(OSError, match="damaged in its archive"):
                read(made / "cät" / "0.png")
            patch.setattr(ZipReader, "list", fail)
            changed = made.with_name(f"{number}.zip")
            changed.write_bytes(made.read_bytes())
            with pytest.raises(DatasetError, match=r"\d\.zip: it is damaged \("):
                list(iterate_members(changed))


@pytest.mark.parametrize(("system", "parted"), [(3, False), (3, True), (0, True), (10, True)])
def test_folders_as_old_programs_on_windows_have_them(tmp_path, system, parted):
    path = tmp_path / "back.zip"
    with zipfile.ZipFile(path, "w") as packed:
        names = ["cat\\", "cat\\1.png", "..\\2.png", *["dog/3.png"][: system != 3 or not parted]]
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system = system
            packed.writestr(info, PNG if name[-1] == "g" else b"")
    found = [name for _, name in iterate_members(path)]
    assert found == (["cat/1.png", "dog/3.png"][: len(names) - 2] if parted else names)
    assert [name for _, name in iterate_strays(path)] == ["../2.png"][:parted]
