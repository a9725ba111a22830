import shutil

import numpy as np
import pytest
from shared import CLASSES, PER_CLASS, draw_photo

from featx.errors import DatasetError, OutputExistsError
from featx.sources.folders import BESIDE_SPLITS
from featx.sources.manifest import write_manifest
from featx.sources.reading import read_dataset


def by_split(dataset):
    return {
        split: [p for p, s in zip(dataset.paths, dataset.splits, strict=True) if s == split]
        for split in ("train", "val", "test")
    }


def test_class_folders_with_the_papers_rule(photos):
    found = read_dataset(photos, "first:4,2")
    assert found.classes == CLASSES
    assert found.counts() == {"train": 12, "val": 6, "test": 9}
    assert by_split(found)["val"] == [
        f"{c}/{i:02d}.{e}" for c in CLASSES for i, e in ((4, "jpg"), (5, "png"))
    ]
    assert found.targets.dtype == np.int64
    assert [CLASSES[t] for t in found.targets] == [p.split("/")[0] for p in found.paths]


def test_split_folders(photos, tmp_path):
    root = tmp_path / "split"
    for split in ("train", "valid", "test"):
        shutil.copytree(photos, root / split)
    found = read_dataset(root)
    assert found.counts() == {"train": 27, "val": 27, "test": 27}
    assert found.split_rule == "folders"
    assert found.paths[0] == "train/cat/00.jpg"
    with pytest.raises(DatasetError, match="splits of its own"):
        read_dataset(root, "first:1,1")
    shutil.copytree(photos, root / "val")
    with pytest.raises(DatasetError, match=r"both val/ and valid/"):
        read_dataset(root)


def test_a_class_may_be_called_train(photos):
    (photos / "cat").rename(photos / "train")
    assert read_dataset(photos).classes == ("dog", "owl", "train")
    for name in ("dog", "owl"):
        shutil.rmtree(photos / name)
    draw_photo(photos / "test" / "1.png", 1, 1)
    # Every folder has the name of a split, but train holds images, not classes.
    assert read_dataset(photos).classes == ("test", "train")


def test_manifest_round_trip(photos, tmp_path):
    found = read_dataset(photos, "first:4,2")
    inside, elsewhere = photos / "split.csv", tmp_path / "split.csv"
    for path in (inside, elsewhere):
        write_manifest(found, path)
    for again in (read_dataset(inside), read_dataset(elsewhere, root=photos)):
        assert sorted(again.paths) == sorted(found.paths)
        assert by_split(again) == {k: sorted(v) for k, v in by_split(found).items()}
        assert again.classes == found.classes
    shuffled = inside.read_text().splitlines()
    inside.write_text("\n".join([shuffled[0], *reversed(shuffled[1:])]))
    assert read_dataset(inside).paths == again.paths


def test_unlabelled_folder(photos):
    found = read_dataset(photos / "cat")
    assert found.classes == ()
    assert set(found.targets) == {-1}
    assert set(found.splits) == {""}
    assert len(found) == PER_CLASS


def test_a_scan_does_not_trip_over_strays(photos):
    (photos / "dog" / "greg").mkdir()
    draw_photo(photos / "dog" / "greg" / "1.jpg", 0, 0)
    (photos / "owl" / "RENAME2").write_bytes(b"#!/bin/sh\n")
    (photos / "owl" / "notes.jpg.txt").write_text("x")
    (photos / "folder.jpg").mkdir()
    for folder in (photos, photos / "cat"):
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "._00.jpg").write_bytes(b"\0")
        (folder / ".ipynb_checkpoints").mkdir()
        draw_photo(folder / ".ipynb_checkpoints" / "00-checkpoint.jpg", 0, 0)
    (photos / "readme.txt").write_text("x")
    found = read_dataset(photos)
    assert found.classes == CLASSES
    assert len(found) == 27
    assert found.ignored == (
        "owl/notes.jpg.txt", "readme.txt", ".DS_Store", "._00.jpg",
        ".ipynb_checkpoints/00-checkpoint.jpg", "owl/RENAME2", "dog/greg/1.jpg", "folder.jpg/",
    )  # fmt: skip


def test_extra_folders_beside_the_splits_are_ignored(photos, tmp_path):
    root = tmp_path / "split"
    for folder in ("train", "test", "raw"):
        shutil.copytree(photos, root / folder)
    found = read_dataset(root)
    assert found.counts() == {"train": 27, "test": 27}
    (left_out,) = found.left_out
    assert (left_out.kind, left_out.count) == (BESIDE_SPLITS, 27)
    assert left_out.examples == ("raw/cat/00.jpg", "raw/cat/01.png", "raw/cat/02.jpg")
    for folder in ("test", "raw"):
        shutil.rmtree(root / folder)
    assert read_dataset(root).counts() == {"train": 27}


