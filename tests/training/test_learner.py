import math

import pytest
import torch

from featx.errors import ModelError
from featx.training.epochs import make_linear
from featx.training.learner import Learner, Run, check_rate, describe_rates
from featx.training.model import Epoch


def start(rate=0.1):
    layer = make_linear(2, 2, 0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    return Run(Learner(rate, layer, optimizer, lambda: {"w": layer.weight.detach().clone()}))


def epoch(number, loss, accuracy):
    return Epoch(number, 1.0, {"val": loss}, {"val": accuracy})


def test_a_step_by_hand():
    run, x, y = start(), torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([0, 1])
    module, weight = run.learner.module, torch.tensor([2.0, 0.5])
    before, logits = module.weight.detach().clone(), module(x).detach()
    loss, right = run.step(x, y, weight)
    p = logits.softmax(1)
    assert loss == pytest.approx(-float(p[0, 0].log() + p[1, 1].log()))
    assert right == int(p[0, 0] > p[0, 1]) + int(p[1, 1] > p[1, 0])
    # The gradient of a weighted mean of cross-entropies: (p - truth) x.
    error = (p - torch.eye(2)) * weight[:, None] / 2
    assert torch.allclose(module.weight.detach(), before - 0.1 * error.T @ x, atol=1e-6)
    assert run.seconds > 0


def test_the_best_epoch_is_kept_and_the_last_one_ranks():
    run = start()
    for number, (loss, accuracy) in enumerate(((0.5, 0.7), (0.4, 0.9), (0.3, 0.8), (0.35, 0.9)), 1):
        run.learner.module.weight.data.fill_(number)
        run.keep(epoch(number, loss, accuracy), {})
    # Of equal accuracies the lower loss.
    assert run.best_epoch == 4
    assert run.state["w"].tolist() == [[4.0, 4.0]] * 2
    assert (run.val_loss, run.lowest_loss) == (0.35, 0.3)
    told = run.conclude()
    assert (told.epochs, told.best_epoch, told.loss, told.accuracy) == (4, 4, 0.35, 0.9)
    assert told.lowest_loss == 0.3
    run.keep(epoch(5, math.nan, 0.1), {})
    assert run.val_loss == math.inf
    assert run.best_epoch == 4


def test_without_val_the_last_epoch_is_kept():
    run = start()
    for number in (1, 2):
        run.keep(Epoch(number, 1.0, {"train": 0.1 * number}, {"train": 0.5}), {})
    assert (run.best_epoch, run.val_loss) == (2, math.inf)
    assert run.conclude().loss is None


def test_a_learning_rate_as_it_is_asked_for():
    assert check_rate("auto") is None
    assert check_rate(3e-3) == check_rate("0.003") == 0.003
    for wrong in (0, -1.0, math.nan, math.inf, "fast"):
        with pytest.raises(ModelError, match="must be a positive number, or auto"):
            check_rate(wrong)


def test_what_is_told_of_rates():
    runs = [start(0.1), start(0.2)]
    for run in runs:
        run.keep(epoch(1, 0.5, 0.7), {})
    attempts = [run.conclude() for run in runs]
    told = describe_rates(0.2, attempts)
    assert told["chosen"] == {"name": "learning_rate", "value": 0.2, "by": "val"}
    assert [(one["learning_rate"], one["loss"]) for one in told["rates"]] == [
        (0.1, 0.5),
        (0.2, 0.5),
    ]
    assert describe_rates(0.1, attempts[:1])["chosen"]["by"] == "fixed"
