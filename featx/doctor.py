"""What this machine is, what is missing on it, and what of featx's promises it can keep."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import sklearn
import torch
import torchvision

from featx.config import BACKBONE, BATCH_SIZE, TORCHVISION_V1
from featx.decoding.decoders import describe_decoder
from featx.errors import DeviceError, LockedError
from featx.features.cache import find_cache_dir
from featx.features.housekeeping import list_cache
from featx.machine import describe_machine, has_openvino, measure_memory
from featx.network.catalogue import find_weights_dir, list_stored
from featx.network.engine import Engine
from featx.network.engine_choice import AGREEMENT, compare_rows, make_engine, try_faster
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import Weights
from featx.storage.files import existing_folder
from featx.storage.locks import hold_lock
from featx.text import format_bytes, say_error

# What an extra of setup.cfg brings, by the modules that show that it is there.
_EXTRAS = {
    "openvino": (("openvino",), "makes extraction on a CPU faster"),
    "onnx": (("onnx", "onnxruntime"), "is for featx export --onnx"),
    "parquet": (("pyarrow",), "is for featx export --parquet"),
    "ray": (("ray",), "is for featx extract --runner ray"),
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    good : bool or None
        None: a fact, neither good nor bad.
    text : str
        Where something is missing, with the command that gets it.
    """

    name: str
    good: bool | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return asdict(self)


def examine(
    cache_dir: str | Path | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    quick: bool = False,
) -> Iterator[Check]:
    """Look at versions, weights, what is missing, the cache folder and the engines, in turn.

    No weights are needed: engines are tried with a ResNet50 of random parameters.

    Parameters
    ----------
    cache_dir : path, optional
        None: FEATX_CACHE, else ./cache.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    batch_size : int, optional
    quick : bool
        Run no network: nothing is said of engines, precision and threads.

    Yields
    ------
    Check

    Raises
    ------
    DeviceError
    """
    yield Check("featx", None, f"{version('featx')}, Python {platform.python_version()}")
    memory = format_bytes(measure_memory())
    yield Check("machine", None, f"{describe_machine()}, {memory} of memory for this process")
    libraries = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "h5py": f"{h5py.__version__} (HDF5 {h5py.version.hdf5_version})",
    }
    yield Check("libraries", None, ", ".join(f"{k} {v}" for k, v in libraries.items()))
    yield Check("decoder", None, describe_decoder())
    yield _examine_weights()
    yield from _examine_extras()
    home = find_cache_dir(cache_dir)
    yield _examine_folder(home)
    yield _examine_cache(home)
    if quick:
        return
    weights = _random_weights()
    side, size = TORCHVISION_V1.crop, batch_size or BATCH_SIZE
    engine = make_engine(
        weights,
        lambda most: _random_pixels(most, side),
        engine="torch",
        device=device,
        batch_size=size,
    )
    yield _examine_rows(engine, side)
    fastest: Engine = engine
    if engine.device == "cpu" and has_openvino():
        found, fastest = _examine_openvino(weights, engine, side)
        yield found
    _, why = try_faster(weights, fastest, lambda most: _random_pixels(most, side))
    yield Check("precision", None, f"of --precision auto: {why}")
    threads = torch.get_num_threads()
    yield Check(
        "threads",
        None,
        f"{threads}; with one, an image's features are "
        + (
            "the same bits"
            if threads == 1 or not depends_on_threads(engine, side)
            else "others in their last bits: go on with an interrupted extraction with as many as "
            "it began with (OMP_NUM_THREADS)"
        ),
    )


