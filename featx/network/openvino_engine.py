"""Running the frozen network under OpenVINO, where it is installed: the faster road on a CPU."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.config import BATCH_SIZE, LAST_LAYER, LAYERS
from featx.errors import DeviceError
from featx.machine import count_cores, describe_engine, has_openvino, is_limited
from featx.network.backbone import (
    FrozenBackbone,
    build_network,
    flush_denormals,
    list_stages,
    name_layers,
    pad_batch,
)
from featx.network.engine import count_width
from featx.network.layers import parse_layers
from featx.network.quantisation import Ranges, find_ranges
from featx.network.vision import BasicBlock, Bottleneck
from featx.network.weights import Weights

_TELEMETRY = "openvino_telemetry"
# What is not in 8 bits is computed in these.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class OpenVinoEngine:
    """The network under OpenVINO on the CPU, from the very module that the torch engine runs.

    The graph is built operation by operation: OpenVINO's own conversion traces the module, which
    takes a hundred times as long as this and more than anything else before the first batch.

    Parameters
    ----------
    weights : Weights
    batch_size : int
        The one shape that is compiled; fewer images are padded to it.
    precision : {"fp32", "bf16", "int8"}
        int8: all convolutions but the first, in ranges by `find_ranges`; sums in float32.
    layers : str
        See `parse_layers`.
    places : bool
        See `Engine`: an output of its own, compiled where it is asked for alone.

    Raises
    ------
    DeviceError
        OpenVINO is not installed, or the processor does not have the precision.
    """

    device = "cpu"

    def __init__(
        self,
        weights: Weights,
        batch_size: int = BATCH_SIZE,
        precision: str = "fp32",
        layers: str = LAST_LAYER,
        places: bool = False,
    ) -> None:
        if not has_openvino():
            raise DeviceError(
                "--engine openvino: OpenVINO is not installed; pip install 'featx[openvino]'"
            )
        openvino = import_openvino()
        self.name = describe_engine("openvino")
        self.layers = layers
        self.places = places
        self.batch_size = batch_size
        self.width = count_width(weights, layers, places)
        self.precision = precision
        core = openvino.Core()
        if precision not in _PRECISIONS:
            raise DeviceError(
                f"--precision {precision} is for CUDA; on a CPU say bf16, int8, fp32 or auto"
            )
        if precision != "fp32" and not _has_precision(core, precision):
            raise DeviceError(f"--precision {precision}: this processor does not compute in it")
        network = build_network(weights.state, weights.stride_in_1x1, weights.backbone)
        ranges = find_ranges(network) if precision == "int8" else {}
        backbone = FrozenBackbone(network, weights.preprocessing, parse_layers(layers), places)
        model = _translate_backbone(backbone, batch_size, weights.preprocessing.crop, ranges)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            # Of all ways to share the cores, the one in which a batch is one piece of work.
            "NUM_STREAMS": "1",
            "CPU_DENORMALS_OPTIMIZATION": "YES",
        }
        if is_limited():  # else it knows better than we which cores are worth a thread
            settings["INFERENCE_NUM_THREADS"] = str(count_cores())
        with flush_denormals():  # it sets this for our thread, too, and does not set it back
            compiled = core.compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Engine.run`."""
        padded = np.ascontiguousarray(pad_batch(pixels, self.batch_size))
        with flush_denormals():
            found = self._request.infer({0: padded}, share_inputs=True)
        outputs = [found[i][: len(pixels)] for i in range(1 + self.places)]
        features: npt.NDArray[np.float32] = np.concatenate(outputs, axis=1, dtype=np.float32)
        return features


def import_openvino() -> Any:
    """OpenVINO, without its reports of use, whatever the user has told it.

    On being imported it imports openvino_telemetry, where that is there, which leaves an id in the
    user's home, forks, and tells Google Analytics. It does without where that cannot be imported.
    What else a process imports finds the package as it was.
    """
    if "openvino" not in sys.modules:
        there = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]
            if there is not None:
                sys.modules[_TELEMETRY] = there
    return sys.modules["openvino"]


