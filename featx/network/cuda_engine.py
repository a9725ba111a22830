"""The network on CUDA: one batch shape as a graph, pixels copied on a stream of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from featx.config import CUDA_BATCH_SIZE, LAST_LAYER
from featx.errors import DeviceError, FeatxError
from featx.network.engine import TorchEngine
from featx.network.weights import Weights

log = logging.getLogger(__name__)

T = TypeVar("T")

# Before a capture, as torch's documentation of CUDA graphs has it.
_WARM_UPS = 3
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for every context
# What says that memory is short, beside OutOfMemoryError: of CUDA and its libraries, the last of
# cuDNN where no algorithm's workspace fits.
_LACKING = ("out of memory", "ALLOC_FAILED", "unable to find an engine")


class CudaEngine(TorchEngine):
    """The network under torch on CUDA.

    All of a batch's memory is there from the start. Where the device has not enough of it the batch
    is halved then, before any image: a run has one batch shape, as elsewhere.

    Parameters
    ----------
    weights, batch_size, precision, layers, places
        See `TorchEngine`.

    Raises
    ------
    DeviceError
        There is no CUDA device, or no memory on it for one image.
    """

    def __init__(
        self,
        weights: Weights,
        batch_size: int = CUDA_BATCH_SIZE,
        precision: str = "fp32",
        layers: str = LAST_LAYER,
        places: bool = False,
    ) -> None:
        side = weights.preprocessing.crop
        with explain_device():
            super().__init__(weights, "cuda", batch_size, precision, layers, places)
            self._pass, self.batch_size = build_largest(
                lambda size: _Pass(self.forward, (size, side, side, 3), self.width), batch_size
            )

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Engine.run`."""
        return self.submit(pixels)()

    def submit(self, pixels: npt.NDArray[np.uint8]) -> Callable[[], npt.NDArray[np.float32]]:
        """Have a batch copied and computed; what waits for its features.

        Two may be under way: a batch is copied while the one before it is computed. Pixels that are
        pinned (see `pin`) must stay as they are until their features are there.
        """
        with explain_device():
            take = self._pass.submit(pixels)

        def wait() -> npt.NDArray[np.float32]:
            with explain_device():
                return take()

        return wait

    def pin(self, pixels: npt.NDArray[np.uint8]) -> AbstractContextManager[None]:
        """See `pin_pages`; where they are not pinned, batches are copied to pinned memory first."""
        return pin_pages(pixels)


@contextmanager
def pin_pages(pixels: npt.NDArray[np.uint8]) -> Iterator[None]:
    """Pin memory once that batches will lie in, so that each is copied from where it lies.

    Where the system refuses, nothing is pinned.
    """
    runtime, begin = torch.cuda.cudart(), pixels.ctypes.data
    refused = int(runtime.cudaHostRegister(begin, pixels.nbytes, _PORTABLE))
    if refused:
        log.debug("memory for batches is not pinned: CUDA error %d", refused)
        with suppress(RuntimeError):  # the next operation would report it as its own
            torch.zeros(1, device="cuda")
    try:
        yield
    finally:
        if not refused:
            with suppress(RuntimeError):  # of a device that has failed, which was said
                torch.cuda.synchronize()
            runtime.cudaHostUnregister(begin)


