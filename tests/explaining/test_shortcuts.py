"""Classes that a place at the edge decides, on maps that are made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.deployment.predict import Prediction
from featx.explaining.explain import Explanation
from featx.explaining.shortcuts import (
    EvidenceTally,
    find_shortcuts,
    list_edge,
    measure_outstanding,
    measure_shares,
    name_place,
)

CLASSES = ("bear", "cow", "fox")


def make_maps(n_per=40, planted=0, place=(0, 6), seed=0):
    """Each image: a blob of evidence somewhere in the middle, for its class, on noise."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), n_per)
    maps = rng.normal(0, 0.3, (len(y), 3, 7, 7))
    for i, k in enumerate(y):
        row, column = rng.integers(1, 5, 2)
        maps[i, k, row : row + 2, column : column + 2] += 5
    for i in np.flatnonzero(y == 1)[:planted]:
        maps[i, 1][place] += 9
    return maps, y


def explain(maps, k, folder="x"):
    said = Prediction(f"{folder}/{CLASSES[k]}/1.jpg", CLASSES[k], 1.0, ((CLASSES[k], 1.0),))
    pixels = np.zeros((8, 8, 3), np.uint8)
    return Explanation(said, CLASSES, CLASSES[k], None, maps, np.zeros(3), pixels)


def gather(maps, y):
    shares = np.stack(
        [measure_shares(explain(one, k), CLASSES[k]) for one, k in zip(maps, y, strict=True)]
    )
    return find_shortcuts(shares, y, CLASSES)


def test_shares_by_hand():
    maps = np.zeros((3, 2, 2))
    maps[0] = [[6.0, 3.0], [-3.0, 0.0]]  # less the mean of the classes: 4, 2, -2, 0
    assert measure_shares(explain(maps, 0), "bear").ravel() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    # The same taken off every class changes no softmax, and no share.
    moved = maps + np.array([[5.0, -9.0], [1.0, 2.0]])
    assert measure_shares(explain(moved, 0), "bear").ravel() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert not measure_shares(explain(np.zeros((3, 2, 2)), 0), "bear").any()


@pytest.mark.parametrize(
    ("place", "where"),
    [((0, 6), "top right corner"), ((6, 0), "bottom left corner"), ((3, 0), "left border")],
)
def test_a_planted_place_is_named_with_its_count(place, where):
    found = gather(*make_maps(planted=30, place=place))
    (one,) = found.shortcuts
    assert (one.label, one.where, (one.row, one.column)) == ("cow", where, place)
    assert 30 <= one.count <= 32
    assert one.images == 40
    assert f"cow may be decided by its pictures' {where}: in {one.count} of 40 images" in one.text
    assert found.to_dict()["shortcuts"][0]["text"] == found.to_dict()["text"] == one.text


@pytest.mark.parametrize(("planted", "named"), [(8, 0), (9, 1)])
def test_the_chance_in_a_limit_of_few_others_counts(planted, named):
    # All of the highest c of 40 alike are in the one half of 20: comb(20, c) / comb(40, c), times
    # 24 places and 2 classes: 0.079 of 8, and 0.029 of 9.
    shares, y = np.zeros((40, 7, 7)), np.repeat([0, 1], 20)
    shares[:planted, 0, 0] = 1
    assert len(find_shortcuts(shares, y, CLASSES).shortcuts) == named


@pytest.mark.parametrize("seed", range(5))
def test_none_is_named_where_none_is(seed):
    none = gather(*make_maps(seed=seed))
    assert none.shortcuts == ()
    assert none.to_dict()["text"].startswith("No class is decided by a place at the edge")
    assert gather(*make_maps(planted=5, seed=seed)).shortcuts == ()  # an eighth decides no class
    assert gather(*make_maps(n_per=3, seed=seed)).shortcuts == ()


def test_the_middle_is_where_a_subject_is():
    maps, y = make_maps()
    maps[y == 1, 1, 3, 3] += 20
    assert gather(maps, y).shortcuts == ()


def test_a_background_is_no_place():
    maps, y = make_maps()
    maps[y == 1, 1, 0] += 9  # all of the upper border
    assert gather(maps, y).shortcuts == ()


