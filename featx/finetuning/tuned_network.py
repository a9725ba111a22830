"""The network that is tuned: which part of it moves, and the images that it sees."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torchvision.models.resnet import ResNet

from featx.config import HEAD_LEARNING_RATE, Preprocessing
from featx.data.images import load_augmented, load_image
from featx.data.loading import load_batches
from featx.decoding.pixel_format import Reading
from featx.errors import ModelError
from featx.network.backbone import (
    Normalise,
    build_network,
    list_blocks,
    name_layers,
)
from featx.network.weights import Weights
from featx.novelty.detector import drop_kept
from featx.training.epochs import make_linear
from featx.training.learner import Learner
from featx.training.model import Model

# What moves: the new last layer alone; with the last two convolutions; with the last stage; all.
# Where so much is frozen that keeping what it gives is worth the room; with "fc" alone that would
# be the features, and the other road.
CACHEABLE = ("layer4", "last3")


def list_trained(network: ResNet, train: str) -> tuple[str, ...]:
    """Names of the modules that a mode trains besides the new last layer.

    A convolution and the batch norm behind it count as one layer, since they fold into one: of
    ResNet50 "last3" is layer4.2.conv2, layer4.2.conv3 and the new layer.
    """
    if train == "last3":
        block = len(network.layer4) - 1
        last = name_layers(network.layer4[block])[-2:]
        return tuple(f"layer4.{block}.{name}" for layer in last for name in layer)
    return {"fc": (), "layer4": ("layer4",), "all": ("",)}[train]


class TunedNetwork(nn.Module):
    """Pixels to logits: normalising, the network, a new linear layer; all but a part of it frozen.

    The frozen part stays in eval mode whatever is asked, so that neither its parameters nor its
    running statistics move.

    Parameters
    ----------
    weights : Weights
    n_classes : int
    train : str
        One of `TRAINED`.
    seed : int
        Of the new layer's first parameters: the same as `LinearClassifier` has for this seed.
    """

    def __init__(self, weights: Weights, n_classes: int, train: str, seed: int) -> None:
        super().__init__()
        self.normalise = Normalise(weights.preprocessing)
        network = build_network(weights.state, weights.stride_in_1x1, weights.backbone)
        self.network = network.to(memory_format=torch.channels_last)
        self.head = make_linear(weights.feature_dim, n_classes, seed)
        self.network.requires_grad_(False)
        moving = list_trained(self.network, train)
        self._tuned = [self.network.get_submodule(name) for name in moving]
        for module in self._tuned:
            module.requires_grad_(True)
        self._n_frozen = sum(1 for _ in itertools.takewhile(_is_frozen, list_blocks(self.network)))
        names = tuple(f"network.{name}".rstrip(".") + "." for name in moving)
        self._moving = tuple(n for n in self.state_dict() if n.startswith(("head.", *names)))

    def train(self, mode: bool = True) -> TunedNetwork:
        """Put the trained part, and nothing else, into train mode."""
        super().train(False)
        for module in (self.head, *self._tuned):
            module.train(mode)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pixels (n, height, width, 3) uint8, or what `prefix` made of them, to (n, n_classes)."""
        inputs = self.prepare(inputs)
        for block in list_blocks(self.network)[self._n_frozen :]:
            inputs = block(inputs)
        logits: torch.Tensor = self.head(inputs.flatten(1))
        return logits

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """`prefix` of pixels; what it gave before is left as it is."""
        return self.prefix(inputs) if inputs.dtype == torch.uint8 else inputs

    @torch.no_grad()
    def prefix(self, pixels: torch.Tensor) -> torch.Tensor:
        """The leading blocks that nothing trains: (n, channels, height, width) float32."""
        activations: torch.Tensor = self.normalise(pixels)
        for block in list_blocks(self.network)[: self._n_frozen]:
            activations = block(activations)
        return activations

    def prefix_shape(self, crop: int) -> tuple[int, int, int]:
        """(height, width, channels) of one image's `prefix`."""
        device = next(self.parameters()).device
        pixels = torch.zeros((1, crop, crop, 3), dtype=torch.uint8, device=device)
        _, channels, height, width = self.prefix(pixels).shape
        return height, width, channels

    def copy_state(self) -> dict[str, torch.Tensor]:
        """A copy, on the CPU, of every tensor that training moves: parameters and statistics."""
        state = self.state_dict()
        return {name: state[name].detach().cpu().clone() for name in self._moving}

    def fork(self) -> TunedNetwork:
        """A copy of what training moves, on the same frozen part."""
        shared = {id(t): t for name, t in self._name_tensors() if name not in self._moving}
        return copy.deepcopy(self, shared)

    def _name_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def learn(self, rate: float) -> Learner:
        """This network with Adam at a rate for what moves.

        That is the new layer alone, or pretrained ones: the new one then has `HEAD_LEARNING_RATE`.
        """
        head = list(self.head.parameters())
        tuned = [parameter for module in self._tuned for parameter in module.parameters()]
        groups: list[dict[str, Any]] = [{"params": head, "lr": rate}]
        if tuned:
            groups = [{"params": head, "lr": HEAD_LEARNING_RATE}, {"params": tuned, "lr": rate}]
        return Learner(rate, self, torch.optim.Adam(groups), self.copy_state)


def _is_frozen(block: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in block.parameters())


@dataclass(frozen=True)
class ImageBatches:
    """One split's images, decoded anew every time they are asked for; see `training.Batches`."""

    paths: tuple[Path, ...]
    y: torch.Tensor
    preprocessing: Preprocessing
    num_workers: int
    augment_seed: int | None = None
    decode: str = "exact"
    reading: Reading | None = None

    def iterate(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """Pixels of the images in `order`, (b, crop, crop, 3) uint8, `batch_size` at a time."""

        def load(i: int) -> npt.NDArray[np.uint8]:
            if self.augment_seed is None:
                return load_image(
                    self.paths[i], self.preprocessing, decode=self.decode, reading=self.reading
                )
            # Of the image and the epoch alone, so that the order of threads changes nothing.
            rng = np.random.default_rng([self.augment_seed, epoch, i])
            return load_augmented(self.paths[i], self.preprocessing, rng, self.reading)

        for batch in load_batches(load, order, batch_size, self.num_workers):
            for _, error in batch.failures:
                raise error
            yield torch.from_numpy(batch.pixels)


def load_tuned(model: Model, weights: Weights) -> TunedNetwork:
    """The trained network: the pretrained one with the tensors that training moved.

    Raises
    ------
    ModelError
        Tensors are missing or of other shapes.
    """
    network = TunedNetwork(weights, len(model.classes), model.recipe["train"], model.recipe["seed"])
    needed = network.copy_state()
    arrays = drop_kept(model.arrays)
    if arrays.keys() != needed.keys() or any(arrays[n].shape != t.shape for n, t in needed.items()):
        raise ModelError(f"{model.path} is damaged: its tensors do not fit --train {model.name}")
    network.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()}, strict=False)
    return network.eval()