class _Slot:
    """What a batch under way has to itself: pinned pixels, those on the device, its features."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        self.staged = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self.pixels = torch.zeros(shape, dtype=torch.uint8, device="cuda")
        self.features = torch.zeros((shape[0], width), pin_memory=True)
        self.copied = torch.cuda.Event()
        self.done = torch.cuda.Event(blocking=True)  # who waits leaves its core to decoding


class _Pass:
    """One batch shape of a network as a CUDA graph.

    Parameters
    ----------
    forward : callable
        From pixels on the device to features there.
    shape : tuple of int
        Of a batch.
    width : int
        Of its features.
    """

    @torch.inference_mode()
    def __init__(
        self, forward: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], width: int
    ) -> None:
        self._slots = [_Slot(shape, width) for _ in range(2)]
        self._turn = 0
        self._copying, self._computing = torch.cuda.Stream(), torch.cuda.Stream()
        self._given = torch.zeros(shape, dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()  # what was made so far was made on another stream
        with torch.cuda.stream(self._computing):
            for _ in range(_WARM_UPS):
                forward(self._given)
        # Where there is a graph nothing refers to the engine, whose memory then goes with it: its
        # `forward` would, in a circle. Where there is none, the allocator goes on asking that which
        # was begun, so that it is kept.
        self._forward: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._graph = torch.cuda.CUDAGraph()
        try:
            # torch.cuda.graph does not go back to the stream before where a capture fails. What
            # other threads do with CUDA meanwhile does not disturb a capture of this one.
            with (
                torch.cuda.stream(self._computing),
                torch.cuda.graph(
                    self._graph, stream=self._computing, capture_error_mode="thread_local"
                ),
            ):
                self._found = forward(self._given)
        except RuntimeError as error:
            if lacks_memory(error):
                raise
            log.warning(
                "cuda: operations are started one by one, since no graph is made: %s",
                _first_line(error),
            )
            self._forward = forward

    @torch.inference_mode()
    def submit(self, pixels: npt.NDArray[np.uint8]) -> Callable[[], npt.NDArray[np.float32]]:
        slot = self._slots[self._turn % 2]
        self._turn += 1
        slot.done.synchronize()  # of the batch that had it before
        source, n = torch.from_numpy(pixels), len(pixels)
        if n < len(slot.staged) or not source.is_pinned():
            slot.staged[:n].copy_(source)
            slot.staged[n:].zero_()  # padding is black, as elsewhere
            source = slot.staged
        with torch.cuda.stream(self._copying):
            slot.pixels.copy_(source, non_blocking=True)
            slot.copied.record()
        with torch.cuda.stream(self._computing):
            slot.copied.wait()
            self._given.copy_(slot.pixels)
            if self._forward is None:
                self._graph.replay()
            else:
                self._found = self._forward(self._given)
            slot.features.copy_(self._found, non_blocking=True)
            slot.done.record()

        def take() -> npt.NDArray[np.float32]:
            slot.done.synchronize()
            features: npt.NDArray[np.float32] = slot.features[:n].numpy().copy()
            return features

        return take


def build_largest(build: Callable[[int], T], batch_size: int) -> tuple[T, int]:
    """What is built for a batch size, halved until the device has the memory for it.

    Returns
    -------
    built
    int
        The batch size.

    Raises
    ------
    DeviceError
        There is no memory for one image.
    """
    while True:
        try:
            return build(batch_size), batch_size
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            if batch_size == 1:
                raise DeviceError(
                    f"cuda: not enough memory for a single image ({_first_line(error)}): free "
                    "some, or say --device cpu"
                ) from error
            lacking = batch_size
        batch_size //= 2
        log.warning(
            "cuda: not enough memory for batches of %d images; it is %d now (--batch-size)",
            lacking, batch_size,
        )  # fmt: skip
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def lacks_memory(error: RuntimeError) -> bool:
    """Whether it is what torch or CUDA raises where the GPU has too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(n in str(error) for n in _LACKING)


def _first_line(error: RuntimeError) -> str:
    """What it says, without what torch counts of its memory and where to look for a bug in CUDA."""
    return str(error).strip().split("\n")[0].partition(". GPU ")[0]


@contextmanager
def explain_device() -> Iterator[None]:
    """Say in a sentence what CUDA reports: no memory, a device that fails or is not there any more.

    Raises
    ------
    DeviceError
    """
    try:
        yield
    except FeatxError:
        raise
    except RuntimeError as error:
        said = _first_line(error)
        if lacks_memory(error):
            raise DeviceError(
                f"the GPU has not enough memory ({said}): say a smaller --batch-size, or free some "
                "(nvidia-smi says what has it)"
            ) from error
        known = any(name in said for name in ("CUDA", "cuDNN", "HIP"))
        if not (known or isinstance(error, torch.AcceleratorError)):
            raise
        raise DeviceError(
            f"the GPU failed ({said}): what an extraction has computed is kept, and the same "
            "command goes on; nvidia-smi says whether it is there, --device cpu does without"
        ) from error
