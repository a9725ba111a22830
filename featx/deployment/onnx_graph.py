"""A network and its head as one ONNX graph: pixels in, probabilities out.

The graph is built operation by operation from the very module that the engines run, as OpenVINO's
is: a converter would trace the module, want packages of its own, and name its parts by numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from featx.arrays import Matrix
from featx.deployment.onnx_nodes import Graph
from featx.deployment.onnx_strangers import STRANGER, add_detector
from featx.heads.head import Head
from featx.heads.imagenet import FLOOR, ImagenetFit
from featx.heads.knn import NeighboursFit
from featx.heads.search import LinearFit
from featx.multilabel.head import LabelsHead
from featx.network.backbone import FrozenBackbone, list_stages, name_layers
from featx.network.vision import BasicBlock, Bottleneck
from featx.novelty.detector import Detector
from featx.training.scaling import Scaler

# All operations used are in it, and so is every runtime of the last years.
OPSET = 17
_IR_VERSION = 8  # the one that came with that opset (onnx 1.12)
INPUT, OUTPUT = "pixels", "probabilities"


def build_graph(
    backbone: FrozenBackbone,
    head: Head,
    crop: int,
    metadata: Mapping[str, str],
    detector: Detector | None = None,
) -> Any:
    """One ONNX model of a folded network and a head.

    Of several labels an image probabilities are each by itself, and need not sum to 1. Its input is
    ``pixels``, (n, crop, crop, 3) uint8 RGB, as Pillow gives images; its output is
    ``probabilities``, (n, n_classes) float32, and where there is a detector ``stranger_score`` and
    ``stranger_p``, (n,) float32. n may be any number at each call.

    Parameters
    ----------
    backbone : FrozenBackbone
    head : Head
    crop : int
        Side of the images, in pixels.
    metadata : mapping of str to str
        What the file says of itself.
    detector : Detector, optional

    Returns
    -------
    onnx.ModelProto
        Checked by onnx.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    x = _add_normalising(graph, backbone)
    names = {id(module): name for name, module in backbone.network.named_modules()}
    found = []
    for stage, blocks in list_stages(backbone.network):
        for block in blocks:
            x = _add_module(graph, block, x, names)
        for layer, pool in backbone.layers:
            if layer == stage:
                found.append(_add_pool(graph, layer, pool, x))
    whole = graph.add("Concat", [x, *found], "outputs", axis=1) if found else x
    features = graph.add("Flatten", [whole], "features", axis=1)  # (n, feature_dim and more)
    rows, logits = _add_head(graph, head, features)
    n_classes = len(head.classes)
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", n_classes])]
    if detector is not None:
        add_detector(graph, head, detector, rows, logits)
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in STRANGER
        ]
    proto = helper.make_graph(
        graph.nodes,
        "featx",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", crop, crop, 3])],
        outputs,
        graph.constants,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="featx",
        producer_version=version("featx"),
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model


def estimate_head(head: Head) -> int:
    """About how many bytes a head takes in a graph; at least so many."""
    if isinstance(head.fit, NeighboursFit):
        return 4 * len(head.fit.y) * (int(head.fit.X.shape[1]) + len(head.classes))
    return sum(array.nbytes for array in head.to_arrays().values())


def fold_linear(
    scaler: Scaler, fit: LinearFit, temperature: float, centred: bool = True
) -> tuple[Matrix, Matrix]:
    """Scaling, scores and temperature as the weight and bias of one linear layer before a softmax.

    What all classes' rows have in common is taken out: no softmax sees it, and scores that are
    large and nearly equal, as those of nearest centroids are, would lose digits in float32. Not so
    where a sigmoid follows, which sees it: `centred` is False there.

    Returns
    -------
    weight : ndarray of shape (n_classes, n_features), float64
    bias : ndarray of shape (n_classes,), float64
    """
    coef, intercept = fit.coef.astype(np.float64), fit.intercept.astype(np.float64)
    if scaler.mean is not None and scaler.scale is not None:
        coef = coef / scaler.scale
        intercept = intercept - coef @ scaler.mean
    if centred:
        coef, intercept = coef - coef.mean(axis=0), intercept - intercept.mean()
    return coef / temperature, intercept / temperature


def _add_normalising(graph: Graph, backbone: FrozenBackbone) -> str:
    x = graph.add("Cast", [INPUT], "pixels.float", to=1)  # 1: float32
    x = graph.add("Transpose", [x], "pixels.nchw", perm=[0, 3, 1, 2])  # (n, 3, crop, crop)
    normalise = backbone.normalise
    scale = graph.hold(normalise.scale.numpy(), "normalise.scale")
    shift = graph.hold(normalise.shift.numpy(), "normalise.shift")
    x = graph.add("Mul", [x, scale], "pixels.scaled")
    return graph.add("Add", [x, shift], "pixels.normalised")


def _add_module(graph: Graph, module: nn.Module, x: str, names: Mapping[int, str]) -> str:
    """The operations of one module, its batch norms folded, behind `x`."""
    name = names[id(module)]
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.ReLU):
        return graph.add("Relu", [x], f"{x}.relu")
    if isinstance(module, nn.MaxPool2d):
        kernel, stride, pad = (
            2 * [int(n)]  # type: ignore[arg-type]
            for n in (module.kernel_size, module.stride, module.padding)
        )
        return graph.add("MaxPool", [x], name, kernel_shape=kernel, strides=stride, pads=2 * pad)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return graph.add("GlobalAveragePool", [x], name)
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        inputs = [x, _hold(graph, module.weight, f"{name}.weight")]
        inputs.append(_hold(graph, module.bias, f"{name}.bias"))
        return graph.add(
            "Conv",
            inputs,
            name,
            kernel_shape=list(module.kernel_size),
            strides=list(module.stride),
            pads=[int(n) for n in module.padding] * 2,
            dilations=list(module.dilation),
            group=module.groups,
        )
    if isinstance(module, (BasicBlock, Bottleneck)):
        *others, (last, _) = name_layers(module)
        y = x
        for part, _ in others:
            y = _add_module(graph, module.get_submodule(part), y, names)
            y = graph.add("Relu", [y], f"{y}.relu")
        y = _add_module(graph, module.get_submodule(last), y, names)
        down = module.downsample
        beside = x if down is None else _add_module(graph, down[0], x, names)
        total = graph.add("Add", [y, beside], f"{name}.sum")
        return graph.add("Relu", [total], name)
    raise TypeError(f"{type(module).__name__} is no part of a folded ResNet")


