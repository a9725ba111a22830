"""Every network of the family: the same code, another name and another number of features."""

import json

import numpy as np
import pytest
import torch
import torchvision
from shared import TINY
from torchvision.models import get_model_weights

from featx.config import BACKBONES, TORCHVISION_V1
from featx.deployment.predict import predict
from featx.errors import WeightsError
from featx.extraction.extract import extract
from featx.features.file import read_features
from featx.features.provenance import Choice
from featx.finetuning.tuned_network import TunedNetwork, list_trained
from featx.heads.fit import fit
from featx.network.backbone import FrozenBackbone, build_network, list_blocks
from featx.network.catalogue import KNOWN, KnownWeights, list_auto, name_weights
from featx.network.engine import TorchEngine
from featx.network.engine_choice import AGREEMENT, compare_rows, make_engine
from featx.network.fetch import resolve_weights
from featx.network.weights import Weights, hash_state, save_weights
from featx.training.model import read_model

# One of each kind of block: two convolutions, three, three of which one is grouped, wide ones.
KINDS = ("resnet18", "resnext50_32x4d", "wide_resnet50_2")


def make_state(backbone):
    """A network's random parameters, with running statistics that are not the defaults."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.get_model(backbone, weights=None)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        return network.state_dict()


def make_weights(backbone):
    state = make_state(backbone)
    name = name_weights("imagenet1k-v1", backbone)
    return Weights(name, TINY, False, "random", hash_state(state), state, backbone=backbone)


@pytest.fixture
def resnet18(tmp_path, monkeypatch):
    """A small ResNet18, stored as torchvision's."""
    weights = make_weights("resnet18")
    (tmp_path / "weights").mkdir(exist_ok=True)
    save_weights(weights, tmp_path / "weights" / f"{weights.name}.safetensors")
    recipe = KnownWeights(TINY, False, "small and random", "resnet18")
    monkeypatch.setitem(KNOWN, weights.name, recipe)
    return weights


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_table_is_torchvisions(backbone):
    """Feature dim, names, preprocessing and accuracies of every entry."""
    with torch.device("meta"):
        assert torchvision.models.get_model(backbone).fc.in_features == BACKBONES[backbone]
    there = {name: recipe for name, recipe in KNOWN.items() if recipe.backbone == backbone}
    there.pop("keras-imagenet", None)
    assert len(there) == len(get_model_weights(backbone))
    for entry, recipe in zip(get_model_weights(backbone), there.values(), strict=True):
        transform, seen = entry.transforms(), recipe.preprocessing
        assert recipe is KNOWN[name_weights(entry.name.lower().replace("_", "-"), backbone)]
        assert ([seen.resize], [seen.crop]) == (transform.resize_size, transform.crop_size)
        assert (list(seen.mean), list(seen.std)) == (transform.mean, transform.std)
        assert seen.interpolation == transform.interpolation.value
        assert f"top-1 {entry.meta['_metrics']['ImageNet-1K']['acc@1']:.1f} %" in recipe.about


