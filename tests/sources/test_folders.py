"""Every file of a folder is an image or counted, under what it is."""

import os
import unicodedata

import pytest
from shared import lay

from featx.config import OTHER_FILES, SPLIT_SPELLINGS, SYSTEM_FILES, SYSTEM_FOLDERS
from featx.data.hashing import hash_images
from featx.errors import DatasetError, ImageError
from featx.sources.folders import (
    BESIDE_CLASSES,
    BESIDE_SPLITS,
    HIDDEN,
    LINKS,
    NESTED,
    OF_SYSTEMS,
    UNKNOWN,
    UNNAMED,
    list_images,
    name_split,
)
from featx.sources.reading import read_dataset, read_inventory


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def count(found):
    return {one.kind: one.count for one in found.left_out}


def count_files(root):
    return sum(len(files) for _, _, files in os.walk(root))


CLEAN = ("train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "test/b/2.jpg")


@pytest.mark.parametrize("spelling", SPLIT_SPELLINGS)
@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_splits_have_many_spellings(root, spelling, change):
    split = SPLIT_SPELLINGS[spelling]
    names = {"train": "train", "val": "val", "test": "test", split: change(spelling)}
    lay(root, *(f"{folder}/{c}/1.jpg" for folder in names.values() for c in "ab"))
    found = read_dataset(root)
    assert found.counts() == {"train": 2, "val": 2, "test": 2}
    assert (found.split_rule, found.left_out, found.notes) == ("folders", (), ())
    assert dict(zip(found.paths, found.splits, strict=True))[f"{change(spelling)}/a/1.jpg"] == split


def test_two_folders_of_one_split_are_refused(root):
    lay(root, *CLEAN, "val/a/1.jpg", "Validation/a/3.jpg")
    with pytest.raises(DatasetError, match=r"both Validation/ and val/, which are one split \(val"):
        read_dataset(root)


def test_a_word_that_some_call_val_and_some_test_is_neither(root):
    assert name_split("eval") is None
    found = read_dataset(lay(root, *CLEAN, "eval/a/1.jpg", "eval/notes.txt"))
    assert found.counts() == {"train": 2, "test": 2}
    assert count(found) == {BESIDE_SPLITS: 1, "annotations and text (.txt)": 1}


def test_a_split_without_classes_is_unlabelled(root, caplog):
    found = read_dataset(lay(root, *CLEAN[:2], "Test/0.jpg", "Test/1.jpg", "Test/sub.csv"))
    assert found.counts() == {"train": 2, "test": 2}
    assert dict(zip(found.paths, found.targets.tolist(), strict=True)) == {
        "train/a/1.jpg": 0, "train/b/1.jpg": 1, "Test/0.jpg": -1, "Test/1.jpg": -1,
    }  # fmt: skip
    (note,) = found.notes
    assert note.startswith("images without a label: 2 (such as Test/0.jpg)")
    assert note in caplog.text
    assert count(found) == {"tables (.csv)": 1}


def test_a_folder_of_unlabelled_images_is_no_class(root):
    found = read_dataset(lay(root, "a/1.jpg", "b/1.jpg", "Unlabelled/1.jpg", "Unlabelled/x/2.jpg"))
    assert found.classes == ("a", "b")
    targets = dict(zip(found.paths, found.targets.tolist(), strict=True))
    assert targets == {"Unlabelled/1.jpg": -1, "a/1.jpg": 0, "b/1.jpg": 1}
    assert count(found) == {NESTED: 1}
    beside = read_dataset(
        lay(root.parent / "split", *CLEAN, "unlabeled/1.jpg", "train/unlabelled/2.jpg")
    )
    waiting = {
        p: s for p, s, k in zip(beside.paths, beside.splits, beside.targets, strict=True) if k < 0
    }
    assert waiting == {"unlabeled/1.jpg": "train", "train/unlabelled/2.jpg": "train"}
    assert beside.classes == ("a", "b")


def test_an_empty_folder_of_unlabelled_images_is_no_empty_class(root):
    lay(root, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    (root / "unlabelled").mkdir()
    found = read_dataset(root, "first:1,0")
    assert found.counts() == {"train": 2, "test": 2}
    assert found.ignored == ()
    lay(root, "unlabelled/1.jpg")
    assert read_dataset(root, "first:1,0").counts() == {"train": 3, "test": 2}


def test_a_stray_image_does_not_make_classes_of_splits(root):
    found = read_dataset(lay(root, *CLEAN, "train/all.jpg", "test/all.jpg"))
    assert found.classes == ("a", "b")
    assert found.counts() == {"train": 2, "test": 2}
    assert count(found) == {BESIDE_CLASSES: 2}


def test_splits_that_are_taken_for_classes_are_named(root):
    found = read_dataset(lay(root, "train/1.jpg", "test/2.jpg", "train.csv"))
    assert found.classes == ("test", "train")
    (note,) = found.notes
    assert note.startswith("test and train are taken for classes")


def test_splits_without_train_are_no_classes(root):
    with pytest.raises(DatasetError, match="has no labelled train images"):
        read_dataset(lay(root, "val/a/1.jpg", "val/b/1.jpg", "test/a/1.jpg"))


def test_images_below_class_folders(root, caplog):
    names = ("a/1.jpg", "a/day1/2.jpg", "a/day2/3.jpg", "b/5.jpg", "b/day1/x/4.jpg", "c/d/6.jpg")
    lay(root, *names)
    found = read_dataset(root)
    assert (found.classes, len(found), count(found)) == (("a", "b"), 2, {NESTED: 4})
    assert (
        "left out: images in subfolders of class folders: 4 (a/day1/2.jpg, a/day2/3.jpg, "
        "b/day1/x/4.jpg, …); --recursive reads them"
    ) in caplog.text
    assert found.notes == ("class folders without images: c",)
    found = read_dataset(root, recursive=True)
    assert found.paths == names
    assert (found.targets.tolist(), found.left_out) == ([0, 0, 0, 1, 1, 2], ())


def test_a_path_that_is_too_long_is_said_to_be(root):
    lay(root, "a/1.jpg", "b/1.jpg")
    here = os.open(root / "a", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for recursive in (False, True):
        (one,) = read_inventory(root, recursive=recursive).unread
        assert (one.kind, one.reason) == ("unreadable", "file name too long")


@pytest.mark.parametrize("folder", [*sorted(SYSTEM_FOLDERS), ".Trash-1000", ".hidden"])
@pytest.mark.parametrize("recursive", [False, True])
def test_folders_of_systems_are_nobodys_class(root, folder, recursive):
    inside = (f"{folder}/1.jpg", f"{folder}/x/2.jpg", f"a/{folder}/a.jpg", f"train/{folder}/3.jpg")
    lay(root, "a/1.jpg", "b/1.jpg", *inside, "train/1.jpg")
    found = read_dataset(root, "first:1,0", recursive=recursive)
    assert found.classes == ("a", "b", "train")
    kind = HIDDEN if folder == ".hidden" else OF_SYSTEMS
    assert (len(found), count(found)) == (3, {kind: 4})


def test_each_file_is_counted_by_what_it_is(root):
    names = {
        **{f"a/x{s}": f"{kind} ({s})" for kind, several in OTHER_FILES.items() for s in several},
        **{f"a/{name}": OF_SYSTEMS for name in SYSTEM_FILES},
        "a/._1.jpg": OF_SYSTEMS, "a/.1.jpg": HIDDEN, "b/Thumbs.db": OF_SYSTEMS,
        "b/X.MP4": "videos (.mp4)", "b/README": UNKNOWN, "b/Mr. Smith": UNKNOWN,
        "b/x.xyz": "other files (.xyz)", "1.png": BESIDE_CLASSES, "list.csv": "tables (.csv)",
    }  # fmt: skip
    lay(root, "a/1.jpg", "b/1.JPG", *names)
    (root / "b" / "link").symlink_to(root / "a")
    found = read_dataset(root)
    expected = dict.fromkeys([*names.values(), LINKS], 0)
    for kind in [*names.values(), LINKS]:
        expected[kind] += 1
    assert count(found) == expected
    assert [one.kind for one in found.left_out] == sorted(expected)
    assert len(found) + sum(expected.values()) == count_files(root) + 1  # the link


@pytest.mark.parametrize(
    "begins",
    [
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\1", b"\x89PNG\r\n\x1a\n\0\0\0\r", b"GIF89a\1\0\1\0\0\0",
        b"II*\0\x08\0\0\0\0\0\0\0", b"RIFF\x24\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypheic",
    ],
)  # fmt: skip
def test_an_image_under_another_name_is_called_one(root, begins):
    lay(root, "a/1.jpg", "b/1.jpg")
    for name in ("a/IMG_0001", "b/2.jpg_large"):
        (root / name).write_bytes(begins + b"\0" * 20)
    assert count(read_dataset(root)) == {UNNAMED: 2}
    (root / "a" / "IMG_0001").write_bytes(b"\0" + begins)
    assert count(read_dataset(root)) == {UNNAMED: 1, UNKNOWN: 1}


def test_memory_does_not_grow_with_kinds(root, caplog):
    lay(root, "a/1.jpg", "b/1.jpg", *(f"a/x.s{i}" for i in range(400)))
    found = read_dataset(root).left_out
    assert len(found) == 251
    assert sum(one.count for one in found) == 400
    assert all(len(one.examples) <= 3 for one in found)
    assert "other files: 150 (a/x.s" in caplog.text
    assert "; 239 of 239 other kinds (see --json)" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folders_that_may_not_be_read_by_this_user(root):
    lay(root, "a/1.jpg", "b/1.jpg", "a/x/2.jpg", "c/1.jpg", "lost+found/1.jpg")
    for name in ("a/x", "c", "lost+found"):
        (root / name).chmod(0)
    check_unreadable(root)
    for name in ("a/x", "c", "lost+found"):
        (root / name).chmod(0o700)


def check_unreadable(root):
    found = read_inventory(root)
    assert [one.path for one in found.unread] == ["a/x/", "c/"]
    assert {one.reason for one in found.unread} == {"permission denied"}
    assert [(one.count, one.examples) for one in found.left_out.list()] == [(1, ("lost+found/",))]
    dataset = found.load()
    assert (dataset.classes, [one.path for one in dataset.unread]) == (("a", "b"), ["a/x/", "c/"])
    with pytest.raises(ImageError, match=r"a/x.*permission denied"):
        hash_images(found, "fail")


def test_folders_that_cannot_be_read(root, monkeypatch):
    lay(root, "a/1.jpg", "b/1.jpg", "a/x/2.jpg", "c/1.jpg", "lost+found/1.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith(("a/x", "c", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    check_unreadable(root)
    monkeypatch.setattr("os.scandir", lambda path: refuse(root / "c"))
    with pytest.raises(DatasetError, match="cannot be read: permission denied"):
        read_inventory(root)


def test_names_of_classes_compare_by_their_form(root, caplog):
    composed = unicodedata.normalize("NFC", "Émeu")
    apart = unicodedata.normalize("NFD", composed)
    lay(root, f"train/{composed}/1.jpg", f"val/{apart}/2.jpg", "train/b/1.jpg", "val/b/2.jpg")
    found = read_dataset(root)
    assert found.classes == ("b", composed)
    assert found.counts() == {"train": 2, "val": 2}
    (note,) = found.notes
    assert note.endswith(f"(NFC, NFD) are taken for one: {composed}")


def test_names_that_differ_in_case_are_said_to(root):
    found = read_dataset(lay(root / "one", "Cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert found.classes == ("Cat", "cat", "dog")
    assert found.notes == ("classes that differ in case alone stay apart: Cat and cat",)
    lay(root / "two", "train/Cat/1.jpg", "train/b/1.jpg", "val/cat/1.jpg")
    with pytest.raises(DatasetError, match=r"train lacks: cat \(train has one in another case\)"):
        read_dataset(root / "two")


def test_what_is_there_is_said_where_no_images_are(root):
    lay(root, "a/x/1.jpg", "b/1.cr2", ".git/config")
    with pytest.raises(
        DatasetError,
        match=r"no images in .*; left out: images in subfolders of class folders: 1 \(a/x/1.jpg\); "
        r"--recursive reads them; left out: hidden files: 1 \(.git/config\); raw photographs",
    ):
        read_dataset(root)


def test_a_class_of_test_alone_is_told_where_unknown_images_go(root):
    lay(root, "train/a/1.jpg", "train/b/1.jpg", "test/unknown/1.jpg")
    with pytest.raises(
        DatasetError, match=r"lacks: unknown; .* go into a folder called unlabelled$"
    ):
        read_dataset(root)
    (root / "test/unknown").rename(root / "test/unlabelled")
    assert read_dataset(root).splits.tolist() == ["train", "train", "test"]


def test_a_folder_around_all_is_named(root):
    lay(root, "data/train/a/1.jpg", "data/train/b/1.jpg", "data/test/a/1.jpg", "__MACOSX/x/._1")
    with pytest.raises(DatasetError, match=r"no images in .*; all lies in data/: give that$"):
        read_dataset(root)
    lay(root, "more/a/1.jpg")
    with pytest.raises(DatasetError, match=r"recursive reads them[^;]*; left out: files of[^;]*$"):
        read_dataset(root)


def test_a_list_is_of_images_alone(root):
    lay(root, "b.jpg", "a.PNG", "x.txt", ".c.jpg", "d.jpg/1.jpg")
    assert list_images(root) == ["a.PNG", "b.jpg"]
