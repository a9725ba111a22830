"""Images of a feature file's split, found where they are."""

import shutil

import pytest

from featx.errors import DatasetError, FeatureFileError
from featx.explaining.split_images import locate_images


def test_a_splits_images_have_their_classes(feature_file, photos):
    out = feature_file("first:6,1")  # beside the photographs
    found = locate_images(out)
    assert found == {
        str(photos / name / f"{i:02d}.{'png' if i % 2 else 'jpg'}"): name
        for name in ("cat", "dog", "owl")
        for i in (7, 8)
    }
    assert len(locate_images(out, "val")) == 3
    assert len(locate_images(out, "all")) == 27
    there = shutil.move(photos, photos.parent / "elsewhere")
    with pytest.raises(DatasetError, match=r"in no folder photos here or beside it: .*--root"):
        locate_images(out)
    assert len(locate_images(out, "train", there)) == 18


def test_what_is_no_part(feature_file, tmp_path):
    out = feature_file("first:6,3")
    with pytest.raises(DatasetError, match="has no labelled image in test: say another --part"):
        locate_images(out)
    with pytest.raises(DatasetError, match="unknown part 'dev': say one of train, val, test, all"):
        locate_images(out, "dev")
    with pytest.raises(FeatureFileError):
        locate_images(tmp_path / "gone.h5")
