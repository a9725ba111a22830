from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_candidates import Y, make

from featx.comparison.candidates import Pair, pair_candidates
from featx.comparison.verdict import judge, rank_on_val
from featx.report.verdict import say_pair, say_verdict


def pair(only_a, only_b, p, difference, low, high, judgement):
    points = (low / 100, high / 100)
    return Pair("a", "b", only_a, only_b, p / 3, p, p / 3, difference / 100, points, judgement)


@pytest.mark.parametrize(("found", "said"), [
    (
        pair(7, 4, 1.0, 1.06, -1.4, 3.7, "unknown"),
        "a and b differ on 11 of 283 test images (7 right with a alone, 4 with b), p = 1: not "
        "distinguishable; a minus b: +1.1 points (-1.4 to +3.7), too few images to tell within 2 "
        "points.",
    ),
    (
        pair(9, 0, 0.004, 3.2, 1.2, 5.9, "better"),
        "p = 0.004: distinguishable; a minus b: +3.2 points (+1.2 to +5.9), a is better.",
    ),
    (
        pair(1, 8, 0.1, -2.5, -5.1, -0.3, "worse"),
        "p = 0.1: not distinguishable; a minus b: -2.5 points (-5.1 to -0.3), a is worse by "
        "itself.",
    ),
    (
        pair(0, 0, 1.0, 0.0, -1.3, 1.3, "equal"),
        "a and b are right and wrong on the same 283 test images; a minus b: +0.0 points (-1.3 to "
        "+1.3), equal within 2 points.",
    ),
])  # fmt: skip
def test_pairs_in_words(found, said):
    assert say_pair(found, 283).endswith(said)


def compared(*candidates, margin=2.0, y_val=Y[:10]):
    pairs = pair_candidates(candidates, Y, margin)
    verdict = judge(candidates, pairs, rank_on_val(candidates, y_val), margin)
    features = SimpleNamespace(alike=None)
    return SimpleNamespace(candidates=candidates, verdict=verdict, paired=pairs, features=features)


def test_too_few_images_in_words():
    head = make("logreg", range(2), seconds=1.0, extract=20.0, val_wrong=(0,))
    best = make("layer4", (), seconds=500.0, extract=None)
    said = say_verdict(compared(head, best))
    assert said == [
        "Too few images to tell whether logreg loses more than 2 points: logreg minus layer4: -5.0 "
        "points (-16.5 to +4.2).",
        "The better on val is layer4, 100.0 % (40/40) of the test images, after 500 s of "
        "fine-tuning; it costs 479 s more, 23.8 times as much.",
        "Not distinguishable from layer4 on these images: logreg.",
        "On 40 test images a true difference of 18.5 points to layer4 is found 80 times in 100, a "
        "smaller one less often.",
        "Val chose among candidates with 10 images: few to choose by.",
    ]
    cheap = make("logreg", range(2), seconds=1.0, extract=20.0)
    said = say_verdict(compared(cheap, make("layer4", (), 500.0, None, val_wrong=(0,))))
    assert said[1] == (
        "The better on val is the cheaper: logreg, 95.0 % (38/40) of the test images, after 20 s "
        "of extraction and 1 s of fitting."
    )


def test_the_cheaper_in_words():
    head = make("logreg", range(2), seconds=1.0, extract=20.0, val_wrong=(0,))
    best = make("layer4", (), seconds=500.0, extract=None)
    said = say_verdict(compared(head, best, margin=20.0))
    assert said[:2] == [
        "Choose logreg: 95.0 % (38/40) of the test images, after 20 s of extraction and 1 s of "
        "fitting.",
        "It loses no more than 20 points to layer4 (logreg minus layer4: -5.0 points (-16.5 to "
        "+4.2)); layer4 costs 479 s more, 23.8 times as much.",
    ]


def test_the_dearer_in_words():
    head = make("logreg", range(12), val_wrong=(0,))
    part, whole = make("fc", range(11), 50.0, None), make("all", (), seconds=500.0, extract=None)
    said = say_verdict(compared(head, part, whole))
    assert said[:3] == [
        "Choose all: 100.0 % (40/40) of the test images, after 500 s of fine-tuning.",
        "The cheaper logreg is worse: logreg minus all: -30.0 points (-45.4 to -18.1).",
        "The cheaper fc is worse: fc minus all: -27.5 points (-42.8 to -16.1).",
    ]


def test_who_is_told_from_the_best_and_by_which_p():
    candidates = [
        make("logreg", (), confidence=0.95),
        make("knn", range(12), val_wrong=(0,)),
        make("centroid", range(5), val_wrong=(0,)),
        make("svm", range(4), val_wrong=(0,)),
    ]
    said = say_verdict(compared(*candidates))
    assert said[1] == "It is the best on val."
    assert said[2:5] == [
        "Not distinguishable from logreg on these images: svm.",
        "Distinguishably worse than logreg: knn.",
        "Perhaps worse than logreg: centroid (p < 0.05 before the correction for 6 pairs, not "
        "after it).",
    ]


def test_without_val_and_without_cost():
    head = replace(make("logreg", range(2)), extraction=None)
    network = make("fc", (), seconds=50.0, extract=None)
    for candidate in (head, network):
        del candidate.outcome.scores["val"]
    said = say_verdict(compared(head, network, y_val=Y[:0]))
    assert said[1] == (
        "Without val nothing says which is better; logreg, 95.0 % (38/40) of the test images, "
        "after 1 s of fitting on features whose cost was not measured, stands for it."
    )
    said = say_verdict(compared(head, network, y_val=Y[:0], margin=20.0))
    assert said[1].endswith("; fc costs more, and how much was not measured.")


def test_groups_make_the_test_set_worth_less():
    comparison = compared(make("logreg", ()), make("fc", ()))
    comparison.paired = [replace(comparison.paired[0], worth=12.4)]
    (said,) = [line for line in say_verdict(comparison) if "times in 100" in line]
    assert said.startswith("On 40 test images, which by their groups count as 12 at the least, a t")


def test_few_test_images_cannot_tell():
    comparison = compared(make("logreg", ()), make("fc", ()))
    comparison.verdict = replace(comparison.verdict, detectable=None)
    said = say_verdict(comparison)
    assert "40 test images are too few to tell any two candidates apart." in said


def test_of_equal_features_no_head_is_chosen():
    heads = make("logreg", range(20)), make("knn", range(20), val_wrong=(0,))
    comparison = compared(*heads)
    comparison.features.alike = "all 9 images have the same features: look"
    assert say_verdict(comparison) == [
        "All 9 images have the same features: look.",
        "Each head takes all images for one class: there is nothing to choose.",
    ]
    # What learns from pixels may tell what the features do not.
    comparison = compared(*heads, make("layer4", (), extract=None))
    comparison.features.alike = "all 9 images have the same features: look"
    assert [one[:11] for one in say_verdict(comparison)[:2]] == ["All 9 image", "Choose laye"]