def _add_pool(graph: Graph, layer: str, pool: str, x: str) -> str:
    """A stage's output over its places: the mean or the maximum of each channel."""
    operation = "GlobalAveragePool" if pool == "avg" else "GlobalMaxPool"
    return graph.add(operation, [x], f"{layer}.{pool}")


def _hold(graph: Graph, tensor: torch.Tensor, name: str) -> str:
    return graph.hold(tensor.detach().contiguous().numpy(), name)


def _add_head(graph: Graph, head: Head, x: str) -> tuple[str, str]:
    """From features to `OUTPUT`, whose softmax `Head` takes at a temperature.

    Returns the names of the rows before "standard", which a linear head's weights have in them, and
    of the logits; see `fold_linear` of what a linear head's lack.
    """
    fit, scaler = head.fit, head.scaler
    if scaler.columns is not None:
        own = graph.hold(scaler.columns, "head.columns", np.int64)
        x = graph.add("Gather", [x, own], "head.own", axis=1)
    if scaler.level is not None:
        of_level = scaler.level.to_arrays()
        x = graph.add("Sub", [x, graph.hold(of_level["mean"], "level.mean")], "level.centred")
        x = graph.add("Div", [x, graph.hold(of_level["scale"], "level.scale")], "level")
    if scaler.kind == "center-l2" and scaler.mean is not None:
        x = graph.add("Sub", [x, graph.hold(scaler.mean, "head.mean")], "head.centred")
    if scaler.kind in ("l2", "center-l2"):
        x = graph.normalise(x, "head.unit")
    if isinstance(fit, LinearFit):
        several = isinstance(head, LabelsHead)
        weight, bias = fold_linear(head.scaler, fit, head.temperature, centred=not several)
        held = [graph.hold(weight, "head.weight"), graph.hold(bias, "head.bias")]
        graph.add("Gemm", [x, *held], "scores", transB=1)
        if several:
            graph.add("Sigmoid", ["scores"], OUTPUT)
        else:
            graph.add("Softmax", ["scores"], OUTPUT, axis=1)
        return x, "scores"
    before = x
    if scaler.mean is not None and scaler.scale is not None:
        x = graph.add("Sub", [x, graph.hold(scaler.mean, "head.mean")], "head.centred")
        x = graph.add("Div", [x, graph.hold(scaler.scale, "head.scale")], "head.scaled")
    if isinstance(fit, NeighboursFit):
        likely = _add_neighbours(graph, fit, x)
    elif isinstance(fit, ImagenetFit):
        likely = _add_imagenet(graph, fit, x)
    else:
        raise TypeError(f"{type(fit).__name__} has no graph")
    scores = graph.add("Log", [likely], "scores")
    heat = graph.hold(head.temperature, "head.temperature")
    logits = graph.add("Div", [scores, heat], "scores.tempered")
    graph.add("Softmax", [logits], OUTPUT, axis=1)
    return before, logits


