from dataclasses import replace

from featx.novelty.measures import NoveltyScores, Refusals, SetScores
from featx.report.strangers import list_refusals, list_sets, say_learned, say_strangers
from featx.training.metrics import Score

LEARNED = {
    "score": "vim", "by": "classes left out", "images": 480, "classes": 10,
    "auroc": {"probability": 0.866, "vim": 0.916}, "auroc_ci95": [0.881, 0.951],
}  # fmt: skip
REFUSED = Refusals(0.05, Score(14, 283, (0.03, 0.081), 0), Score(264, 269, (0.957, 0.992), 0))
SETS = SetScores(0.9, Score(258, 283, (0.873, 0.94), 0), 1.0247, 200, 3, 7, 99)


def test_what_was_learned():
    assert say_learned(LEARNED) == (
        "strangers: vim tells a class that was left out with an AUROC of 91.6 % (mean of 10, 95 % "
        "over classes 88.1 to 95.1; probability 86.6 %); calibrated on 480 out-of-fold images"
    )


def test_what_test_says():
    found = NoveltyScores("logreg", details=LEARNED, refusals=(REFUSED,), sets=(SETS,))
    areas, refused, sets = say_strangers(found)
    assert areas.startswith("logreg, strangers: vim tells a class")
    assert refused == (
        "--unknown 0.05 refuses 4.9 % (14/283) of the test images (3.0 to 8.1), and 98.1 % "
        "(264/269) of the others are right (95.7 to 99.2); strangers are refused more often."
    )
    assert sets == (
        "--sets 0.9: 91.2 % (258/283) of the sets hold the true class (87.3 to 94.0), 1.02 classes "
        "on average; 7 classes have a limit of their own, from 99 calibration images on."
    )
    *_, shared = say_strangers(replace(found, sets=(replace(SETS, own=0),)))
    assert shared.endswith("all classes share one limit, as none has 99 calibration images.")
    assert list_refusals([REFUSED.to_dict()]) == [
        ("0.05", "4.9 % (14/283), 3.0 to 8.1", "98.1 % (264/269), 95.7 to 99.2")
    ]
    assert list_sets([SETS.to_dict()]) == [
        ("0.9", "91.2 % (258/283), 87.3 to 94.0", "1.02", "200", "3", "7", "99")
    ]


def test_what_there_is_not_is_said():
    assert say_strangers(NoveltyScores("fc", lacking="r\n was without val")) == [
        "fc knows no strangers: r\\n was without val."
    ]
    network = NoveltyScores("fc", details={"score": "probability", "images": 6})
    assert say_strangers(network) == [
        "fc, strangers: probability, as it leaves no class out; calibrated on 6 images that it was "
        "not fitted on.",
        "--unknown 0.05 needs 19 or more images that fc was not fitted on, and it was calibrated "
        "on 6.",
        "--sets 0.9 needs 9 or more images that fc was not fitted on, and it was calibrated on 6.",
    ]
    two = NoveltyScores(
        "svm", details={"score": "probability", "images": 90, "classes": 0, "auroc": {}},
        refusals=(REFUSED,), sets=(SETS,),
    )  # fmt: skip
    assert "probability, as no class could be left out; calibrated on 90 " in say_strangers(two)[0]
    every = Refusals(0.05, Score(9, 9, (0.7, 1), 0), None)
    assert list_refusals([every.to_dict()]) == [("0.05", "100.0 % (9/9), 70.0 to 100.0", "–")]
