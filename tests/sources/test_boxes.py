"""Boxes as images: where they lie in whole pixels, of which class and group, and what is listed."""

import json
import logging
import math

import numpy as np
import pytest
from made_archives import pack_parquet, pack_shards
from PIL import Image
from shared import draw_photo

from featx.data.hashing import hash_rows
from featx.data.inventory import take_inventory
from featx.decoding.crops import Box, hash_image
from featx.errors import DatasetError
from featx.sources.box_files import Entry
from featx.sources.boxes import Boxes, place_box
from featx.sources.manifest import write_manifest
from featx.sources.reading import read_dataset, read_inventory


@pytest.fixture
def pictures(tmp_path):
    """DIR/<class>/*: two classes of three pictures of 90 x 80 pixels."""
    for kind, name in enumerate(("cat", "dog")):
        for i in range(3):
            draw_photo(tmp_path / "photos" / name / f"{i}.jpg", kind, i)
    return tmp_path / "photos"


@pytest.fixture
def write(tmp_path):
    def write_boxes(*rows):
        path = tmp_path / "boxes.csv"
        path.write_text("\n".join(["path,x,y,w,h,label", *rows]), "utf-8")
        return path

    return write_boxes


@pytest.mark.parametrize(
    ("numbers", "shares", "pad", "box", "clipped"),
    [
        ((10, 20, 30, 30), False, 0, (10, 20, 30, 30), False),
        ((10.4, 19.5, 30.2, 29.4), False, 0, (10, 20, 31, 29), False),
        ((0.1, 0.2, 0.3, 0.4), True, 0, (10, 10, 30, 20), False),
        ((0.1, 0.2, 0.9001, 0.4), True, 0, (10, 10, 90, 20), False),  # a rounding's width outside
        ((-5, 40, 200, 20), False, 0, (0, 40, 100, 10), True),
        ((10, 20, 20, 10), False, 0.5, (0, 15, 40, 20), False),
        ((2, 20, 20, 10), False, 0.25, (0, 18, 27, 15), False),  # padding goes as far as it can
        ((10, 20, 20, 10), False, 1e308, (0, 0, 100, 50), False),
    ],
)
def test_where_a_box_lies(numbers, shares, pad, box, clipped):
    assert place_box(Entry("a", numbers, shares, "", ""), (100, 50), pad) == (Box(*box), clipped)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((100, 0, 5, 5), "lies outside the picture, 100 x 50 pixels"),
        ((0, 50, 5, 5), "lies outside the picture"),
        ((-9, 0, 9, 5), "lies outside the picture"),
        ((0.1, 0.2, 0.3, 0.4), "less than a pixel; of shares the columns are rel_x,rel_y"),
    ],
)
def test_a_box_that_has_nothing_of_its_picture(numbers, said):
    assert said in place_box(Entry("a", numbers, False, "", ""), (100, 50), 0.5)


