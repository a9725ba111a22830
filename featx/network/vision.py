"""torchvision's networks, without torch's compiler, which importing torchvision loads as well.

It takes longer than torch itself, for one operator of object detectors, which asks it what it
supports where it runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "models"]

_COMPILER = "torch._dynamo.utils"


@contextmanager
def _put_off_compiler() -> Iterator[None]:
    """Functions that are imported from it inside load it where they are called."""
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(_COMPILER)
    stand_in.__dict__["__getattr__"] = _find_later
    sys.modules[_COMPILER] = stand_in
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


def _find_later(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *args, **named: getattr(importlib.import_module(_COMPILER), name)(*args, **named)


with _put_off_compiler():
    from torchvision import models
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
