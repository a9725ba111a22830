from types import SimpleNamespace

import pytest
from made_candidates import make

from featx.comparison.candidates import Pair, Verdict
from featx.comparison.curves import CurvePoint
from featx.report.sentences import (
    say_costs,
    say_learning,
    say_pair,
    say_verdict,
)


def test_pairs_in_words():
    assert say_pair(Pair("a", "b", 7, 4, 0.5, 1.0), 283) == (
        "a and b differ on 11 of 283 test images (7 right with a alone, 4 with b), p = 1: "
        "not distinguishable."
    )
    assert say_pair(Pair("a", "b", 9, 0, 0.004, 0.004), 283).endswith("p = 0.004: distinguishable.")
    assert "are right and wrong on the same 9" in say_pair(Pair("a", "b", 0, 0, 1, 1), 9)


def compared(candidates, verdict, paired=()):
    return SimpleNamespace(candidates=candidates, verdict=verdict, paired=paired)


def test_the_verdict_in_words():
    cheap = make("logreg", range(2), seconds=1.0, extract=20.0)
    best = make("layer4", (), seconds=500.0, extract=None)
    verdict = Verdict("layer4", "logreg", ("logreg", "ridge"), ("knn", "centroid"), ())
    pairs = [
        Pair("knn", "layer4", 0, 12, 0.0005, 0.003), Pair("layer4", "centroid", 8, 1, 0.04, 0.2)
    ]  # fmt: skip
    said = say_verdict(compared([cheap, best], verdict, pairs))
    assert said[:5] == [
        "Choose logreg: 95.0 % (38/40) of the test images, after 20 s of extraction and 1 s of "
        "fitting.",
        "The best on val, layer4, has 100.0 % (40/40) and is not distinguishable from it; it costs "
        "479 s more, 23.8 times as much.",
        "Not distinguishable from layer4 on these images: ridge.",
        "Distinguishably worse than layer4, and so not chosen: knn.",
        "Perhaps worse than layer4, and so not chosen: centroid (p < 0.05 before the correction "
        "for 2 pairs, not after it).",
    ]
    assert "fewer than 6 (15.0 % of them) can never be told apart" in said[5]
    assert "Val chose among candidates with 10 images" in said[6]


def test_few_test_images_cannot_tell():
    few, other = make("logreg", ()), make("fc", ())
    few.outcome.scores["test"] = SimpleNamespace(accuracy=1.0, correct=5, total=5)
    verdict = Verdict("logreg", "logreg", (), (), ())
    said = say_verdict(compared([few, other], verdict))
    assert "5 test images cannot tell any two candidates apart: it takes 6" in said[-1]


def test_when_extraction_has_paid():
    from featx.training.model import Epoch

    head, network = make("logreg", (), extract=24.0), make("fc", (), extract=None)
    epochs = tuple(Epoch(i, 16.0, {}, {}) for i in (1, 2))
    object.__setattr__(network.outcome, "history", epochs)
    object.__setattr__(head.extraction, "machine", "here")
    assert say_costs([head, network]) == [
        "Extraction paid for itself after 1.5 epochs of fc (24 s against 16 s an epoch)."
    ]
    assert say_costs([network]) == []
    network.outcome.details["prefix_cache"] = True
    for first, epochs in ((48.0, "0.5"), (20.0, "2.0")):
        epoch = [Epoch(i, s, {}, {}) for i, s in enumerate((first, 3.0, 5.0), 1)]
        object.__setattr__(network.outcome, "history", tuple(epoch))
        assert say_costs([head, network]) == [
            f"Extraction paid for itself after {epochs} epochs of fc (24 s against {first:.0f} s "
            "for the first epoch and 4 s for each later one)."
        ]
    object.__setattr__(head.extraction, "machine", "a GPU")
    assert say_costs([head, network]) == [
        "Extraction was measured on a GPU, fc on here: their seconds cannot be compared."
    ]


@pytest.mark.parametrize(
    ("last", "words"), [(0.96, "probably help"), (0.905, "bring little"), (0.94, "cannot be told")]
)
def test_whether_more_labels_help(last, words):
    points = [
        CurvePoint("ridge", 5, 50, False, (0.5, 0.6)),
        CurvePoint("logreg", 5, 50, False, (0.85, 0.95)),
        CurvePoint("logreg", 20, 200, False, (0.1, 0.1)),  # too near the end to say anything
        CurvePoint("logreg", 30, 300, True, (last,)),
    ]
    said = say_learning(points, "logreg", 283)
    assert said.startswith("From 50 to 300 train images logreg went from 90.0 (mean of 2 draws) to")
    assert f" to {100 * last:.1f} % of test: " in said
    assert words in said
    assert "9 test images are too few to say" in say_learning(points, "logreg", 9)
    assert "Too few images per class" in say_learning(points, "ridge", 283)


def test_the_verdict_without_val_and_without_cost():
    from dataclasses import replace

    head = replace(make("logreg", range(2)), extraction=None)
    network = make("fc", (), seconds=50.0, extract=None)
    for candidate in (head, network):
        del candidate.outcome.scores["val"]
    verdict = Verdict("logreg", "logreg", ("fc",), (), ("svm",))
    said = say_verdict(
        compared([head, network], verdict, [Pair("svm", "logreg", 9, 0, 0.01, 0.02)])
    )
    assert said[0].endswith("after 1 s of fitting on features whose cost was not measured.")
    assert "Distinguishably better than logreg on test: svm." in said
    said = say_verdict(compared([head, network], Verdict("fc", "logreg", ("logreg",), (), ())))
    assert said[1] == (
        "Without val, fc stands for the best: it has 100.0 % (40/40) and is not distinguishable "
        "from it; what it costs in addition was not measured."
    )
