"""One epoch loop for both roads: a linear layer on cached features, or a network on images.

That they share it is what makes them comparable: same batch order, same bookkeeping, same choice
of epoch and of learning rate.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.text import format_duration
from featx.timing import Meter, Stages
from featx.training.learner import (
    Attempt,
    Learner,
    Run,
    as_probabilities,
    find_right,
    measure_losses,
)
from featx.training.model import Epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What `train_softmax` gives back.

    Attributes
    ----------
    history : tuple of Epoch
        Of the learning rate that was chosen; an epoch's seconds are those of all that took part.
    best_epoch : int
        Highest val accuracy, ties by lower val loss; the last epoch where there is no val.
    state : dict of str to Tensor
        The trained tensors as they were after that epoch.
    probabilities : dict of str to ndarray of shape (n_samples, n_classes), float32
        Of every split but train, after that epoch.
    learning_rate : float
        The one with the lowest val loss after the last epoch. Best epochs would be compared by the
        luck of many draws; the last is one figure for each. In a race the winner, see `Schedule`.
    attempts : tuple of Attempt
        All learning rates, in the order of the learners.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    state: dict[str, torch.Tensor]
    probabilities: dict[str, npt.NDArray[np.float32]]
    learning_rate: float
    attempts: tuple[Attempt, ...]


class Batches(Protocol):
    """One split's samples, in the form that the module takes."""

    @property
    def y(self) -> torch.Tensor:
        """Class codes, shape (n_samples,), int64; or sets of labels, (n_samples, n_labels)."""

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
    race : sequence of (share, number)
        After such a share of the epochs, rounded up, so many learners at most go on: those with
        the lowest val loss so far, since one epoch may be a leap.
    """

    epochs: int
    batch_size: int
    seed: int
    draw_order: Callable[[np.random.Generator, int], npt.NDArray[np.int64]] = permute
    race: Sequence[tuple[float, int]] = ()

    def count_left(self, epoch: int, n_learners: int) -> int:
        """How many of so many learners go on after an epoch, from 1."""
        ended = [left for share, left in self.race if epoch >= math.ceil(share * self.epochs)]
        return min([n_learners, *ended])

    def count_more(self, n_learners: int) -> int:
        """How many epochs the others of so many learners take beside the winner's own."""
        left, more = n_learners, 0
        for epoch in range(1, self.epochs + 1):
            more += left - 1
            left = self.count_left(epoch, left)
        return more


