from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features

from featx.errors import ModelError
from featx.heads.fit import fit
from featx.heads.head import load_head
from featx.novelty.ranks import (
    NO_ANSWER,
    Answer,
    Evidence,
    Ranking,
    check_precision,
    keeps_ranks,
    load_ranking,
)
from featx.novelty.taxonomy import Taxonomy
from featx.training.model import read_model, write_model

TREE = Taxonomy(
    ("species", "genus", "family"),
    (("lion", "Panthera", "F"), ("tiger", "Panthera", "F"), ("cat", "Felis", "F")),
)  # fmt: skip
MADE = Taxonomy(("class", "kind"), (("a", "x"), ("b", "x"), ("c", "y")))


def judge(scores, right):
    return Evidence(np.array(scores, float).T, np.array(right, bool).T)


def test_thresholds_by_hand():
    # At 0.75: wrong + 1 <= (answered + 1) / 4, so 3 answers may have no mistake, 7 may have one.
    species = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04]
    right = [1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0]
    genus = [1, 1, 1, 1, 1, 1, 1, 0.9, 0.8, 0.7, 0.6]
    told = judge([species, genus], [right, [1] * 11]).keep_precision(("species", "genus"), 0.75)
    # Up to 0.3 there are 7 and one mistake. Of the other four genus answers all: 4 and none.
    assert [vars(one) for one in told] == [
        {"rank": "species", "threshold": 0.3, "left": 11, "answered": 7, "right": 6},
        {"rank": "genus", "threshold": 0.6, "left": 4, "answered": 4, "right": 4},
    ]


def test_a_rank_that_never_keeps_it_leaves_all_to_the_next():
    scores = [np.linspace(1, 0.5, 30), np.linspace(1, 0.6, 30), np.ones(30)]
    right = [np.arange(30) % 2, np.arange(30) > 0, np.ones(30)]
    species, genus, family = judge(scores, right).keep_precision(("s", "g", "f"), 0.95)
    assert (species.threshold, species.left, species.answered) == (None, 30, 0)
    # The surest genus is wrong: 39 rows would be needed, and there are 30.
    assert (genus.threshold, genus.left) == (None, 30)
    assert (family.threshold, family.answered, family.right) == (1.0, 30, 30)


def test_equal_scores_are_answered_all_or_none():
    told = judge([[0.9] * 19 + [0.8] * 3], [[1] * 19 + [1, 1, 0]]).keep_precision(("s",), 0.95)
    assert (told[0].threshold, told[0].answered) == (0.9, 19)
    # In another order, and where the last bits differ.
    scores = np.array([0.8, 0.8 + 1e-9, 0.8 - 1e-9] + [0.9] * 19)
    again = judge([scores], [[0, 1, 1] + [1] * 19]).keep_precision(("s",), 0.95)
    assert (again[0].threshold, again[0].answered) == (0.9, 19)


def test_no_rows_and_too_few():
    none, rest = judge([[1.0] * 19, [1.0] * 19], np.ones((2, 19))).keep_precision(("s", "g"), 0.95)
    assert (none.threshold, rest.left, rest.threshold) == (1.0, 0, None)
    few = judge([[1.0] * 18], np.ones((1, 18))).keep_precision(("s",), 0.95)
    assert few[0].threshold is None


def test_answers_are_kept_as_often_as_asked_for():
    """On the average over draws, at each rank, within what so few draws may be off."""
    rng = np.random.default_rng(0)
    wrong, given = np.zeros(2), np.zeros(2)
    for _ in range(300):
        scores = rng.uniform(0, 1, (600, 2))
        right = rng.uniform(0, 1, (600, 2)) < np.array([0.5, 0.8]) + scores * [0.5, 0.2]
        held, new = (Evidence(scores[i::2], right[i::2]) for i in (0, 1))
        made = Ranking(Taxonomy(("s", "g"), (("a", "b"),)), held, 0.9)
        found = made.find_ranks(new.scores)
        for r in range(2):
            given[r] += (found == r).sum()
            wrong[r] += (~new.right[found == r, r]).sum()
    assert (given > 300 * 20).all()
    assert 1 - wrong / given == pytest.approx([0.9, 0.9], abs=0.012)