def _add_neighbours(graph: Graph, fit: NeighboursFit, x: str) -> str:
    """Smoothed shares of the vote; see `NeighboursFit.decide`."""
    train = np.asarray(fit.X, np.float64)
    lengths = np.linalg.norm(train, axis=1, keepdims=True)
    train = train / np.where(lengths > 0, lengths, 1)
    n_classes, k = fit.n_classes, min(fit.k, len(fit.y))
    x = graph.normalise(x, "query")
    cosines = graph.add("MatMul", [x, graph.hold(train.T, "train.rows")], "cosines")
    graph.hold([k], "k", np.int64)
    from onnx import helper

    graph.nodes.append(
        helper.make_node("TopK", [cosines, "k"], ["nearest.cosine", "nearest"], "topk", axis=1)
    )
    one, zero = graph.hold(1.0, "one"), graph.hold(0.0, "zero")
    away = graph.add("Sub", [one, "nearest.cosine"], "nearest.difference")
    away = graph.add("Max", [away, zero], "nearest.distance")  # (n, k)
    # Those at no distance have all votes between them.
    same = graph.add("Equal", [away, zero], "nearest.same")
    as_votes = graph.add("Cast", [same], "nearest.same.votes", to=1)
    some = graph.add("ReduceMax", [as_votes], "nearest.any", axes=[1], keepdims=1)
    some = graph.add("Greater", [some, zero], "nearest.any.same")
    inverse = graph.add("Div", [one, away], "nearest.inverse")
    votes = graph.add("Where", [some, as_votes, inverse], "votes")
    table = graph.hold(np.eye(n_classes)[fit.y], "train.classes")
    theirs = graph.add("Gather", [table, "nearest"], "nearest.classes", axis=0)  # (n, k, n_classes)
    row = graph.add("Unsqueeze", [votes, graph.hold([1], "axis", np.int64)], "votes.row")
    sums = graph.add("MatMul", [row, theirs], "votes.by_class")  # (n, 1, n_classes)
    sums = graph.add("Squeeze", [sums, "axis"], "votes.sums")
    whole = graph.add("ReduceSum", [votes, "axis"], "votes.total", keepdims=1)
    shares = graph.add("Div", [sums, whole], "shares")
    counted = graph.add("Mul", [shares, graph.hold(float(k), "voters")], "counts")
    counted = graph.add("Add", [counted, one], "counts.smoothed")
    return graph.add("Div", [counted, graph.hold(float(k + n_classes), "places")], "likely")


def _add_imagenet(graph: Graph, fit: ImagenetFit, x: str) -> str:
    """Summed probabilities; see `ImagenetFit.decide`."""
    layer = fit.layer
    held = [graph.hold(layer.weight, "fc.weight"), graph.hold(layer.bias, "fc.bias")]
    logits = graph.add("Gemm", [x, *held], "imagenet.logits", transB=1)
    known = graph.add("Softmax", [logits], "imagenet.probabilities", axis=1)
    stands_for = graph.hold(np.eye(fit.n_classes)[fit.stands_for], "stands_for")
    sums = graph.add("MatMul", [known, stands_for], "imagenet.sums")
    return graph.add("Add", [sums, graph.hold(FLOOR, "imagenet.floor")], "likely")
