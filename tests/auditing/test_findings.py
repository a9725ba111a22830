"""What is made of copies, suspects and looks: the kind, the image to act on first, the order."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features
from shared import PROVENANCE

from featx.auditing.copies import Copies, Copy
from featx.auditing.findings import KINDS, find_blur, find_leaked, list_findings
from featx.auditing.labels import Suspect
from featx.auditing.pixels import LOOK, Looks
from featx.data.dataset import Skipped


@pytest.fixture
def features():
    """Four images of a class: rows 0 to 2 train, 3 test; 4 to 6 and 7; 8 to 10 and 11."""
    made = make_features(PROVENANCE, n_per=4, splits=(3, 0))
    return replace(made, skipped=(Skipped("bad.jpg", "", "damaged", "cut short"),))


def find(features, pairs=(), suspects=(), looks=None, distances=None, unconfirmed=()):
    n = len(features.targets)
    copies = Copies(
        tuple(pairs), tuple(unconfirmed), np.arange(n),
        np.zeros(n, np.float32) if distances is None else np.array(distances, np.float32),
    )  # fmt: skip
    return list_findings(features, copies, suspects, looks)


def test_a_pair_is_what_its_splits_and_labels_say(features):
    pairs = [
        Copy(0, 1, True, 1.0),  # both train, one label
        Copy(0, 3, False, 0.99, bits=7, mirrored=True),  # train and test
        Copy(1, 4, False, 0.98),  # two labels
        Copy(2, 7, False, 0.97, bits=0),  # both at once
    ]
    found = find(features, pairs)
    said = [(one.kind, one.path, one.other) for one in found]
    assert said == [
        ("leak", "3.jpg", "0.jpg"),  # the test image first: it is the one to act on
        ("leak", "7.jpg", "2.jpg"),
        ("conflict", "4.jpg", "1.jpg"),
        ("conflict", "7.jpg", "2.jpg"),
        ("copy", "1.jpg", "0.jpg"),
        ("skipped", "bad.jpg", ""),
    ]
    assert found[0].detail == "same picture, hashes differ in 7 of 256 bits, mirrored"
    assert [found[i].detail for i in (1, 2, 4)] == ["same picture", "near", "same bytes"]
    assert (found[0].split, found[0].other_split) == ("test", "train")
    assert (found[2].label, found[2].other_label) == ("b", "a")


def test_of_a_copy_without_a_label_the_labelled_one_is_kept(features):
    targets, splits = features.targets.copy(), features.splits.copy()
    targets[1], splits[1] = -1, ""
    found = find(replace(features, targets=targets, splits=splits), [Copy(0, 1, True, 1.0)])
    assert (found[0].kind, found[0].path, found[0].other) == ("copy", "1.jpg", "0.jpg")
    targets[:2], splits[:2] = (-1, 0), ("", "train")
    found = find(replace(features, targets=targets, splits=splits), [Copy(0, 1, True, 1.0)])
    assert (found[0].path, found[0].other) == ("0.jpg", "1.jpg")


def test_leaked_rows_are_tests_whose_group_others_have(features):
    groups = np.arange(12)
    groups[7] = groups[0]  # a test image beside train
    groups[11] = groups[3]  # two test images
    assert find_leaked(features, groups).tolist() == [7]


def test_a_suspect_names_what_it_probably_is(features):
    (one, _) = find(features, suspects=(Suspect(0, label=0, suggested=2, given=0.03, best=0.91),))
    assert (one.kind, one.path, one.label, one.suggested) == ("label", "0.jpg", "a", "c")
    assert (one.score, one.detail) == (0.03, "91 % c")


def test_outliers_are_beyond_tukeys_fence_the_farthest_first(features):
    # Quartiles of these are 1 and 2: the fence stands at 3.5.
    distances = [1.0] * 4 + [1.5] * 3 + [2.0] * 3 + [3.6, 9.0]
    found = [one for one in find(features, distances=distances) if one.kind == "outlier"]
    assert [one.path for one in found] == ["11.jpg", "10.jpg"]
    assert found[0].detail == "9.00 from its neighbours; the median is 1.50"


def test_small_and_flat_pictures_are_told(features):
    table = np.zeros(12, LOOK)
    table["seen"] = True
    table["width"], table["height"], table["sharpness"] = 640, 480, 500.0
    table["width"][1] = 17  # the network's resizing makes it 72: four times is 18
    table["sharpness"][2] = 3.0
    table["seen"][5] = False
    looks = Looks(table, ((5, "gone"),))
    found = [(o.kind, o.path, o.detail) for o in find(features, looks=looks)[:-1]]
    assert found[0] == ("tiny", "1.jpg", "17 x 480 pixels")
    assert found[1][:2] == ("blurred", "2.jpg")
    assert found[2] == ("unseen", "5.jpg", "gone")


def test_blur_is_judged_by_the_others_within_what_is_usual():
    assert find_blur(np.array([])) == 0.0
    assert find_blur(np.full(9, 1e4)) == 100.0  # sharp ones accuse nobody above the usual figure
    assert find_blur(np.full(9, 2.0)) == 10.0  # all flat: what has no edge stays blurred
    # Of 20 to 1,000 in the logarithm the lower fence is far below the least that is asked.
    assert find_blur(np.geomspace(20, 1000, 50)) == 10.0


def test_kinds_come_in_the_order_in_which_they_matter():
    assert list(KINDS)[:4] == ["leak", "divided", "conflict", "label"]
