"""Nodes and constants of an ONNX graph while it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_NORM = 1e-30


class Graph:
    """Nodes and constants, in order, with names that are never given twice."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operation: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node with one output, which has its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, [name], name, **attributes))
        return name

    def hold(self, values: npt.ArrayLike, name: str, dtype: Any = np.float32) -> str:
        """A constant."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(values, dtype))
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return name

    def normalise(self, x: str, name: str) -> str:
        """Rows of length 1; a row of nothing but zeros stays one, as under scikit-learn."""
        length = self.add("ReduceL2", [x], f"{name}.length", axes=[1], keepdims=1)
        least = self.hold(LEAST_NORM, f"{name}.least")
        length = self.add("Max", [length, least], f"{name}.divisor")
        return self.add("Div", [x, length], name)
