"""The network alone, on one batch of noise, in every form at hand, and what the processor could do.

    python benchmarks/network.py [--only openvino]

Prints one JSON object: images/s of each form, the seconds to its first batch, and "matrix
products": the images/s that a matrix product's speed would allow, at the 8.2 GFLOP that ResNet50
takes for an image of 224 x 224 (4.1 billion multiplications, each with an addition).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from turns import take_medians, take_turns, time_call

from featx.config import TORCHVISION_V1
from featx.machine import has_openvino
from featx.network.backbone import FrozenBackbone, build_network
from featx.network.engine import TorchEngine
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import Weights

BATCH = 32
ROUNDS = 5
GFLOP = 8.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="what has it in its name")
    only = parser.parse_args().only
    torch.manual_seed(0)
    state = dict(torchvision.models.resnet50().state_dict())
    weights = Weights("random", TORCHVISION_V1, False, "random", "", state)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    first: dict[str, float] = {}
    forms: dict[str, Callable[[], Any]] = {}

    def add(name: str, make: Callable[[], Callable[[], Any]]) -> None:
        if only not in name:
            return
        begun = time.perf_counter()
        try:
            forms[name] = make()
            forms[name]()
        except Exception as error:  # whatever a compiler that is not there raises
            forms.pop(name, None)
            print(f"{name} does not run here: {str(error)[:200]}")  # noqa: T201
        else:
            first[name] = time.perf_counter() - begun

    def eager(channels_last: bool) -> Callable[[], Any]:
        network = build_network(state, stride_in_1x1=False)
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous()
        if channels_last:
            network, x = (thing.to(memory_format=torch.channels_last) for thing in (network, x))
        return lambda: network(x)

    def compiled() -> Callable[[], Any]:
        network = torch.compile(
            FrozenBackbone(build_network(state, stride_in_1x1=False), TORCHVISION_V1),
            options={"freezing": True},
        )
        x = torch.from_numpy(pixels)
        return lambda: network(x)

    def featx(kind: type[TorchEngine] | type[OpenVinoEngine], precision: str) -> Callable[[], Any]:
        engine = kind(weights, batch_size=BATCH, precision=precision)
        return lambda: engine.run(pixels)

    add("torch eager", lambda: eager(channels_last=False))
    add("torch channels_last", lambda: eager(channels_last=True))
    add("torch compiled", compiled)
    add("featx torch fp32", lambda: featx(TorchEngine, "fp32"))
    add("featx torch bf16", lambda: featx(TorchEngine, "bf16"))
    if has_openvino():
        add("featx openvino fp32", lambda: featx(OpenVinoEngine, "fp32"))
        add("featx openvino bf16", lambda: featx(OpenVinoEngine, "bf16"))
        add("featx openvino int8", lambda: featx(OpenVinoEngine, "int8"))
    a32 = torch.rand(2048, 2048)
    factors: dict[str, Any] = {
        "fp32, torch": a32, "fp32, numpy": a32.numpy(), "bf16, torch": a32.bfloat16(),
    }  # fmt: skip

    factors = {name: a for name, a in factors.items() if only in name}

    def multiply(a: Any) -> float:
        a @ a
        return time_call(lambda: [a @ a for _ in range(5)])[0] / 5

    with torch.inference_mode():
        ways = {name: lambda run=run: time_call(run)[0] for name, run in forms.items()}
        ways |= {name: partial(multiply, a) for name, a in factors.items()}
        seconds = take_medians(take_turns(ways, ROUNDS))
    found = {
        "images/s": {name: BATCH / seconds[name] for name in forms},
        "first batch": first,
        "matrix products": {name: 2 * 2048**3 / 1e9 / seconds[name] / GFLOP for name in factors},
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    with torch.inference_mode():
        main()
