import errno
import os
import stat

import pytest

from featx.errors import StorageError
from featx.storage.files import check_writable, hash_file, hash_json, write_json, write_whole


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with write_whole(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "one"

    def interrupted():
        with write_whole(path) as temporary:
            temporary.write_text("tw")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_is_never_replaced(tmp_path, link):
    """Whoever may write to /dev would take /dev/null from all others."""
    there = tmp_path / "pipe"
    os.mkfifo(there)
    if link:
        there = tmp_path / "link"
        there.symlink_to("pipe")
    with pytest.raises(StorageError, match="is a folder, a device or a pipe, which no output"):
        write_json(there, {})
    with pytest.raises(StorageError, match=f"{there.name} is a folder"):
        check_writable(there)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert there.is_symlink() == link


def test_a_result_is_as_readable_as_any_file(tmp_path):
    (tmp_path / "plain").touch()
    write_json(tmp_path / "x.json", {"ä": 1})
    with write_whole(tmp_path / "replaced") as temporary:
        temporary.with_name("own").touch(0o600)
        temporary.with_name("own").replace(temporary)
    names = ("plain", "x.json", "replaced")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names}
    assert len(modes) == 1
    assert (tmp_path / "x.json").read_text("utf-8") == '{\n  "ä": 1\n}\n'


def test_hashes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert hash_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})


def test_a_write_that_fails_names_the_file_that_was_to_be(tmp_path):
    def fail(*told):
        with write_whole(tmp_path / "new" / "x") as file:
            raise OSError(errno.ENOSPC, "No space left on device", *(str(file) for _ in told))

    for told in ((), ("the temporary file",)):
        with pytest.raises(OSError, match="No space") as caught:
            fail(*told)
        assert caught.value.filename == str(tmp_path / "new" / "x")
    assert list((tmp_path / "new").iterdir()) == []
