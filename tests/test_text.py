import pytest

from featx.text import format_bytes, format_duration, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("3GB", 3 * 10**9), ("500 MB", 5 * 10**8), ("2GiB", 2**31), ("1.5g", 1_500_000_000),
        ("12345", 12345), (" 7 bytes ", 7), (".5kib", 512), ("1TB", 10**12),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "much", "GB", "-1GB", "0", "0.1", "3 GB 2", "1e9", "i", "3ib", "nan"]
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size: say 3GB, 500MB, 2GiB or a number of bytes"):
        parse_bytes(text)


def test_a_size_there_and_back():
    for size in (1, 999, 1000, 2_500_000, 10**12):
        assert parse_bytes(format_bytes(size)) == size


def test_durations():
    told = {0.4: "0 s", 99: "99 s", 100: "2 min", 5960: "99 min", 6000: "1 h 40 min"}
    for seconds, text in told.items():
        assert format_duration(seconds) == text
