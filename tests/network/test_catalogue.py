"""Which weights have a name, where they lie, and where a file of weights was last seen."""

import pytest
from shared import make_state

from featx.config import BACKBONES, TORCHVISION_V1, TORCHVISION_V2
from featx.errors import WeightsError
from featx.network.catalogue import (
    KNOWN,
    check_backbone,
    describe_weights,
    find_stored,
    find_weights_dir,
    list_auto,
    list_stored,
    name_weights,
    read_stored_hash,
    recall_weights,
    remember_weights,
    stored_path,
)
from featx.network.weights import hash_state


def test_every_network_has_weights_and_the_default_comes_first():
    assert next(iter(KNOWN)) == "imagenet1k-v1"
    assert {one.backbone for one in KNOWN.values()} == set(BACKBONES)
    assert KNOWN["imagenet1k-v1"].preprocessing == TORCHVISION_V1
    assert KNOWN["resnet18-imagenet1k-v1"].preprocessing == TORCHVISION_V1
    # Its first weights came from the recipe of the others' second ones.
    assert KNOWN["resnext101_64x4d-imagenet1k-v1"].preprocessing == TORCHVISION_V2
    assert [name for name, one in KNOWN.items() if one.stride_in_1x1] == ["keras-imagenet"]


def test_auto_takes_the_networks_own():
    assert list_auto("resnet50") == ["imagenet1k-v1", "keras-imagenet", "imagenet1k-v2"]
    assert list_auto("resnet18") == ["resnet18-imagenet1k-v1"]
    assert name_weights("imagenet1k-v1", "resnet18") == "resnet18-imagenet1k-v1"
    assert name_weights("mine.pth", "resnet18") == "mine.pth"
    with pytest.raises(WeightsError, match="unknown backbone 'vgg16': say one of resnet18, "):
        check_backbone("vgg16")


def test_what_is_stored_is_listed_with_its_hash(stored, full_width, monkeypatch):
    monkeypatch.setenv("FEATX_WEIGHTS", str(stored))
    assert find_weights_dir() == stored
    (stored / "mine.safetensors").write_text("no weights at all")
    assert [name for name, _ in list_stored()] == ["imagenet1k-v1", "mine"]
    assert read_stored_hash("imagenet1k-v1") == hash_state(make_state(full_width))
    assert read_stored_hash("mine") is None
    assert read_stored_hash("imagenet1k-v2") is None
    told = {one["name"]: one for one in describe_weights()}
    assert told["imagenet1k-v1"]["stored"]
    assert not told["imagenet1k-v2"]["stored"]
    assert told["mine"]["about"] == "put there by hand"
    assert next(iter(told)) == "imagenet1k-v1"
    assert find_stored("mine") == stored_path("mine")
    with pytest.raises(WeightsError, match="featx weights fetch imagenet1k-v2"):
        find_stored("imagenet1k-v2")


def test_a_file_of_weights_is_remembered_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_WEIGHTS", str(tmp_path / "weights"))
    path = tmp_path / "mine.pth"
    assert recall_weights("a" * 64) is None
    path.write_bytes(b"x")
    remember_weights("a" * 64, path)
    assert recall_weights("a" * 64) == path
    again = tmp_path / "moved.pth"
    path.rename(again)
    assert recall_weights("a" * 64) is None
    remember_weights("a" * 64, again)
    assert recall_weights("a" * 64) == again


def test_where_no_note_can_be_kept_none_is(tmp_path, monkeypatch):
    (tmp_path / "weights").write_text("a file where the folder should be")
    monkeypatch.setenv("FEATX_WEIGHTS", str(tmp_path / "weights"))
    remember_weights("a" * 64, tmp_path)
    assert recall_weights("a" * 64) is None
