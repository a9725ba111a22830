from featx.novelty.rank_scores import RankAccuracy, RankAnswers, RankScores
from featx.novelty.ranks import Kept
from featx.report.ranks import list_tables, say_kept, say_ranks
from featx.training.metrics import Score

RANKS = ("species", "genus", "family")
KEPT = (
    Kept("species", 0.62, 480, 441, 430),
    Kept("genus", None, 39, 0, 0),
    Kept("family", 0.9, 39, 38, 38),
)


def score(correct, total):
    return Score(correct, total, (0.5, 0.75), 0)


FOUND = RankScores(
    RANKS, (10, 4, 2), 0.95,
    (
        RankAccuracy("logreg", (score(270, 283), None, score(280, 283)), (0, 5, 4, 4)),
        RankAccuracy("fc", (score(283, 283), None, score(283, 283)), (0, 0, 0, 0)),
    ),
    "logreg",
    answers=(
        RankAnswers(KEPT[0], score(260, 283), score(255, 260)),
        RankAnswers(KEPT[1], score(0, 283), None),
        RankAnswers(KEPT[2], score(20, 283), score(20, 20)),
    ),
)  # fmt: skip


def test_what_a_model_keeps():
    told = {"precision": 0.95, "images": 480, "kept": [one.to_dict() for one in KEPT]}
    assert say_kept(told) == [
        "ranks: an answer at a rank is to be right in 95 % of cases or more, as 480 out-of-fold "
        "images say: species answers 441 of 480 (430 right), from a probability of 0.620 on; genus "
        "never keeps it, and answers none of 39; family answers 38 of 39 (38 right), from a "
        "probability of 0.900 on; 1 is not answered"
    ]
    few = [Kept("species", 0.2, 30, 12, 12), Kept("genus", None, 18, 0, 0)]
    told |= {"kept": [one.to_dict() for one in few]}
    assert (
        "genus answers nothing, as it needs 19 images and is left 18; 18 are" in say_kept(told)[0]
    )
    none = told | {"kept": [vars(Kept("genus", None, 0, 0, 0))]}
    assert "no image is left to genus" in say_kept(none)[0]


def test_what_test_says():
    assert say_ranks(FOUND) == [
        "logreg by ranks, and 95 %: species 95.4 % (270/283), 50.0 to 75.0; family 98.9 % "
        "(280/283), 50.0 to 75.0.",
        "Of its 13 mistakes on test the class said and the true one first agree: 5 at genus, 4 at "
        "family, 4 at no rank.",
        "--precision-at-least 0.95: species answers 91.9 % (260/283) of the test images, 98.1 % "
        "(255/260) of them rightly (50.0 to 75.0); family answers 7.1 % (20/283) of the test "
        "images, 100.0 % (20/20) of them rightly (50.0 to 75.0).",
        "Out of fold, genus never keeps it, and answers none of 39.",
    ]


def test_what_cannot_answer_says_why():
    lacking = RankScores(RANKS, (10, 4, 2), 0.95, FOUND.every, "fc", "it was without val")
    assert say_ranks(lacking)[-1] == "fc does not answer by ranks: it was without val."
    assert len(list_tables(lacking.to_dict())) == 2
    assert list_tables(None) == []


def test_the_tables_of_the_page():
    accuracies, mistakes, answers = list_tables(FOUND.to_dict())
    assert accuracies[0] == ("candidate", "species (10)", "genus (4)", "family (2)")
    assert accuracies[1][0] == (
        "logreg", "95.4 % (270/283), 50.0 to 75.0", "–", "98.9 % (280/283), 50.0 to 75.0"
    )  # fmt: skip
    assert mistakes[0] == ("candidate", "genus", "family", "no rank")
    assert mistakes[1] == [("logreg", "5", "4", "4"), ("fc", "0", "0", "0")]
    assert [row[:3] for row in answers[1]] == [
        ("species", "0.620", "441 of 480"), ("genus", "never", "0 of 39"),
        ("family", "0.900", "38 of 39"),
    ]  # fmt: skip
