from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_candidates import make

from featx.comparison.curves import CurvePoint
from featx.report import sentences
from featx.report.sentences import say_classes, say_costs, say_learning
from featx.report.verdict import say_rates
from featx.training.evaluation import PerClass


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
    assert said.startswith("From 50 to 300 images to learn from, logreg went from 90.0 (mean of 2 ")
    assert f" to {100 * last:.1f} % of test: " in said
    assert words in said
    assert "9 test images are too few to say" in say_learning(points, "logreg", 9)
    assert "Too few images per class" in say_learning(points, "ridge", 283)


def test_the_lowest_classes_are_named():
    counts = [PerClass(9, 10, (0.6, 0.98)), PerClass(0, 0, None), PerClass(1, 4, (0.05, 0.7))]
    told = SimpleNamespace(name="ridge", evaluations={"test": SimpleNamespace(per_class=counts)})
    assert say_classes(told, ["cat", "dog", "owl"]) == (
        "Lowest classes of ridge on test: owl 25.0 % (1/4), 5.0 to 70.0; cat 90.0 % (9/10), 60.0 "
        "to 98.0."
    )
    counts[0] = replace(counts[0], ci95_method="cluster-bootstrap")
    assert "of ridge on test (intervals by groups): owl" in say_classes(told, ["cat", "dog", "owl"])
    counts[:] = [PerClass(9, 9, (0.7, 1.0)), PerClass(4, 4, (0.51, 1.0)), PerClass(0, 0, None)]
    assert say_classes(told, ["cat", "dog", "owl"]) == (
        "On test ridge has no mistake; its least certain classes: dog 100.0 % (4/4), 51.0 to "
        "100.0; cat 100.0 % (9/9), 70.0 to 100.0."
    )


def test_what_val_is_of_each_candidate_is_said():
    def with_details(name, **details):
        made = make(name, [])
        outcome = replace(made.model.outcome, details=details)
        return replace(made, model=replace(made.model, outcome=outcome))

    folded = with_details("ridge", val="out of fold")
    before = with_details("svm", val="held out, before refitting")
    said = sentences._say_choosing([folded, before, make("knn", [])])
    assert said[0].startswith("Folds of train and val together chose C, k and the like of ridge, ")
    assert "out of fold" in said[0]
    assert said[1].startswith("val chose C, k and the like of svm, which then learned from it")
    assert len(said) == 2


def test_what_chose_a_learning_rate_is_said():
    rates = [{"learning_rate": r, "loss": r, "epochs": 3, "lowest_loss": r, "seconds": 1.0}
             for r in (0.1, 0.2)]  # fmt: skip

    def with_rates(name, by):
        made = make(name, [])
        details = {"chosen": {"name": "learning_rate", "value": 0.1, "by": by}, "rates": rates}
        return replace(
            made, model=replace(made.model, outcome=replace(made.outcome, details=details))
        )

    said = say_rates([with_rates("fc", "val"), with_rates("linear", "folds of train")])
    assert said[0].startswith("Of fc val chose the epoch and the learning rate")
    assert said[1:] == [
        f"{name}: learning rate 0.1, with a log-loss on {by} of 0.100 after the last epoch (0.2: "
        "0.200)."
        for name, by in (("fc", "val"), ("linear", "folds of train"))
    ]
    # Without val there is none of which it could be said.
    assert len(say_rates([with_rates("linear", "folds of train")])) == 1
