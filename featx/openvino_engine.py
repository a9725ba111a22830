"""Running the frozen network under OpenVINO, where it is installed: the faster road on a CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings

import numpy as np
import numpy.typing as npt
import torch

from featx.backbone import FrozenBackbone, build_resnet50, flush_denormals
from featx.config import BATCH_SIZE, FEATURE_DIM
from featx.errors import DeviceError
from featx.loading import pad_batch
from featx.machine import count_cores, is_limited
from featx.weights import Weights

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def has_openvino() -> bool:
    """Whether the package is installed; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def describe_openvino() -> str:
    """The engine's name with its version, as the provenance has it."""
    return f"openvino {importlib.metadata.version('openvino').partition('-')[0]}"


class OpenVinoEngine:
    """ResNet50 under OpenVINO on the CPU, from the very module that the torch engine runs.

    Parameters
    ----------
    weights : Weights
    batch_size : int
        The one shape that is compiled; fewer images are padded to it.
    precision : {"fp32", "bf16"}

    Raises
    ------
    DeviceError
        OpenVINO is not installed, or the processor does not have the precision.
    """

    device = "cpu"
    feature_dim = FEATURE_DIM

    def __init__(
        self, weights: Weights, batch_size: int = BATCH_SIZE, precision: str = "fp32"
    ) -> None:
        if not has_openvino():
            raise DeviceError(
                "--engine openvino: OpenVINO is not installed; pip install 'featx[openvino]'"
            )
        import openvino

        self.name = describe_openvino()
        self.batch_size = batch_size
        self.precision = precision
        core = openvino.Core()
        if precision != "fp32" and not _has_precision(core, precision):
            raise DeviceError(f"--precision {precision}: this processor does not compute in it")
        crop = weights.preprocessing.crop
        network = build_resnet50(weights.state, weights.stride_in_1x1)
        backbone = FrozenBackbone(network, weights.preprocessing)
        with warnings.catch_warnings():
            # Of torch's tracer, which OpenVINO calls in a way that torch is about to drop.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(
                backbone,
                # Tracing runs it: one image takes a third of the time that a batch does.
                example_input=torch.zeros((1, crop, crop, 3), dtype=torch.uint8),
                input=[([batch_size, crop, crop, 3], openvino.Type.u8)],
            )
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            # Of all ways to share the cores, the one in which a batch is one piece of work.
            "NUM_STREAMS": "1",
            "CPU_DENORMALS_OPTIMIZATION": "YES",
        }
        if is_limited():  # else it knows better than we which cores are worth a thread
            settings["INFERENCE_NUM_THREADS"] = str(count_cores())
        compiled = core.compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `featx.engine.Engine.run`."""
        padded = np.ascontiguousarray(pad_batch(pixels, self.batch_size))
        with flush_denormals():  # it sets this for our thread, too, and does not set it back
            found = self._request.infer({0: padded}, share_inputs=True)[0]
        features: npt.NDArray[np.float32] = np.array(found[: len(pixels)], dtype=np.float32)
        return features


def _has_precision(core: object, precision: str) -> bool:
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # type: ignore[attr-defined]
    return precision.upper() in capabilities
