"""Parameters are found in whatever wrapping training programs save them."""

import argparse
import logging

import pytest
import torch
from shared import empty_network, make_state

from featx.errors import WeightsError
from featx.network.state_dict import find_network, read_pth
from featx.network.weights import check_state, hash_state

EXPECTED = dict(empty_network().state_dict())
OWN = make_state(False)
FROZEN = {name: tensor for name, tensor in OWN.items() if not name.startswith("fc.")}


def prefixed(prefix, state=OWN):
    return {prefix + name: tensor for name, tensor in state.items()}


def load(path):
    """As `load_weights` does with a file that is not featx's own."""
    state = find_network(read_pth(path), EXPECTED, path.name)
    return check_state(state, EXPECTED, path.name)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "encoder.", "model.", "module.model.backbone.", "0."]
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "arch": "resnet50", "best_acc1": torch.tensor(7.0)},
        lambda s: {"model": s, "optimizer": {"state": {}}, "args": argparse.Namespace(lr=0.1)},
        lambda s: {"model_state_dict": s},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"epoch": 3, "state_dict_ema": s, "optimizer": {"state": {0: {}}}},
        lambda s: {"ema": {"module": s, "decay": 0.9}},
    ],
    ids=["plain", "state_dict", "model", "model_state_dict", "both", "another", "ema"],
)
def test_wrappings_change_nothing(tmp_path, prefix, wrap):
    torch.save(wrap(prefixed(prefix)), tmp_path / "checkpoint.pth.tar")
    assert hash_state(load(tmp_path / "checkpoint.pth.tar")) == hash_state(OWN)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"fc.weight": torch.ones(3, 2048), "fc.bias": torch.ones(3)},
        {"fc.0.weight": torch.ones(2, 2048), "fc.2.bias": torch.ones(1000)},
        {"fc.weight": torch.ones(1000, 2048), "fc.bias": torch.ones(9)},
        {"head.weight": torch.ones(3, 2048), "projector.layer1.0.conv1.weight": torch.ones(1)},
    ],
    ids=["none", "three classes", "two layers", "half of another", "beside it"],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_last_layers_of_others_are_left_out_and_said_to_be(head, prefix, caplog):
    caplog.set_level(logging.INFO, "featx")
    found = find_network(prefixed(prefix, {**FROZEN, **head}), EXPECTED, "x.pth")
    assert hash_state(found) == hash_state(FROZEN)
    assert ("left aside" in caplog.text) == bool(head)
    for name in list(head)[:1]:
        assert f"weights: x.pth: left aside: {prefix}{name}" in caplog.text


def test_what_lies_outside_the_network_is_left_aside(caplog):
    caplog.set_level(logging.INFO, "featx")
    beside = {"head.weight": torch.ones(3), "n_averaged": torch.tensor(1)}
    found = find_network({**prefixed("module."), **beside}, EXPECTED, "x.pth")
    assert hash_state(found) == hash_state(OWN)
    assert "left aside: head.weight, n_averaged" in caplog.text


def test_of_several_networks_none_is_taken():
    several = {**prefixed("module.encoder_q."), **prefixed("module.encoder_k.")}
    with pytest.raises(
        WeightsError, match=r"several networks \(module.encoder_q.\*, module.encoder_k.\*\)"
    ):
        find_network(several, EXPECTED, "x.pth")
    with pytest.raises(WeightsError, match=r"holds several networks \(teacher, student\): save"):
        find_network({"teacher": prefixed("backbone."), "student": OWN}, EXPECTED, "x.pth")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "^x.pth is no network of torchvision's: it holds nothing$"),
        ({"a.weight": torch.ones(1)}, "torchvision's: its names are a.weight$"),
        ({"stem.conv1.weight": torch.ones(1)}, "torchvision's: its names are stem.conv1.weight$"),
        (
            {**prefixed("module.", FROZEN), "module.layer1.0.se.weight": torch.ones(1)},
            "^x.pth is not a resnet50 of torchvision: unexpected layer1.0.se.weight$",
        ),
        (
            {k: v for k, v in prefixed("module.").items() if "layer4.2.conv3" not in k},
            "^x.pth is not a resnet50 of torchvision: missing layer4.2.conv3.weight$",
        ),
        (
            {**prefixed("module."), "module.bn1.bias": torch.ones(3)},
            r"bn1.bias has shape \(3,\), expected \(64,\)$",
        ),
    ],
)
def test_what_cannot_be_is_said_by_its_own_names(state, message):
    with pytest.raises(WeightsError, match=message):
        check_state(find_network(state, EXPECTED, "x.pth"), EXPECTED, "x.pth")


def test_a_pickled_model_says_how_to_save_its_parameters(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(
        WeightsError,
        match=r"it holds a torch.nn.modules.linear.Linear; .*torch.save\(model.state_dict\(\)",
    ):
        read_pth(tmp_path / "whole.pth")


def test_what_torch_did_not_write_is_not_loaded_at_all(tmp_path):
    for content in (b"", b"<html>weights_only=False</html>", b"hello"):
        (tmp_path / "page.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=r"page\.pth is not a file that torch\.save wrote"):
            read_pth(tmp_path / "page.pth")
    # Nobody is advised to do without the check.
    (tmp_path / "cut.pth").write_bytes(b"\x80\x02}q\0(X")
    with pytest.raises(WeightsError) as caught:
        read_pth(tmp_path / "cut.pth")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_other_precisions_are_made_float32(dtype):
    """Those of batches that were seen, too: ``.half()`` of every tensor is what people write."""
    made = {name: torch.zeros(v.shape, dtype=dtype) for name, v in EXPECTED.items()}
    checked = check_state(made, EXPECTED, "x.pth")
    assert {v.dtype for v in checked.values()} == {torch.float32, torch.int64}
    assert checked.keys() == EXPECTED.keys()


def test_tensors_without_values_in_a_row_are_refused():
    for odd in (torch.zeros(64).to_sparse(), torch.zeros(64, device="meta")):
        with pytest.raises(WeightsError, match=r"bn1\.bias is sparse, or without values$"):
            check_state({**OWN, "bn1.bias": odd}, EXPECTED, "x.pth")