def probe_rows(engine: Engine, side: int) -> tuple[str, ...]:
    """What an image's features depend on beside the image; empty where all is well.

    Parameters
    ----------
    engine : Engine
    side : int
        Of the square images, in pixels.
    """
    pixels = _random_pixels(engine.batch_size, side)
    features = engine.run(pixels)
    turned = np.roll(np.arange(len(pixels)), len(pixels) // 2 + 1)
    moved = []
    if not np.array_equal(engine.run(pixels), features):
        moved.append("every run")
    if not np.array_equal(engine.run(pixels[turned]), features[turned]):
        moved.append("the place in the batch")
    if not np.array_equal(engine.run(pixels[:1]), features[:1]):
        moved.append("the other images of the batch")
    return tuple(moved)


def depends_on_threads(engine: Engine, side: int) -> bool:
    """Whether features are other bits with a single thread; parameters as for `probe_rows`."""
    pixels = _random_pixels(engine.batch_size, side)
    features = engine.run(pixels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return not np.array_equal(engine.run(pixels), features)
    finally:
        torch.set_num_threads(threads)


def _random_pixels(n: int, side: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def _examine_weights() -> Check:
    names = ", ".join(name for name, _ in list_stored())
    if not names:
        return Check(
            "weights", False, f"none in {find_weights_dir()}; featx weights fetch gets {BACKBONE}'s"
        )
    return Check("weights", True, f"{names} in {find_weights_dir()}")


def _examine_extras() -> Iterator[Check]:
    """What is not installed, and what it would be good for."""
    for extra, (modules, purpose) in _EXTRAS.items():
        there = has_openvino() if extra == "openvino" else all(map(_has_module, modules))
        if not there:
            text = f"not installed; pip install 'featx[{extra}]' {purpose}"
            yield Check(extra, None, text)


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _examine_rows(engine: Engine, side: int) -> Check:
    moved = probe_rows(engine, side)
    said = (
        f"an image's features change in their last bits with {' and '.join(moved)}: files of "
        "interrupted and of uninterrupted extractions will not be equal byte for byte"
        if moved
        else "an image's features are the same bits wherever it stands in a batch, and alone"
    )
    name = f"{engine.name} {engine.precision} on {engine.device}"
    return Check("engine", not moved, f"{name}, batches of {engine.batch_size}: {said}")


def _examine_openvino(weights: Weights, exact: Engine, side: int) -> tuple[Check, Engine]:
    """Whether OpenVINO gives torch's features, and gives them wherever a row stands.

    The engine is the one that is fit to be used.
    """
    try:
        engine = OpenVinoEngine(weights, exact.batch_size)
        pixels = _random_pixels(exact.batch_size, side)
        error, _ = compare_rows(engine.run(pixels), exact.run(pixels))
    except (DeviceError, RuntimeError) as problem:
        return Check("openvino", False, f"does not run here: {problem}"), exact
    rows = _examine_rows(engine, side)
    near = error <= AGREEMENT
    text = f"{rows.text}; within {error:.0e} of torch's"
    return Check("openvino", bool(rows.good) and near, text), engine if near else exact


def _examine_folder(home: Path) -> Check:
    there = existing_folder(home.absolute())
    free = format_bytes(shutil.disk_usage(there).free)
    try:
        with (
            tempfile.TemporaryDirectory(dir=there) as folder,
            hold_lock(Path(folder) / "x.parts", Path(folder) / "x"),
        ):
            pass
    except LockedError as error:
        return Check("cache", False, str(error))
    except OSError as error:
        return Check("cache", False, f"{home}: {say_error(error)}")
    return Check("cache", True, f"{home}: can be written and locked, {free} free")


def _examine_cache(home: Path) -> Check:
    try:
        found = list_cache(home)
    except OSError as error:
        return Check("kept", False, f"{home}: {say_error(error)}")
    useless = [one for one in found if one.useless]
    text = f"{len(found)} entries, {format_bytes(sum(one.bytes for one in found))}"
    if useless:
        room = format_bytes(sum(one.bytes for one in useless))
        text += f"; {len(useless)} of no use ({room}): featx cache prune removes them"
    return Check("kept", None, text)


def _random_weights() -> Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = dict(torchvision.models.resnet50().state_dict())
    return Weights("random", TORCHVISION_V1, False, "random", "", state)
