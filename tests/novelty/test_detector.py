from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features

from featx.errors import ModelError
from featx.heads.fit import fit
from featx.novelty.detector import (
    Detector,
    check_enough,
    find_floor,
    load_detector,
    load_detectors,
)
from featx.novelty.scores import Energy, Probability


def test_p_values_by_hand():
    made = Detector("probability", Probability(), np.array([1.0, 2.0, 2.0, 5.0]))
    found = made.find_p_values(np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0]))
    assert found == pytest.approx([1.0, 1.0, 0.8, 0.4, 0.4, 0.2])


def test_held_rows_are_kept_with_what_they_were_taken_for():
    made = Detector.from_held("energy", Energy(), np.array([3.0, 1.0, 2.0]), np.array([0, 1, 2]))
    again = Detector.from_arrays("energy", made.to_arrays())
    beside = Detector.from_arrays("energy", made.to_arrays("drift."), "drift.")
    for one in (made, again, beside):
        assert (one.held.tolist(), one.labels.tolist()) == ([1.0, 2.0, 3.0], [1, 2, 0])


def test_known_rows_are_refused_as_often_as_asked():
    rng = np.random.default_rng(0)
    refused = [
        (Detector("x", Probability(), np.sort(held)).find_p_values(new) <= 0.05).mean()
        for held, new in ((rng.normal(size=99), rng.normal(size=200)) for _ in range(400))
    ]
    assert np.mean(refused) == pytest.approx(0.05, abs=0.005)  # exactly 5 / 100 on average


def test_the_floor_of_images():
    assert [find_floor(rate) for rate in (0.05, 0.01, 0.1, 1 - 0.9, 0.3)] == [19, 99, 9, 9, 3]
    check_enough(0.05, 19, "--unknown 0.05", "m")
    with pytest.raises(ModelError, match=r"--unknown 0.05 needs 19 .* m was calibrated on 18"):
        check_enough(0.05, 18, "--unknown 0.05", "m")
    made = Detector("probability", Probability(), np.arange(18.0))
    assert made.find_p_values(np.array([99.0])) > 0.05


def test_a_fine_tuned_network_goes_by_its_val(provenance):
    model = fit(make_features(provenance, dim=12), "centroid", strangers=True)
    network = replace(model, kind="network", arrays={})
    found = load_detector(network)
    p = model.outcome.probabilities["val"].max(axis=1)
    assert found.name == "probability"
    assert found.held == pytest.approx(np.sort(np.log((1 - p) / p)), rel=1e-6)
    said = model.outcome.probabilities["val"].argmax(axis=1)
    assert found.labels.tolist() == said[np.argsort(-p, kind="stable")].tolist()
    assert [one.name for one in load_detectors(network)] == ["probability"]
    assert [one.name for one in load_detectors(model)][1:] == ["centre"]
    model.arrays.pop("drift.score.means")
    with pytest.raises(ModelError, match="damaged: it lacks 'means'"):
        load_detectors(model)
    model.outcome.probabilities.pop("val")
    assert load_detector(model).name == model.outcome.details["strangers"]["score"]
