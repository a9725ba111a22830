import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from featx.config import MODEL_SCHEMA
from featx.errors import ModelError
from featx.training.metrics import score_labels
from featx.training.model import Epoch, Model, Outcome, read_model, write_model


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "is a safetensors file, but not a model of featx"),
        ({"featx-model": "{"}, "is not a model file"),
        (
            {"featx-model": json.dumps({"schema": 99})},
            f"has schema 99, and this featx reads {MODEL_SCHEMA}",
        ),
        ({"featx-model": json.dumps({"schema": MODEL_SCHEMA})}, "is damaged, train it again"),
    ],
)
def test_files_that_are_no_models(tmp_path, metadata, message):
    path = tmp_path / "m.safetensors"
    save_file({"coef": np.zeros(2)}, path, metadata=metadata)
    with pytest.raises(ModelError, match=message):
        read_model(path)


def test_no_file_and_no_safetensors(tmp_path):
    with pytest.raises(ModelError, match=r"no such model: .*model.safetensors; featx fit"):
        read_model(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="is not a model file"):
        read_model(tmp_path / "m.safetensors")


def make_model(parts):
    """A network that was trained for as many epochs as there are parts of one's seconds."""
    history = tuple(
        Epoch(i, 9.0, {"train": 0.5}, {"train": 1.0}, *p) for i, p in enumerate(parts, 1)
    )
    y = np.array([0, 1])
    outcome = Outcome(
        {"test": score_labels(y, y)}, {"test": np.eye(2)}, 18.0, 3, "here", history, 1, {"C": None}
    )
    return Model("network", "fc", ("a", "b"), {}, {"seed": 0}, outcome, {"w": np.zeros(3)})


def test_seconds_are_kept_by_their_parts(tmp_path):
    written = write_model(make_model([(2.0, 6.5), (1.0, 7.5)]), tmp_path / "m.safetensors")
    outcome = read_model(tmp_path / "m.safetensors").outcome
    assert (outcome.decode, outcome.network) == (3.0, 14.0)
    assert outcome.history == written.outcome.history
    assert outcome.details == {"C": None}
    assert make_model([(2.0, 6.5), ()]).outcome.decode is None
    assert make_model([]).outcome.network is None


def read_unsealed(path):
    """Facts and arrays of a model file as they were before there were seals."""
    with safe_open(path, framework="np") as file:
        facts = json.loads(file.metadata()["featx-model"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del facts["sealed"]
    return facts, arrays


def test_a_model_without_the_parts_is_read_still(tmp_path):
    path = write_model(make_model([(2.0, 6.5), (1.0, 7.5)]), tmp_path / "new.safetensors").path
    facts, arrays = read_unsealed(path)
    del facts["outcome"]["seconds"]
    for epoch in facts["outcome"]["history"]:
        del epoch["decode"], epoch["network"]
    before = tmp_path / "before.safetensors"
    save_file(arrays, before, metadata={"featx-model": json.dumps(facts)})
    outcome = read_model(before).outcome
    assert (outcome.seconds, outcome.seconds_per_epoch) == (18.0, 9.0)
    assert (outcome.decode, outcome.network) == (None, None)
    assert outcome.to_dict()["seconds"] == {"decode": None, "network": None, "fit": 18.0}


@pytest.mark.parametrize("field", ["kind", "name", "provenance", "recipe", "outcome"])
@pytest.mark.parametrize("value", ["x", None, [1]])
def test_facts_of_another_form_are_damage(tmp_path, field, value):
    if (field, value) == ("name", "x"):
        return  # a name like any other; who loads the head knows it or not
    path = tmp_path / "m.safetensors"
    write_model(make_model([]), path)
    facts, arrays = read_unsealed(path)
    save_file(arrays, path, metadata={"featx-model": json.dumps({**facts, field: value})})
    with pytest.raises(ModelError, match=r"m\.safetensors is damaged, train it again"):
        read_model(path)


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = write_model(make_model([]), tmp_path / "m.safetensors").path
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        for harm in (bytes(flipped), whole[:place]):
            path.write_bytes(harm)
            with pytest.raises(ModelError):
                read_model(path)
    path.write_bytes(whole)
    assert read_model(path).recipe == {"seed": 0}


def test_numbers_that_are_none_are_damage(tmp_path):
    made = make_model([])
    made.arrays["w"][1] = np.nan
    write_model(made, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="damaged, train it again: w holds what is no number"):
        read_model(tmp_path / "m.safetensors")
