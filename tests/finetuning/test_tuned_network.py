"""Which part of the network moves, and how a trained one is put together again."""

import numpy as np
import pytest
import torch

from featx.config import TRAINED
from featx.data.feeding import Decoding, Feed
from featx.errors import ModelError
from featx.finetuning.tuned_network import ImageBatches, TunedNetwork, list_trained, load_tuned
from featx.timing import Stages
from featx.training.model import Model, Outcome

PIXELS = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)


@pytest.fixture
def feed(tiny_weights):
    return Feed(Decoding(tiny_weights.preprocessing), Stages(), 1)


def test_modes_move_ever_more(tiny_weights):
    moving = {train: set(TunedNetwork(tiny_weights, 3, train, 0).copy_state()) for train in TRAINED}
    assert moving["fc"] == {"head.weight", "head.bias"}
    assert moving["fc"] < moving["last3"] < moving["layer4"] < moving["all"]
    network = TunedNetwork(tiny_weights, 3, "last3", 0).network
    assert list_trained(network, "last3") == (
        "layer4.2.conv2", "layer4.2.bn2", "layer4.2.conv3", "layer4.2.bn3"
    )  # fmt: skip


@pytest.mark.parametrize("train", ["last3", "layer4"])
def test_what_is_frozen_may_be_run_before(tiny_weights, train):
    network = TunedNetwork(tiny_weights, 3, train, 0).eval()
    with torch.no_grad():
        before = network.prefix(PIXELS)
        assert network.prefix_shape(64) == (*before.shape[2:], before.shape[1])
        assert torch.allclose(network(before), network(PIXELS), atol=1e-5)


def test_train_mode_is_for_what_is_trained(tiny_weights):
    network = TunedNetwork(tiny_weights, 3, "layer4", 0).train()
    assert network.head.training
    assert network.network.layer4[0].bn1.training
    assert not network.network.layer3[0].bn1.training
    assert not network.network.bn1.training


def make_model(network, train, **changes):
    arrays = {name: tensor.numpy() for name, tensor in network.copy_state().items()}
    outcome = Outcome({}, {}, 1.0, 1, "here")
    return Model(
        "network", train, ("a", "b", "c"), {}, {"train": train, "seed": 5}, outcome,
        arrays | changes,
    )  # fmt: skip


def test_a_trained_network_comes_back(tiny_weights):
    network = TunedNetwork(tiny_weights, 3, "layer4", 5)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.startswith(("head.", "network.layer4.")) and tensor.is_floating_point():
                tensor.add_(0.01)
    again = load_tuned(make_model(network, "layer4"), tiny_weights)
    with torch.no_grad():
        assert torch.equal(again(PIXELS), network.eval()(PIXELS))
    assert not again.training


@pytest.mark.parametrize(
    "changes", [{"head.bias": np.zeros(4, np.float32)}, {"more": np.zeros(1, np.float32)}]
)
def test_tensors_that_do_not_fit_are_refused(tiny_weights, changes):
    network = TunedNetwork(tiny_weights, 3, "fc", 5)
    with pytest.raises(ModelError, match="do not fit --train fc"):
        load_tuned(make_model(network, "fc", **changes), tiny_weights)


def test_batches_are_the_images_of_their_order(photos, feed):
    paths = tuple(sorted((photos / "cat").iterdir()))[:5]
    batches = ImageBatches(paths, torch.zeros(5), feed)
    order = np.array([3, 0, 4])
    first, second = batches.iterate(order, 2, epoch=1)
    assert (first.shape, second.shape) == ((2, 64, 64, 3), (1, 64, 64, 3))
    (alone,) = batches.iterate(order[:1], 1, epoch=7)
    assert torch.equal(alone[0], first[0])


def test_an_augmented_image_is_its_epochs_and_not_its_batchs(photos, feed):
    paths = tuple(sorted((photos / "cat").iterdir()))[:4]
    batches = ImageBatches(paths, torch.zeros(4), feed, augment_seed=3)
    (whole,) = batches.iterate(np.arange(4), 4, epoch=1)
    (alone,) = batches.iterate(np.array([2]), 4, epoch=1)
    (later,) = batches.iterate(np.arange(4), 4, epoch=2)
    assert torch.equal(alone[0], whole[2])
    assert not torch.equal(later, whole)
