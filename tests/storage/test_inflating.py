import gzip
import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from featx.storage import inflating
from featx.storage.inflating import Inflated

DATA = random.Random(0).randbytes(40_000) + bytes(30_000) + random.Random(1).randbytes(50_000)


@pytest.fixture
def small(monkeypatch):
    """Everything at a hundredth of its size, so that little data has many pieces."""
    for name, value in {
        "_READ": 999,
        "_GROWN": 1500,
        "_HELD": 5000,
        "_FIRST_SPACING": 7000,
    }.items():
        monkeypatch.setattr(inflating, name, value)
    monkeypatch.setattr(inflating, "_MOST_POINTS", 5)


@pytest.fixture
def write(tmp_path):
    def write(*pieces):
        path = tmp_path / "data.gz"
        path.write_bytes(b"".join(pieces))
        return path.open("rb")

    return write


def places(n=60):
    rng = random.Random(2)
    return [(rng.randrange(len(DATA)), rng.randrange(1, 9000)) for _ in range(n)]


def test_any_place_in_any_order(small, write):
    content = Inflated()
    with write(gzip.compress(DATA)) as file:
        for start, size in [(0, len(DATA)), *places()]:
            assert content.read_at(file, start, size) == DATA[start : start + size]
    assert content.damage == ""


def test_it_is_inflated_once_forwards(small, write, monkeypatch):
    inflated = []
    real = Inflated._keep
    monkeypatch.setattr(
        Inflated, "_keep", lambda self, piece: inflated.append(len(piece)) or real(self, piece)
    )
    content = Inflated()
    with write(gzip.compress(DATA)) as file:
        for start in range(0, len(DATA) - 2000, 1000):
            content.read_at(file, start + 1000, 900)  # as threads do: the next one first
            content.read_at(file, start, 900)
        assert sum(inflated) <= len(DATA)
        content.read_at(file, 70_000, 10)  # back: from a point before, not from the beginning
        assert sum(inflated) <= len(DATA) + 30_000


def test_threads_share_it(small, write):
    content = Inflated()
    with write(gzip.compress(DATA)) as file, ThreadPoolExecutor(8) as pool:
        told = places(200)
        found = list(pool.map(lambda one: content.read_at(file, *one), told))
    assert found == [DATA[start : start + size] for start, size in told]


def test_several_gzip_members_are_one(small, write):
    parts = [gzip.compress(DATA[k : k + 25_000]) for k in range(0, len(DATA), 25_000)]
    content = Inflated()
    with write(*parts, bytes(3000)) as file:
        assert content.read_at(file, 0, len(DATA) + 9) == DATA
        assert content.read_at(file, 24_000, 9000) == DATA[24_000:33_000]
    assert content.damage == ""


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damage_is_an_end_with_its_place(small, write, damage):
    data = bytearray(gzip.compress(DATA))
    if damage == "cut":
        del data[50_000:]
    else:
        data[50_000:50_100] = b"\xff" * 100
    content = Inflated()
    with write(data) as file:
        found = content.read_at(file, 0, len(DATA) + 1)
        # Of what comes from the bytes before nothing is lost, though zlib gives it up.
        assert DATA.startswith(found[:79_000])
        assert len(found) > 79_000
        assert (
            "ends at byte 50,000" if damage == "cut" else "is damaged at byte"
        ) in content.damage
        assert content.read_at(file, 100, 50) == DATA[100:150]


def test_a_bomb_ends(small, write, monkeypatch):
    monkeypatch.setattr(inflating, "BOMB_BYTES", 10**5)
    content = Inflated()
    with write(zlib.compress(bytes(10**7), wbits=31)) as file:
        assert 10**5 < len(content.read_at(file, 0, 10**7)) < 10**6
    assert "as a bomb is" in content.damage
