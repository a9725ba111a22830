"""Groups: who belongs together, how that is told, and that it goes wherever the images go."""

import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_archives import pack_tar
from PIL import ExifTags, Image
from shared import PROVENANCE

from featx.data.hashing import hash_images
from featx.data.inventory import take_inventory
from featx.errors import DatasetError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
from featx.sources.groups import read_shot
from featx.sources.manifest import write_manifest
from featx.sources.reading import read_dataset


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


def write_rows(path, rows, first="path,label,site"):
    path.write_text("\n".join([first, *rows]) + "\n", "utf-8")
    return path


def list_sites(photos, site=lambda name, i: f"site{i % 4}"):
    """Lines of a manifest of all photographs, with a site for each."""
    found = sorted(photos.rglob("*.*g"))
    return [
        f"{one.relative_to(photos).as_posix()},{one.parent.name},{site(one.parent.name, i)}"
        for i, one in enumerate(found)
    ]


def sides_of(dataset):
    return {
        (group, split)
        for group, split in zip(dataset.groups.tolist(), dataset.splits.tolist(), strict=True)
    }


def test_a_column_keeps_sites_whole(photos, said):
    table = write_rows(photos / "all.csv", list_sites(photos))
    found = read_dataset(table, "0.5,0.25,0.25@1", group="site")
    assert len(sides_of(found)) == 4
    assert found.counts()["train"] in (13, 14)
    assert said.messages == []
    assert found.split_rule == "0.5,0.25,0.25@1 --group site"
    rows = dict(zip(found.paths, found.groups.tolist(), strict=True))
    assert rows["cat/01.png"] == "site1"
    # What it is written to says the same, with other names for it.
    write_manifest(found, photos / "split.csv")
    assert read_dataset(photos / "split.csv").groups is None
    assert "--group group would keep together what its column group does; wi" in said.messages[-1]
    again = read_dataset(photos / "split.csv", group="group")
    assert dict(zip(again.paths, again.groups.tolist(), strict=True)) == rows
    assert again.counts() == found.counts()


def test_names_that_look_the_same_are_the_same(photos, said):
    names = ["Zo\u00eb", "Zoe\u0308", " Zo\u00eb ", "b", "c", "d"]
    lines = list_sites(photos, lambda _, i: names[i % 6])
    found = read_dataset(write_rows(photos / "all.csv", lines), "0.5,0,0.5", group="site")
    assert set(found.groups) == {"Zo\u00eb", "b", "c", "d"}
    found = read_dataset(photos, "0.5,0,0.5", group_pattern="/(..)")
    assert len(sides_of(found)) == len(set(found.groups)) == 9


def test_a_folder_below_the_class(photos, said):
    for one in sorted(photos.rglob("*.*g")):
        (one.parent / f"{int(one.stem) % 3}").mkdir(exist_ok=True)
        one.rename(one.parent / f"{int(one.stem) % 3}" / one.name)
    found = read_dataset(photos, "0.4,0.3,0.3", group_folder=True)
    assert set(found.groups) == {"0", "1", "2"}  # one of each name, whatever the class
    assert len(sides_of(found)) == 3
    shutil.copytree(photos, photos.parent / "given" / "train")
    shutil.copytree(photos, photos.parent / "given" / "test")
    found = read_dataset(photos.parent / "given", group_folder=True)
    assert set(found.groups) == {"0", "1", "2"}
    assert "3 of 3 groups are in more than one split" in said.messages[-1]
    shutil.copyfile(photos / "cat/0/00.jpg", photos / "cat/alone.jpg")
    with pytest.raises(
        DatasetError, match=r"1 of 28 images no group, such as cat/alone.jpg; it ta"
    ):
        read_dataset(photos, group_folder=True)
    (photos / "cat/alone.jpg").unlink()
    table = write_rows(photos.parent / "all.csv", [
        f"{one.relative_to(photos).as_posix()},{one.parent.parent.name}"
        for one in photos.rglob("*.*g")
    ], "path,label")  # fmt: skip
    with pytest.raises(DatasetError, match=r"--group-folder goes with a folder, and .* manifest"):
        read_dataset(table, root=photos, group_folder=True)


