"""Which engine runs, and in which precision: what a file has, what is there, what is fast."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from featx.config import BATCH_SIZE, CUDA_BATCH_SIZE, INT8_FOLDER, LAST_LAYER, MAX_BATCH_SIZE
from featx.errors import DeviceError
from featx.machine import has_openvino
from featx.network.cuda_engine import CudaEngine, explain_device
from featx.network.engine import Engine, TorchEngine, choose_device
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import Weights

log = logging.getLogger(__name__)

# Two engines' float32 features of the same images differ by less, relative to their norm.
AGREEMENT = 1e-4
# What a rougher precision must be to be taken: this close to float32 in direction, and this much
# faster.
COSINE = 0.999
GAIN = 1.2
# Of int8: photographs had 0.992, drawn digits 0.977 (docs/benchmarks.md).
INT8_COSINE = 0.99
_INT8_IMAGES = 8  # of whoever asked for it
# Which --precision auto tries, in this order: fp16 is nearer, and on CUDA faster (docs/gpu.md).
_ROUGH = {"cuda": ("fp16", "bf16")}
_UNTRIED = ("mps", "xpu")  # devices whose features are held against the CPU's each time

Sample = Callable[[int], npt.NDArray[np.uint8]]
Given = tuple[str, bool]  # layers and places: what an engine gives for an image
# Whether the second engine, the rougher one, does for what the rows of the first are wanted for;
# and what was found, in words.
Judge = Callable[[Engine, Engine], tuple[bool, str]]


def available_engines() -> tuple[str, ...]:
    """Names of the engines that are installed, the fastest on a CPU first."""
    return ("openvino", "torch") if has_openvino() else ("torch",)


def make_engine(
    weights: Weights,
    sample: Sample,
    *,
    engine: str = "auto",
    precision: str = "fp32",
    device: str = "auto",
    batch_size: int | None = None,
    layers: str = LAST_LAYER,
    places: bool = False,
    judge: Judge | None = None,
) -> Engine:
    """Build the engine that was chosen; probe what was left to us.

    Parameters
    ----------
    weights : Weights
    sample : callable
        Gives some real images, shape (n, crop, crop, 3), uint8, n at least 1 and at most what it
        is told; called only where something is to be probed.
    engine : {"auto", "torch", "openvino"}
    precision : {"auto", "fp32", "tf32", "bf16", "fp16", "int8"}
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    batch_size : int, optional
        None: see `usual_batch`.
    layers : str
        See `parse_layers`.
    places : bool
        See `Engine`.
    judge : callable, optional
        Of int8, which auto tries on a CPU where bf16 is not to be had; None: it does not.

    Raises
    ------
    DeviceError
        What was asked for is not there, or a device of which nobody knows computes other features
        than the CPU.
    """
    place = choose_device(device).type
    batch_size = batch_size or usual_batch(place)
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise DeviceError(f"batches of {batch_size} images: say from 1 to {MAX_BATCH_SIZE}")
    if engine == "openvino" and place != "cpu":
        raise DeviceError(f"--engine openvino runs on the CPU, and --device {device} is {place}")
    given = layers, places
    exact = "fp32" if precision == "auto" else precision
    if exact == "int8" and engine == "auto" and place == "cpu":
        engine = "openvino"
    if engine == "auto" and place == "cpu" and exact in ("fp32", "bf16"):
        made = _take_fastest(weights, batch_size, exact, sample, given)
    else:
        made = _build(
            "torch" if engine == "auto" else engine, weights, place, batch_size, exact, given
        )
    if place in _UNTRIED:
        _check_device(weights, made, sample)
    if made.precision == "int8":
        _check_int8(weights, made, sample)
    if precision != "auto":
        return made
    made, why = try_faster(weights, made, sample, judge)
    log.info("precision: %s", why)
    return made


def warm_up(device: str) -> None:
    """Have CUDA begin, which takes seconds, where it is what will compute."""
    if choose_device(device).type == "cuda":
        with explain_device():
            torch.zeros(1, device="cuda")


def usual_batch(place: str) -> int:
    """Images of one forward pass on a device of that type, unless told otherwise."""
    return CUDA_BATCH_SIZE if place == "cuda" else BATCH_SIZE


def compare_rows(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> tuple[float, float]:
    """Largest relative error and smallest cosine of two matrices' rows."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(b, axis=1)
    error = np.linalg.norm(a - b, axis=1) / norms
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * norms)
    return float(error.max()), float(cosine.min())


def _build(
    name: str, weights: Weights, place: str, batch_size: int, precision: str, given: Given
) -> Engine:
    if name == "openvino":
        return OpenVinoEngine(weights, batch_size, precision, *given)
    if place == "cuda":
        return CudaEngine(weights, batch_size, precision, *given)
    return TorchEngine(weights, place, batch_size, precision, *given)


