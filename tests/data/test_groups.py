"""Groups: who belongs together, how that is found, and that it goes wherever the images go."""

from dataclasses import replace

import numpy as np
import pytest
from shared import PROVENANCE

from featx.data.groups import join_copies
from featx.data.hashing import hash_images
from featx.data.inventory import take_inventory
from featx.data.sources import read_dataset
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features


@pytest.mark.parametrize(
    ("groups", "hashes", "joined"),
    [
        ("", "", []),
        ("abca", "1234", [0, 1, 2, 0]),
        ("abc", "112", [0, 0, 1]),
        # By way of others: a and c share 1, c and b share 2; d is alone.
        ("acbcd", "11224", [0, 0, 0, 0, 1]),
        ("dcba", "1122", [1, 1, 0, 0]),
    ],
)
def test_groups_that_share_a_file_are_one(groups, hashes, joined):
    found = join_copies(np.array(list(groups), "U1"), np.array(list(hashes), "U1"))
    assert found.tolist() == joined
    assert found.dtype == np.int64


def test_a_file_is_given_other_groups_and_nothing_is_computed(photos, counting, tmp_path):
    plain = read_dataset(photos, "0.5,0.2,0.3")
    pairs = np.array([f"{path[:-6]}{int(path[-6:-4]) // 2}" for path in plain.paths])
    out = tmp_path / "F.h5"

    def run(groups):
        inventory = hash_images(take_inventory(replace(plain, groups=groups)), "skip")
        request = Request(data=inventory, output=out)
        done = extract_inventory(inventory, counting, PROVENANCE, request)
        return done.extracted, read_features(out)

    none, without = run(None)
    for groups in (pairs, pairs, np.char.add(pairs, "!"), None):
        computed, found = run(groups)
        assert computed == 0
        assert (found.groups is None) if groups is None else (found.groups == groups).all()
        assert found.fingerprint == without.fingerprint
    assert (none, counting.images) == (27, 27)
    # Of a file that has everything nothing is written.
    run(pairs)
    written = out.stat().st_mtime_ns
    run(pairs)
    assert out.stat().st_mtime_ns == written