@pytest.mark.parametrize("names", [("train", "test"), ("in/0", "in/1")])
@pytest.mark.parametrize("home", ["", "photos"])
def test_a_folder_below_the_class_of_several_archives(photos, tmp_path, names, home):
    """Their own names stand above, and the folder that they were made of."""
    packed = tmp_path / "packed" / home
    for i, one in enumerate(sorted(photos.rglob("*.*g"))):
        place = packed / one.parent.name / f"site{i % 3}" / one.name
        place.parent.mkdir(parents=True, exist_ok=True)
        one.rename(place)
    for name in names:
        (tmp_path / "shards" / name).parent.mkdir(parents=True, exist_ok=True)
        pack_tar(tmp_path / "packed", tmp_path / "shards" / f"{name}.tar")
    found = read_dataset(tmp_path / "shards", group_folder=True)
    assert len(found.groups) == 54
    assert all(
        group == path.split("/")[-2] for path, group in zip(found.paths, found.groups, strict=True)
    )


def save_shot(path, model, taken, seed=0):
    exif = Image.Exif()
    if model:
        exif[ExifTags.Base.Model] = model
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)


def test_bursts_go_by_time_and_camera(tmp_path, said):
    taken = [
        ("a/0.jpg", "X1", "2024:05:03 10:00:00"), ("a/1.jpg", "X1", "2024:05:03 10:00:40"),
        # Near the one before, though far from the first; another class does not part them.
        ("b/2.jpg", "X1", "2024:05:03 10:01:30"), ("b/3.jpg", "X1", "2024:05:03 10:02:31"),
        ("b/4.jpg", "Y", "2024:05:03 10:00:10"), ("a/5.jpg", "", "2024:05:03 10:00:10"),
        ("a/6.jpg", "X1", ""), ("b/7.jpg", "X1", "0000:00:00 00:00:00"),
    ]  # fmt: skip
    for i, (name, model, time) in enumerate(taken):
        save_shot(tmp_path / "shots" / name, model, time, i)
    found = read_dataset(tmp_path / "shots", group_time=60)
    assert dict(zip(found.paths, found.groups.tolist(), strict=True)) == {
        **dict.fromkeys(["a/0.jpg", "a/1.jpg", "b/2.jpg"], "X1 2024-05-03T10:00:00.000000"),
        "b/3.jpg": "X1 2024-05-03T10:02:31.000000",
        "b/4.jpg": "Y 2024-05-03T10:00:10.000000",
        "a/5.jpg": "2024-05-03T10:00:10.000000",
        "a/6.jpg": "a/6.jpg",
        "b/7.jpg": "b/7.jpg",
    }
    assert said.messages == [
        f"{tmp_path / 'shots'}: 2 of 8 images do not say when they were taken (EXIF "
        "DateTimeOriginal); each of these is a group of its own"
    ]
    assert read_shot(tmp_path / "shots" / "a/0.jpg") == ("X1", 1714730400.0)
    assert read_shot(tmp_path / "gone.jpg") is None


def test_copies_in_two_groups_are_split_as_one(photos, said):
    shutil.copyfile(photos / "cat/00.jpg", photos / "cat/20.jpg")
    shutil.copyfile(photos / "dog/02.jpg", photos / "dog/30.jpg")
    for seed in range(5):
        said.clear()
        found = read_dataset(photos, f"0.4,0.3,0.3@{seed}", group_pattern="/(..)")
        side = dict(sides_of(found))
        assert len(side) == len(sides_of(found)) == 11
        assert (side["00"], side["02"]) == (side["20"], side["30"])
        assert "such groups are split as one: 11 groups become 9" in said.messages[0]


BAD = [
    (
        {
            "group_pattern": "(a",
        },
        "is no regular expression: missing \\), unterminated subpattern",
    ),
    ({"group_pattern": "[0-9]+"}, "has no group: put what names the group in parentheses"),
    ({"group_pattern": "(x)y"}, "gives 27 of 27 images no group, such as cat/00.jpg; widen the"),
    ({"group_pattern": "(cat|dog)"}, "gives 9 of 27 images no group, such as owl/00.jpg; widen"),
    ({"group_pattern": "/(0)"}, "puts all 27 images into one group \\(0\\): nothing could be"),
    ({"group_folder": True}, "gives 27 of 27 images no group, such as cat/00.jpg; it takes DIR/"),
    ({"group_time": -1.0}, "--group-time -1: expected seconds, 0 or more"),
    ({"group_time": float("nan")}, "--group-time nan: expected seconds, 0 or more"),
    ({"group_time": 60.0}, "needs the times that cameras write .*, and none of 27 images has one"),
    ({"group": "site"}, "--group site names a column of a manifest, and .*photos is a folder"),
    ({"group_folder": True, "group_time": 5.0}, "--group-time 5 and --group-folder: say one of"),
]


