import itertools
import logging

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
from featx.training.learner import Learner

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


def learn(module, rate=0.01, copy_state=None):
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    state = module.state_dict()
    return Learner(
        rate, module, optimizer, copy_state or (lambda: {k: t.clone() for k, t in state.items()})
    )


def train(module, splits, copy_state=None, **options):
    schedule = Schedule(epochs=3, batch_size=2, seed=5)
    return train_softmax([learn(module, copy_state=copy_state)], splits, schedule, **options)


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
    learner = learn(module)
    learner.optimizer.register_step_post_hook(lambda *_: clock(4))
    module.weight.register_hook(lambda _: clock(3))
    schedule = Schedule(epochs=1, batch_size=5, seed=0)
    found = train_softmax([learner], {"train": Slow(clock)}, schedule, stages=Stages())
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


RATES = (1e-3, 1e-1, 1.0, 1e-2)


@pytest.fixture
def blobs():
    """Forty samples to learn from and forty that choose, of two classes that overlap."""
    rng = np.random.default_rng(3)
    y = np.arange(80) % 2
    X = torch.from_numpy((rng.normal(size=(80, 6)) + y[:, None]).astype(np.float32))
    y = torch.from_numpy(y)
    return {"train": FeatureBatches(X[:40], y[:40]), "val": FeatureBatches(X[40:], y[40:])}


def run(rates, splits, epochs=5, race=(), name=None):
    schedule = Schedule(epochs=epochs, batch_size=8, seed=2, race=race)
    learners = [learn(make_linear(6, 2, 0), rate) for rate in rates]
    return train_softmax(learners, splits, schedule, name=name)


def test_learners_side_by_side_are_as_each_alone(blobs):
    together = run(RATES, blobs)
    alone = {rate: run([rate], blobs) for rate in RATES}
    assert [one.learning_rate for one in together.attempts] == list(RATES)
    for one in together.attempts:
        (same,) = alone[one.learning_rate].attempts
        assert (one.loss, one.accuracy) == (same.loss, same.accuracy)
        assert (one.epochs, one.best_epoch) == (5, same.best_epoch)
    # The last epoch's loss chooses, not the best epoch's.
    won = min(alone, key=lambda rate: alone[rate].history[-1].loss["val"])
    assert together.learning_rate == won
    for name, tensor in alone[won].state.items():
        assert torch.equal(tensor, together.state[name])
    assert np.array_equal(alone[won].probabilities["val"], together.probabilities["val"])
    assert [e.loss for e in together.history] == [e.loss for e in alone[won].history]


def test_which_rates_are_in_front_is_said_where_it_changes(blobs, caplog):
    caplog.set_level(logging.INFO)
    run(RATES, blobs, epochs=9, name="fc")
    alone = {rate: run([rate], blobs, epochs=9).history for rate in RATES}
    orders = [sorted(RATES, key=lambda rate: alone[rate][e].loss["val"]) for e in range(9)]
    told = [orders[0], *(b for a, b in itertools.pairwise(orders) if a != b)]
    assert 1 < len(told) < 9
    lines = [one for one in caplog.messages if "learning rates" in one]
    front = "fc: learning rates, the one in front first: "
    assert lines == [front + ", ".join(f"{rate:g}" for rate in order) for order in told]
    caplog.clear()
    run([1e-2], blobs, name="fc")
    assert len(caplog.messages) == 5


def test_losers_of_a_race_are_stopped(blobs):
    plain, race = run(RATES, blobs), run(RATES, blobs, race=((0.3, 2), (0.5, 1)))
    # Of five epochs: two go on after the second (1.5 rounded up), one after the third.
    after = {
        e: sorted(
            RATES,
            key=lambda rate: min(one.loss["val"] for one in run([rate], blobs).history[:e]),
        )
        for e in (2, 3)
    }
    left = [rate for rate in after[3] if rate in after[2][:2]]
    epochs = {one.learning_rate: one.epochs for one in race.attempts}
    assert epochs == dict.fromkeys(RATES, 2) | {left[1]: 3, left[0]: 5}
    assert race.learning_rate == left[0]
    assert [one.epochs for one in plain.attempts] == [5] * 4
    for race, more in ((((0.3, 2), (0.5, 1)), 3 + 3 + 1), ((), 15), (((0.0, 1),), 3)):
        assert Schedule(epochs=5, batch_size=8, seed=2, race=race).count_more(4) == more


def test_a_rate_that_ends_in_no_number_never_wins(blobs):
    for rates in ([1e30, 1e-2], [1e-2, 1e30]):
        found = run(rates, blobs, race=((0.2, 1),))
        assert found.learning_rate == 1e-2
        assert {one.learning_rate: one.epochs for one in found.attempts} == {1e30: 1, 1e-2: 5}


def test_a_race_counts_what_losers_cost(clock, blobs):
    class Module(nn.Linear):
        def forward(self, inputs):
            clock(10)
            return super().forward(inputs)

    class Prepared:
        def __call__(self, inputs):
            clock(1)
            return inputs

    schedule = Schedule(epochs=2, batch_size=40, seed=0, race=((0.5, 1),))
    learners = [learn(Module(6, 2), rate) for rate in (1e-3, 1e-2)]
    found = train_softmax(learners, blobs, schedule, prepare=Prepared(), stages=Stages())
    # A batch of train and one of val an epoch, prepared once for all.
    assert [(e.seconds, e.network) for e in found.history] == [(42.0, 42.0), (22.0, 22.0)]
    assert sorted(one.seconds for one in found.attempts) == [20.0, 40.0]