def test_a_class_folder_without_images_is_not_passed_over(photos):
    (photos / "yak").mkdir()
    (photos / "yak" / "1.mov").touch()
    assert read_dataset(photos).ignored == ("yak/1.mov", "yak/")
    with pytest.raises(DatasetError, match=r"= 6 images of each class, but yak has 0$"):
        read_dataset(photos, "first:4,2")


def test_a_manifest_of_another_folder_says_so(photos, tmp_path):
    path = tmp_path / "split.csv"
    write_manifest(read_dataset(photos, "first:4,2"), path)
    with pytest.raises(DatasetError, match=r"^none of the 27 images of .*--root names another"):
        read_dataset(path)
    link = tmp_path / "link"
    link.symlink_to(photos)
    path.write_text(f"path,label\n{link}/cat/00.jpg,cat\n{photos}/dog/00.jpg,dog\n")
    assert read_dataset(path, root=link).paths == ("cat/00.jpg", "dog/00.jpg")


def test_a_manifest_replaces_manifests_alone(photos, tmp_path):
    found = read_dataset(photos, "first:4,2")
    (tmp_path / "notes.csv").write_text("my,notes\n")
    with pytest.raises(OutputExistsError, match="not a file that featx wrote"):
        write_manifest(found, tmp_path / "notes.csv")
    write_manifest(found, tmp_path / "m.csv")
    write_manifest(found, tmp_path / "m.csv")


def test_what_cannot_be_used_says_why(photos, tmp_path):
    with pytest.raises(DatasetError, match=r"^no such file or folder: .*nowhere$"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"^no images in .*empty"):
        read_dataset(tmp_path / "empty")
    with pytest.raises(
        DatasetError,
        match=r"asks for 8 \+ 2 = 10 images of each class, but cat has 9, dog has 9, owl has 9",
    ):
        read_dataset(photos, "first:8,2")
    with pytest.raises(DatasetError, match="has no classes: --split first:1,1 needs them"):
        read_dataset(photos / "cat", "first:1,1")
    with pytest.raises(DatasetError, match="goes with a manifest"):
        read_dataset(photos, root=photos)
    for name in ("dog", "owl"):
        shutil.rmtree(photos / name)
    with pytest.raises(DatasetError, match=r"only one class in .*\(cat\)"):
        read_dataset(photos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "first line must name the columns path,label"),
        ("path,label\nx.jpg,a\nx.jpg,b\n", r"line 3: x.jpg stands in line 2 already"),
        ("path,label\n../x.jpg,a\n", "leads out of the manifest's root"),
        ("path,label\n/etc/x.jpg,a\n", "lies outside the manifest's root"),
        ("path,label\n,a\n", "line 2: the path is empty"),
        ("path,label,split\nx.jpg,a,eval\n", "split is 'eval'; expected train, val or test"),
        ("path,label,split\nx.jpg,a,train\ny.jpg,b,test\n", "test has classes that train lacks: b"),
        ("path,label,split\nx.jpg,a,val\ny.jpg,b,test\n", "no labelled train images"),
        ("path,label\n", "names no images"),
        (b"path,label\n\xff.jpg,a\n", "not a CSV manifest in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a CSV manifest in UTF-8"),
        (b"featx feature file\n\xff", "holds features that were extracted already: featx fit"),
        (b"PK\3\4\xff\xff", "no CSV manifest of images: a ZIP archive"),
        ('path,label\n"x.jpg,a\n', "not a CSV manifest"),
    ],
)
def test_manifests_that_are_wrong(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=message):
        read_dataset(path)


def test_a_manifest_does_not_leave_its_root_by_a_link(photos, tmp_path):
    inside = tmp_path / "sent" / "a"
    inside.mkdir(parents=True)
    shutil.copy(photos / "cat" / "00.jpg", inside / "x.jpg")
    (tmp_path / "sent" / "b").symlink_to(photos / "dog")
    (inside / "y.jpg").symlink_to(photos / "cat" / "02.jpg")
    (inside / "z.jpg").symlink_to("x.jpg")
    manifest = tmp_path / "sent" / "m.csv"
    manifest.write_text("path,label\na/x.jpg,a\na/z.jpg,b\n")
    assert len(read_dataset(manifest)) == 2
    for name in ("a/y.jpg", "b/00.jpg"):
        manifest.write_text(f"path,label\na/x.jpg,a\n{name},b\n")
        with pytest.raises(DatasetError, match=f"{name} is a link that leads out of the manifest"):
            read_dataset(manifest)
        assert len(read_dataset(manifest, root=manifest.parent)) == 2


def test_manifests_that_say_nothing_or_too_much(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\n")
    with pytest.raises(DatasetError, match=r"m.csv names no images: nothing follows its first"):
        read_dataset(tmp_path / "m.csv")
    for name in ("x" * 300, "x/" * 3000 + "y"):
        (tmp_path / "m.csv").write_text(f"path,label\n{name},a\n")
        with pytest.raises(DatasetError, match=r"m.csv, line 2: x.*… is longer than a file's name"):
            read_dataset(tmp_path / "m.csv")
