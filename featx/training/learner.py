"""Those that learn side by side from the same batches, and what becomes of each."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from featx.errors import ModelError
from featx.training.model import Epoch


@dataclass(frozen=True)
class Learner:
    """One of those that learn side by side, from the same batches.

    Attributes
    ----------
    learning_rate : float
        What sets it apart from the others.
    module : nn.Module
        From a batch of inputs to logits of shape (b, n_classes).
    optimizer : torch.optim.Optimizer
    copy_state : callable
        Gives a copy of the tensors that training moves.
    """

    learning_rate: float
    module: nn.Module
    optimizer: torch.optim.Optimizer
    copy_state: Callable[[], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Attempt:
    """A learning rate that was tried.

    Attributes
    ----------
    learning_rate : float
    epochs : int
        After which it had won or was stopped.
    best_epoch : int
        As of `Training`.
    loss, accuracy : float or None
        Of val after the last of these epochs; None where there is no val.
    lowest_loss : float or None
        Of val after any of them.
    seconds : float
        In its own steps and scores, which are among the seconds of the epochs.
    """

    learning_rate: float
    epochs: int
    best_epoch: int
    loss: float | None
    accuracy: float | None
    lowest_loss: float | None
    seconds: float


def measure_losses(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each sample; of sets of labels (y of floats) the mean of binary ones."""
    if y.is_floating_point():
        losses = F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none")
        return losses.mean(1)
    return F.cross_entropy(logits, y, reduction="none")


def find_right(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Whether each sample is told right; of a set of labels all of it, each at probability 0.5."""
    if y.is_floating_point():
        return ((logits >= 0) == (y > 0)).all(1)
    return logits.argmax(1) == y


def as_probabilities(logits: torch.Tensor, y: torch.Tensor) -> npt.NDArray[np.float32]:
    """The softmax; of sets of labels the sigmoid of each label."""
    found: npt.NDArray[np.float32] = (
        logits.sigmoid() if y.is_floating_point() else logits.softmax(1)
    ).numpy()
    return found


def describe_rates(chosen: float, attempts: Sequence[Attempt], by: str = "val") -> dict[str, Any]:
    """Which learning rate was taken, and from which, as JSON values of a model's outcome."""
    return {
        "chosen": {
            "name": "learning_rate",
            "value": chosen,
            "by": by if len(attempts) > 1 else "fixed",
        },
        "rates": [asdict(attempt) for attempt in attempts],
    }


def rank_loss(loss: float | None) -> float:
    """A loss to rank by: infinite where it is no number, or none is known."""
    return math.inf if loss is None or math.isnan(loss) else loss


def check_rate(asked: float | str) -> float | None:
    """A learning rate as it is asked for; None for "auto".

    Raises
    ------
    ModelError
        It is neither that nor a positive number.
    """
    if asked == "auto":
        return None
    try:
        rate = float(asked)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ModelError(f"learning_rate is {asked}: it must be a positive number, or auto")
    return rate


class Run:
    """A learner on its way.

    Attributes
    ----------
    learner : Learner
    history : list of Epoch
    best_epoch : int
        From 1, as of `Training`; 0 before the first.
    state : dict of str to Tensor
        As it was after that epoch.
    probabilities : dict of str to ndarray
        By split, after that epoch.
    seconds : float
        In its own steps and scores.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.state: dict[str, torch.Tensor] = {}
        self.probabilities: dict[str, npt.NDArray[np.float32]] = {}
        self.seconds = 0.0
        self._best = (-math.inf, 0.0)

    def step(
        self, inputs: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[float, int]:
        """Learn from a batch; the sum of its losses before that, and how many were right."""
        with self._count():
            self.learner.optimizer.zero_grad(set_to_none=True)
            logits = self.learner.module(inputs)
            losses = measure_losses(logits, y)
            weighted = losses if weight is None else losses * weight[y]
            weighted.mean().backward()  # type: ignore[no-untyped-call]
            self.learner.optimizer.step()
            # A GPU works behind the host's back; these wait for it, the step included, before the
            # clock is read.
            return losses.sum().item(), int(find_right(logits, y).sum())

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        with self._count():
            logits: torch.Tensor = self.learner.module(inputs)
            return logits.cpu()

    def keep(self, epoch: Epoch, probabilities: dict[str, npt.NDArray[np.float32]]) -> None:
        """Note an epoch, and what it made where that is the best so far."""
        self.history.append(epoch)
        rank = float(epoch.epoch), 0.0
        if "val" in epoch.loss:
            rank = epoch.accuracy["val"], -epoch.loss["val"]
        if rank > self._best:
            self._best, self.best_epoch = rank, epoch.epoch
            self.state, self.probabilities = self.learner.copy_state(), probabilities

    @property
    def val_loss(self) -> float:
        """After the last epoch; infinite where it is no number, and where there is no val."""
        return rank_loss(self.history[-1].loss.get("val"))

    @property
    def lowest_loss(self) -> float:
        """As `val_loss`, after any epoch."""
        return min(rank_loss(epoch.loss.get("val")) for epoch in self.history)

    def conclude(self) -> Attempt:
        """What is told of it."""
        last = self.history[-1]
        lowest = self.lowest_loss if "val" in last.loss else None
        return Attempt(
            self.learner.learning_rate, last.epoch, self.best_epoch,
            last.loss.get("val"), last.accuracy.get("val"), lowest, self.seconds,
        )  # fmt: skip

    @contextlib.contextmanager
    def _count(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun
