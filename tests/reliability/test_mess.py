"""Every file of a folder as people have them is accounted for: benchmarks/mess.py, small."""

from pathlib import Path

import pytest
from shared import CountingEngine, load_script

from featx.data.hashing import hash_images
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
from featx.sources.reading import read_inventory

MAKER = Path(__file__).parents[2] / "benchmarks" / "mess.py"
pytestmark = pytest.mark.skipif(not MAKER.exists(), reason="away from the checkout")


@pytest.fixture(scope="module")
def mess():
    return load_script(MAKER)


def test_every_file_is_accounted_for(mess, provenance, tmp_path):
    assert len(mess.KINDS) >= 25
    root, output = tmp_path / "mess", tmp_path / "F.h5"
    truth = mess.make_mess(root, 8 * len(mess.KINDS))
    inventory = hash_images(read_inventory(root, "0.7,0.1,0.2"), "skip")
    request = Request(data=inventory, output=output, cache_dir=tmp_path, num_workers=2)
    done = extract_inventory(inventory, CountingEngine(), provenance, request)
    values = {
        **done.to_dict(),
        "left_out": [one.to_dict() for one in inventory.left_out.list()],
    }
    rows = read_features(output).paths.tolist()
    assert mess.find_wrong(truth, rows, values) == []
    # What finds nothing wrong finds what is.
    assert mess.find_wrong(truth, rows[1:], values)
    assert mess.find_wrong(truth, rows, {**values, "left_out": values["left_out"][1:]})
    assert mess.find_wrong(truth, rows, {**values, "skipped_files": []})
    (root / "cat" / "more.mp4").touch()
    again = read_inventory(root).left_out.list()
    changed = {**values, "left_out": [one.to_dict() for one in again]}
    assert "videos (.mp4), not so" in "".join(mess.find_wrong(truth, rows, changed))
