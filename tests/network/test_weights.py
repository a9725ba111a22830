import pickle

import pytest
import torch
from safetensors.torch import save_file
from shared import TINY

from featx.config import TORCHVISION_V1
from featx.errors import WeightsError
from featx.network.backbone import empty_state
from featx.network.catalogue import find_stored, list_stored
from featx.network.weights import check_state, hash_state, load_weights


@pytest.fixture
def expected(full_width):
    return empty_state()


def test_a_stored_file_brings_its_preprocessing(tiny_file, expected, random_state):
    weights = load_weights(tiny_file, expected)
    assert weights.preprocessing == TINY
    assert weights.sha256 == hash_state(random_state)
    assert weights.name == "imagenet1k-v1"


def test_the_hash_is_of_the_tensors_not_of_the_file(random_state, expected, tmp_path):
    torch.save(random_state, tmp_path / "mine.pth")
    save_file(random_state, tmp_path / "mine.safetensors")
    loaded = [load_weights(tmp_path / f"mine.{e}", expected) for e in ("pth", "safetensors")]
    assert {w.sha256 for w in loaded} == {hash_state(random_state)}
    assert {w.name for w in loaded} == {"file:mine"}
    assert {w.preprocessing for w in loaded} == {TORCHVISION_V1}
    changed = {**random_state, "bn1.bias": random_state["bn1.bias"] + 1e-6}
    assert hash_state(changed) != hash_state(random_state)


def test_old_files_without_counters_are_the_same_weights(random_state, expected):
    old = {n: t for n, t in random_state.items() if not n.endswith("num_batches_tracked")}
    assert hash_state(check_state(old, expected, "old")) == hash_state(random_state)


def test_half_floats_are_made_whole(random_state, expected):
    halved = {n: t.half() if t.is_floating_point() else t for n, t in random_state.items()}
    checked = check_state(halved, expected, "halved")
    assert checked["conv1.weight"].dtype == torch.float32
    assert torch.equal(checked["conv1.weight"], random_state["conv1.weight"].half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.weight"), "missing conv1.weight"),
        (lambda s: s.update({"module.x": torch.zeros(1)}), "unexpected module.x"),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"conv1.weight has shape \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)",
        ),
        (
            lambda s: s.update({"bn1.bias": torch.zeros(64, dtype=torch.int32)}),
            "bn1.bias is torch.int32, expected torch.float32",
        ),
        (lambda s: s["bn1.bias"].fill_(torch.nan), "bn1.bias has values that are NaN or infinite"),
        (lambda s: s.update({"bn1.bias": [1, 2]}), "bn1.bias is a list, not a tensor"),
    ],
)
def test_wrong_parameters_are_named(random_state, expected, change, message):
    state = {name: tensor.clone() for name, tensor in random_state.items()}
    change(state)
    with pytest.raises(WeightsError, match=rf"^x.pth is not a resnet50 of torchvision: {message}"):
        check_state(state, expected, "x.pth")


class Bomb:
    def __reduce__(self):
        return (open, ("fired", "w"))


def test_a_pickle_runs_nothing(tmp_path, expected, empty_home):
    torch.save({"conv1.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        load_weights(tmp_path / "bomb.pth", expected)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        load_weights(tmp_path / "raw.pth", expected)
    assert not (empty_home / "fired").exists()


def test_files_that_are_no_weights(tmp_path, expected):
    with pytest.raises(WeightsError, match="no such weights file"):
        load_weights(tmp_path / "none.pth", expected)
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(WeightsError, match="not a"):
            load_weights(tmp_path / name, expected)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list, not a state dict"):
        load_weights(tmp_path / "list.pth", expected)
    (tmp_path / "x.onnx").touch()
    with pytest.raises(WeightsError, match=r"neither .safetensors nor .pth"):
        load_weights(tmp_path / "x.onnx", expected)


def test_a_flipped_bit_in_the_store_is_found(tiny_file, tmp_path, expected):
    data = bytearray(tiny_file.read_bytes())
    data[-1000] ^= 1
    (tmp_path / "imagenet1k-v1.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="is damaged: its tensors hash to"):
        load_weights(tmp_path / "imagenet1k-v1.safetensors", expected)


def test_what_is_stored(stored):
    assert [name for name, _ in list_stored()] == ["imagenet1k-v1"]
    assert find_stored("imagenet1k-v1") == stored / "imagenet1k-v1.safetensors"
    with pytest.raises(WeightsError, match="featx weights fetch keras-imagenet"):
        find_stored("keras-imagenet")
