from dataclasses import replace

import numpy as np
import pytest
from made_candidates import Y, make

from featx.comparison.candidates import pair_candidates
from featx.comparison.verdict import find_contenders, find_tier, judge, rank_on_val
from featx.training.pairs import find_detectable


def decide(*candidates, margin=2.0):
    pairs = pair_candidates(candidates, Y, margin)
    return judge(candidates, pairs, rank_on_val(candidates, Y[:10]), margin)


def tuned(name, wrong, seconds=500.0, **options):
    return make(name, wrong, seconds, extract=None, **options)


def test_best_is_by_val_log_loss_at_the_best_temperature():
    better, worse = make("better", range(30), confidence=0.7), make("worse", ())
    worse.outcome.probabilities["val"][0] = [0.55, 0.45]  # right, but much less sure of one
    # Test has no say; nor has being surer of everything, which a temperature does.
    wrong = make("c", (), val_wrong=(3,))
    assert rank_on_val([wrong, worse, better], Y[:10]) == ["better", "worse", "c"]


def test_without_val_those_that_were_trained_come_in_their_order():
    candidates = [make("imagenet", ()), make("ridge", ()), make("knn", ())]
    assert rank_on_val(candidates, Y[:0]) == ["ridge", "knn", "imagenet"]


def test_tiers_of_cost():
    views = replace(make("logreg", ()), views=2)
    candidates = [make("logreg", ()), views, tuned("fc", ()), tuned("layer4", ()), tuned("all", ())]
    assert [find_tier(c) for c in candidates] == ["frozen", "views", "part", "part", "all"]


def test_the_best_on_val_of_each_tier_stands_for_it():
    found = decide(
        make("knn", range(5), val_wrong=(0,)),
        make("logreg", range(5)),
        tuned("fc", range(5), val_wrong=(0, 1)),
        tuned("layer4", range(5), val_wrong=(0,)),
    )
    assert found.tiers == {"frozen": "logreg", "part": "layer4"}
    assert found.best == "logreg"


def contend(intervals):
    """Who is left at a margin of 2 points, of intervals in points, the cheapest first."""
    names = list(dict.fromkeys(name for pair in intervals for name in pair))
    return find_contenders(names, lambda a, b: tuple(x / 100 for x in intervals[a, b]), 2.0)


@pytest.mark.parametrize(("interval", "left"), [
    ((-1.9, 0.5), ["frozen"]),  # loses less than the margin for certain
    ((-1.9, -0.1), ["frozen"]),  # even where it is certain to lose something
    ((1.0, 3.0), ["frozen"]),
    ((-2.1, 3.0), ["frozen", "part"]),  # a larger loss is possible, and so is none
    ((-6.0, -0.1), ["part"]),
])  # fmt: skip
def test_two_tiers(interval, left):
    assert contend({("frozen", "part"): interval}) == left


def test_three_tiers():
    def three(part, whole, between):
        return contend({
            ("frozen", "part"): part, ("frozen", "all"): whole, ("part", "all"): between,
        })  # fmt: skip

    assert three((-1, 1), (-1, 1), (-9, 9)) == ["frozen"]  # whatever the dearer are
    assert three((-9, -3), (-1, 1), (-1, 1)) == ["part"]
    assert three((-9, -3), (-9, -3), (-9, -3)) == ["all"]
    assert three((-1, 1), (-3, 1), (-1, 1)) == ["frozen", "part"]  # part is safe: all is too dear
    assert three((-3, 1), (-3, 1), (-5, -1)) == ["frozen", "all"]
    assert three((-3, 1), (-3, 1), (-3, 1)) == ["frozen", "part", "all"]


def test_the_margin_is_the_users():
    head, network = make("logreg", range(2)), tuned("layer4", ())
    assert decide(head, network).contenders == ("logreg", "layer4")
    assert decide(head, network, margin=20.0).contenders == ("logreg",)


def test_where_images_do_not_tell_val_says_which_is_better():
    for better, wrong in (("layer4", ((0,), ())), ("logreg", ((), (0,)))):
        head = make("logreg", range(2), val_wrong=wrong[0])
        found = decide(head, tuned("layer4", range(2, 4), val_wrong=wrong[1]))
        assert (found.choose, found.best, found.decided) == (better, better, False)


def test_what_is_told_from_the_best():
    best = make("a", range(9), confidence=0.95)
    found = decide(
        best,
        make("b", (), val_wrong=(0,)),
        make("c", range(8), val_wrong=(1,)),
        make("d", range(25), val_wrong=(1,)),
    )
    assert (found.best, found.level, found.worse, found.better) == ("a", ("c",), ("d",), ("b",))


def test_uncorrected_mid_p_decides_what_is_level():
    # Five images: p = 0.031, and after Holm for three pairs 0.094; the exact p is 0.0625.
    candidates = [make("a", ()), make("b", range(5), val_wrong=(0,)), make("c", (), val_wrong=(1,))]
    pair = next(p for p in pair_candidates(candidates, Y) if {p.a, p.b} == {"a", "b"})
    assert pair.p_value_raw < 0.05 < pair.p_value_exact < pair.p_value
    assert decide(*candidates).worse == ("b",)


def test_no_cost_has_to_be_known():
    unknown = replace(make("logreg", ()), extraction=None)
    assert unknown.seconds is None
    views = replace(make("logreg", (), seconds=0.1), extraction=None, views=2)
    found = decide(tuned("fc", (), seconds=0.5), views, unknown)
    assert list(found.tiers.values()) == ["logreg", "logreg+2views", "fc"]


def test_what_the_test_images_can_show():
    # Of 40 images the best differs on none from one, and on 30 from another.
    same, other = make("knn", (), val_wrong=(0,)), make("svm", range(30), val_wrong=(0,))
    found = decide(make("logreg", ()), same, other)
    assert found.detectable == (find_detectable(40, 0.0), find_detectable(40, 0.75))
    assert decide(make("logreg", ())).detectable is None
    # Groups of four that never differ count as an image each.
    candidates = make("logreg", ()), same
    pairs = pair_candidates(candidates, Y, clusters=np.arange(40) // 4)
    grouped = judge(candidates, pairs, rank_on_val(candidates, Y[:10]))
    assert grouped.detectable == (find_detectable(10, 0.0),) * 2
