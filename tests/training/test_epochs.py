import numpy as np
import pytest
import torch
from torch import nn

from featx.timing import Stages
from featx.training.epochs import (
    FeatureBatches,
    Schedule,
    make_linear,
    score_softmax,
    train_softmax,
)

Y = torch.tensor([0, 1, 0, 1, 1])


class Slow:
    """Five samples of two numbers, each batch of which takes two seconds to come."""

    y = Y

    def __init__(self, clock):
        self.clock = clock

    def iterate(self, order, batch_size, epoch):
        for start in range(0, len(order), batch_size):
            self.clock(2)
            rows = torch.from_numpy(order[start : start + batch_size])
            yield torch.stack([rows.float(), Y[rows].float()], dim=1)
        self.clock(1)


def train(module, splits, **options):
    return train_softmax(
        module, splits, torch.optim.Adam(module.parameters(), lr=0.01),
        Schedule(epochs=3, batch_size=2, seed=5),
        **({"copy_state": lambda: dict(module.state_dict())} | options),
    )  # fmt: skip


def test_a_slow_loader_is_waiting_and_a_slow_network_is_not(clock):
    waited = train(
        make_linear(2, 2, 0), {"train": Slow(clock), "val": Slow(clock)}, stages=Stages()
    )
    # Three batches of train, three of val.
    assert [(e.seconds, e.decode, e.network) for e in waited.history] == [(14.0, 14.0, 0.0)] * 3

    class Module(nn.Linear):
        def forward(self, inputs):
            clock(10)
            return super().forward(inputs)

    stages = Stages()
    both = train(
        Module(2, 2), {"train": Slow(clock), "val": Slow(clock)}, stages=stages,
        copy_state=lambda: clock(100),
    )  # fmt: skip
    assert [(e.seconds, e.decode, e.network) for e in both.history] == [(74.0, 14.0, 60.0)] * 3
    assert stages.total == 0, "each epoch took its own"
    score_softmax(Module(2, 2), Slow(clock), 2, torch.device("cpu"), stages)
    assert stages.seconds == {"decode": 7.0, "network": 30.0}


@pytest.mark.parametrize("waits", ["item", "cpu"])
def test_what_a_gpu_still_owes_is_the_networks(clock, monkeypatch, waits):
    # Kernels run behind the host's back until it asks for a number: of a batch of train, of val.
    real = getattr(torch.Tensor, waits)

    def wait(self):
        clock(10)
        return real(self)

    monkeypatch.setattr(torch.Tensor, waits, wait)
    found = train(make_linear(2, 2, 0), {"train": Slow(clock), "val": Slow(clock)}, stages=Stages())
    for epoch in found.history:
        assert epoch.decode == 14.0
        assert epoch.network == epoch.seconds - 14.0 >= 30.0


def test_the_steps_are_the_networks(clock):
    module = make_linear(2, 2, 0)
    optimizer = torch.optim.Adam(module.parameters())
    optimizer.register_step_post_hook(lambda *_: clock(4))
    module.weight.register_hook(lambda _: clock(3))
    found = train_softmax(
        module, {"train": Slow(clock)}, optimizer,
        Schedule(epochs=1, batch_size=5, seed=0), copy_state=lambda: {}, stages=Stages(),
    )  # fmt: skip
    assert (found.history[0].decode, found.history[0].network) == (3.0, 7.0)


def test_counting_seconds_changes_nothing():
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32))
    found = []
    for stages in (None, Stages()):
        splits = {"train": FeatureBatches(X, Y), "val": FeatureBatches(X[:3], Y[:3])}
        found.append(train(make_linear(7, 2, 1), splits, stages=stages))
    plain, counted = found
    for name, tensor in plain.state.items():
        assert torch.equal(tensor, counted.state[name])
    for a, b in zip(plain.history, counted.history, strict=True):
        assert (a.loss, a.accuracy) == (b.loss, b.accuracy)
        assert (a.decode, a.network) == (None, None)
        assert 0 < b.decode + b.network <= b.seconds
