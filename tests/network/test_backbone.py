import numpy as np
import pytest
import torch
import torchvision

from featx.config import TORCHVISION_V1
from featx.network.backbone import (
    FrozenBackbone,
    Normalise,
    build_network,
    flush_denormals,
)

pytestmark = pytest.mark.full_width


def pixels(n=3, side=96):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


def test_features_are_torchvisions_without_the_last_layer(random_state):
    reference = torchvision.models.resnet50()
    reference.load_state_dict(random_state)
    reference.fc = torch.nn.Identity()
    reference.eval()
    x = pixels()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (TORCHVISION_V1.mean, TORCHVISION_V1.std))
    with torch.no_grad():
        expected = reference((x.permute(0, 3, 1, 2).float() / 255 - mean) / std)
        found = FrozenBackbone(build_network(random_state, False), TORCHVISION_V1)(x)
    assert found.shape == (3, 2048)
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_batch_norm_is_folded_and_stays_so(random_state):
    backbone = FrozenBackbone(build_network(random_state, False), TORCHVISION_V1)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in backbone.modules())
    backbone.train()
    assert not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())


def test_the_given_state_is_left_alone(random_state):
    before = {name: tensor.clone() for name, tensor in random_state.items()}
    FrozenBackbone(build_network(random_state, True), TORCHVISION_V1)
    assert all(torch.equal(before[name], random_state[name]) for name in before)


def test_the_original_resnet_strides_in_the_1x1(random_state):
    network = build_network(random_state, True)
    for stage in (network.layer2, network.layer3, network.layer4):
        assert (stage[0].conv1.stride, stage[0].conv2.stride) == ((2, 2), (1, 1))
        assert stage[1].conv1.stride == (1, 1)
    assert network.layer1[0].conv1.stride == (1, 1)
    with torch.no_grad():
        x = Normalise(TORCHVISION_V1)(pixels())
        assert not torch.allclose(network(x), build_network(random_state, False)(x), rtol=1e-2)


def test_normalise_by_hand():
    out = Normalise(TORCHVISION_V1)(torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8))
    assert out.shape == (1, 3, 1, 1)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert torch.allclose(out.flatten(), torch.tensor(expected), atol=1e-6)


def test_denormals_are_flushed_inside_and_only_there():
    tiny = torch.tensor(1e-40)
    assert tiny * 1 != 0
    with flush_denormals():
        assert tiny * 1 == 0
        with flush_denormals():
            pass
        assert tiny * 1 == 0
    assert tiny * 1 != 0
