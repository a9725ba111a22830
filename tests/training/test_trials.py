from dataclasses import replace

import numpy as np
import pytest

from featx.training.trials import (
    Kin,
    Trial,
    find_few,
    join_kin,
    know_nothing,
    plan_folds,
    say_folds,
)

Y = np.repeat([0, 1, 2], 20)


def check(folds, y, kin):
    """Each image is judged once, and no relative of it is learned from where it is."""
    judged = np.concatenate([out for _, out in folds])
    assert sorted(judged.tolist()) == np.flatnonzero(~kin.view).tolist()
    for inside, out in folds:
        for codes in (kin.image, kin.group):
            assert codes is None or not np.isin(codes[inside], codes[out]).any()


def test_folds_are_stratified():
    kin = know_nothing(60)
    folds = plan_folds(Y, kin)
    assert len(folds) == 5
    check(folds, Y, kin)
    for _, out in folds:
        assert np.bincount(Y[out]).tolist() == [4, 4, 4]
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(folds, plan_folds(Y, kin), strict=True))
    assert not np.array_equal(folds[0][1], plan_folds(Y, kin, seed=1)[0][1])
    assert [len(plan_folds(Y[:n], know_nothing(n))) for n in (23, 22, 21)] == [3, 2, 0]


def test_copies_and_views_are_on_their_images_side():
    image = np.arange(60)
    image[[7, 41]] = 3, 44  # copies
    train = Kin(image, np.zeros(60, bool))
    kin = join_kin([train, replace(train.take(np.arange(30)), view=np.ones(30, bool))])
    y = np.concatenate([Y, Y[:30]])
    folds = plan_folds(y, kin)
    check(folds, y, kin)
    assert all(len(inside) > 60 for inside, _ in folds)
    assert not kin.independent
    assert know_nothing(3).independent


def test_groups_are_whole_and_spread():
    group = np.repeat(np.arange(15), 4)
    kin = replace(know_nothing(60), group=group)
    folds = plan_folds(Y, kin)
    check(folds, Y, kin)
    assert [np.bincount(Y[out]).tolist() for _, out in folds] == [[4, 4, 4]] * 5
    assert plan_folds(Y, replace(kin, group=np.zeros(60, int))) == ()


def test_a_class_of_one_group_is_learned_without_where_it_is_judged():
    group = np.where(Y == 2, 99, np.arange(60) // 2)
    folds = plan_folds(Y, replace(know_nothing(60), group=group))
    parts = list(Trial(np.arange(60.0)[:, None], Y, folds, "folds", "train").cut())
    (lacking,) = (part for part in parts if len(part.known) == 2)
    assert lacking.known.tolist() == [0, 1]
    assert (Y[lacking.rows] == 2).sum() == 20
    assert set(lacking.y.tolist()) == {0, 1}


@pytest.mark.parametrize("scale", ["standard", "center-l2"])
def test_scaling_is_of_what_a_part_learns_from(scale):
    X = np.random.default_rng(0).normal(3, 2, (60, 4))
    for part in Trial(X, Y, plan_folds(Y, know_nothing(60)), "folds", "train", scale).cut():
        inside = np.setdiff1d(np.arange(60), part.rows)
        expected = X - X[inside].mean(axis=0)
        expected /= (
            X[inside].std(axis=0)
            if scale == "standard"
            else np.linalg.norm(expected, axis=1, keepdims=True)
        )
        assert np.allclose(part.X, expected[inside])
        assert np.allclose(part.held, expected[part.rows])


def test_classes_of_few_images_are_named_with_their_counts():
    assert find_few("abc", Y, know_nothing(60)) is None
    kin = know_nothing(23)  # three images of the second class
    said = "3 folds choose C, k and the like instead of 5, since b has 3 images: add images of "
    assert find_few("ab", Y[:23], kin).startswith(said)
    assert say_folds(plan_folds(Y[:23], kin), "train", kin) == (
        "folds of train, 3 since a class has no more images"
    )
    # Copies count once.
    copies = replace(kin, image=np.minimum(kin.image, 20))
    assert find_few("ab", Y[:23], copies).startswith("no folds choose C, k and the like instead of")
    # Of groups it is these that are counted, however many images they have.
    grouped = replace(know_nothing(60), group=np.where(Y == 2, 99, np.arange(60) // 5))
    assert (
        "2 folds choose C, k and the like instead of 5, since c has 1 group, a has 4 groups, b"
        in (find_few("abc", Y, grouped))
    )
    assert say_folds(plan_folds(Y, grouped), "train", grouped).endswith("has no more groups")
    many = find_few([str(k) for k in range(5)], np.repeat(np.arange(5), 4), know_nothing(20))
    assert "2 has 4 images, and 2 more classes have few: add" in many