def test_answers_by_hand():
    # 0.75 keeps a threshold where 3 rows are right: 0.7 of species, 0.8 of genus, none of family.
    scores = [[0.9, 0.8, 0.7, 0.1, 0.1, 0.1], [1, 1, 1, 0.9, 0.85, 0.8], [1] * 6]
    ranking = Ranking(TREE, judge(scores, [[1, 1, 1, 0, 0, 0], [1] * 6, [1] * 6]), 0.75)
    assert [one.threshold for one in ranking.kept] == [0.7, 0.8, None]
    said = ranking.answer(np.array([[0.1, 0.2, 0.7], [0.45, 0.5, 0.05], [0.4, 0.3, 0.3]]))
    assert said[0] == Answer("species", "cat", 0.7, "cat")
    assert said[1] == Answer("genus", "Panthera", pytest.approx(0.95), "tiger")
    assert said[2] is NO_ANSWER
    # The leaf is beneath the answer, though another class is the most probable one.
    (third,) = replace(ranking, precision=0.6).answer(np.array([[0.42, 0.41, 0.17]]))
    assert (third.name, third.leaf) == ("Panthera", "lion")


def test_a_class_without_a_name_is_never_right_there():
    tree = Taxonomy(("class", "genus"), (("a", "G"), ("b", "")))
    evidence = Evidence.judge(tree, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert evidence.right.tolist() == [[True, True], [True, False]]
    assert evidence.scores.tolist() == [[0.9, 0.9], [0.8, 0.2]]


@pytest.mark.parametrize("clf", ["logreg", "knn", "centroid"])
def test_a_head_keeps_ranks_in_its_file_and_is_the_same_head(clf, provenance, tmp_path):
    features = make_features(provenance, dim=12)
    plain = fit(features, clf)
    model = fit(features, clf, taxonomy=MADE, precision_at_least=0.6)
    assert model.recipe == plain.recipe
    assert all(np.array_equal(model.arrays[name], plain.arrays[name]) for name in plain.arrays)
    back = load_ranking(read_model(write_model(model, tmp_path / "m.safetensors").path))
    assert back.taxonomy == MADE
    assert back.precision == 0.6
    assert back.evidence.scores.shape == (24, 2)
    told = model.outcome.details["ranks"]
    assert told["kept"] == [one.to_dict() for one in back.kept]
    head = load_head(model)
    assert len(back.answer(head.predict_proba(features.X))) == 36
    assert load_ranking(model, 0.9).kept != back.kept


def test_other_models_say_how_to_get_them(provenance):
    model = fit(make_features(provenance, dim=12), "centroid")
    assert not keeps_ranks(model)
    with pytest.raises(ModelError, match="--clf centroid --taxonomy FILE"):
        load_ranking(model)
    with pytest.raises(ModelError, match="featx compare --taxonomy FILE"):
        load_ranking(replace(model, kind="network"))


def test_damage_is_said(provenance):
    model = fit(make_features(provenance, dim=12), "centroid", taxonomy=MADE)
    cut = {name: a[:-1] if name == "ranks.right" else a for name, a in model.arrays.items()}
    gone = {name: a for name, a in model.arrays.items() if name != "ranks.scores"}
    for arrays in (cut, gone):
        with pytest.raises(ModelError, match="is damaged"):
            load_ranking(replace(model, arrays=arrays))
    model.outcome.details["ranks"] = {"taxonomy": {"ranks": ["a"], "classes": [["a", "b"]]}}
    with pytest.raises(ModelError, match="is damaged"):
        load_ranking(model)


@pytest.mark.parametrize("precision", [0, 1, -0.5, 95, float("nan")])
def test_a_precision_is_a_share(precision):
    with pytest.raises(ModelError, match=r"it is a share between 0 and 1, such as 0\.95"):
        check_precision(precision)
