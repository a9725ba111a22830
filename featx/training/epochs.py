"""One epoch loop for both roads: a linear layer on cached features, or a network on images.

That they share it is what makes them comparable: same batch order, same bookkeeping, same choice
of epoch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from featx.text import format_duration
from featx.timing import Meter, Stages
from featx.training.model import Epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What `train_softmax` gives back.

    Attributes
    ----------
    history : tuple of Epoch
    best_epoch : int
        Highest val accuracy, ties by lower val loss; the last epoch where there is no val.
    state : dict of str to Tensor
        The trained tensors as they were after that epoch.
    probabilities : dict of str to ndarray of shape (n_samples, n_classes), float32
        Of every split but train, after that epoch.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    state: dict[str, torch.Tensor]
    probabilities: dict[str, npt.NDArray[np.float32]]


class Batches(Protocol):
    """One split's samples, in the form that the module takes."""

    @property
    def y(self) -> torch.Tensor:
        """Class codes, shape (n_samples,), int64."""

    def iterate(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """Inputs of the samples in `order`, `batch_size` at a time."""


@dataclass(frozen=True)
class FeatureBatches:
    """Rows of a feature matrix; X is a Tensor of shape (n_samples, n_features), float32."""

    X: torch.Tensor
    y: torch.Tensor

    def iterate(
        self, order: npt.NDArray[np.int64], batch_size: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """See `Batches.iterate`."""
        for start in range(0, len(order), batch_size):
            yield self.X[torch.from_numpy(order[start : start + batch_size])]


def permute(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Any order of n samples."""
    return rng.permutation(n)


def make_linear(n_features: int, n_classes: int, seed: int) -> nn.Linear:
    """A linear layer that starts uniform in ±1/sqrt(n_features), torch's usual, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(n_features, n_classes)
    bound = n_features**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long is trained, in which batches and in which order.

    Attributes
    ----------
    epochs, batch_size : int
    seed : int
        Epoch e draws its order by `numpy.random.default_rng([seed, e])`.
    draw_order : callable
        From a generator and the number of train samples to their order, each once.
    """

    epochs: int
    batch_size: int
    seed: int
    draw_order: Callable[[np.random.Generator, int], npt.NDArray[np.int64]] = permute


def train_softmax(
    module: nn.Module,
    splits: Mapping[str, Batches],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    copy_state: Callable[[], dict[str, torch.Tensor]],
    device: torch.device | None = None,
    class_weight: npt.NDArray[np.floating] | None = None,
    stages: Stages | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Training:
    """Train by softmax cross-entropy and keep the epoch that val likes best.

    Parameters
    ----------
    module : nn.Module
        From a batch of inputs to logits of shape (b, n_classes).
    splits : mapping of str to Batches
        "train", and any others to be scored after every epoch. None but "val" decides anything.
    optimizer : torch.optim.Optimizer
    schedule : Schedule
    copy_state : callable
        Gives a copy of the tensors that training moves.
    device : torch.device, optional
        Where inputs go; None: the CPU.
    class_weight : ndarray of shape (n_classes,), optional
        What a train image of each class weighs in the gradient. The history counts all alike.
    stages : Stages, optional
        Counts "decode" (waiting for inputs) and "network", which then are in the history; what
        else is counted by it while inputs are waited for is neither. None: they are left out.
    name : str, optional
        Say after every epoch how this one does; None: say nothing.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Training
    """
    epochs, batch_size = schedule.epochs, schedule.batch_size
    device = device or torch.device("cpu")
    counted = Stages() if stages is None else stages
    history: list[Epoch] = []
    best: tuple[float, float] | None = None
    best_epoch, state, probabilities = 0, {}, {}
    others = [split for split in splits if split != "train"]
    weight = None if class_weight is None else torch.from_numpy(class_weight).float().to(device)
    samples = epochs * sum(len(data.y) for data in splits.values())
    meter = Meter(name or "train", samples, progress)
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        loss, accuracy, found = {}, {}, {}
        loss["train"], accuracy["train"] = _train_epoch(
            module, splits["train"], optimizer, schedule, epoch, device, weight, counted, meter
        )  # fmt: skip
        for split in others:
            loss[split], accuracy[split], found[split] = _score_split(
                module, splits[split], batch_size, device, counted, meter
            )
        seconds, parts = time.perf_counter() - started, counted.take()
        spent = {} if stages is None else {part: parts[part] for part in ("decode", "network")}
        history.append(Epoch(epoch, seconds, loss, accuracy, **spent))
        if name is not None:
            told = ", ".join(f"{s} {loss[s]:.3f} {100 * accuracy[s]:.1f} %" for s in splits)
            left = f"; about {format_duration((epochs - epoch) * seconds)} left"
            log.info(
                "%s: epoch %d/%d, %.3g s: %s%s",
                name, epoch, epochs, seconds, told, left * (epoch < epochs),
            )  # fmt: skip
        rank = (accuracy["val"], -loss["val"]) if "val" in splits else (float(epoch), 0.0)
        if best is None or rank > best:
            best, best_epoch, state, probabilities = rank, epoch, copy_state(), found
        meter.note(f"epoch {epoch}/{epochs}")
    meter.close()
    return Training(tuple(history), best_epoch, state, probabilities)


def score_softmax(
    module: nn.Module, data: Batches, batch_size: int, device: torch.device, stages: Stages
) -> npt.NDArray[np.float32]:
    """Probabilities of one split's samples, shape (n_samples, n_classes), in their order.

    `stages` counts as for `train_softmax`.
    """
    meter = Meter("score", len(data.y), False)
    return _score_split(module, data, batch_size, device, stages, meter)[2]


def _train_epoch(
    module: nn.Module,
    data: Batches,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    epoch: int,
    device: torch.device,
    weight: torch.Tensor | None,
    stages: Stages,
    meter: Meter,
) -> tuple[float, float]:
    module.train()
    n = len(data.y)
    order = schedule.draw_order(np.random.default_rng([schedule.seed, epoch]), n)
    total, correct, start = 0.0, 0, 0
    for inputs in stages.wait("decode", data.iterate(order, schedule.batch_size, epoch)):
        with stages.time("network"):
            y = data.y[order[start : start + len(inputs)]].to(device)
            start += len(inputs)
            optimizer.zero_grad(set_to_none=True)
            logits = module(inputs.to(device))
            losses = F.cross_entropy(logits, y, reduction="none")
            weighted = losses if weight is None else losses * weight[y]
            weighted.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            # A GPU works behind the host's back; these wait for it, the step included, before the
            # clock is read.
            total += losses.sum().item()
            correct += int((logits.argmax(1) == y).sum())
        meter.update(len(y))
    return total / n, correct / n


@torch.no_grad()
def _score_split(
    module: nn.Module,
    data: Batches,
    batch_size: int,
    device: torch.device,
    stages: Stages,
    meter: Meter,
) -> tuple[float, float, npt.NDArray[np.float32]]:
    module.eval()
    order = np.arange(len(data.y))
    parts = []
    for inputs in stages.wait("decode", data.iterate(order, batch_size, 0)):
        with stages.time("network"):
            parts.append(module(inputs.to(device)).cpu())
        meter.update(len(inputs))
    with stages.time("network"):
        logits = torch.cat(parts)
        loss = float(F.cross_entropy(logits.double(), data.y))
        accuracy = float((logits.argmax(1) == data.y).double().mean())
        return loss, accuracy, logits.softmax(1).numpy()
