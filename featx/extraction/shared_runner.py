"""One network for all transformers of a process: clones and folds ask for the same again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.data.inputs import Picture
from featx.extraction.runner import build_runner
from featx.features.provenance import Choice, Provenance
from featx.network.catalogue import list_auto, name_weights, stored_path
from featx.storage.rows import file_state
from featx.timing import Stages

if TYPE_CHECKING:
    from featx.network.engine import Engine


@dataclass(frozen=True)
class SharedRunner:
    """An engine that one thread uses at a time, and what its features are made by."""

    engine: Engine
    made: Provenance
    lock: threading.Lock

    @property
    def device(self) -> str:
        """See `Engine`."""
        return self.engine.device

    @property
    def batch_size(self) -> int:
        """See `Engine`."""
        return self.engine.batch_size

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Engine.run`."""
        with self.lock:
            return self.engine.run(pixels)

    def pin(self, pixels: npt.NDArray[np.uint8]) -> AbstractContextManager[None]:
        """See `CudaEngine.pin`; for an engine that has none nothing is pinned."""
        pin = getattr(self.engine, "pin", None)
        return nullcontext() if pin is None else pin(pixels)


# The last that was built: clones and folds ask for the same one again and again.
_built: dict[object, SharedRunner] = {}
_building = threading.Lock()


def share_runner(
    weights: str, choice: Choice, device: str, batch_size: int | None, pictures: Sequence[Picture]
) -> SharedRunner:
    """The runner of these weights so chosen: the last that was built, where that is it."""
    # Stored weights may have moved or been replaced meanwhile.
    named = {weights, name_weights(weights, choice.backbone)}
    places = [
        Path(weights),
        *(stored_path(n) for n in sorted(named | {*list_auto(choice.backbone)})),
    ]
    states = [(place, _find_state(place)) for place in places]
    wanted = (weights, choice, device, batch_size, tuple(states))
    with _building:
        if wanted not in _built:
            engine, made = build_runner(
                lambda most: [picture.source() for picture in pictures[:most]], choice, weights,
                None, device=device, batch_size=batch_size, progress=False, stages=Stages(),
            )  # fmt: skip
            _built.clear()
            _built[wanted] = SharedRunner(engine, made, threading.Lock())
        return _built[wanted]


def _find_state(path: Path) -> object:
    try:
        return file_state(path.stat())
    except (OSError, ValueError):
        return None
