"""Copies are found among look-alikes, and neighbours a block at a time."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from featx.auditing import copies
from featx.auditing.copies import find_copies, find_neighbours, group_pairs, limit_bits
from featx.auditing.pixels import LOOK, Looks, count_bits, describe_picture, look_at
from featx.storage.blocks import Blocks


def scene(seed):
    """A picture with large shapes, as photographs have and noise has not."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return small.resize((240, 180), Image.Resampling.BICUBIC)


def looks_of(images):
    return Looks(np.array([describe_picture(image) for image in images], dtype=LOOK))


def test_neighbours_are_those_of_the_whole_matrix_whatever_the_blocks(monkeypatch):
    X = np.random.default_rng(0).random((23, 6), dtype=np.float32)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    whole = unit @ unit.T
    np.fill_diagonal(whole, -np.inf)
    want = np.argsort(-whole, axis=1)[:, :4]
    monkeypatch.setattr(copies, "_HELD", 5)
    monkeypatch.setattr("featx.config.BLOCK_BYTES", 4 * 6 * 3)  # three rows
    for rows in (X, Blocks((X,), np.arange(23))):
        cosines, found = find_neighbours(rows, 4)
        np.testing.assert_array_equal(found, want)
        np.testing.assert_allclose(cosines, np.take_along_axis(whole, want, 1), atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_have_few_neighbours(n):
    cosines, rows = find_neighbours(np.ones((n, 3), np.float32), 20)
    assert cosines.shape == rows.shape == (n, max(0, n - 1))


def test_a_mirrored_or_small_or_reencoded_copy_has_nearly_the_same_hash(tmp_path):
    one = scene(1)
    one.save(tmp_path / "a.jpg", quality=30)
    changed = [
        ImageOps.mirror(one), one.resize((100, 75)), Image.open(tmp_path / "a.jpg"),
        ImageOps.mirror(one.resize((400, 300))), scene(2),
    ]  # fmt: skip
    table = looks_of([one, *changed]).table
    bits, mirrored = count_bits(np.repeat(table[:1], 5), table[1:])
    assert (bits[:4] < 40).all()
    assert mirrored[:4].tolist() == [True, False, False, True]
    assert bits[4] > copies.MOST_BITS


def test_look_alikes_are_not_accused_and_without_pictures_nothing_is_confirmed():
    first = scene(1)
    looks = looks_of([first, first.resize((120, 90)), scene(2), first])
    X = np.array([[1, 0], [1, 0.05], [1, 0.05], [1, 0]], np.float32)
    hashes = np.array(["a", "b", "c", "a"])
    found = find_copies(Blocks((X,), np.arange(4)), hashes, looks)
    assert [(one.a, one.b, one.exact) for one in found.pairs] == [(0, 3, True), (0, 1, False)]
    assert found.groups[0] == found.groups[1] == found.groups[3] != found.groups[2]
    blind = find_copies(Blocks((X,), np.arange(4)), hashes, None)
    assert [(one.a, one.b) for one in blind.pairs] == [(0, 3)]
    assert {(one.a, one.b) for one in blind.unconfirmed} == {(0, 1), (0, 2), (1, 2)}


def test_pairs_in_a_chain_are_one_group():
    chain = (copies.Copy(0, 2, False, 0.9), copies.Copy(2, 4, False, 0.9))
    groups = group_pairs(5, chain)
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups.tolist())) == 3


def test_size_and_sharpness_are_the_pictures_own_and_a_changed_file_is_not_looked_at(tmp_path):
    stripes = np.zeros((40, 60), np.uint8)
    stripes[:, ::2] = 100
    Image.fromarray(stripes).save(tmp_path / "sharp.png")
    Image.new("L", (8, 8), 50).save(tmp_path / "flat.png")
    from featx.storage.files import hash_file

    digests = [hash_file(tmp_path / "sharp.png"), hash_file(tmp_path / "flat.png"), "0" * 64]
    looks = look_at(tmp_path, ["sharp.png", "flat.png", "flat.png"], digests, 0)
    assert looks.table["width"].tolist() == [60, 8, 0]
    assert looks.table["height"].tolist() == [40, 8, 0]
    # Laplacian of stripes: -200 and 200 by turns; at the mirrored edges -100 and 100.
    assert looks.table["sharpness"][0] == pytest.approx(200**2, rel=0.05)
    assert looks.table["sharpness"][1] == 0
    assert [row for row, _ in looks.failures] == [2]


def test_pictures_that_all_look_alike_need_nearly_equal_hashes():
    scenes = looks_of([scene(i) for i in range(30)]).table
    assert 50 < limit_bits(scenes) <= copies.MOST_BITS
    alike = looks_of([Image.blend(scene(0), scene(i), 0.3 * (i % 3)) for i in range(30)]).table
    assert limit_bits(alike) == copies.LEAST_BITS
    assert limit_bits(scenes[:1]) == copies.MOST_BITS
