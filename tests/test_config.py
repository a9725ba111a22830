"""Preprocessing travels as JSON and back, and a protocol frames it."""

import json

import pytest

from featx.config import BACKBONES, C_GRID, TORCHVISION_V1, Preprocessing


def test_preprocessing_comes_back_from_json():
    for one in (TORCHVISION_V1, TORCHVISION_V1.frame(view=3)):
        assert Preprocessing.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert "view" not in TORCHVISION_V1.to_dict()  # files made before there were views stay equal


@pytest.mark.parametrize("change", [{"mean": (1, 2)}, {"resize": "wide"}, {"crop": None}])
def test_what_is_no_preprocessing_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Preprocessing.from_dict(TORCHVISION_V1.to_dict() | change)
    with pytest.raises(KeyError):
        Preprocessing.from_dict({"resize": 256})


def test_linear_evaluation_resizes_to_the_crop_itself():
    framed = TORCHVISION_V1.frame("linear-eval")
    assert (framed.resize, framed.crop, framed.interpolation) == (224, 224, "bicubic")
    assert (framed.mean, framed.std) == (TORCHVISION_V1.mean, TORCHVISION_V1.std)


def test_published_numbers():
    # Kornblith et al. 2019, A.3: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm.
    assert (len(C_GRID), C_GRID[0]) == (45, 1e-6)
    assert C_GRID[-1] == pytest.approx(1e5)
    assert BACKBONES["resnet18"] == 512
    assert BACKBONES["resnet50"] == 2048