@pytest.mark.parametrize("backbone", KINDS)
def test_features_are_torchvisions_without_the_last_layer(backbone):
    state = make_state(backbone)
    reference = torchvision.models.get_model(backbone, weights=None)
    reference.load_state_dict(state)
    reference.fc = torch.nn.Identity()
    reference.eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (TORCHVISION_V1.mean, TORCHVISION_V1.std))
    with torch.no_grad():
        expected = reference((pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std)
        frozen = FrozenBackbone(build_network(state, backbone=backbone), TORCHVISION_V1)
        found = frozen(pixels)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in frozen.modules())
    assert found.shape == (2, BACKBONES[backbone])
    assert (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("backbone", KINDS)
def test_openvino_gives_torchs_features(backbone):
    pytest.importorskip("openvino")
    from featx.network.openvino_engine import OpenVinoEngine

    weights = make_weights(backbone)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    expected = TorchEngine(weights, "cpu", 4).run(pixels)
    found = OpenVinoEngine(weights, 4).run(pixels)
    assert found.shape == expected.shape == (3, BACKBONES[backbone])
    assert compare_rows(found, expected)[0] < AGREEMENT


@pytest.mark.parametrize(
    ("backbone", "last"),
    [
        ("resnet18", ("layer4.1.conv1", "layer4.1.bn1", "layer4.1.conv2", "layer4.1.bn2")),
        ("resnet50", ("layer4.2.conv2", "layer4.2.bn2", "layer4.2.conv3", "layer4.2.bn3")),
        ("resnext101_64x4d", ("layer4.2.conv2", "layer4.2.bn2", "layer4.2.conv3", "layer4.2.bn3")),
    ],
)
def test_the_last_three_layers(backbone, last):
    with torch.device("meta"):
        network = torchvision.models.get_model(backbone)
    assert list_trained(network, "last3") == last


def test_a_tuned_network_of_another_size():
    network = TunedNetwork(make_weights("resnet18"), 3, "last3", 0)
    pixels = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    prefix = network.prefix(pixels)
    assert prefix.shape == (2, 512, 2, 2)
    assert torch.allclose(network(prefix), network(pixels), atol=1e-5)
    # layer4.1 is where training begins: stem (4), then two blocks in each stage, all but the last.
    assert network._n_frozen == len(list_blocks(network.network)) - 2 == 4 + 7


def test_the_whole_road(run, photos, stored, resnet18, tmp_path):
    split = ("--split", "first:5,2")
    done = run("extract", photos, *split, "-o", "F18.h5", "--backbone", "resnet18", "--json")
    values = json.loads(done.stdout)
    assert (values["extracted"], values["weights"]) == (27, "resnet18-imagenet1k-v1")
    features = read_features(tmp_path / "here" / "F18.h5")
    assert features.X.shape == (27, 512)
    assert features.provenance.backbone == "resnet18"
    assert run("extract", photos, *split, "-o", "F50.h5").exit_code == 0
    assert read_features(tmp_path / "here" / "F50.h5").X.shape == (27, 2048)

    assert run("fit", "F18.h5", "--clf", "logreg", "-C", "1", "-o", "m").exit_code == 0
    photo = photos / "cat" / "00.jpg"
    assert "cat/00.jpg" in run("predict", "m", photo).stdout
    pytest.importorskip("onnxruntime")
    exported = json.loads(run("export", "m", "--onnx", "m.onnx", "--json").stdout)
    assert exported["check"]["max_difference"] < 1e-4
    tuned = ("finetune", photos, *split, "--train", "last3", "--epochs", "1", "-o", "run18")
    assert run(*tuned, "--backbone", "resnet18").exit_code == 0
    assert read_model(tmp_path / "here" / "run18").provenance["backbone"] == "resnet18"
    assert "cat/00.jpg" in run("predict", "run18", photo).stdout


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_head_predicts_under_the_engine_that_its_features_had(
    backbone, photos, stored, resnet18, monkeypatch, tmp_path
):
    asked = []

    def make(weights, sample, *, engine, **more):
        asked.append(engine)
        return make_engine(weights, sample, engine=engine, **more)

    features = extract(photos, backbone=backbone, split="first:5,2", engine="torch").features
    fit(features, C=1.0, output=tmp_path / "m")
    monkeypatch.setattr("featx.deployment.stream.make_engine", make)
    assert len(list(predict(tmp_path / "m", [photos]))) == 27
    assert asked == ["torch"]


def test_features_of_two_networks_never_mix(run, photos, stored, resnet18):
    assert run("extract", photos, "-o", "F.h5", "--split", "first:5,2").exit_code == 0
    other = run("extract", photos, "-o", "F.h5", "--backbone", "resnet18", "--split", "first:5,2")
    assert other.exit_code == 1
    assert "backbone: resnet50 → resnet18" in other.stderr
    # In the cache each has a file of its own, and each is found again.
    first = extract(photos, split="first:5,2", backbone="resnet18")
    second = extract(photos, split="first:5,2")
    assert first.features != second.features
    assert extract(photos, split="first:5,2", backbone="resnet18").reused == 27
    assert extract(photos, split="first:5,2").features == second.features


def test_a_plan_of_another_network(run, photos, stored, resnet18, tmp_path):
    words = ("--split", "first:5,2", "--backbone", "resnet18")
    assert run("plan", photos, *words, "-o", "plan", "--shard-size", "14").exit_code == 0
    assert run("extract", "--plan", "plan").exit_code == 0
    assert run("merge", "plan", "-o", "merged.h5").exit_code == 0
    extract(photos, split="first:5,2", backbone="resnet18", output="F.h5")
    here = tmp_path / "here"
    assert (here / "merged.h5").read_bytes() == (here / "F.h5").read_bytes()


def test_a_comparison_of_another_network_says_so(run, photos, stored, resnet18, tmp_path):
    words = ("--split", "first:5,2", "--backbone", "resnet18", "--clf", "logreg", "-C", "1")
    more = ("--epochs", "1", "--no-learning-curves", "-o", "out")
    done = run("compare", photos, *words, *more)
    assert done.exit_code == 0, done.stderr
    assert "resnet18 resnet18-imagenet1k-v1" in done.stdout
    results = json.loads((tmp_path / "here" / "out" / "results.json").read_text())
    assert "--backbone resnet18" in json.dumps(results)


def test_names_of_weights():
    assert name_weights("imagenet1k-v1", "resnet50") == "imagenet1k-v1"
    assert name_weights("imagenet1k-v1", "resnet18") == "resnet18-imagenet1k-v1"
    assert name_weights("resnet18-imagenet1k-v1", "resnet18") == "resnet18-imagenet1k-v1"
    assert name_weights("mine.pth", "resnet18") == "mine.pth"
    assert list_auto("resnet50") == ["imagenet1k-v1", "keras-imagenet", "imagenet1k-v2"]
    assert list_auto("resnet18") == ["resnet18-imagenet1k-v1"]


def test_weights_of_another_network_are_refused(resnet18, tmp_path):
    stored = tmp_path / "weights" / f"{resnet18.name}.safetensors"
    assert resolve_weights(backbone="resnet18").sha256 == resnet18.sha256
    assert resolve_weights(resnet18.name).backbone == "resnet18"  # the full name says it
    with pytest.raises(WeightsError, match="holds a resnet18, not a resnet50: say --backbone res"):
        resolve_weights(str(stored))
    assert resolve_weights(str(stored), backbone="resnet18").sha256 == resnet18.sha256
    with pytest.raises(WeightsError, match="keras-imagenet is of resnet50, not of resnet18, which"):
        resolve_weights("keras-imagenet", backbone="resnet18")
    with pytest.raises(WeightsError, match="unknown backbone 'vgg16': say one of resnet18,"):
        Choice(backbone="vgg16")
    torch.save(resnet18.state, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine.pth is not a resnet50 of torchvision: missing"):
        resolve_weights(str(tmp_path / "mine.pth"))
    assert resolve_weights(str(tmp_path / "mine.pth"), backbone="resnet18").feature_dim == 512
