import numpy as np
import pytest

from featx.novelty.rank_scores import measure_answers, measure_ranks
from featx.novelty.ranks import Evidence, Ranking
from featx.novelty.taxonomy import Taxonomy
from featx.training.metrics import wilson_interval

TREE = Taxonomy(
    ("species", "genus", "family"),
    (
        ("lion", "Panthera", "F"), ("tiger", "Panthera", "F"), ("cat", "Felis", "F"),
        ("newt", "", "A"),
    ),
)  # fmt: skip
Y = np.array([0, 0, 0, 2, 3])
SAID = np.array(
    [
        [0.9, 0.1, 0, 0],  # lion for a lion
        [0.3, 0.4, 0.3, 0],  # tiger: the genus agrees
        [0.2, 0.2, 0.6, 0],  # cat: the family agrees, and its genus has the larger sum
        [0, 0, 0.1, 0.9],  # newt for a cat: nothing agrees
        [0, 0.6, 0, 0.4],  # tiger for a newt, which has no genus
    ]
)


def test_accuracies_and_mistakes_by_hand():
    (found,) = measure_ranks(TREE, {"logreg": SAID}, Y)
    species, genus, family = found.accuracies
    assert (species.correct, species.total) == (1, 5)
    # The newt has no genus and does not count; cat's 0.1 is the largest sum of a genus.
    assert (genus.correct, genus.total) == (3, 4)
    assert genus.interval == wilson_interval(3, 4)
    assert (family.correct, family.total) == (3, 5)
    assert found.mistakes == (0, 1, 1, 2)
    told = found.to_dict()
    assert told["mistakes"] == [0, 1, 1, 2]
    assert told["accuracy"][1]["share"] == pytest.approx(0.75)


def test_groups_are_what_intervals_count():
    (found,) = measure_ranks(TREE, {"m": SAID}, Y, np.array([0, 0, 1, 1, 2]))
    assert {one.method for one in found.accuracies} <= {"cluster-bootstrap", "wilson-of-groups"}


def test_a_rank_that_no_test_image_has():
    (found,) = measure_ranks(TREE, {"m": SAID[4:]}, Y[4:])
    assert found.accuracies[1] is None
    assert found.to_dict()["accuracy"][1] is None


def test_answers_by_hand():
    # At 0.5 one right row is enough for a threshold: 0.9 of species, then 0.35 of genus.
    evidence = Evidence(
        np.array([[0.9, 1, 1], [0.1, 0.35, 1]]), np.array([[1, 1, 1], [0, 1, 1]]) > 0
    )
    ranking = Ranking(TREE, evidence, 0.5)
    species, genus, family = measure_answers(ranking, SAID, Y)
    assert (species.answered.correct, species.answered.total) == (2, 5)
    assert (species.right.correct, species.right.total) == (1, 2)  # the newt is a cat
    assert (genus.answered.correct, genus.right.correct) == (3, 1)  # the tiger alone
    assert (family.kept.threshold, family.answered.correct, family.right) == (None, 0, None)
    assert family.to_dict()["right"] is None
    assert species.to_dict()["held"] == {"left": 2, "answered": 1, "right": 1}
