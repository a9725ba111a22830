"""What this machine is, and what of featx's promises it can keep."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import sklearn
import torch
import torchvision

from featx import __version__
from featx.cache import find_cache_dir
from featx.config import BATCH_SIZE, TORCHVISION_V1
from featx.engine import Engine, TorchEngine
from featx.errors import LockedError
from featx.files import format_bytes
from featx.images import describe_decoder
from featx.locks import hold_lock
from featx.machine import describe_machine
from featx.weights import Weights


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    good : bool or None
        None: a fact, neither good nor bad.
    text : str
    """

    name: str
    good: bool | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return asdict(self)


def examine(
    cache_dir: str | Path | None = None, *, device: str = "auto", batch_size: int = BATCH_SIZE
) -> Iterator[Finding]:
    """Look at versions, the cache folder and the engine, one after the other.

    No weights are needed: the engine is tried with a ResNet50 of random parameters.

    Raises
    ------
    DeviceError
    """
    yield Finding("featx", None, __version__)
    yield Finding("machine", None, describe_machine())
    libraries = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "h5py": f"{h5py.__version__} (HDF5 {h5py.version.hdf5_version})",
    }
    yield Finding("libraries", None, ", ".join(f"{k} {v}" for k, v in libraries.items()))
    yield Finding("decoder", None, describe_decoder())
    home = find_cache_dir(cache_dir)
    yield _examine_folder(home)
    engine = TorchEngine(_random_weights(), device, batch_size)
    moved = probe_rows(engine, TORCHVISION_V1.crop)
    yield Finding(
        "engine",
        not moved,
        f"{engine.name} {engine.precision} on {engine.device}, batches of {engine.batch_size}: "
        + (
            f"an image's features change in their last bits with {', '.join(moved)}: files made by "
            "interrupted and by uninterrupted runs will not be equal byte for byte"
            if moved
            else "an image's features are the same bits wherever it stands in a batch, alone, and "
            "with one thread"
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
    n = engine.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    features = engine.run(pixels)
    turned = np.roll(np.arange(n), n // 2 + 1)
    moved = []
    if not np.array_equal(engine.run(pixels), features):
        moved.append("every run")
    if not np.array_equal(engine.run(pixels[turned]), features[turned]):
        moved.append("the place in the batch")
    if not np.array_equal(engine.run(pixels[:1]), features[:1]):
        moved.append("the other images of the batch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if not np.array_equal(engine.run(pixels), features):
            moved.append("the number of threads")
    finally:
        torch.set_num_threads(threads)
    return tuple(moved)


def _examine_folder(home: Path) -> Finding:
    there = home.absolute()
    while not there.is_dir():
        there = there.parent
    free = format_bytes(shutil.disk_usage(there).free)
    try:
        with (
            tempfile.TemporaryDirectory(dir=there) as folder,
            hold_lock(Path(folder) / "x.parts", Path(folder) / "x"),
        ):
            pass
    except LockedError as error:
        return Finding("cache", False, str(error))
    except OSError as error:
        return Finding("cache", False, f"{home}: {(error.strerror or str(error)).lower()}")
    return Finding("cache", True, f"{home}: can be written and locked, {free} free")


def _random_weights() -> Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = dict(torchvision.models.resnet50().state_dict())
    return Weights("random", TORCHVISION_V1, False, "random", "", state)
