"""Decoders by name and in words, and which of them take what another made."""

import pytest

from featx.config import DECODES
from featx.decoding.decoders import (
    accepts_decode,
    check_decode,
    describe_decoder,
    is_pillows,
    is_reduced,
    name_scale,
    read_decode,
)
from featx.errors import DatasetError


@pytest.mark.parametrize("decode", DECODES)
def test_how_it_was_decoded_can_be_read_from_its_description(decode):
    assert read_decode(describe_decoder(decode)) == decode


def test_what_older_files_say_was_pillows():
    assert read_decode("pillow 12.3.0, jpeg 3.1.3, webp 1.6.0, tiff 4.7.1") == "pillow"
    assert read_decode("pillow 12.3.0, jpeg 3.1.3; jpeg at reduced scale") == "pillow-fast"
    assert read_decode("") == "pillow"
    assert describe_decoder("pillow").startswith("pillow ")
    assert describe_decoder("pillow-fast") == describe_decoder("pillow") + "; jpeg at reduced scale"


def test_a_scale_takes_what_pillow_made_at_it_and_pillow_nothing_else():
    taken = {asked: [made for made in DECODES if accepts_decode(asked, made)] for asked in DECODES}
    assert taken == {
        "exact": ["exact", "pillow"],
        "pillow": ["pillow"],
        "fast": ["fast", "pillow-fast"],
        "pillow-fast": ["pillow-fast"],
    }
    assert [is_pillows(one) for one in DECODES] == [False, True, False, True]
    assert [is_reduced(one) for one in DECODES] == [False, False, True, True]
    assert [name_scale(one) for one in DECODES] == ["exact", "exact", "fast", "fast"]


def test_another_word_is_refused():
    with pytest.raises(DatasetError, match="'quick': say one of exact, pillow, fast, pillow-fast"):
        check_decode("quick")
