"""A GPU that is none: it does everything as late as it may, when somebody waits for it."""

from collections import deque
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode

from featx.network import cuda_engine, engine
from featx.network.cuda_engine import CudaEngine
from featx.network.engine import TorchEngine


class PretendedGpu(TorchFunctionMode):
    """Streams, events and graphs over memory of the CPU, in the place of torch's.

    What is begun on a stream lies in its queue until an event after it is waited for, so that
    pixels which are overwritten too early, or features that are read too early, are wrong ones.
    """

    def __init__(self, monkeypatch, pins=True, captures=True):
        super().__init__()
        self.pinned, self.sizes, self._pins, self._captures = {}, [], pins, captures
        self._streams, self._current, self._captured = [], None, None
        cuda = SimpleNamespace(
            Stream=self._make_stream, Event=self._make_event, CUDAGraph=_Graph, graph=self._capture,
            stream=self._enter, synchronize=self._synchronize, is_initialized=lambda: False,
            cudart=lambda: self,
        )  # fmt: skip
        monkeypatch.setattr(cuda_engine, "torch", _Torch(cuda))
        monkeypatch.setattr(engine, "choose_device", lambda _: torch.device("cpu"))
        monkeypatch.setattr(CudaEngine, "forward", lambda *told: self._forward(*told))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.is_pinned:
            begin = args[0].data_ptr()
            return any(a <= begin and begin + args[0].nbytes <= b for a, b in self.pinned.items())
        if func is torch.Tensor.copy_ and self._current is not None:
            target, source = args
            self._current.append(lambda: target.copy_(source))
            return target
        return func(*args, **(kwargs or {}))

    def cudaHostRegister(self, begin, size, flags):
        if self._pins:
            self.pinned[begin] = begin + size
        return 0 if self._pins else 801

    def cudaHostUnregister(self, begin):
        del self.pinned[begin]

    def _forward(self, engine, pixels):
        if self._current is None:
            return TorchEngine.forward(engine, pixels)
        found = torch.zeros(len(pixels), engine.width)
        queue = self._current if self._captured is None else self._captured
        queue.append(lambda: found.copy_(TorchEngine.forward(engine, pixels)))
        return found

    def _make_stream(self):
        self._streams.append(deque())
        return self._streams[-1]

    def _make_event(self, blocking=False):
        return _Event(self)

    @contextmanager
    def _enter(self, stream):
        before, self._current = self._current, stream
        try:
            yield
        finally:
            self._current = before

    @contextmanager
    def _capture(self, graph, stream, capture_error_mode):
        self._synchronize()
        graph.gpu, self._captured = self, graph.steps
        with self._enter(stream):
            yield
        self._captured = None
        if not self._captures:
            raise RuntimeError("CUDA error: operation not permitted\nCUDA kernel errors might")

    def _synchronize(self):
        for stream in self._streams:
            self._run(stream, None)

    def _run(self, stream, until):
        """What lies in a queue, up to an event's mark, where that is still there."""
        while stream and (until is None or until in stream):
            step = stream.popleft()
            if callable(step):
                with self._enter(None), torch.inference_mode():
                    step()


class _Event:
    def __init__(self, gpu):
        self._gpu, self._stream, self._mark = gpu, (), None

    def record(self):
        self._stream, self._mark = self._gpu._current, _Mark()
        self._stream.append(self._mark)

    def wait(self):
        stream, mark = self._stream, self._mark
        self._gpu._current.append(lambda: self._gpu._run(stream, mark))

    def synchronize(self):
        self._gpu._run(self._stream, self._mark)


class _Mark:
    """Where an event was recorded."""


class _Graph:
    def __init__(self):
        self.steps = []

    def replay(self):
        self.gpu._current.extend(self.steps)


class _Torch:
    """The module, with another `cuda`, whose tensors are the CPU's."""

    def __init__(self, cuda):
        self.cuda = cuda

    def __getattr__(self, name):
        return getattr(torch, name)

    def zeros(self, *shape, dtype=torch.float32, device=None, pin_memory=False):
        return torch.zeros(*shape, dtype=dtype)
