"""How samples are read: by their type or as was stated, and recorded so that it can be read."""

import numpy as np
import pytest

from featx.decoding.file_kinds import UnsupportedError
from featx.decoding.pixel_format import (
    FIRST_COLOURS,
    Reading,
    Seen,
    check_depth,
    check_profiles,
    describe_colours,
    format_range,
    parse_channels,
    parse_range,
    read_colours,
    scale_samples,
)
from featx.errors import DatasetError


@pytest.mark.parametrize(
    "reading",
    [
        Reading(),
        Reading(profiles="ignore"),
        Reading(depth="used 12"),
        Reading(sample_range=(-1000.0, 0.1), channels=(3, 1, 0)),
        Reading(profiles="ignore", channels=(2,)),
    ],
)
def test_what_is_recorded_is_read_again(reading):
    assert read_colours(describe_colours(reading)) == reading


def test_the_first_words_are_those_of_the_first_version():
    assert describe_colours(Reading(profiles="ignore")) == FIRST_COLOURS
    assert FIRST_COLOURS == (
        "exif upright, first frame, alpha on #ffffff, deep grey scaled to 8 bits"
    )
    assert read_colours("something else") == Reading()
    assert read_colours(f"{FIRST_COLOURS}; range 5,1") == Reading()


@pytest.mark.parametrize(
    ("reading", "kind", "bits", "expected"),
    [
        (Reading(), "unsigned", 16, (0, 65535)),
        (Reading(), "unsigned", 12, (0, 4095)),
        (Reading(depth="used 12"), "unsigned", 16, (0, 4095)),
        (Reading(depth="used 12"), "unsigned", 12, (0, 4095)),
        (Reading(sample_range=(-5.0, 5.0)), "floating-point", 32, (-5, 5)),
        (Reading(sample_range=(0.0, 100.0), depth="used 12"), "unsigned", 16, (0, 100)),
    ],
)
def test_the_range_is_the_types_unless_it_is_stated(reading, kind, bits, expected):
    assert reading.find_range(kind, bits) == expected


@pytest.mark.parametrize(
    ("kind", "bits", "said"),
    [
        ("signed", 16, "signed integers of 16 bits"),
        ("unsigned", 32, "unsigned integers of 32 bits"),
        ("floating-point", 32, "floating-point samples of 32 bits"),
    ],
)
def test_what_has_no_known_scale_is_called_by_its_type(kind, bits, said):
    with pytest.raises(UnsupportedError, match=f"{said} have no known scale: --range states one"):
        Reading().find_range(kind, bits)


def test_levels_are_those_that_a_hand_computes():
    values = np.array([0, 257, 32768, 65535], np.uint16)
    assert scale_samples(values, Reading()).tolist() == [0, 1, 127, 255]
    assert scale_samples(values, Reading(), inverted=True).tolist() == [255, 254, 127, 0]
    used = scale_samples(np.array([0, 16, 4095, 9999], np.uint16), Reading(depth="used 12"))
    assert used.tolist() == [0, 0, 255, 255]
    stated = Reading(sample_range=(-1.0, 1.0))
    floats = np.array([-2.0, -1.0, 0.0, 1.0, np.inf])
    assert scale_samples(floats, stated, kind="floating-point", bits=32).tolist() == [
        0, 0, 127, 255, 255
    ]  # fmt: skip
    with pytest.raises(UnsupportedError, match="NaN"):
        scale_samples(np.array([np.nan]), stated, kind="floating-point", bits=32)


def test_what_is_seen_of_a_dataset_is_said_once(caplog):
    seen = Seen()
    assert seen.used_bits() == 16
    for brightest in (4095, 1000, 60000):
        seen.note_samples(brightest)
    seen.warn(Reading())
    assert "brightest sample 4,095 of 65,535 in 2 of 3 images of 16 bits" in caplog.text
    assert "--range 0,4095" in caplog.text
    assert "--depth used" not in caplog.text  # the third picture uses all bits
    assert seen.used_bits() == 16
    caplog.clear()
    seen.warn(Reading(sample_range=(0.0, 4095.0)))
    assert caplog.text == ""
    dim = Seen()
    dim.note_samples(4000)
    assert dim.used_bits() == 12
    dim.note_ignored()
    dim.warn(Reading())
    assert "--depth used scales by the highest bit" in caplog.text
    assert "colour profiles of 1 images" in caplog.text


@pytest.mark.parametrize("given", ["1", "5,1", "a,b", "0,inf", "nan,1", "1,2,3", "", (3, 3), None])
def test_a_range_is_two_numbers_that_rise(given):
    with pytest.raises(DatasetError, match="expected LOW,HIGH"):
        parse_range(given)


def test_ranges_come_back():
    assert parse_range(format_range((-0.1, 1e6))) == (-0.1, 1e6)
    assert parse_range([0, 4095]) == (0, 4095)


@pytest.mark.parametrize("given", ["", "1,2", "-1", "a", "0,1,2,3", (0, -1, 2)])
def test_channels_are_one_or_three(given):
    with pytest.raises(DatasetError, match="one number from 0, or three"):
        parse_channels(given)


def test_channels_that_are():
    assert parse_channels("4") == (4,)
    assert parse_channels((2, 1, 0)) == parse_channels("2,1,0") == (2, 1, 0)


@pytest.mark.parametrize("given", ["deep", "used", "used 0", "used 16", "used x"])
def test_depths_are_a_closed_set(given):
    if given == "used":
        assert check_depth(given) == given
        return
    with pytest.raises(DatasetError, match="unknown depth"):
        check_depth(given)


def test_profiles_are_a_closed_set():
    assert check_profiles("srgb") == "srgb"
    with pytest.raises(DatasetError, match="unknown profiles 'adobe'"):
        check_profiles("adobe")