def _take_fastest(
    weights: Weights, batch_size: int, precision: str, sample: Sample, given: Given
) -> Engine:
    """The fastest engine on this CPU whose features are those of torch in float32."""
    if "openvino" in available_engines():
        try:
            engine = OpenVinoEngine(weights, batch_size, precision, *given)
            error, cosine = _compare_with_torch(weights, engine, sample)
            if (error <= AGREEMENT) if precision == "fp32" else (cosine >= COSINE):
                log.info("engine: %s, the fastest that is installed", engine.name)
                return engine
            log.warning(
                "openvino refused, because its features differ from torch's: relative error %.1e, "
                "cosine %.5f",
                error,
                cosine,
            )
        except (DeviceError, RuntimeError) as error:
            # Its last line says why; those before it are places in its source.
            said = (str(error).split("\n\n")[0].strip().splitlines() or ["no reason given"])[-1]
            log.warning("openvino refused, because it does not run here: %s", said)
    return TorchEngine(weights, "cpu", batch_size, precision, *given)


def _compare_with_torch(
    weights: Weights, engine: Engine, sample: Sample, most: int = 2
) -> tuple[float, float]:
    """`compare_rows` of some images' features with those of torch in float32 on the CPU."""
    few = sample(min(most, engine.batch_size))
    given = engine.layers, engine.places
    expected = TorchEngine(weights, "cpu", len(few), "fp32", *given).run(few)
    return compare_rows(engine.run(few), expected)


def _check_int8(weights: Weights, engine: Engine, sample: Sample) -> None:
    """Raise DeviceError where 8 bits are too few for these parameters and images.

    Ranges are those of what the network was trained on: other pictures may leave them.
    """
    _, cosine = _compare_with_torch(weights, engine, sample, _INT8_IMAGES)
    if not cosine >= INT8_COSINE:
        raise DeviceError(
            f"--precision int8: features of these images are too far from those of float32 "
            f"(least cosine {cosine:.5f}, expected {INT8_COSINE} or more): say bf16, fp32 or auto"
        )
    log.info("precision: int8, least cosine %.5f to float32's features", cosine)


def _check_device(weights: Weights, engine: Engine, sample: Sample) -> None:
    """Raise DeviceError where a device's features are not those of the CPU."""
    error, cosine = _compare_with_torch(weights, engine, sample)
    if not ((error <= AGREEMENT) if engine.precision == "fp32" else (cosine >= COSINE)):
        raise DeviceError(
            f"--device {engine.device}: its features differ from the CPU's (relative error "
            f"{error:.1e}, cosine {cosine:.5f}); say --device cpu"
        )
    log.info("device: %s, relative error %.1e to the CPU's features", engine.device, error)


def try_faster(
    weights: Weights, exact: Engine, sample: Sample, judge: Judge | None = None
) -> tuple[Engine, str]:
    """The same engine in a rougher precision, where one is there, as good and really faster.

    Returns
    -------
    Engine
        `exact` itself, where none is.
    str
        Why, with what was measured.
    """
    reasons = []
    for precision in _ROUGH.get(exact.device, ("bf16",)):
        found, why = _try_precision(precision, weights, exact, sample)
        reasons.append(why)
        if found is not None:
            return found, "; ".join(reasons)
    if exact.device == "cpu" and _name(exact) == "openvino":  # the one that has int8
        found, why = _try_int8(weights, exact, sample, judge)
        reasons.append(why)
        if found is not None:
            return found, "; ".join(reasons)
    return exact, "; ".join(reasons)


def _name(engine: Engine) -> str:
    """Without its version."""
    return engine.name.split()[0]


def _try_int8(
    weights: Weights, exact: Engine, sample: Sample, judge: Judge | None
) -> tuple[Engine | None, str]:
    if judge is None:
        return None, (
            f"int8 not tried, since it is judged by labelled train images of a folder of "
            f"{INT8_FOLDER:,} images or more"
        )
    rough, why = _try_precision("int8", weights, exact, sample)
    if rough is None:
        return None, why
    good, told = judge(exact, rough)
    return (rough, f"{why}; {told}") if good else (None, f"int8 refused, because {told}")


def _try_precision(
    precision: str, weights: Weights, exact: Engine, sample: Sample
) -> tuple[Engine | None, str]:
    try:
        given = exact.layers, exact.places
        rough = _build(_name(exact), weights, exact.device, exact.batch_size, precision, given)
        if rough.batch_size < exact.batch_size:
            return None, f"{precision} refused, because there is no memory for it beside fp32"
        pixels = sample(exact.batch_size)
        expected, slow = _time(exact, pixels)
        found, fast = _time(rough, pixels)
    except (DeviceError, RuntimeError) as error:
        return None, f"{precision} refused, because it does not run here: {error}"
    _, cosine = compare_rows(found, expected)
    gain = slow / fast
    if not cosine >= (INT8_COSINE if precision == "int8" else COSINE):
        return None, f"{precision} refused, because its features differ: cosine {cosine:.5f}"
    if gain < GAIN:
        return None, f"{precision} refused, because it is no faster: {gain:.2f} times"
    return rough, f"{precision}, {gain:.1f} times as fast, cosine {cosine:.5f}"


def _time(engine: Engine, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], float]:
    """Features, and the seconds of the second pass: the first one sets up."""
    engine.run(pixels)
    begun = time.perf_counter()
    features = engine.run(pixels)
    return features, time.perf_counter() - begun
