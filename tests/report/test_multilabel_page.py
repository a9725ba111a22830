"""Heads of several labels an image in words, in a terminal and on a page."""

from dataclasses import replace

import numpy as np
import pytest
from made_sets import plant_features

from featx.multilabel.compare import LabelsPair, compare_multilabel
from featx.report.multilabel import (
    make_labels_results,
    render_labels_comparison,
    render_labels_page,
    say_labels,
    say_labels_pair,
    say_labels_pairs,
)


@pytest.fixture
def planted(provenance):
    return plant_features(provenance, noise=1.2, n=120)


@pytest.fixture
def comparison(planted, tmp_path):
    return compare_multilabel(planted, clf=["ridge", "logreg"], output=tmp_path / "out")


def test_text_and_page_have_every_label(comparison):
    values = make_labels_results(comparison)
    text, page = render_labels_comparison(comparison), render_labels_page(values)
    for part in ("beach", "dog", "mAP", "whole sets right", "McNemar"):
        assert part in text
        assert part in page
    assert values["sentences"][0] in text
    assert values["paired"][0]["text"] in text


def test_the_worst_mistakes_come_first_and_are_mistakes(planted, comparison):
    shown = make_labels_results(comparison)["mistakes"]
    assert 1 < len(shown) <= 12
    assert all(one["labels"] != one["said"] for one in shown)
    row_of = {path: row for row, path in enumerate(planted.paths.tolist())}
    names = np.array(planted.classes)
    for one in shown:
        row = row_of[one["path"]]
        assert planted.splits[row] == "test"
        assert one["labels"] == names[planted.label_sets[row]].tolist()
    wrong = [len({*one["labels"]} ^ {*one["said"]}) for one in shown]
    assert wrong == sorted(wrong, reverse=True)
    picture = "data:image/jpeg;base64,AAAA"
    page = render_labels_page(make_labels_results(comparison), {shown[0]["path"]: picture})
    assert page.count(picture) == 1


def test_where_no_fold_could_judge_nothing_is_ranked(planted, tmp_path):
    alone = replace(planted, groups=np.full(120, "g"))
    made = compare_multilabel(alone, clf=["ridge"], output=tmp_path / "alone")
    assert make_labels_results(made)["sentences"][0].startswith("No fold could judge a label")


def test_names_do_no_harm(planted, tmp_path):
    wild = replace(planted, classes=("<b>x</b>", "y\x1b[31m"))
    made = compare_multilabel(wild, clf=["ridge"], output=tmp_path / "wild")
    assert "<b>" not in render_labels_page(make_labels_results(made))
    assert "\x1b" not in render_labels_comparison(made)


@pytest.mark.parametrize(
    ("judgement", "said"),
    [
        ("equal", "equal within 2 points"),
        ("better", "a is better"),
        ("worse", "b is better"),
        ("unknown", "too few images to tell"),
    ],
)
def test_a_pair_in_words(judgement, said):
    pair = LabelsPair("a", "b", 0.01, (-0.01, 0.03), judgement)
    assert say_labels_pair(pair, 2.0) == f"a less b: +1.0 points (-1.0 to +3.0) of mAP: {said}."
    assert "too few images" in say_labels_pair(replace(pair, ci95=None), 2.0)


def test_pairs_without_an_interval_are_one_sentence(comparison):
    (pair,) = comparison.paired
    bare = [replace(pair, a=name, ci95=None) for name in "xy"]
    said = say_labels_pairs(replace(comparison, paired=(pair, *bare)))
    assert said[0] == say_labels_pair(pair, comparison.margin)
    assert said[1].startswith(f"x less {pair.b}; y less {pair.b}: no interval of the difference")
    assert len(said) == 2


def test_what_is_told_perfectly_is_not_told_worst(comparison):
    best = comparison.best
    told = best.outcome.details["evaluation"]["test"]["labels"]
    assert "The labels that it tells worst: " in " ".join(say_labels(comparison))
    for one in told:
        one["ap"] = 0.99999
    assert "worst" not in " ".join(say_labels(comparison))
