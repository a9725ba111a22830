import bz2
import lzma
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from made_archives import add_member, pack_parquet, pack_shards, pack_tar, pack_zip
from pyarrow import parquet
from shared import CountingEngine, draw_photo

from featx.data.dataset import Leftovers
from featx.data.hashing import hash_images
from featx.errors import DatasetError, ImageError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
from featx.sources.archives import expand_shards, list_members
from featx.sources.reading import read_dataset, read_inventory


def extract_here(root, engine, provenance, cache, **options):
    inventory = hash_images(read_inventory(root, "first:4,2"), options.get("on_error", "skip"))
    request = Request(data=root, cache_dir=cache, num_workers=2, **options)
    return extract_inventory(inventory, engine, provenance, request)


def test_a_packed_folder_is_the_folder(photos, tmp_path):
    for split in ("train", "valid"):
        shutil.copytree(photos, tmp_path / "data" / split)
    draw_photo(tmp_path / "data" / "test" / "1.png", 1, 1)
    (tmp_path / "data" / "train" / "cat" / "notes.txt").write_text("of no class")
    (tmp_path / "data" / "train" / "cow").mkdir()
    folder = read_dataset(tmp_path / "data")
    packed = read_dataset(pack_tar(tmp_path / "data", tmp_path / "data.tar"))
    for fact in ("classes", "paths", "split_rule", "ignored", "left_out", "notes", "unread"):
        assert getattr(packed, fact) == getattr(folder, fact)
    assert np.array_equal(packed.targets, folder.targets)
    assert np.array_equal(packed.splits, folder.splits)
    assert (packed.root, packed.name) == (tmp_path / "data.tar", "data.tar")


PACKERS = {
    "tar": lambda folder, at: pack_tar(folder, at / "photos.tar"),
    "tar.gz": lambda folder, at: pack_tar(folder, at / "photos.tgz", "w:gz"),
    "zip": lambda folder, at: pack_zip(folder, at / "photos.zip"),
    "cls": lambda folder, at: pack_shards(folder, at / "shards", 3),
    "json": lambda folder, at: pack_shards(folder, at / "shards", 3, "json"),
    "parquet": lambda folder, at: pack_parquet(folder, at / "photos.parquet"),
    "binary": lambda folder, at: pack_parquet(folder, at / "photos.parquet", "binary"),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_folder_reuses_every_row(kind, photos, tmp_path, counting, provenance):
    first = extract_here(photos, counting, provenance, tmp_path / "cache")
    packed = PACKERS[kind](photos, tmp_path)
    shutil.rmtree(photos)
    done = extract_here(packed, counting, provenance, tmp_path / "cache")
    assert (done.extracted, done.reused, counting.images) == (0, 27, 27)
    fresh = extract_here(packed, counting, provenance, tmp_path / "other")
    assert (fresh.extracted, counting.images) == (27, 54)
    assert read_features(fresh.features).classes == ("cat", "dog", "owl")
    told = [list_rows(one.features) for one in (first, done, fresh)]
    assert told[0] == told[1] == told[2]


def test_an_interrupted_extraction_goes_on(photos, tmp_path, provenance, monkeypatch):
    class Interrupted(CountingEngine):
        def run(self, pixels):
            if self.images >= 12:
                raise KeyboardInterrupt
            return super().run(pixels)

    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 4)
    packed = pack_tar(photos, tmp_path / "photos.tgz", "w:gz")
    options = {"output": tmp_path / "F.h5"}
    with pytest.raises(KeyboardInterrupt):
        extract_here(packed, Interrupted(), provenance, tmp_path / "cache", **options)
    again = CountingEngine()
    done = extract_here(packed, again, provenance, tmp_path / "cache", **options)
    assert (done.images, again.images) == (27, 15)
    fresh = extract_here(packed, CountingEngine(), provenance, tmp_path / "other")
    assert fresh.features.read_bytes() == done.features.read_bytes()


def list_rows(path):
    """Of each content its class and its features, bytes as they are."""
    found = read_features(path)
    rows = zip(found.hashes.tolist(), found.targets.tolist(), np.asarray(found.X), strict=True)
    return {digest: (target, row.tobytes()) for digest, target, row in rows}


