"""JSON by the element: it says what the standard library's says, and takes little more memory."""

import json
import tracemalloc

import pytest

from featx.sources.json_lists import LongList, read_json


def load(text):
    told = read_json(text)
    if isinstance(told, LongList):
        return list(told)
    return {name: list(one) if isinstance(one, LongList) else one for name, one in told.items()}


WHOLE = (
    ' {"a" : [ 1 , {"b": [2, [3]]},"]" ],\n"b":[],"c\\"é": {"d": [4]}, "e":null, "a": [5, -0.5e3]} '
)


@pytest.mark.parametrize(
    "text", [WHOLE, "[]", "{}", "[ ]\n", '\t[1, [2], {"a": [3]}, "[,"]', "{ }"]
)
def test_it_says_what_json_says(text):
    assert load(text) == json.loads(text)


def test_a_list_can_be_gone_through_again():
    (found,) = read_json('{"a": [1, 2]}').values()
    assert list(found) == list(found) == [1, 2]
    assert list(LongList()) == []


@pytest.mark.parametrize(
    "text",
    ["", "3", "[1 2]", "[1,]", "[,1]", "[] []", '{"a": 1,}', '{"a" 1}', '{"a": [1] "b": 2}',
     "{1: 2}", '{"a": [1}', "{,}"],
)  # fmt: skip
def test_what_is_no_json_is_refused(text):
    with pytest.raises(json.JSONDecodeError):
        read_json(text)


def test_a_text_that_ends_too_soon_is_refused():
    whole = WHOLE.strip()
    for end in range(len(whole)):
        with pytest.raises(json.JSONDecodeError):
            read_json(whole[:end])


def test_a_long_list_takes_no_memory_but_its_text():
    one = json.dumps({"file": "a.jpg", "detections": [{"conf": 0.5, "bbox": [0.1, 0.2, 0.3, 0.4]}]})
    text = f'{{"images": [{", ".join([one] * 5000)}]}}'
    tracemalloc.start()
    try:
        (images,) = read_json(text).values()
        assert sum(1 for _ in images) == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(text) / 10
