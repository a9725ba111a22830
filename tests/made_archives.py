"""Archives of folders, and such as nobody should have made."""

import hashlib
import io
import json
import tarfile
import zipfile

import pyarrow
from pyarrow import parquet


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


def pack_zip(folder, path):
    """The same as a zip file; odd files are stored, others deflated."""
    with zipfile.ZipFile(path, "w") as packed:
        for i, one in enumerate(sorted(folder.rglob("*"))):
            method = zipfile.ZIP_STORED if i % 2 else zipfile.ZIP_DEFLATED
            packed.write(one, one.relative_to(folder).as_posix(), method)
    return path


def list_labelled(folder):
    """Name, label and bytes of each image of DIR/<class>/*, shuffled as data sets are."""
    paths = sorted(folder.glob("*/*"), key=lambda path: hash_name(path.name, path.parent.name))
    return [(path.name, path.parent.name, path.read_bytes()) for path in paths]


def hash_name(*parts):
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def pack_shards(folder, target, n, form="cls"):
    """The same as n WebDataset shards, whose labels are in cls or json."""
    target.mkdir()
    rows = list_labelled(folder)
    for k in range(n):
        with tarfile.open(target / f"shard-{k:03d}.tar", "w") as tar:
            for i, (name, label, data) in enumerate(rows[k::n]):
                told = label if form == "cls" else json.dumps({"label": label, "id": i})
                add_member(tar, f"{k:03d}{i:05d}.{form}", told.encode())
                add_member(tar, f"{k:03d}{i:05d}.{name.rpartition('.')[2]}", data)
    return target


def pack_parquet(folder, path, form="struct", group=5):
    """The same as Parquet: as `datasets` writes it, or with plain bytes and text."""
    rows = list_labelled(folder)
    classes = sorted({label for _, label, _ in rows})
    if form == "struct":
        columns = {
            "image": [{"bytes": data, "path": name} for name, _, data in rows],
            "label": [classes.index(label) for _, label, _ in rows],
        }
        features = {
            "image": {"_type": "Image"},
            "label": {"names": classes, "_type": "ClassLabel"},
        }
        told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    else:
        columns = {
            "id": list(range(len(rows))),
            "picture": [data for *_, data in rows],
            "Label": [label for _, label, _ in rows],
        }
        told = {}
    table = pyarrow.table(columns).replace_schema_metadata(told)
    parquet.write_table(table, path, row_group_size=group)
    return path
