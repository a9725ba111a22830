"""Which outputs of the network are read side by side, and where their columns stand."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import add_layers, make_features, write

from featx.errors import LayersError
from featx.features.outputs import (
    add_features,
    count_columns,
    count_width,
    find_columns,
    find_own,
    name_columns,
    plan_layers,
    take_engine_rows,
    take_rows,
)
from featx.network.layers import list_columns, parse_outputs, spell_outputs
from featx.storage.blocks import Blocks


@pytest.fixture
def features(provenance):
    return add_layers(make_features(provenance, dim=512))


def test_outputs_are_spelled_one_way():
    for said, spelled in (
        ("layer4:avg", "last"),
        ("last,max,avg", "all"),
        ("layer1:max,layer2:max,layer3:max,layer4:max", "max"),
        ("layer2,last", "layer2:avg,layer2:max,layer4:avg"),
    ):
        assert spell_outputs(parse_outputs(said)) == spelled
        assert parse_outputs(spelled) == parse_outputs(said)
    assert parse_outputs("layer2:max,last")[0] == ("layer4", "avg")  # the features come first


@pytest.mark.parametrize("in_file", [False, True])
def test_columns_of_sets_are_those_of_the_outputs(features, tmp_path, in_file):
    held = write(features, tmp_path) if in_file else features
    # Each output by itself, as the file has them.
    own = {("layer4", "avg"): features.X}
    for one in list_columns("all", "resnet18"):
        own[one.layer, one.pool] = features.layers[:, one.start : one.stop]
    for asked in ("auto", "max", "layer3,layer1:max", "last,layer2:avg"):
        sets = plan_layers(held, asked)
        rows = take_rows(held, sets)
        assert rows.shape == (36, count_width(held, sets))
        for one in sets:
            expected = np.hstack([own[output] for output in parse_outputs(one["layers"])])
            columns = find_columns(one, sets)
            found = rows[:] if columns is None else rows[:][:, columns]
            assert np.array_equal(found, expected)
            assert expected.shape[1] == count_columns(one)
            some = Blocks((rows,), np.array([7, 3]))
            some = some if columns is None else some.take_columns(columns)
            assert some.shape == (2, expected.shape[1])
            assert np.array_equal(np.asarray(some), expected[[7, 3]])
    assert take_rows(held, plan_layers(held, "last")) is held.X


def test_what_a_file_has_is_what_is_chosen_from(features):
    def offer(layers, views=()):
        made = replace(features.provenance, layers=layers)
        return [
            one["layers"] for one in plan_layers(replace(features, provenance=made), "auto", views)
        ]

    assert offer("all") == ["last", "avg", "max", "all"]
    assert offer("avg") == ["last", "avg"]
    assert offer("layer2:avg,layer3:avg") == ["last", "layer2:avg,layer3:avg,layer4:avg"]
    assert offer("last") == []
    view = replace(features, provenance=replace(features.provenance, layers="max"))
    assert offer("all", [view]) == ["last", "max"]
    with pytest.raises(LayersError, match=r"has no layer1:avg, which --layers layer1 asks for"):
        plan_layers(features, "layer1", [view])


@pytest.mark.parametrize("layers", ["last", "max", "all", "last,layer2:max", "layer1"])
def test_a_model_finds_its_columns_among_those_of_the_network(features, layers):
    rows = take_engine_rows(features, layers)[:]
    assert rows.shape[1] == 512 + sum(
        one.stop - one.start for one in list_columns(add_features(layers), "resnet18")
    )
    own = find_own(layers, "resnet18")
    found = rows if own is None else rows[:, own]
    sets = [{"layers": layers}]
    assert np.array_equal(found, take_rows(features, sets)[:])
    assert len(name_columns(layers, "resnet18")) == found.shape[1]
    everything = take_engine_rows(features, "all")[:]
    of_all = find_own(layers, "resnet18", "all")
    assert np.array_equal(everything if of_all is None else everything[:, of_all], found)