@pytest.mark.parametrize(("asked", "words"), BAD)
def test_what_does_not_group_is_said(photos, asked, words):
    with pytest.raises(DatasetError, match=words):
        read_dataset(photos, **asked)


def test_columns_that_do_not_group(photos):
    lines = list_sites(photos)
    table = write_rows(photos / "all.csv", lines)
    wide = write_rows(photos / "wide.csv", [line.replace(",", ", ") for line in lines],
                      "path, Label, Site Name")  # fmt: skip
    assert set(read_dataset(wide, group="site name").groups) == {f"site{i}" for i in range(4)}
    with pytest.raises(DatasetError, match=r"no column 'patient' to group by .*path, label, site$"):
        read_dataset(table, group="patient")
    lines[4:6] = [line.rpartition(",")[0] + ", " for line in lines[4:6]]
    with pytest.raises(DatasetError, match=r"2 of 27 images no group, such as cat/04.jpg; write"):
        read_dataset(write_rows(table, lines), group="site")
    lines[4:6] = [line.rpartition(",")[0] for line in lines[4:6]]
    with pytest.raises(DatasetError, match=r"2 of 27 images no group, such as cat/04.jpg; write"):
        read_dataset(write_rows(table, lines), group="site")


def test_groups_that_no_rule_can_share_out(photos, said):
    two = write_rows(photos / "all.csv", list_sites(photos, lambda _, i: i % 2))
    with pytest.raises(DatasetError, match=r"first:3,1 counts images one by one, and --group site"):
        read_dataset(two, "first:3,1", group="site")
    with pytest.raises(DatasetError, match=r"leaves (val|test) without any image: there are 2 gro"):
        read_dataset(two, "0.7,0.1,0.2", group="site")
    # Every class is one group: nothing could test any.
    by_class = write_rows(photos / "all.csv", list_sites(photos, lambda name, _: name))
    with pytest.raises(DatasetError, match=r"val and test .* 3 groups, and each class has all its"):
        read_dataset(by_class, "0.7,0.1,0.2", group="site")
    one = write_rows(
        photos / "all.csv", list_sites(photos, lambda name, i: "home" if name == "owl" else i % 5)
    )
    found = read_dataset(one, "0.6,0,0.4", group="site")
    assert set(found.splits[found.targets == 2]) == {"train"}
    assert "has all its images in one group, which is train: owl (9); nothing tests" in said.text
    assert "keeps 6 groups whole, and shares differ from those asked for: " in said.text


def test_given_splits_that_divide_groups_are_said(photos, said):
    splits = ["train", "val", "test"]
    lines = [
        f"{line},{splits[i % 3]}" for i, line in enumerate(list_sites(photos, lambda _, i: i // 2))
    ]
    table = write_rows(photos / "all.csv", lines, "path,label,site,split")
    read_dataset(table, group="site")
    (message,) = said.messages
    assert "13 of 14 groups are in more than one split (such as 0: 1 train, 1 val)" in message
    assert "8 of 9 test images have relatives in train or val" in message


def test_a_file_is_given_other_groups_and_nothing_is_computed(photos, counting, tmp_path):
    plain = read_dataset(photos, "0.5,0.2,0.3")
    pairs = np.array([f"{path[:-6]}{int(path[-6:-4]) // 2}" for path in plain.paths])
    out = tmp_path / "F.h5"

    def run(groups):
        inventory = hash_images(take_inventory(replace(plain, groups=groups)), "skip")
        request = Request(data=inventory, output=out)
        done = extract_inventory(inventory, counting, PROVENANCE, request)
        return done.extracted, read_features(out)

    none, without = run(None)
    for groups in (pairs, pairs, np.char.add(pairs, "!"), None):
        computed, found = run(groups)
        assert computed == 0
        assert (found.groups is None) if groups is None else (found.groups == groups).all()
        assert found.fingerprint == without.fingerprint
    assert (none, counting.images) == (27, 27)
    # Of a file that has everything nothing is written.
    run(pairs)
    written = out.stat().st_mtime_ns
    run(pairs)
    assert out.stat().st_mtime_ns == written
