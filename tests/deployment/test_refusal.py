import numpy as np
import pytest
from made_features import make_features

from featx.deployment.refusal import Doubt, Doubter, make_doubter
from featx.errors import ModelError
from featx.heads.fit import fit
from featx.heads.head import Head
from featx.heads.search import LinearFit
from featx.novelty.detector import Detector
from featx.novelty.scores import Energy
from featx.novelty.sets import Limits
from featx.training.scaling import Scaler


@pytest.fixture
def head():
    return Head("logreg", ("a", "b"), Scaler("none"), LinearFit(np.eye(2), np.zeros(2)))


def test_what_is_said_by_hand(head):
    # Energies of -log(e^2 + 1) and -log 2, of which held ones are below and above.
    X = np.array([[2.0, 0.0], [0.0, 0.0]], np.float32)
    detector = Detector("energy", Energy(), np.array([-3.0, -2.5, -2.0, -1.0]))
    limits = Limits(np.array([0.6, 0.2]), np.array([True, True]))
    known, stranger = Doubter(0.3, detector, limits).judge(head, X, head.predict_proba(X))
    assert known.score == pytest.approx(-np.log(np.e**2 + 1))
    assert (known.unknown, known.p_value, known.classes) == (False, 0.6, ("a",))
    assert stranger == Doubt(True, 0.2, pytest.approx(-np.log(2)), ("a",))
    assert stranger.to_dict() == {
        "unknown": True, "p_value": 0.2, "stranger_score": stranger.score, "set": ["a"]
    }  # fmt: skip


def test_what_was_not_asked_is_not_said(head):
    assert [one.to_dict() for one in Doubter().judge(head, np.zeros((2, 2)), np.zeros((2, 2)))] == [
        {}
    ] * 2
    wide = Limits(np.array([1.0, 1.0]), np.array([False, False]))
    (only,) = Doubter(limits=wide).judge(head, np.zeros((1, 2)), np.array([[0.3, 0.7]]))
    assert only.to_dict() == {"set": ["b", "a"]}  # the most probable first


def test_shares_that_are_none(provenance):
    model = fit(make_features(provenance, dim=12), "centroid", strangers=True)
    assert make_doubter(model) == Doubter()
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ModelError, match="between 0 and 1"):
            make_doubter(model, sets=share)
    with pytest.raises(ModelError, match=r"--sets 0.97 needs 33 or more .* calibrated on 24"):
        make_doubter(model, sets=0.97)
    asked = make_doubter(model, 0.1, 0.9)
    assert asked.detector is not None
    assert not asked.limits.own.any()  # eight images a class