def test_each_box_is_an_image_of_its_class_and_its_picture_a_group(pictures, write, caplog):
    path = write(
        "cat/0.jpg,0,0,30,40,", "dog/1.jpg,1,2,30,40,", "./cat/0.jpg,10,20,30,40,owl",
        rf"{pictures}/cat/1.jpg,1,2,30,40,", r"dog\1.jpg,60,2,60,40,", "dog/1.jpg,1,2,30,40,",
        "fox/1.jpg,1,2,3,4,", "dog/2.jpg,4,4,9,9,owl",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        found = read_dataset(pictures, boxes=path)
    assert found.classes == ("cat", "dog", "owl")
    assert found.paths == (
        "cat/0.jpg/[0,0,30,40]", "cat/1.jpg/[1,2,30,40]",
        "dog/1.jpg/[1,2,30,40]", "dog/1.jpg/[60,2,30,40]",
        "cat/0.jpg/[10,20,30,40]", "dog/2.jpg/[4,4,9,9]",
    )  # fmt: skip
    assert found.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.groups.tolist() == [name.rpartition("/")[0] for name in found.paths]
    assert found.name == "photos-boxes"
    (left_out,) = found.left_out
    assert str(left_out) == "images without a box: 2 (cat/2.jpg, dog/0.jpg)"
    assert found.notes == (
        "boxes that reach out of their picture are cut at its edge: 1 (such as dog/1.jpg, line 6)",
        "boxes that stand more than once are taken once: 1",
        f"boxes of pictures that are not in {pictures}: 1 (such as 'fox/1.jpg', {path}, line 8)",
    )
    assert all(note in caplog.text for note in found.notes)


def test_boxes_of_a_picture_stay_on_one_side(pictures, write):
    places = [f"{name}/{i}.jpg" for name in ("cat", "dog") for i in range(3)]
    path = write(*(f"{place},{k},0,20,20," for place in places for k in range(4)))
    found = read_dataset(pictures, "0.34,0.33,0.33@1", boxes=path)
    assert found.split_rule == "0.34,0.33,0.33@1 --boxes"
    sides = {(group, split) for group, split in zip(found.groups, found.splits, strict=True)}
    assert len(sides) == 6
    assert found.counts() == {"train": 8, "val": 8, "test": 8}
    with pytest.raises(DatasetError, match="--boxes keeps groups whole: give fractions"):
        read_dataset(pictures, "first:5,2", boxes=path)
    by_pattern = read_dataset(pictures, boxes=path, group_pattern=r"(\d)\.jpg$")
    assert sorted(set(by_pattern.groups)) == ["0", "1", "2"]


def test_a_manifest_names_boxes_itself(pictures, write, tmp_path):
    found = read_dataset(pictures, boxes=write("cat/0.jpg,0,0,30,40,", "dog/1.jpg,1,2,30,40,"))
    write_manifest(found, tmp_path / "split.csv")
    again = read_dataset(tmp_path / "split.csv", root=pictures, group="group")
    assert (again.paths, again.groups.tolist()) == (found.paths, found.groups.tolist())
    assert hash_rows(again, "fail").hashes.tolist() == [
        hash_image(pictures / path) for path in found.paths
    ]
    plain = read_dataset(tmp_path / "split.csv", root=pictures)
    assert plain.groups.tolist() == found.groups.tolist()
    with pytest.raises(DatasetError, match="names boxes itself: --boxes goes with whole pictures"):
        read_dataset(tmp_path / "split.csv", root=pictures, boxes=write("cat/0.jpg,0,0,9,9,"))


def test_boxes_that_are_none_are_listed_and_survive_a_dataset(pictures, write):
    (pictures / "cat" / "2.jpg").write_bytes(b"no picture")
    path = write(
        "cat/0.jpg,0,0,30,40,", "cat/0.jpg,0,0,0,40,", "cat/0.jpg,900,0,30,40,", ",1,2,3,4,",
        "cat/0.jpg,0,0,30,40,owl", "cat/2.jpg,0,0,30,40,", "dog/0.jpg,0,0,30,40,",
    )  # fmt: skip
    found = read_dataset(pictures, boxes=path)
    assert len(found) == 2
    hashed = hash_rows(found, "skip")
    assert [(one.path, one.kind) for one in hashed.unread] == [
        ("boxes.csv, line 5/", "bad-box"),
        ("cat/0.jpg/boxes.csv, line 3/", "bad-box"),
        ("cat/0.jpg/boxes.csv, line 4/", "bad-box"),
        ("cat/0.jpg/boxes.csv, line 6/", "bad-box"),
        ("cat/2.jpg/", "not-an-image"),
    ]
    assert hashed.unread[1].reason == "the box is none: of no area: 0, 0, 0, 40"
    assert "line 2 has the same one, and another label: 'no label' and 'owl'" in (
        hashed.unread[3].reason
    )
    assert take_inventory(found).has_boxes()


def test_a_file_whose_name_only_ends_so_is_no_box(pictures, tmp_path):
    (pictures / "cat" / "0.jpg").rename(pictures / "cat" / "[1,2]")
    manifest = tmp_path / "m.csv"
    manifest.write_text('path,label\n"cat/[1,2]",cat\ndog/0.jpg,dog\n')
    assert read_dataset(manifest, root=pictures).groups is None


def test_a_turned_photograph_is_measured_upright(pictures, write):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((20, 60, 3), np.uint8)).save(pictures / "cat" / "0.jpg", exif=turned)
    path = write("cat/0.jpg,0,30,20,30,", "dog/0.jpg,0,0,9,9,")
    found = read_dataset(pictures, boxes=path)
    assert found.paths[0] == "cat/0.jpg/[0,30,20,30]"
    assert found.notes == ()


