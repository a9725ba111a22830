"""The network that is tuned: which part of it moves, and the images that it sees."""

from __future__ import annotations

import contextlib
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

from featx.config import HEAD_LEARNING_RATE, SPLITS, Preprocessing
from featx.data.dataset import HashedRows
from featx.data.feeding import Decoding, Feed, open_feed
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import FIRST_COLOURS, read_colours
from featx.decoding.processes import Job
from featx.errors import ModelError
from featx.network.backbone import (
    Normalise,
    build_network,
    list_blocks,
    name_layers,
)
from featx.network.cuda_engine import pin_pages
from featx.network.vision import ResNet
from featx.network.weights import Weights
from featx.novelty.detector import drop_kept
from featx.timing import Stages
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

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.weight.device

    def prefix_shape(self, crop: int) -> tuple[int, int, int]:
        """(height, width, channels) of one image's `prefix`."""
        pixels = torch.zeros((1, crop, crop, 3), dtype=torch.uint8, device=self.device)
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
    feed: Feed
    augment_seed: int | None = None

    def iterate(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """Pixels of the images in `order`, (b, crop, crop, 3) uint8, `batch_size` at a time.

        Each batch stays as it is until the second one after it is asked for.
        """
        jobs = ((i, self._name_job(i, epoch)) for i in order.tolist())
        with contextlib.closing(self.feed.load_batches(jobs, batch_size, exact=True)) as batches:
            for batch in batches:
                for _, error in batch.failures:
                    raise error
                yield torch.from_numpy(batch.pixels)

    def _name_job(self, i: int, epoch: int) -> Job:
        if self.augment_seed is None:
            return (self.paths[i],)
        # Of the image and the epoch alone, so that who decodes it, and when, changes nothing.
        return self.paths[i], None, (self.augment_seed, epoch, i)


@dataclass(frozen=True)
class _Forward:
    """A forward pass as what images are fed to: the least that a step of training takes."""

    network: TunedNetwork
    batch_size: int

    @property
    def device(self) -> str:
        return self.network.device.type

    def pin(self, pixels: npt.NDArray[np.uint8]) -> contextlib.AbstractContextManager[None]:
        """See `pin_pages`; for another device than CUDA nothing is pinned."""
        return pin_pages(pixels) if self.device == "cuda" else contextlib.nullcontext()

    @torch.no_grad()
    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        network = self.network.eval()
        found: npt.NDArray[np.float32] = (
            network(torch.from_numpy(pixels).to(network.device)).cpu().numpy()
        )
        return found


@contextlib.contextmanager
def open_images(
    rows: HashedRows,
    network: TunedNetwork,
    recipe: dict[str, Any],
    preprocessing: Preprocessing,
    *,
    num_workers: int,
    processes: int | None,
) -> Iterator[dict[str, ImageBatches]]:
    """Images with labels by split, decoded as a recipe says, until the context ends.

    What decodes is chosen once for all splits and epochs; see `open_feed`.
    """
    data = rows.dataset
    colours = read_colours(recipe.get("colours", FIRST_COLOURS))
    decoding = Decoding(preprocessing, read_decode(recipe["decoder"]), colours)
    here = {s: np.flatnonzero((data.splits == s) & (data.targets >= 0)) for s in SPLITS}
    paths = {s: tuple(data.root / data.paths[i] for i in here[s]) for s in SPLITS}
    passes = 1 if recipe["prefix_cache"] else recipe["epochs"]
    with open_feed(
        decoding,
        _Forward(network, recipe["batch_size"]),
        ((path,) for path in paths["train"]),
        passes * sum(map(len, paths.values())),
        num_workers=num_workers,
        processes=processes,
        stages=Stages(),  # an epoch has the seconds that it waits, not those of decoding beside it
    ) as feed:
        yield {
            split: ImageBatches(
                paths[split],
                torch.from_numpy(data.targets[here[split]]),
                feed,
                recipe["seed"] if recipe["augment"] and split == "train" else None,
            )
            for split in SPLITS
            if len(here[split])
        }


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
