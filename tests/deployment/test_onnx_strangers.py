"""A stranger's score and p-value from a graph, against featx's own."""

from dataclasses import replace

import numpy as np
import pytest

from featx.deployment.onnx_graph import OUTPUT, _add_head
from featx.deployment.onnx_nodes import Graph
from featx.deployment.onnx_strangers import STRANGER, add_detector
from featx.deployment.parity import Expected, check_runtime
from featx.errors import ExportError
from featx.heads.head import Head
from featx.heads.knn import NeighboursFit
from featx.heads.search import LinearFit
from featx.novelty import scores
from featx.novelty.detector import Detector
from featx.novelty.scores import SCORES, Known
from featx.training.scaling import fit_scaler

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(1, 2, (60, 12)).astype(np.float32)


def make_head(X, clf, scale):
    rng = np.random.default_rng(1)
    scaler = fit_scaler(scale, X)
    fit = LinearFit(rng.normal(0, 1, (3, 12)) + 4, rng.normal(2, 1, 3))  # with much in common
    if clf == "knn":
        fit = NeighboursFit(scaler.apply(X).astype(np.float32), np.arange(60) % 3, 5, 3)
    return Head(clf, ("a", "b", "c"), scaler, fit, 0.7)


def run_graph(head, detector, X):
    graph = Graph()
    rows, logits = _add_head(graph, head, "x")
    add_detector(graph, head, detector, rows, logits)
    told = [onnx.helper.make_tensor_value_info(OUTPUT, 1, ["n", 3])]
    told += [onnx.helper.make_tensor_value_info(name, 1, ["n"]) for name in STRANGER]
    given = [onnx.helper.make_tensor_value_info("x", 1, ["n", 12])]
    proto = onnx.helper.make_graph(graph.nodes, "head", given, told, graph.constants)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(proto, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": X})


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("clf", "scale"),
    [("logreg", "none"), ("logreg", "l2"), ("logreg", "standard"), ("logreg", "center-l2"),
     ("knn", "standard")],
)  # fmt: skip
def test_a_graph_tells_the_same_strangers(X, name, clf, scale, monkeypatch):
    monkeypatch.setattr(scores, "NEAREST_STRANGER", 3)
    X = np.abs(X) if scale in ("none", "l2") else X  # as a network's features are
    head = make_head(X, clf, scale)
    scaled, logits = head.decide(X)
    known = Known(scaled, logits, head.layer)
    if not SCORES[name].suits(known):
        assert name == "scale" or (clf, name) == ("knn", "vim")
        return
    score = SCORES[name].fit(known)
    held = np.sort(score.measure(scaled, logits))
    detector = Detector(name, score, (held[1:] + held[:-1]) / 2)  # no row is one of these
    new = np.concatenate([X[:5], -X[:5], np.zeros((1, 12), np.float32)])
    expected, p_values = detector.measure(*head.decide(new))
    probabilities, found, found_p = run_graph(head, detector, new)
    assert np.allclose(probabilities, head.predict_proba(new), atol=1e-5)
    assert found.shape == found_p.shape == (11,)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found_p - p_values).max() <= 1 / 60 + 1e-6  # where two are as near as rounding


def test_what_differs_is_refused(X, tmp_path):
    head = make_head(X, "logreg", "none")
    scaled, logits = head.decide(X)
    score = SCORES["energy"]()
    detector = Detector("energy", score, np.sort(score.measure(scaled, logits)))
    expected = Expected(X, head.predict_proba(X), score.measure(scaled, logits), detector)

    def check(change, p_change=0.0):
        def run(rows):
            found = expected.scores[: len(rows)] + change
            p = detector.find_p_values(expected.scores[: len(rows)]) + p_change
            return [expected.probabilities[: len(rows)], found, p]

        return check_runtime(tmp_path / "m.onnx", run, expected)

    assert check(0.0) == 0
    for wrong in ((1.0, 0.0), (0.0, 0.2)):
        with pytest.raises(ExportError, match="otherwise than featx how strange"):
            check(*wrong)
    expected = replace(expected, detector=None)
    assert check(1.0) == 0  # nobody asked
