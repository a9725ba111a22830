"""Running the frozen network on batches: device, threads, one fixed batch shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from featx.config import BATCH_SIZE, LAST_LAYER
from featx.errors import DeviceError
from featx.machine import count_cores, describe_engine
from featx.network.backbone import (
    FrozenBackbone,
    build_network,
    flush_denormals,
    pad_batch,
)
from featx.network.layers import count_columns, count_places, parse_layers
from featx.network.weights import Weights

# Of autocast; fp32 and tf32 are without.
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_ON_A_CPU = ("fp32", "bf16")
# How torch finds that a device of that name is there.
_THERE = {
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "xpu": lambda: torch.xpu.is_available(),
}


class Engine(Protocol):
    """What extraction needs of whatever runs the network.

    One may also have `submit` and `pin`, which are used where they are there: see `CudaEngine`.

    Attributes
    ----------
    name : str
        With version, for the provenance.
    precision : str
        Of the computation.
    device : str
    batch_size : int
        Images of one forward pass; a smaller batch is padded to it.
    width : int
        Numbers that `run` gives for an image.
    layers : str
        See `parse_layers`: whose outputs are the last of these, behind the features.
    places : bool
        What the last stage found at each place is behind all of it; see `FrozenBackbone`.
    """

    name: str
    precision: str
    device: str
    batch_size: int
    width: int
    layers: str
    places: bool

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(b, crop, crop, 3) uint8 with b at most batch_size, to (b, width) float32."""
        ...


def count_width(weights: Weights, layers: str, places: bool) -> int:
    """Numbers that a network gives for an image: features, other layers' outputs, places."""
    side = count_places(weights.preprocessing.crop) if places else 0
    return weights.feature_dim * (1 + side**2) + count_columns(layers, weights.backbone)


def choose_device(device: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one.

    Raises
    ------
    DeviceError
        Another than the CPU was asked for and is not there.
    """
    if device == "auto":
        return torch.device("cuda" if _THERE["cuda"]() else "cpu")
    if device in _THERE and not _THERE[device]():
        name, why = device.upper(), _explain_cuda() if device == "cuda" else ""
        raise DeviceError(
            f"--device {device}: torch finds no {name} device here{why}; say auto or cpu"
        )
    return torch.device(device)


def _explain_cuda() -> str:
    """What torch says of CUDA where it is not there: no driver, one that is too old, no GPU."""
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        return f" ({str(error).strip().split('. ')[0]})"
    return ""


@contextmanager
def full_float32(tf32: bool = False) -> Iterator[None]:
    """Keep float32 convolutions from being computed with 10-bit mantissas (TF32), cuDNN's default.

    Torch has two interfaces for that. The older one, `torch.backends.cudnn.flags`, raises where
    somebody has used the newer one, and is overruled by its `torch.backends.fp32_precision`.
    """
    backends: Any = torch.backends  # whose modules mypy takes for files
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    wanted: list[tuple[Any, str, object]] = [
        (cudnn, "enabled", True),
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (cudnn.conv, "fp32_precision", "tf32" if tf32 else "ieee"),
        (mkldnn.conv, "fp32_precision", "ieee"),
    ]
    before = [getattr(place, name) for place, name, _ in wanted]
    try:
        for place, name, value in wanted:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(wanted, before, strict=True):
            setattr(place, name, value)


def limit_threads() -> None:
    """Have torch use no more threads than the process has cores; it does not see control groups."""
    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))


class TorchEngine:
    """The network under torch: folded, channels_last, without gradients.

    Parameters
    ----------
    weights : Weights
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    batch_size : int
    precision : {"fp32", "tf32", "bf16", "fp16"}
        Of convolutions and matrix products, by autocast; features come out as float32.
    layers : str
        See `parse_layers`.
    places : bool
        See `Engine`.

    Raises
    ------
    DeviceError
        The device is not there, or does not compute in that precision.
    """

    def __init__(
        self,
        weights: Weights,
        device: str = "auto",
        batch_size: int = BATCH_SIZE,
        precision: str = "fp32",
        layers: str = LAST_LAYER,
        places: bool = False,
    ) -> None:
        self.name = describe_engine("torch")
        self.layers = layers
        self.places = places
        self.batch_size = batch_size
        self.width = count_width(weights, layers, places)
        self.precision = precision
        self._device = choose_device(device)
        self.device = self._device.type
        if precision == "int8":
            raise DeviceError(
                "--precision int8 is OpenVINO's, on a CPU: pip install 'featx[openvino]', and say "
                "--engine auto or openvino"
            )
        if self.device == "cpu" and precision not in _ON_A_CPU:
            raise DeviceError(
                f"--precision {precision} is for CUDA; on a CPU say bf16, int8, fp32 or auto"
            )
        if precision == "tf32" and self.device != "cuda":
            raise DeviceError(f"--precision tf32 is for CUDA; on {self.device} say fp32 or auto")
        limit_threads()
        network = build_network(weights.state, weights.stride_in_1x1, weights.backbone)
        backbone = FrozenBackbone(network, weights.preprocessing, parse_layers(layers), places)
        self._backbone = backbone.to(self._device)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to features, float32, where the device has them."""
        autocast = torch.autocast(
            self.device,
            _DTYPES.get(self.precision),
            enabled=self.precision in _DTYPES,
            cache_enabled=False,  # of parameters in another type: a CUDA graph must not refer to it
        )
        with full_float32(self.precision == "tf32"), flush_denormals(), autocast:
            found: torch.Tensor = self._backbone(pixels)
        return found.float()

    @torch.inference_mode()
    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Engine.run`; the batch is padded to one shape."""
        try:
            padded = torch.from_numpy(pad_batch(pixels, self.batch_size)).to(self._device)
            features: npt.NDArray[np.float32] = self.forward(padded)[: len(pixels)].cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if "memory" not in f"{type(error).__name__} {error}".lower():
                raise
            raise DeviceError(
                f"{self.device}: not enough memory for batches of {self.batch_size} images; say a "
                "smaller --batch-size"
            ) from error
        return features
