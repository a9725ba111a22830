"""Archives of folders, and such as nobody should have made."""

import io
import tarfile


def pack_tar(folder, path, mode="w"):
    """A folder's files as a tar file, by name, as `tar -C folder -cf path .` has them."""
    with tarfile.open(path, mode) as tar:
        for one in sorted(folder.rglob("*")):
            tar.add(one, f"./{one.relative_to(folder).as_posix()}", recursive=False)
    return path


def add_member(tar, name, data=b"", **facts):
    """Add one member; facts are of its header, such as its type."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for fact, value in facts.items():
        setattr(info, fact, value)
    tar.addfile(info, io.BytesIO(data))
