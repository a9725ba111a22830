import builtins

import pyarrow
import pytest
from made_archives import list_labelled, pack_parquet
from pyarrow import parquet

from featx.errors import DatasetError
from featx.storage import parquet as reading
from featx.storage.parquet import iterate_labels
from featx.storage.places import hash_place, is_table, iterate_members, open_place


def read(path):
    with open_place(path) as file:
        return file.read()


@pytest.mark.parametrize("form", ["struct", "binary"])
def test_rows_are_members_with_labels(photos, tmp_path, form):
    path = pack_parquet(photos, tmp_path / "1.parquet", form)
    rows = list_labelled(photos)
    names = [name for _, name in iterate_members(path)]
    assert is_table(path)
    assert list(iterate_labels(str(path))) == [label for _, label, _ in rows]
    assert [read(path / name) for name in names] == [data for *_, data in rows]
    assert names[3] == (f"00000003-{rows[3][0]}" if form == "struct" else "00000003")


def test_any_order_gives_the_same(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BATCH_BYTES", 3 << 14)  # some rows at a time
    path = pack_parquet(photos, tmp_path / "1.parquet", group=10)
    data = [data for *_, data in list_labelled(photos)]
    names = [name for _, name in iterate_members(path)]
    for k in (26, 0, 13, 12, 14, 9, 10, 0, 25, 5, 26):
        assert read(path / names[k]) == data[k]


def test_columns_that_are_read(tmp_path):
    path = tmp_path / "1.parquet"
    table = pyarrow.table(
        {
            "mask": [b"m", b"m"],
            "image": [{"bytes": b"i", "path": None}, {"bytes": None, "path": "/a/b.jpg"}],
            "class": pyarrow.array(["a", None]).dictionary_encode(),
        }
    )
    parquet.write_table(table, path)
    assert [name for _, name in iterate_members(path)] == ["00000000", "00000001"]
    told = b'{"info": {"features": {"image": {"_type": "Image"}}}}'
    parquet.write_table(table.replace_schema_metadata({b"huggingface": told}), path)
    assert read(path / "00000000") == b"i"
    with pytest.raises(OSError, match="not embedded"):
        read(path / "00000001-b.jpg")
    with pytest.raises(FileNotFoundError):
        hash_place(path / "00000001-c.jpg")
    assert list(iterate_labels(str(path))) == ["a", ""]


def test_a_table_without_images(tmp_path):
    parquet.write_table(pyarrow.table({"x": [1.0], "y": ["a"]}), tmp_path / "1.parquet")
    with pytest.raises(DatasetError, match=r"no column of images.*has x: double, y: string"):
        list(iterate_members(tmp_path / "1.parquet"))


def test_what_was_cut_off(photos, tmp_path):
    path = pack_parquet(photos, tmp_path / "1.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="its end, which says what is in it, is damaged"):
        list(iterate_members(path))


def test_damage_within(photos, tmp_path):
    path = pack_parquet(photos, tmp_path / "1.parquet")
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    names = [name for _, name in iterate_members(path)]
    for _ in range(2):
        with pytest.raises(OSError, match="damaged in its archive"):
            read(path / names[0])
    assert read(path / names[-1]) == list_labelled(photos)[-1][2]


def test_pyarrow_may_be_missing(photos, tmp_path, monkeypatch):
    path = pack_parquet(photos, tmp_path / "1.parquet")
    real = builtins.__import__

    def refuse(name, *told):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *told)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DatasetError, match=r"pip install 'featx\[parquet\]'"):
        list(iterate_members(path))