def train_softmax(
    learners: Sequence[Learner],
    splits: Mapping[str, Batches],
    schedule: Schedule,
    *,
    prepare: Callable[[torch.Tensor], torch.Tensor] = lambda inputs: inputs,
    device: torch.device | None = None,
    class_weight: npt.NDArray[np.floating] | None = None,
    stages: Stages | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Training:
    """Train by softmax cross-entropy; keep the learning rate and the epoch that val likes best.

    Where samples have sets of labels it is the binary cross-entropy of each label.

    Parameters
    ----------
    learners : sequence of Learner
        One, or where there is a val several, which see the same batches in the same order.
    splits : mapping of str to Batches
        "train", and any others to be scored after every epoch. None but "val" decides anything.
    schedule : Schedule
    prepare : callable
        What is the same for all learners, from a batch to what their modules take.
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
    epochs = schedule.epochs
    device = device or torch.device("cpu")
    counted = Stages() if stages is None else stages
    runs = [Run(learner) for learner in learners]
    left = runs
    order: list[float] = []
    rank = attrgetter("lowest_loss" if schedule.race else "val_loss")
    others = [split for split in splits if split != "train"]
    weight = None if class_weight is None else torch.from_numpy(class_weight).float().to(device)
    samples = epochs * sum(len(data.y) for data in splits.values())
    meter = Meter(name or "train", samples, progress)
    way = _Way(prepare, device, counted, meter)
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        trained = _train_epoch(left, splits["train"], schedule, epoch, weight, way)
        for run in left:
            run.learner.module.eval()
        scores = [run.score for run in left]
        scored = {s: _score_split(scores, splits[s], schedule.batch_size, way) for s in others}
        seconds, parts = time.perf_counter() - started, counted.take()
        spent = {} if stages is None else {part: parts[part] for part in ("decode", "network")}
        for i, run in enumerate(left):
            each = {"train": trained[i], **{split: scored[split][i][:2] for split in others}}
            loss, accuracy = ({split: pair[k] for split, pair in each.items()} for k in (0, 1))
            found = {split: scored[split][i][2] for split in others}
            run.keep(Epoch(epoch, seconds, loss, accuracy, **spent), found)
        ranked = sorted(left, key=rank)
        if name is not None:
            _say_epoch(name, ranked[0], epochs)
            order = _say_order(name, ranked, order)
        left = [run for run in left if run in ranked[: schedule.count_left(epoch, len(left))]]
        meter.note(f"epoch {epoch}/{epochs}")
    meter.close()
    won = min(left, key=rank)
    return Training(
        history=tuple(won.history),
        best_epoch=won.best_epoch,
        state=won.state,
        probabilities=won.probabilities,
        learning_rate=won.learner.learning_rate,
        attempts=tuple(run.conclude() for run in runs),
    )


def _say_epoch(name: str, first: Run, epochs: int) -> None:
    """How the one in front does."""
    last = first.history[-1]
    told = ", ".join(f"{s} {last.loss[s]:.3f} {100 * last.accuracy[s]:.1f} %" for s in last.loss)
    left = f"; about {format_duration((epochs - last.epoch) * last.seconds)} left"
    log.info(
        "%s: epoch %d/%d, %.3g s: %s%s",
        name, last.epoch, epochs, last.seconds, told, left * (last.epoch < epochs),
    )  # fmt: skip


def _say_order(name: str, ranked: Sequence[Run], before: list[float]) -> list[float]:
    """Which learning rates are in front, once and where that is no longer so."""
    rates = [run.learner.learning_rate for run in ranked]
    if len(rates) > 1 and rates != before[: len(rates)]:
        listed = ", ".join(f"{rate:g}" for rate in rates)
        log.info("%s: learning rates, the one in front first: %s", name, listed)
    return rates


@dataclass(frozen=True)
class _Way:
    """How a batch reaches the learners, and who counts."""

    prepare: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device
    stages: Stages
    meter: Meter

    def feed(self, batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Inputs as modules take them; the consumer's time with them is the network's."""
        for inputs in self.stages.wait("decode", batches):
            with self.stages.time("network"):
                yield self.prepare(inputs.to(self.device))
            self.meter.update(len(inputs))


def _train_epoch(
    runs: Sequence[Run],
    data: Batches,
    schedule: Schedule,
    epoch: int,
    weight: torch.Tensor | None,
    way: _Way,
) -> list[tuple[float, float]]:
    """Mean loss and accuracy of each."""
    for run in runs:
        run.learner.module.train()
    order = schedule.draw_order(np.random.default_rng([schedule.seed, epoch]), len(data.y))
    totals, start = np.zeros((len(runs), 2)), 0
    for inputs in way.feed(data.iterate(order, schedule.batch_size, epoch)):
        y = data.y[order[start : start + len(inputs)]].to(way.device)
        start += len(inputs)
        totals += [run.step(inputs, y, weight) for run in runs]
    return [(float(loss), float(right)) for loss, right in totals / len(order)]


def score_softmax(
    module: nn.Module, data: Batches, batch_size: int, device: torch.device, stages: Stages
) -> npt.NDArray[np.float32]:
    """Probabilities of one split's samples, shape (n_samples, n_classes), in their order.

    `stages` counts as for `train_softmax`.
    """
    module.eval()
    way = _Way(lambda inputs: inputs, device, stages, Meter("score", len(data.y), False))
    return _score_split([module], data, batch_size, way)[0][2]


@torch.no_grad()
def _score_split(
    modules: Sequence[Callable[[torch.Tensor], torch.Tensor]],
    data: Batches,
    batch_size: int,
    way: _Way,
) -> list[tuple[float, float, npt.NDArray[np.float32]]]:
    """Mean loss, accuracy and probabilities by each."""
    parts: list[list[torch.Tensor]] = [[] for _ in modules]
    for inputs in way.feed(data.iterate(np.arange(len(data.y)), batch_size, 0)):
        for module, mine in zip(modules, parts, strict=True):
            mine.append(module(inputs).cpu())
    with way.stages.time("network"):
        return [_judge(torch.cat(mine), data.y) for mine in parts]


def _judge(logits: torch.Tensor, y: torch.Tensor) -> tuple[float, float, npt.NDArray[np.float32]]:
    loss = float(measure_losses(logits.double(), y).mean())
    accuracy = float(find_right(logits, y).double().mean())
    return loss, accuracy, as_probabilities(logits, y)