def _translate_backbone(
    backbone: FrozenBackbone, batch_size: int, crop: int, ranges: Ranges
) -> Any:
    """The same computation as an OpenVINO model of one batch shape."""
    import openvino
    from openvino import opset13 as ops

    pixels = ops.parameter([batch_size, crop, crop, 3], np.uint8)
    x = ops.convert(ops.transpose(pixels, [0, 3, 1, 2]), np.float32)
    x = ops.multiply(x, _constant(backbone.normalise.scale))
    x = ops.add(x, _constant(backbone.normalise.shift))
    found = []
    for name, blocks in list_stages(backbone.network):
        for i, block in enumerate(blocks):
            x = _translate(block, x, f"{name}.{i}", ranges)
        for layer, pool in backbone.layers:
            if layer == name:
                reduce = ops.reduce_mean if pool == "avg" else ops.reduce_max
                found.append(reduce(x, [2, 3], keep_dims=True))
        if backbone.places and name == LAYERS[-1]:
            places = ops.reshape(x, [batch_size, -1], False)
    whole = ops.concat([x, *found], axis=1) if found else x
    outputs = [ops.reshape(whole, [batch_size, -1], False)]
    return openvino.Model([*outputs, places] if backbone.places else outputs, [pixels])


def _translate(module: nn.Module, x: Any, name: str, ranges: Ranges) -> Any:
    """The operations of one module, its batch norms folded, behind `x`.

    Convolutions whose names have a range are of 8 bits.
    """
    from openvino import opset13 as ops

    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.ReLU):
        return ops.relu(x)
    if isinstance(module, nn.MaxPool2d):
        pads, kernel, strides = (
            2 * [n] for n in (module.padding, module.kernel_size, module.stride)
        )
        return ops.max_pool(x, strides, [1, 1], pads, pads, kernel).output(0)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return ops.reduce_mean(x, [2, 3], keep_dims=True)
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        pads = [int(n) for n in module.padding]
        weight, shape, convolve = module.weight, module.weight.shape, ops.convolution
        if module.groups > 1:  # OpenVINO has them as (groups, channels of a group, …)
            shape = torch.Size((module.groups, -1, *shape[1:]))
            convolve = ops.group_convolution
        kernels = _constant(weight.reshape(shape))
        if name in ranges:
            x = _quantise(x, torch.zeros(1), torch.tensor([ranges[name]]), 256)
            # A channel's own, and symmetric: none of the 255 is off zero.
            top = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
            top = top.reshape(*shape[:-3], 1, 1, 1)
            kernels = _quantise(kernels, -top, top, 255)
        strides, dilations = list(module.stride), list(module.dilation)
        y = convolve(x, kernels, strides, pads, pads, dilations)
        return ops.add(y, _constant(module.bias.view(1, -1, 1, 1)))
    if isinstance(module, (BasicBlock, Bottleneck)):
        *others, (last, _) = name_layers(module)
        y = x
        for conv, _ in others:
            y = ops.relu(_translate(module.get_submodule(conv), y, f"{name}.{conv}", ranges))
        y = _translate(module.get_submodule(last), y, f"{name}.{last}", ranges)
        if module.downsample is not None:
            x = _translate(module.downsample[0], x, f"{name}.downsample.0", ranges)
        return ops.relu(ops.add(y, x))
    raise TypeError(f"{type(module).__name__} is no part of a folded ResNet")


def _quantise(x: Any, low: torch.Tensor, high: torch.Tensor, levels: int) -> Any:
    """The nearest of so many values from low to high: OpenVINO then computes with their numbers."""
    from openvino import opset13 as ops

    ends = [_constant(low), _constant(high)]
    return ops.fake_quantize(x, *ends, *ends, levels)


def _constant(tensor: torch.Tensor) -> Any:
    from openvino import opset13 as ops

    return ops.constant(tensor.detach().contiguous().numpy())


def _has_precision(core: object, precision: str) -> bool:
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # type: ignore[attr-defined]
    return precision.upper() in capabilities