def test_shards_by_braces_and_their_splits(photos, tmp_path):
    shards = pack_shards(photos, tmp_path / "shards", 3)
    whole = read_dataset(shards)
    assert (whole.split_rule, whole.counts(), whole.name) == ("none", {"train": 27}, "shards")
    some = read_dataset(shards / "shard-{000..001}.tar")
    assert len(some) == 18
    assert some.root == shards
    assert {path.partition("/")[0] for path in some.paths} == {"shard-000.tar", "shard-001.tar"}
    with pytest.raises(DatasetError, match=r"2 of 5 archives are not there: .*shard-003\.tar"):
        read_dataset(shards / "shard-{000..004}.tar")
    for k, name in enumerate(("set-train-0.tar", "set-train-1.tar", "set-validation-0.tar")):
        (shards / f"shard-{k:03d}.tar").rename(shards / name)
    split = read_dataset(shards)
    assert (split.split_rule, split.counts()) == ("archives", {"train": 18, "val": 9})


def test_tables_and_their_splits(photos, tmp_path):
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        pack_parquet(photos, tmp_path / "hub" / "data" / f"{name}.parquet")
    found = read_dataset(tmp_path / "hub")
    assert found.counts() == {"train": 27, "test": 27}
    assert found.paths[0].startswith("data/train-00000-of-00001.parquet/0000")
    assert found.left_out == ()


def test_packed_folders_side_by_side(photos, tmp_path):
    (tmp_path / "both").mkdir()
    pack_tar(photos, tmp_path / "both" / "train.tar")
    pack_zip(photos, tmp_path / "both" / "test.zip")
    found = read_dataset(tmp_path / "both")
    assert found.counts() == {"train": 27, "test": 27}
    assert found.paths[-1] == "test.zip/owl/08.jpg"


def test_a_shard_that_is_broken_is_one_of_many(photos, tmp_path):
    shards = pack_shards(photos, tmp_path / "shards", 3)
    (shards / "shard-001.tar").write_bytes(b"<html>")
    found = read_dataset(shards)
    assert len(found) == 18
    assert [(one.path, one.kind) for one in found.unread] == [("shard-001.tar/", "unreadable")]
    for path in shards.iterdir():
        path.write_bytes(b"<html>")
    with pytest.raises(DatasetError, match=r"shard-000\.tar: it is no tar file"):
        read_dataset(shards)


def test_one_shard_that_was_cut_off_has_what_comes_before(photos, tmp_path):
    shard = pack_shards(photos, tmp_path / "shards", 1) / "shard-000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(b"00000020.cls") + 700])
    found = read_dataset(shard)
    assert len(found) == 20
    assert [one.path for one in found.unread] == ["./"]


def test_labels_that_are_damaged(photos, tmp_path):
    path = pack_parquet(photos, tmp_path / "photos.parquet", group=30)
    data = bytearray(path.read_bytes())
    at = parquet.ParquetFile(path).metadata.row_group(0).column(2).dictionary_page_offset
    data[at : at + 20] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"photos\.parquet: column label is damaged"):
        read_dataset(path)


def test_a_row_whose_name_is_none_is_left_out_alone(photos, tmp_path):
    path = pack_parquet(photos, tmp_path / "photos.parquet")
    whole = read_dataset(path)
    table = parquet.read_table(path)
    images = table.column("image").to_pylist()
    images[3]["path"] = "a\0b.jpg"
    at = table.schema.get_field_index("image")
    images = pyarrow.array(images, table.schema.field(at).type)
    parquet.write_table(table.set_column(at, table.schema.field(at), images), path)
    found = read_dataset(path)
    assert [one.count for one in found.left_out] == [1]
    kept = [k for k, name in enumerate(whole.paths) if not name.startswith("00000003")]
    assert found.paths == tuple(whole.paths[k] for k in kept)
    assert np.array_equal(found.targets, whole.targets[kept])


@pytest.mark.parametrize("home", ["photos", "data/2026 photos"])
@pytest.mark.parametrize("splits", [False, True])
def test_a_folder_that_was_packed_with_its_name(photos, tmp_path, home, splits):
    inside = tmp_path / "top" / home
    for split in ("train", "test") if splits else ("",):
        shutil.copytree(photos, inside / split)
    (tmp_path / "top" / "__MACOSX" / home).mkdir(parents=True)
    (tmp_path / "top" / "__MACOSX" / home / "._cat").write_text("of a Mac")
    (tmp_path / "top" / "read.txt").write_text("of no class")
    for packed in (
        pack_tar(tmp_path / "top", tmp_path / "top.tar"),
        pack_zip(tmp_path / "top", tmp_path / "top.zip"),
    ):
        found, same = read_dataset(packed), read_dataset(packed / home)
        assert (found.paths, found.classes, found.root) == (same.paths, same.classes, same.root)
        assert np.array_equal(found.splits, same.splits)
        assert found.notes == (
            f"all images lie below {home}/: its folders are taken for those of classes or splits",
        )
        assert {one.examples for one in found.left_out} == {
            ("read.txt",), (f"__MACOSX/{home}/._cat",)
        }  # fmt: skip


