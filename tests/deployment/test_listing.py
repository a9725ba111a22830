"""Which images are meant, and what is said of all else in a folder."""

import os

import numpy as np
import pytest
from shared import lay

from featx.data.dataset import Leftovers
from featx.deployment.listing import find_images, list_paths
from featx.errors import ArgumentError, DatasetError
from featx.sources.folders import OF_SYSTEMS


def test_one_path_is_one_path(tmp_path):
    assert list_paths("a.jpg") == list_paths(["a.jpg"]) == list_paths(np.str_("a.jpg"))
    assert list_paths(tmp_path) == [tmp_path]
    assert list_paths(np.array(["a", "b"])) == list_paths(("a", "b"))


@pytest.mark.parametrize("images", [None, 3, b"a.jpg", [b"a.jpg"], ["a.jpg", None]])
def test_what_is_no_path_is_named(images):
    with pytest.raises(ArgumentError, match=r"^images is a .*: expected a path$"):
        list_paths(images)


def test_what_is_no_image_is_counted(tmp_path):
    root = lay(
        tmp_path / "d", "b.jpg", "a/2.jpg", "a/x/1.jpg",
        "@eaDir/b.jpg/SMALL.jpg", "a/x.mp4", ".c.jpg"
    )  # fmt: skip
    (root / "a" / "loop").symlink_to(root)
    left_out = Leftovers()
    found = [path.relative_to(root).as_posix() for path in find_images([root], left_out=left_out)]
    assert found == ["b.jpg", "a/2.jpg", "a/x/1.jpg"]
    assert {one.kind: one.examples for one in left_out.list()} == {
        OF_SYSTEMS: (f"{root}/@eaDir/b.jpg/SMALL.jpg",),
        "hidden files": (f"{root}/.c.jpg",),
        "links to folders": (f"{root}/a/loop",),
        "videos (.mp4)": (f"{root}/a/x.mp4",),
    }


def test_a_folder_without_images_says_what_it_has(tmp_path):
    with pytest.raises(DatasetError, match=r"no images in .*; left out: videos \(.mp4\): 1 \("):
        list(find_images([lay(tmp_path / "d", "a/x.mp4")]))


def test_a_folder_that_cannot_be_read_stands_for_an_image(tmp_path, monkeypatch):
    root, scandir = lay(tmp_path / "d", "a/1.jpg", "closed/2.jpg", "z.jpg"), os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert list(find_images([root])) == [root / "z.jpg", root / "a/1.jpg", root / "closed"]
