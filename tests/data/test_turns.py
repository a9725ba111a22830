import tarfile

from made_archives import add_member

from featx.data.hashing import hash_images
from featx.data.turns import order_reading
from featx.features.ledger import Ledger
from featx.sources.reading import read_inventory
from featx.storage import places


def test_members_are_read_as_they_lie(tmp_path, monkeypatch):
    names = ["b/1.png", "a/2.png", "b/0.png", "a/1.png"]
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for name in names:
            add_member(tar, name, name.encode())
    inventory = read_inventory(tmp_path / "data.tar")
    assert list(inventory.iterate_names()) == sorted(names)
    read, real = [], places.TarReader.read
    monkeypatch.setattr(
        places.TarReader, "read", lambda *told: read.append(real(*told).decode()) or real(*told)
    )
    monkeypatch.setattr("featx.data.hashing.count_cores", lambda: 1)
    hash_images(inventory, "fail")
    assert read == names
    ledger = Ledger(inventory)
    assert ledger.list_todo() == 4
    assert [image.path for image in ledger.iterate_todo()] == names
    assert [
        path.relative_to(inventory.root).as_posix() for path in inventory.iterate_paths()
    ] == names
    assert [image.path for image in inventory.iterate_read()] == sorted(names)


def test_files_are_read_in_the_datasets_order(photos):
    inventory = read_inventory(photos)
    assert not order_reading(inventory)
    assert inventory.count("SELECT count(*) FROM images WHERE turn IS NULL") == len(inventory)


def test_a_manifest_of_members_and_files(photos, tmp_path):
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for name in ("2.png", "1.png"):
            add_member(tar, name, name.encode())
    lines = ["path,label", "data.tar/1.png,a", "photos/cat/00.jpg,b", "data.tar/2.png,b"]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    inventory = read_inventory(tmp_path / "m.csv")
    assert order_reading(inventory)
    assert order_reading(inventory)
    rows = inventory.db.execute("SELECT name FROM images ORDER BY turn").fetchall()
    assert [name for (name,) in rows] == [
        b"photos/cat/00.jpg",
        b"data.tar/2.png",
        b"data.tar/1.png",
    ]