def test_shards_that_were_packed_with_their_names(photos, tmp_path):
    (tmp_path / "both").mkdir()
    for name, home in (("train", "train"), ("test", "photos")):
        shutil.copytree(photos, tmp_path / name / home)
        pack_tar(tmp_path / name, tmp_path / "both" / f"{name}.tar")
    found = read_dataset(tmp_path / "both")
    assert (found.counts(), found.classes) == ({"train": 27, "test": 27}, ("cat", "dog", "owl"))
    assert (found.paths[0], found.paths[-1]) == (
        "train.tar/train/cat/00.jpg", "test.tar/photos/owl/08.jpg"
    )  # fmt: skip


@pytest.mark.parametrize("names", [("cat/1.png",), ("cat/1.png", "cat/more/2.png")])
def test_an_archive_of_one_class_is_an_error(tmp_path, names):
    path = tmp_path / "cat.tar"
    with tarfile.open(path, "w") as tar:
        for name in names:
            add_member(tar, name, b"x")
    with pytest.raises(DatasetError, match=r"only one class in .*cat\.tar \(cat\)"):
        read_dataset(path)


def test_labels_in_odd_order_and_spelling(tmp_path):
    def pack(names):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        with tarfile.open(path, "w") as tar:
            for name, data in names:
                add_member(tar, name, data)
        return read_dataset(path)

    cases = pack(
        (f"{k}.{kind}", data)
        for k in range(2)
        for kind, data in (("jpg", b"x"), ("JPG", b"y"), ("cls", b"\xef\xbb\xbf%d\r\n" % k))
    )
    assert cases.paths == ("0.JPG", "0.jpg", "1.JPG", "1.jpg")
    assert cases.classes == ("0", "1")
    images = [(f"{k:03d}.jpg", b"x") for k in range(150)]
    late = pack([*images, ("a.jpg", b"x"), ("a.cls", b"1"), ("b.jpg", b"x"), ("b.cls", b"2")])
    assert late.classes == ("1", "2")
    far = pack([*images, *((f"{k:03d}.cls", b"1") for k in range(150))])
    assert far.classes == ()
    assert "labels that no image is beside are not read (150 .cls)" in far.notes[0]


def test_odd_samples(tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in {
            "a/1.jpg": b"x", "a/1.seg.png": b"x", "a/1.cls": b" 7\n",
            "a/2.jpg": b"x", "a/2.json": b'{"Label": "sieben", "w": 3}',
            "a/3.jpg": b"x", "a/3.json": b"[1]",
            "a/4.cls": b"8",
            "a/5.v2.JPG": b"x", "a/5.cls": b"7", "a/5.txt": b"words",
        }.items():  # fmt: skip
            add_member(tar, name, data)
    found = read_dataset(path)
    labels = [found.classes[k] if k >= 0 else "" for k in found.targets]
    assert dict(zip(found.paths, labels, strict=True)) == {
        "a/1.jpg": "7", "a/2.jpg": "sieben", "a/3.jpg": "", "a/5.v2.JPG": "7",
    }  # fmt: skip
    assert {(one.kind, one.examples) for one in found.left_out} == {
        ("other parts of samples", ("a/1.seg.png",)),
        ("annotations and text (.txt)", ("a/5.txt",)),
        ("other files (.cls)", ("a/4.cls",)),
    }


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a-{00..02}.tar", ["a-00.tar", "a-01.tar", "a-02.tar"]),
        ("{9..11}.tar", ["9.tar", "10.tar", "11.tar"]),
        ("{b,a}/{1..2}.tar", ["b/1.tar", "b/2.tar", "a/1.tar", "a/2.tar"]),
        ("{2..1}.tar", ["2.tar", "1.tar"]),
        ("a{b}.tar", ["a{b}.tar"]),
    ],
)
def test_braces(text, paths):
    assert [str(path) for path in expand_shards(Path(text))] == paths


def test_braces_without_end():
    with pytest.raises(DatasetError, match="more than 100,000 paths"):
        expand_shards(Path("{0..999}{0..999}.tar"))


def test_members_are_told_apart_as_files_in_folders_are(tmp_path, caplog):
    path = tmp_path / "mac.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("b/1.jpg", "__MACOSX/b/1.jpg", "a/.1.jpg", "a/2.jpg", "a/notes.txt", "/3.jpg"):
            add_member(tar, name, b"x")
    path.write_bytes(path.read_bytes()[: 12 * 512])
    left_out = Leftovers()
    found = [one.relative_to(path).as_posix() for one in list_members(path, left_out)]
    assert found == ["b/1.jpg", "a/2.jpg"]
    assert {one.kind for one in left_out.list()} == {
        "files of systems and programs", "hidden files", "annotations and text (.txt)",
        "members whose names lead out of their archive",
    }  # fmt: skip
    assert caplog.messages == [
        f"{path}: the archive ends at byte 6,144, after /3.jpg, without its end mark"
    ]