def test_what_stands_out_by_hand():
    shares = np.array([[[0.4, 0.1, 0.0], [0.1, 0.2, 0.0], [0.1, 0.0, 0.1]]])
    expected = [[0.2, -0.3, -0.2], [-0.3, -0.2, -0.2], [-0.1, -0.2, -0.1]]
    assert np.allclose(measure_outstanding(shares), expected)


def test_zones_are_shares_of_a_whole():
    shares = np.zeros((2, 5, 5))
    shares[0, 0, 0], shares[0, 0, 1], shares[0, 2, 2] = 0.5, 0.25, 0.25
    shares[1] = 1 / 25
    found = find_shortcuts(shares, np.array([0, 2]), CLASSES)
    bear, fox, mean = found.zones
    assert (bear.label, bear.images, bear.corners, bear.border, bear.centre) == (
        "bear", 1, 0.5, 0.25, 0.25
    )  # fmt: skip
    assert (fox.label, fox.corners, fox.border, fox.centre) == pytest.approx(
        ("fox", 4 / 25, 12 / 25, 9 / 25)
    )
    assert (mean.label, mean.images, mean.corners) == ("", 2, pytest.approx(0.33))


def test_what_cannot_be_judged_is_not():
    assert find_shortcuts(np.ones((2, 7, 7)), np.array([1, 1]), CLASSES) is None
    assert find_shortcuts(np.ones((2, 2, 2)), np.array([0, 1]), CLASSES) is None
    assert EvidenceTally().sum_up() is None


def test_a_folders_name_says_whose_image_it_is(tmp_path, monkeypatch):
    maps, y = make_maps(n_per=10, planted=10)
    tally = EvidenceTally()
    for one, k in zip(maps, y, strict=True):
        tally.add(explain(one, k))
    stranger = explain(maps[0], 0)
    tally.add(
        Explanation(
            Prediction("new/1.jpg", "bear", 1.0, (("bear", 1.0),)), CLASSES, "bear", None, maps[0],
            stranger.biases, stranger.pixels,
        )
    )  # fmt: skip
    found = tally.sum_up()
    assert [one.images for one in found.zones] == [10, 10, 10, 30]
    assert found.shortcuts[0].label == "cow"
    # A bare name is in the folder that the command runs in.
    (tmp_path / "fox").mkdir()
    monkeypatch.chdir(tmp_path / "fox")
    assert Path("1.jpg").absolute().parent.name == "fox"


def test_a_folders_name_is_compared_whatever_its_form():
    maps, y = make_maps(n_per=1)
    tally = EvidenceTally()
    for one, k in zip(maps, y, strict=True):
        told = replace(explain(one, k), classes=("b\u00e4r", *CLASSES[1:]), shown="cow")
        folder = "ba\u0308r" if k == 0 else CLASSES[k]  # as macOS writes it
        tally.add(replace(told, prediction=replace(told.prediction, path=f"x/{folder}/1.jpg")))
    assert [one.label for one in tally.sum_up().zones] == ["b\u00e4r", "cow", "fox", ""]


def test_places_have_names():
    assert len(list_edge(7, 7)) == 24
    assert list_edge(4, 5)[:4] == [(0, 0), (0, 4), (3, 0), (3, 4)]
    assert name_place(6, 3, 7, 7) == "bottom border"
    assert name_place(0, 0, 7, 7) == "top left corner"


def test_labels_are_taken_from_where_they_are_known():
    maps, y = make_maps(n_per=10, planted=10)
    every = [replace(explain(one, k), prediction=replace(explain(one, k).prediction, path=str(i)))
             for i, (one, k) in enumerate(zip(maps, y, strict=True))]  # fmt: skip
    labels = {str(i): CLASSES[k] for i, k in enumerate(y)} | {"0": "no class of the model's"}
    tally = EvidenceTally(labels)
    assert list(tally.watch(every)) == every
    assert [one.images for one in tally.sum_up().zones] == [9, 10, 10, 29]
    assert tally.sum_up().shortcuts[0].label == "cow"
