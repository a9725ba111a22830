"""What an extraction says of itself: rows, seconds, and what bounds it."""

import json

from made_features import make_features, write
from shared import PROVENANCE

from featx.extraction.result import describe_stages, measure_stages, summarise, summarise_found
from featx.features.file import open_features
from featx.timing import Stages


def make_stages(clock, **seconds):
    stages = Stages()
    for name, one in seconds.items():
        with stages.time(name):
            clock(one)
    return stages


def test_rows_are_extracted_or_reused(tmp_path, clock):
    write(make_features(PROVENANCE), tmp_path)
    file = open_features(tmp_path / "F.h5")
    stages = make_stages(clock, find=1.0, network=2.0)
    done = summarise(
        file, extracted=10, removed=3, seconds=4.0, speed=5.0, stages=stages, device="cpu"
    )
    assert (done.images, done.extracted, done.reused, done.removed) == (36, 10, 26, 3)
    said = json.loads(json.dumps(done.to_dict()))
    assert said["features"] == str(tmp_path / "F.h5")
    assert said["stages"] == {"find": 1.0, "network": 2.0}
    assert said["skipped"] == len(said["skipped_files"]) == 0
    assert said["fingerprint"] == make_features(PROVENANCE).fingerprint


def test_a_file_that_has_it_all_is_said_to_be_found(tmp_path, clock):
    write(make_features(PROVENANCE), tmp_path)
    stages = make_stages(clock, find=0.5)
    done = summarise_found(open_features(tmp_path / "F.h5"), stages, "cuda")
    assert (done.extracted, done.reused, done.seconds) == (0, 36, 0.5)
    assert done.images_per_second is None
    assert done.device == "cuda"  # no cost lies beside it that would say better


def test_reading_and_waiting_are_the_images_seconds(clock):
    stages = make_stages(clock, find=1.0, wait=2.0, network=4.0, write=8.0)
    assert measure_stages(stages) == {"decode": 3.0, "network": 4.0}
    assert measure_stages(Stages()) == {"decode": 0.0, "network": 0.0}


def test_what_bounds_a_run_is_said(clock):
    network = make_stages(clock, wait=1.0, network=3.0)
    seconds, bound = describe_stages(network, "1 thread")
    assert seconds == "seconds: wait 1.00, network 3.00; decode 0.00 in 1 thread beside them"
    assert bound.startswith("the network bounds this run: it computed 75 % of the time")
    images = make_stages(clock, wait=3.0, network=1.0)
    seconds, bound = describe_stages(images, "4 processes")
    assert "in 4 processes" in seconds
    assert bound.startswith("reading and decoding bound this run: the network waited 75 %")
