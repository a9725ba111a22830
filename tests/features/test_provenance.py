"""What decides features: one key for all of it, and which choices a file answers."""

from dataclasses import fields, replace

import pytest
from shared import PROVENANCE

from featx.config import TORCHVISION_V1
from featx.errors import LayersError, WeightsError
from featx.features.provenance import Choice
from featx.machine import describe_engine

MADE = replace(PROVENANCE, engine=describe_engine("torch"))


def test_every_field_is_in_the_key_and_in_the_differences():
    for field in fields(PROVENANCE):
        value = {"resize": 1} if field.name == "preprocessing" else "all"
        other = replace(PROVENANCE, **{field.name: value})
        assert other.key() != PROVENANCE.key(), field.name
        (said,) = PROVENANCE.differences(other)
        assert said.startswith(f"{field.name}: ")


def test_what_a_file_without_layers_says_is_what_it_said_before_there_were_any():
    assert "layers" not in PROVENANCE.to_dict()
    assert replace(PROVENANCE, layers="max").to_dict()["layers"] == "max"


def test_more_layers_of_the_same_making_are_a_wider_file():
    wide = replace(PROVENANCE, layers="all")
    assert PROVENANCE.widens_to(wide)
    assert replace(PROVENANCE, layers="layer2:max").widens_to(wide)
    assert not wide.widens_to(PROVENANCE)
    assert not PROVENANCE.widens_to(PROVENANCE)
    assert not PROVENANCE.widens_to(replace(wide, precision="bf16"))
    assert (PROVENANCE.n_columns, wide.n_columns) == (0, 5632)


def test_a_choice_is_settled_by_what_is_there():
    wide = replace(MADE, layers="all")
    settled = Choice(precision="auto").settle(replace(wide, precision="bf16"))
    assert (settled.engine, settled.precision, settled.layers) == ("torch", "bf16", "all")
    assert Choice().settle(None) == Choice()
    assert Choice(layers="max").settle(MADE) == Choice(layers="max")  # it lacks what is asked for
    old = replace(MADE, engine="torch 0.1")  # which is not installed any more
    assert Choice(engine="auto").settle(old) == Choice(engine="auto")


def test_one_spelling_of_layers():
    assert Choice(layers="layer1, layer2,layer3,layer4").layers == "all"
    with pytest.raises(LayersError):
        Choice(layers="layer0")
    with pytest.raises(WeightsError, match="unknown backbone"):
        Choice(backbone="vgg16")


def test_a_view_is_framed_by_its_number():
    assert Choice(view=2).frame(TORCHVISION_V1).view == 2