def test_members_in_the_archives_own_order(photos, tmp_path):
    packed = pack_parquet(photos, tmp_path / "photos.parquet")
    found = list(list_members(packed, Leftovers()))
    assert found == sorted(found)
    assert len(found) == 27


def test_what_lies_before_damage_counts(photos, tmp_path, counting, provenance):
    packed = pack_tar(photos, tmp_path / "photos.tar")
    data = packed.read_bytes()
    end = data.index(b"./owl/07.png") + 600  # a header is a block of 512 bytes
    packed.write_bytes(data[:end])
    done = extract_here(packed, counting, provenance, tmp_path / "cache")
    assert done.images == 25
    assert [(one.path, one.reason) for one in done.skipped_files] == [
        ("./", f"the archive ends at byte {end:,}, within ./owl/07.png"),
        ("owl/07.png", f"its archive ends at byte {end:,}, within it"),
    ]
    with pytest.raises(ImageError, match=f"ends at byte {end:,}, within"):
        extract_here(packed, counting, provenance, tmp_path / "cache", on_error="fail")


def test_the_end_of_an_archive_is_said_where_too_little_comes_before(photos, tmp_path):
    packed = pack_tar(photos, tmp_path / "photos.tar")
    data = packed.read_bytes()
    packed.write_bytes(data[: data.index(b"./cat/03.png") + 600])
    with pytest.raises(DatasetError, match=r"only one class .*; \./ the archive ends at byte"):
        read_dataset(packed)
    packed.write_bytes(data[: 3 * 512 + 9])  # a folder's header of three blocks, and a bit of one
    with pytest.raises(DatasetError, match=r"no images .*; \./ the archive ends at byte 1,545"):
        read_dataset(packed)


def test_what_is_in_an_archive_and_in_no_folder_is_said(tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a/1.png", "b/1.png", "a/1.png", "../a/2.png"):
            add_member(tar, name, b"x")
        add_member(tar, "a/3.png", type=tarfile.SYMTYPE, linkname="1.png")
    found = read_dataset(path)
    assert found.paths == ("a/1.png", "b/1.png")
    assert {(one.kind, one.examples) for one in found.left_out} == {
        ("links in archives", ("a/3.png",)),
        ("members that another of the same name follows, which counts", ("a/1.png",)),
        ("members whose names lead out of their archive", ("../a/2.png",)),
    }


def test_an_empty_archive_has_no_images(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(DatasetError, match=r"no images in .*empty\.tar"):
        read_dataset(tmp_path / "empty.tar")


def test_a_manifest_may_name_members(photos, tmp_path):
    packed = pack_tar(photos, tmp_path / "photos.tar")
    (tmp_path / "m.csv").write_text(
        "path,label\nphotos.tar/cat/00.jpg,a\nphotos.tar/dog/01.png,b\n"
    )
    found = hash_images(read_inventory(tmp_path / "m.csv"), "fail")
    assert found.fingerprint()
    (tmp_path / "m.csv").write_text("path,label\ncat/00.jpg,a\ndog/01.png,b\n")
    assert len(hash_images(read_inventory(tmp_path / "m.csv", root=packed), "fail")) == 2


def test_a_column_of_labels_that_are_none_is_said(photos, tmp_path):
    path = pack_parquet(photos, tmp_path / "photos.parquet")
    table = parquet.read_table(path, columns=["image"])
    table = table.append_column("label", pyarrow.array([0.5] * len(table)))
    parquet.write_table(table, path)
    said = "column label is of type double and is not read: labels are text, whole numbers, or"
    assert read_dataset(path).notes[0].startswith(said)
    with pytest.raises(DatasetError, match=f"has no classes: --split 0.8,0.1,0.1 needs .*; {said}"):
        read_dataset(path, "0.8,0.1,0.1")


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_what_other_programs_packed_says_how_to_unpack_it(photos, tmp_path, pack):
    path = tmp_path / "photos.tar.packed"
    path.write_bytes(pack(pack_tar(photos, tmp_path / "photos.tar").read_bytes()))
    with pytest.raises(DatasetError, match=r"unpack it \(\w+ -k photos\.tar\.packed\) and name"):
        read_dataset(path)
