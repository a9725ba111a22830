"""How strange a picture is, as operations of an ONNX graph: the model's own score."""

from __future__ import annotations

import numpy as np

from featx.deployment.onnx_nodes import Graph
from featx.heads.head import Head
from featx.heads.search import LinearFit
from featx.novelty.detector import Detector
from featx.novelty.scores import (
    LEAST_SUM,
    Neighbour,
    Probability,
    Residual,
    Scaled,
    count_largest,
)

STRANGER = ("stranger_score", "stranger_p")  # the outputs' names


def add_detector(graph: Graph, head: Head, detector: Detector, x: str, logits: str) -> None:
    """From rows and logits, as `_add_head` names them, to the outputs `STRANGER`."""
    score = detector.score
    if isinstance(score, Probability):
        found = _add_odds(graph, logits, len(head.classes))
    elif isinstance(score, Neighbour):
        found = _add_neighbour(graph, score, _add_standard(graph, head, x))
    else:
        logits = _add_shift(graph, head, x, logits)
        if isinstance(score, Scaled) and isinstance(head.fit, LinearFit):
            rows, n_features = _add_standard(graph, head, x), head.fit.coef.shape[1]
            logits = _add_scaled(graph, score, rows, logits, n_features)
        found = energy = graph.add("Neg", [_add_log_sum(graph, logits)], "energy")
        if isinstance(score, Residual):
            found = _add_residual(graph, score, _add_standard(graph, head, x), energy)
    axis = graph.hold([1], "stranger.axis", np.int64)
    graph.add("Squeeze", [found, axis], STRANGER[0])  # (n,)
    held = graph.hold(detector.bounds[None], "stranger.held")
    above = graph.add("GreaterOrEqual", [held, found], "stranger.above")  # (n, n_held)
    above = graph.add("Cast", [above], "stranger.counted", to=1)
    count = graph.add("ReduceSum", [above, axis], "stranger.count", keepdims=0)
    count = graph.add("Add", [count, graph.hold(1.0, "stranger.one")], "stranger.with_itself")
    every = graph.hold(float(len(detector.held) + 1), "stranger.every")
    graph.add("Div", [count, every], STRANGER[1])


def _add_standard(graph: Graph, head: Head, x: str) -> str:
    """Rows as the head has them: a linear one's weights have "standard" in them."""
    scaler = head.scaler
    if scaler.mean is None or scaler.scale is None:
        return x
    x = graph.add("Sub", [x, graph.hold(scaler.mean, "stranger.mean")], "stranger.centred")
    return graph.add("Div", [x, graph.hold(scaler.scale, "stranger.scale")], "stranger.rows")


def _add_shift(graph: Graph, head: Head, x: str, logits: str) -> str:
    """Logits with what all classes have in common, which a folded head leaves out."""
    if head.layer is None or not isinstance(head.fit, LinearFit):
        return logits
    coef, intercept = (part.astype(np.float64).mean(axis=0) for part in head.layer)
    scaler = head.scaler
    if scaler.mean is not None and scaler.scale is not None:
        coef = coef / scaler.scale
        intercept = intercept - coef @ scaler.mean
    held = [graph.hold(coef[None], "shift.weight"), graph.hold(intercept[None], "shift.bias")]
    shift = graph.add("Gemm", [x, *held], "shift", transB=1)  # (n, 1)
    return graph.add("Add", [logits, shift], "logits")


def _add_log_sum(graph: Graph, logits: str, name: str = "sum") -> str:
    """log sum exp of each row, shape (n, 1)."""
    highest = graph.add("ReduceMax", [logits], f"{name}.max", axes=[1], keepdims=1)
    powers = graph.add("Exp", [graph.add("Sub", [logits, highest], f"{name}.below")], f"{name}.exp")
    axis = graph.hold([1], f"{name}.axis", np.int64)
    total = graph.add("ReduceSum", [powers, axis], f"{name}.total", keepdims=1)
    return graph.add("Add", [graph.add("Log", [total], f"{name}.log"), highest], name)


def _add_odds(graph: Graph, logits: str, n_classes: int) -> str:
    """log sum exp of all logits but the highest, less the highest."""
    from onnx import helper

    k = graph.hold([n_classes], "odds.k", np.int64)
    graph.nodes.append(
        helper.make_node("TopK", [logits, k], ["odds.sorted", "odds.order"], "odds.topk", axis=1)
    )
    parts = []
    for name, first, end in (("highest", 0, 1), ("others", 1, n_classes)):
        bounds = [
            graph.hold([value], f"odds.{name}.{what}", np.int64)
            for what, value in (("from", first), ("to", end), ("axis", 1))
        ]
        parts.append(graph.add("Slice", ["odds.sorted", *bounds], f"odds.{name}"))
    rest = _add_log_sum(graph, parts[1], "odds.sum")
    return graph.add("Sub", [rest, parts[0]], "odds")


def _add_scaled(graph: Graph, score: Scaled, x: str, logits: str, n_features: int) -> str:
    """Logits of rows whose activations are scaled; see `Scaled`."""
    from onnx import helper

    k = graph.hold([count_largest(n_features)], "scale.k", np.int64)
    graph.nodes.append(
        helper.make_node("TopK", [x, k], ["scale.kept", "scale.order"], "scale.topk", axis=1)
    )
    axis = graph.hold([1], "scale.axis", np.int64)
    whole = graph.add("ReduceSum", [x, axis], "scale.whole", keepdims=1)
    largest = graph.add("ReduceSum", ["scale.kept", axis], "scale.largest", keepdims=1)
    largest = graph.add("Max", [largest, graph.hold(LEAST_SUM, "scale.least")], "scale.divisor")
    ratio = graph.add("Div", [whole, largest], "scale.ratio")
    factor = graph.add("Exp", [ratio], "scale.factor")
    intercept = graph.hold(score.intercept[None], "scale.intercept")
    without = graph.add("Sub", [logits, intercept], "scale.without")
    scaled = graph.add("Mul", [without, factor], "scale.scaled")
    return graph.add("Add", [scaled, intercept], "scale.logits")


def _add_neighbour(graph: Graph, score: Neighbour, x: str) -> str:
    from onnx import helper

    known = graph.hold(score.rows.T, "known.rows")
    cosines = graph.add("MatMul", [graph.normalise(x, "stranger.unit"), known], "known.cosines")
    k = graph.hold([score.k], "known.k", np.int64)
    found = ["known.nearest", "known.order"]
    graph.nodes.append(helper.make_node("TopK", [cosines, k], found, "known.topk", axis=1))
    lowest = graph.add("ReduceMin", ["known.nearest"], "known.last", axes=[1], keepdims=1)
    return graph.add("Sub", [graph.hold(1.0, "known.one"), lowest], "known.distance")


def _add_residual(graph: Graph, score: Residual, x: str, energy: str) -> str:
    centred = graph.add("Sub", [x, graph.hold(score.origin, "vim.origin")], "vim.centred")
    inside = graph.add("MatMul", [centred, graph.hold(score.basis, "vim.basis")], "vim.inside")
    basis = graph.hold(score.basis.T, "vim.basis.t")
    back = graph.add("MatMul", [inside, basis], "vim.back")
    left = graph.add("Sub", [centred, back], "vim.left")
    length = graph.add("ReduceL2", [left], "vim.length", axes=[1], keepdims=1)
    scaled = graph.add("Mul", [length, graph.hold(score.scale, "vim.scale")], "vim.scaled")
    return graph.add("Add", [scaled, energy], "vim")
