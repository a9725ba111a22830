"""What test says of refusals and sets, against counts by hand."""

import json

import numpy as np
import pytest

from featx.novelty import measures
from featx.novelty.detector import Detector
from featx.novelty.measures import (
    NoveltyScores,
    Unseen,
    measure_coverage,
    measure_curves,
    measure_refusals,
    measure_sets,
)
from featx.novelty.scores import Energy, Probability
from featx.novelty.sets import Calibration
from featx.training.metrics import wilson_interval


def test_accuracy_against_coverage_by_hand():
    # From the best known: right, wrong, right, right.
    found = measure_coverage("energy", np.array([3.0, 1, 4, 2]), np.array([1, 1, 1, 0], bool))
    assert found.coverages == (0.25, 0.5, 0.75, 1)
    assert found.accuracies == pytest.approx((1, 1 / 2, 2 / 3, 3 / 4))
    assert found.area == pytest.approx(1 - np.mean([1, 1 / 2, 2 / 3, 3 / 4]))
    assert found.to_dict()["points"][1] == {"coverage": 0.5, "accuracy": 0.5}


def test_equally_strange_images_have_no_order():
    right = np.array([1, 0, 0, 1, 1, 0], bool)
    strangeness = np.array([0.0, 1, 1, 1, 1, 2])
    rng, curves = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.lexsort((rng.random(6), strangeness))
        curves.append(np.cumsum(right[order]) / np.arange(1, 7))
    found = measure_coverage("knn", strangeness, right)
    assert found.accuracies == pytest.approx(np.mean(curves, axis=0), abs=0.02)


def test_of_many_images_some_points_are_kept():
    found = measure_coverage("x", np.arange(1234.0), np.ones(1234, bool))
    assert len(found.coverages) == measures.COVERAGE_POINTS
    assert (found.coverages[-1], set(found.accuracies), found.area) == (1, {1.0}, 0)
    assert found.coverages[0] == 13 / 1234  # the first hundredth, and no less


@pytest.fixture
def unseen():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    return Unseen(np.array([0, 0, 1, 1]), p, np.array([0.0, 10.5, 12.5, 99.0]))


def test_refusals_by_hand(unseen, monkeypatch):
    monkeypatch.setattr(measures, "UNKNOWN_RATES", (0.04, 0.2, 0.9))
    detector = Detector("energy", Energy(), np.arange(1.0, 20))  # p = (20 - s) / 20 and less
    first, second = measure_refusals(detector, unseen)  # 0.04 needs 24 of them
    assert (first.rate, first.refused.correct, first.refused.total) == (0.2, 1, 4)
    assert first.refused.interval == wilson_interval(1, 4)
    assert (first.answered.correct, first.answered.total) == (3, 3)  # the wrong one is refused
    assert (second.refused.correct, second.answered.correct) == (3, 1)
    monkeypatch.setattr(measures, "UNKNOWN_RATES", (0.2,))
    every = Detector("energy", Energy(), np.arange(-30.0, -10))
    (only,) = measure_refusals(every, unseen)
    assert (only.refused.correct, only.answered, only.to_dict()["answered"]) == (4, None, None)


def test_sets_by_hand(unseen):
    # Limits: of 19 the ranks 16, 18 and 19.
    scores = np.array([0.05] * 15 + [0.15, 0.15, 0.35, 0.75])
    low, middle, high = measure_sets(Calibration(scores, np.arange(19) % 2), unseen)
    assert [one.coverage for one in (low, middle, high)] == [0.8, 0.9, 0.95]
    assert (low.covered.correct, low.size, low.single, low.empty) == (1, 0.25, 1, 3)
    assert (middle.covered.correct, middle.size, middle.single, middle.empty) == (2, 0.75, 3, 1)
    assert (high.covered.correct, high.size, high.single, high.empty) == (4, 1.5, 2, 0)
    assert [(one.own, one.floor) for one in (low, middle, high)] == [(0, 49), (0, 99), (0, 199)]
    few = Calibration(scores[:8], np.arange(8) % 2)
    assert [one.coverage for one in measure_sets(few, unseen)] == [0.8]


def test_groups_widen_what_is_counted():
    rng = np.random.default_rng(0)
    y, clusters = rng.integers(0, 2, 200), np.repeat(np.arange(20), 10)
    right = np.repeat(rng.random(20) < 0.7, 10)  # a group is right or wrong as a whole
    p = np.where(np.eye(2)[np.where(right, y, 1 - y)] > 0, 0.8, 0.2)
    alone, grouped = (Unseen(y, p, np.zeros(200), c).count(right) for c in (None, clusters))
    assert (alone.correct, alone.method, grouped.method) == (
        grouped.correct, "wilson", "cluster-bootstrap"
    )  # fmt: skip
    assert np.ptp(grouped.interval) > 2 * np.ptp(alone.interval)
    assert Unseen(y, p, np.zeros(200)).count(right, np.zeros(200, bool)) is None


def test_the_largest_probability_is_a_curve_of_its_own(unseen):
    by_energy = measure_curves(Detector("energy", Energy(), np.arange(3.0)), unseen)
    assert [one.by for one in by_energy] == ["energy", "probability"]
    assert by_energy[1].accuracies == (1, 1, 2 / 3, 3 / 4)  # 0.9, 0.8, 0.7, 0.6
    (only,) = measure_curves(Detector("probability", Probability(), np.arange(3.0)), unseen)
    assert only.by == "probability"


def test_json_has_all_of_it(unseen):
    detector = Detector("energy", Energy(), np.arange(1.0, 100))
    found = NoveltyScores(
        "ridge", details={"score": "energy"}, curves=measure_curves(detector, unseen),
        refusals=measure_refusals(detector, unseen),
        sets=measure_sets(Calibration(np.linspace(0, 1, 99), np.zeros(99, int)), unseen),
    )  # fmt: skip
    values = json.loads(json.dumps(found.to_dict()))
    assert (values["candidate"], values["lacking"], values["score"]) == ("ridge", None, "energy")
    assert [one["rate"] for one in values["refused"]] == [0.01, 0.05]
    assert values["sets"][0]["covered"].keys() == {
        "count", "total", "share", "ci95", "ci95_method"
    }  # fmt: skip
    assert values["sets"][1]["own"] == 1  # 99 held rows are of class 0
    assert NoveltyScores("fc", lacking="no val").to_dict()["lacking"] == "no val"
