"""Pictures of a pool that are labelled already, in another file."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features
from PIL import Image, ImageOps

from featx.errors import DatasetError
from featx.labelling.near import find_near_copies
from featx.labelling.next import find_next


@pytest.fixture
def half(provenance, tmp_path, monkeypatch):
    """Eight labelled pictures, and four without a label: the first is a mirrored copy of the first.

    The second is as near to it in the features, and another picture.
    """
    monkeypatch.chdir(tmp_path)
    made, rng = make_features(provenance, 4, splits=(4, 0)), np.random.default_rng(0)
    hashes, X = made.hashes.copy(), made.X.copy()
    pictures = [
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((160, 120), 3)
        for _ in range(12)
    ]
    pictures[8] = ImageOps.mirror(pictures[0])
    X[8:10] = X[0] + 0.01
    for row, path in enumerate(made.paths.tolist()):
        place = tmp_path / "made" / path
        place.parent.mkdir(exist_ok=True)
        pictures[row].save(place, "JPEG", quality=50 if row == 8 else 90)
        hashes[row] = hashlib.sha256(place.read_bytes()).hexdigest()
    targets = np.where(np.arange(12) < 8, made.targets, -1)
    return replace(made, X=X, hashes=hashes, targets=targets)


def test_a_picture_that_was_labelled_is_not_proposed(half):
    rows = np.arange(8, 12)
    assert find_near_copies(half, half, rows) == {8: "0.jpg"}
    found = find_next(half, n=4, forecast=False)
    assert {one.path for one in found.images} == {"9.jpg", "10.jpg", "11.jpg"}
    assert found.copies == 1
    assert any("(such as 8.jpg of 0.jpg)" in note for note in found.notes)


def test_without_pictures_nothing_is_told(half, tmp_path, monkeypatch):
    (tmp_path / "made").rename(tmp_path / "away")
    assert find_near_copies(half, half, np.arange(8, 12)) == {}
    assert find_near_copies(half, half, np.arange(8, 12), tmp_path / "away") == {8: "0.jpg"}
    assert len(find_next(half, n=4, forecast=False).images) == 4


def test_a_pool_of_nothing_else_is_refused(half):
    alone = replace(half, targets=np.where(np.arange(12) == 8, -1, np.arange(12) % 3))
    with pytest.raises(DatasetError, match="shows the same picture as a labelled one"):
        find_next(alone, n=4, forecast=False)
