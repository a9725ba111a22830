"""The network: a ResNet of torchvision's without its last layer, to be tuned or frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from featx.config import BACKBONE, IMAGENET_CLASSES, LAYERS, Preprocessing
from featx.network.vision import BasicBlock, Bottleneck, ResNet, models


def empty_state(backbone: str = BACKBONE) -> dict[str, torch.Tensor]:
    """A network's parameter names with their shapes and dtypes, as tensors without storage."""
    return dict(_make_empty(backbone).state_dict())


class _NotDrawn(TorchFunctionMode):
    """First parameters are not drawn: without storage there is nothing to draw into.

    Torch draws from a normal distribution even so, for which it loads its compiler (`vision`).
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def _make_empty(backbone: str) -> ResNet:
    with torch.device("meta"), _NotDrawn():
        made: ResNet = models.get_model(backbone, weights=None, num_classes=IMAGENET_CLASSES)
    return made


def build_network(
    state: Mapping[str, torch.Tensor], stride_in_1x1: bool = False, backbone: str = BACKBONE
) -> ResNet:
    """The pretrained network without its last layer, in eval mode.

    Parameters
    ----------
    state : mapping of str to Tensor
        A checked state dict of that network; ``fc.*`` is not used.
    stride_in_1x1 : bool
        True for the original ResNet, whose down-sampling blocks stride in the first 1x1
        convolution (He et al. 2016, Keras); False for torchvision's "v1.5", which strides in the
        3x3.
    backbone : str
        A key of `BACKBONES`.

    Returns
    -------
    ResNet
        From (n, 3, height, width) float32 to (n, feature_dim) float32.
    """
    network = _make_empty(backbone)
    network.fc = nn.Identity()
    own = {name: tensor.clone() for name, tensor in state.items() if not name.startswith("fc.")}
    network.load_state_dict(own, assign=True, strict=True)
    if stride_in_1x1:
        for stage in (network.layer2, network.layer3, network.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return network.eval()


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 for zero: some processors need a hundred times as long for them."""
    before = bool(torch.tensor(1e-40).mul(1) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def list_stages(network: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """A torchvision ResNet as a sequence without its last layer: names, and the blocks of each."""
    return [
        (name, list(child.children()) if isinstance(child, nn.Sequential) else [child])
        for name, child in network.named_children()
        if name != "fc"
    ]


def list_blocks(network: nn.Module) -> list[nn.Module]:
    """The same, down to single blocks."""
    return [block for _, blocks in list_stages(network) for block in blocks]


class Normalise(nn.Module):
    """From uint8 RGB pixels (n, height, width, 3) to normalised float32 (n, 3, height, width).

    Pixels travel to the device as bytes: a quarter of the traffic.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        # (p / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).float().view(1, 3, 1, 1), persistent=False)
        self.scale: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """A view of NHWC bytes is channels_last already: nothing is copied but the cast."""
        return pixels.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift


class FrozenBackbone(nn.Module):
    """Pixels to features: normalising, the frozen network with batch norm folded, no last layer.

    Parameters
    ----------
    network : Module
    preprocessing : Preprocessing
    layers : sequence of (layer, pool)
        See `parse_layers`: whose pooled outputs stand behind the features.
    places : bool
        Behind all of it stands what the last stage found at each of its places, not pooled:
        (channels, height, width), flat.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        layers: Sequence[tuple[str, str]] = (),
        places: bool = False,
    ) -> None:
        super().__init__()
        self.places = places
        self.layers = tuple(layers)
        self.normalise = Normalise(preprocessing)
        self.network = fold_batch_norm(network).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stay in eval mode whatever is asked: features must not depend on the batch."""
        super().train(False)
        return self

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, height, width, 3) uint8 to (n, feature_dim and what is behind them) float32."""
        x: torch.Tensor = self.normalise(pixels)
        found = []
        for name, blocks in list_stages(self.network):
            for block in blocks:
                x = block(x)
            for layer, pool in self.layers:
                if layer == name:
                    found.append(x.mean((2, 3)) if pool == "avg" else x.amax((2, 3)))
            if self.places and name == LAYERS[-1]:
                found.append(x.flatten(1))
        features = x.flatten(1)
        return torch.cat([features, *found], dim=1) if found else features


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold every batch norm of a torchvision ResNet in eval mode into its convolution, in place."""
    for block in network.modules():
        if isinstance(block, (BasicBlock, Bottleneck)):
            for conv, norm in name_layers(block):
                _fold(block, conv, norm)
            if block.downsample is not None:
                _fold(block.downsample, "0", "1")
    _fold(network, "conv1", "bn1")
    return network


def name_layers(block: nn.Module) -> list[tuple[str, str]]:
    """A block's convolutions, each with its batch norm, in the order in which they run."""
    names = [name for name, _ in block.named_children() if name.startswith("conv")]
    return [(name, name.replace("conv", "bn")) for name in sorted(names)]


def _fold(parent: nn.Module, conv: str, norm: str) -> None:
    convolution, batch_norm = parent.get_submodule(conv), parent.get_submodule(norm)
    if not isinstance(convolution, nn.Conv2d) or not isinstance(batch_norm, nn.BatchNorm2d):
        raise TypeError(f"{conv} and {norm} are no convolution with its batch norm")
    setattr(parent, conv, fuse_conv_bn_eval(convolution, batch_norm))
    setattr(parent, norm, nn.Identity())


def pad_batch(pixels: npt.NDArray[np.uint8], batch_size: int) -> npt.NDArray[np.uint8]:
    """A batch of (b, height, width, 3) filled up with black images to `batch_size`.

    Matrix routines choose their kernels, and with them the last bits of a result, by shape: with
    one shape a row does not depend on how many others came with it.
    """
    if len(pixels) >= batch_size:
        return pixels
    padded = np.zeros((batch_size, *pixels.shape[1:]), np.uint8)
    padded[: len(pixels)] = pixels
    return padded
