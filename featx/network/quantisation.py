"""The network in whole numbers of 8 bits: what range they span, by its parameters alone.

Ranges could be measured on some images. An image's features would then depend on which, and no row
could be reused by another run. Batch norms know them: training left the mean and the deviation of
every channel as their bias and weight (Nagel et al. 2019, Data-Free Quantization Through Weight
Equalization and Bias Correction, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from featx.network.backbone import list_stages, name_layers
from featx.network.vision import BasicBlock, Bottleneck

# Of a convolution's input, by its name in the network: the largest value that is told apart.
Ranges = Mapping[str, float]

# A channel's mean and so many deviations are within its layer's range, as in that paper.
_DEVIATIONS = 6.0
_LEAST = 1e-6  # of a range: a layer may give nothing but zeros


@dataclass(frozen=True)
class _Moments:
    """Means and deviations of a layer's channels, float64, as of normal distributions."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def read(cls, norm: nn.Module) -> _Moments:
        """What a batch norm gives."""
        assert isinstance(norm, nn.BatchNorm2d)
        return cls(norm.bias.detach().double(), norm.weight.detach().double().abs())

    def add(self, other: _Moments) -> _Moments:
        """Of a sum of two that do not depend on each other."""
        return _Moments(self.mean + other.mean, torch.hypot(self.deviation, other.deviation))

    def rectify(self) -> _Moments:
        """Behind a ReLU: of a normal distribution cut off at 0."""
        deviation = self.deviation.clamp(min=_LEAST)
        ratio = self.mean / deviation
        above = torch.special.ndtr(ratio)
        density = torch.exp(-(ratio**2) / 2) / (2 * torch.pi) ** 0.5
        mean = self.mean * above + deviation * density
        square = (self.mean**2 + deviation**2) * above + self.mean * deviation * density
        return _Moments(mean, (square - mean**2).clamp(min=0).sqrt())

    def find_top(self) -> float:
        """Where the range of what a ReLU makes of it ends."""
        return max(_LEAST, float((self.mean + _DEVIATIONS * self.deviation).max()))


def find_ranges(network: nn.Module) -> dict[str, float]:
    """What the inputs of convolutions span, from 0, but for the first, whose inputs are pixels.

    Parameters
    ----------
    network : Module
        Of `build_network`: its batch norms are not folded yet.

    Returns
    -------
    dict of str to float
        By the convolution's name.
    """
    stem = network.get_submodule("bn1")
    before = _Moments.read(stem)  # of the sum that the last ReLU was applied to
    ranges: dict[str, float] = {}
    for stage, blocks in list_stages(network):
        for i, block in enumerate(blocks):
            if not isinstance(block, (BasicBlock, Bottleneck)):
                continue
            inside, kept = before, before.rectify()
            if block.downsample is not None:
                ranges[f"{stage}.{i}.downsample.0"] = before.find_top()
                kept = _Moments.read(block.downsample[1])
            for conv, norm in name_layers(block):
                ranges[f"{stage}.{i}.{conv}"] = inside.find_top()
                inside = _Moments.read(block.get_submodule(norm))
            before = inside.add(kept)
    return ranges
