"""Relatives in an audit: groups on two sides, and pairs that no group joins, with the reasons."""

from dataclasses import replace

import numpy as np
from made_features import make_features

from featx.auditing.copies import Copies, Copy
from featx.auditing.relatives import MOST_SUSPECTS, list_divided, list_related


def no_copies(n, near=()):
    return Copies((), (), np.arange(n), np.zeros(n, np.float32), near)


def test_groups_on_two_sides(provenance):
    made = make_features(provenance)  # of each class six train, two val, four test
    assert list(list_divided(made)) == []
    groups = np.array([f"animal {i}" for i in range(36)])
    groups[[0, 1, 9]] = "Ada"
    (found,) = list_divided(replace(made, groups=groups))
    assert (found.kind, found.path, found.other, found.detail) == (
        "divided", "9.jpg", "0.jpg", "Ada: 1 test, 2 train"
    )  # fmt: skip
    # In no split is on no side.
    made.splits[9] = ""
    assert list(list_divided(replace(made, groups=groups))) == []


def test_suspects_and_why(provenance, tmp_path):
    made = make_features(provenance)
    near = (
        Copy(0, 9, False, 0.95), Copy(2, 3, False, 0.85), Copy(4, 20, False, 0.85),
        Copy(5, 30, False, 0.97),
    )  # fmt: skip
    paths = np.array([f"{'abc'[i // 12]}/shot_{i:03d}.jpg" for i in range(36)])
    made = replace(made, paths=paths)
    found = list_related(made, no_copies(36, near), None)
    # Those across splits first; what is only fairly near needs a second reason.
    assert [(one.path, one.other, one.detail) for one in found] == [
        ("c/shot_030.jpg", "a/shot_005.jpg", "near in features (0.97)"),
        ("a/shot_009.jpg", "a/shot_000.jpg", "near in features (0.95)"),
        ("a/shot_003.jpg", "a/shot_002.jpg", "near in features (0.85); neighbouring numbers"),
    ]
    # What a group joins is no suspect, and neither are copies.
    groups = np.arange(36).astype(str)
    groups[9] = groups[0]
    joined = list_related(replace(made, groups=groups), no_copies(36, near), None)
    assert "a/shot_000.jpg" not in {one.other for one in joined}
    assert len(joined) == len(found) - 1
    many = tuple(Copy(i, j, False, 0.95) for i in range(36) for j in range(i + 1, 36))
    assert len(list_related(made, no_copies(36, many), None)) == MOST_SUSPECTS


def test_photographs_of_one_minute(provenance, tmp_path):
    from PIL import ExifTags, Image

    made = make_features(provenance)
    for name, camera, taken in (
        ("3.jpg", "X1", "2024:05:03 10:00:00"), ("17.jpg", "X1", "2024:05:03 10:00:40"),
        ("18.jpg", "X1", "2024:05:03 10:05:00"), ("19.jpg", "Y", "2024:05:03 10:00:20"),
    ):  # fmt: skip
        exif = Image.Exif()
        exif[ExifTags.Base.Model] = camera
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif)
    (found,) = list_related(made, no_copies(36), tmp_path)
    assert {found.path, found.other} == {"3.jpg", "17.jpg"}
    assert found.detail == "40 s apart, X1"
