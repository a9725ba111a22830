import shutil
import tarfile

import numpy as np
import pytest
from made_archives import add_member, pack_tar
from shared import draw_photo

from featx.data.hashing import hash_images
from featx.errors import DatasetError, ImageError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
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


def test_a_packed_folder_reuses_every_row(photos, tmp_path, counting, provenance):
    first = extract_here(photos, counting, provenance, tmp_path / "cache")
    packed = pack_tar(photos, tmp_path / "photos.tar")
    shutil.rmtree(photos)
    done = extract_here(packed, counting, provenance, tmp_path / "cache")
    assert (done.extracted, done.reused, counting.images) == (0, 27, 27)
    fresh = extract_here(packed, counting, provenance, tmp_path / "other")
    assert (fresh.extracted, counting.images) == (27, 54)
    X = [np.asarray(read_features(one.features).X) for one in (first, done, fresh)]
    assert X[0].tobytes() == X[1].tobytes() == X[2].tobytes()


def test_what_lies_before_damage_counts(photos, tmp_path, counting, provenance):
    packed = pack_tar(photos, tmp_path / "photos.tar")
    data = packed.read_bytes()
    end = data.index(b"./owl/07.png") + 600  # a header is a block of 512 bytes
    packed.write_bytes(data[:end])
    done = extract_here(packed, counting, provenance, tmp_path / "cache")
    assert done.images == 25
    assert [(one.path, one.reason) for one in done.skipped_files] == [
        ("./", f"it ends at byte {end:,}, within ./owl/07.png"),
        ("owl/07.png", f"its archive ends at byte {end:,}, within it"),
    ]
    with pytest.raises(ImageError, match=f"ends at byte {end:,}, within"):
        extract_here(packed, counting, provenance, tmp_path / "cache", on_error="fail")


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