def test_splits_of_the_pictures_are_those_of_their_boxes(pictures, write, tmp_path):
    lines = ["path,label,split,site", "cat/0.jpg,cat,train,n", "dog/0.jpg,dog,train,s",
             "cat/1.jpg,cat,test,n", "dog/1.jpg,,,w"]  # fmt: skip
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(lines))
    path = write("dog/1.jpg,0,0,9,9,dog", "cat/1.jpg,0,0,9,9,", "cat/0.jpg,0,0,9,9,",
                 "dog/0.jpg,0,0,9,9,")  # fmt: skip
    found = read_inventory(manifest, root=pictures, boxes=Boxes(path)).load()
    assert dict(zip(found.paths, found.splits.tolist(), strict=True)) == {
        "cat/0.jpg/[0,0,9,9]": "train",
        "dog/0.jpg/[0,0,9,9]": "train",
        "cat/1.jpg/[0,0,9,9]": "test",
        "dog/1.jpg/[0,0,9,9]": "",
    }
    by_site = read_dataset(manifest, root=pictures, boxes=path, group="site")
    assert sorted(by_site.groups.tolist()) == ["n", "n", "s", "w"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "boxes.csv has no boxes"),
        (
            ["fox/0.jpg,1,2,3,4,"],
            "is of an image in .*paths are relative to .*'fox/0.jpg'; .* one is 'cat/0.jpg'",
        ),
        (["cat/0.jpg,1,2,0,4,"], r"can be used, such as cat/0.jpg/boxes.csv, line 2/ \(the box is"),
    ],
)
def test_nothing_is_left(pictures, write, rows, said):
    with pytest.raises(DatasetError, match=said):
        read_dataset(pictures, boxes=write(*rows))


@pytest.mark.parametrize("options", [{"pad": -0.1}, {"pad": math.nan}, {"min_confidence": 1.1}])
def test_what_boxes_cannot_be(options):
    with pytest.raises(DatasetError, match="expected"):
        Boxes("boxes.csv", **options)


@pytest.mark.parametrize("kind", ["shards", "parquet"])
def test_boxes_of_shards_and_tables_go_by_the_names_of_rows(pictures, write, tmp_path, kind):
    if kind == "shards":
        packed = pack_shards(pictures, tmp_path / "shards", 2)
    else:
        packed = pack_parquet(pictures, tmp_path / "photos.parquet")
    names = read_dataset(packed).paths
    found = read_dataset(packed, boxes=write(*(f"{name},1,2,30,40," for name in names)))
    assert found.paths == tuple(f"{name}/[1,2,30,40]" for name in names)
    assert found.classes == ("cat", "dog")
    assert tuple(found.groups) == names
    boxes = [hash_image(packed / name) for name in found.paths]
    files = [one / "[1,2,30,40]" for one in pictures.rglob("*.jpg")]
    assert sorted(boxes) == sorted(map(hash_image, files))


def test_a_box_of_a_picture_of_another_size_is_listed(pictures, tmp_path):
    """As of data sets that hand out smaller pictures with the boxes of the large ones."""
    sizes = {"cat/0.jpg": (90, 80), "cat/1.jpg": (180, 160), "dog/0.jpg": (80, 90)}
    images = [
        {"id": n, "file_name": name, "width": width, "height": height}
        for n, (name, (width, height)) in enumerate(sizes.items())
    ] + [{"id": 9, "file_name": "dog/1.jpg", "width": 0, "height": None}]
    told = [{"image_id": one["id"], "bbox": [5, 5, 30, 40]} for one in images]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": told}))
    found = read_inventory(pictures, boxes=Boxes(path))
    names = [f"{name}/[5,5,30,40]" for name in ("cat/0.jpg", "dog/1.jpg")]
    assert sorted(found.iterate_names()) == names
    assert [(one.path, one.kind) for one in found.unread] == [
        ("cat/1.jpg/coco.json, annotations[1]/", "bad-box"),
        ("dog/0.jpg/coco.json, annotations[2]/", "bad-box"),
    ]
    reason = found.unread[0].reason
    assert "was drawn in a picture of 180 x 160 pixels, and this one has 90 x 80" in reason
