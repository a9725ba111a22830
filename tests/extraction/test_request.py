"""A request, and what of it is there already."""

from pathlib import Path

import pytest
from shared import CountingEngine, draw_photo

from featx.data.hashing import hash_images
from featx.errors import ImageError
from featx.extraction.extract import extract, extract_inventory
from featx.extraction.request import Request, look_up
from featx.features.checkpoints import Checkpoints
from featx.features.file import parts_folder, read_features
from featx.sources.reading import read_dataset, read_inventory


def test_whatever_is_given_is_the_same_images(photos):
    given = [photos, str(photos), read_dataset(photos), read_inventory(photos)]
    names = [list(Request(data=one).read_images().iterate_names()) for one in given]
    assert names[0]
    assert all(one == names[0] for one in names)


def test_an_output_that_was_named_is_guarded():
    assert not Request(data="x").guarded
    assert Request(data="x", output="F.h5").guarded
    assert not Request(data="x", output="F.h5", overwrite=True).guarded
    assert Request(data="x", num_workers=0).count_workers() == 0
    assert Request(data="x").count_workers() >= 1


def test_what_is_finished_is_found_without_a_network(photos, stored, tmp_path, monkeypatch):
    path = extract(photos, output=tmp_path / "F.h5").features
    monkeypatch.setattr("featx.extraction.extract.build_runner", None)
    found = look_up(Request(data=photos, output=path)).found
    assert (found.features, found.extracted, found.reused) == (path, 0, 27)
    # Somewhere else it is not; a cached file of it would be found under no name.
    assert look_up(Request(data=photos, output=tmp_path / "G.h5")).found is None
    draw_photo(photos / "cat" / "new.png", 0, 60)
    assert look_up(Request(data=photos, output=path)).found is None


def test_the_network_starts_meanwhile_where_it_is_sure_to_run(
    photos, stored, tmp_path, monkeypatch
):
    started = []
    monkeypatch.setattr("featx.extraction.request.start_network", started.append)
    path = extract(photos, output=tmp_path / "F.h5", device="cpu").features
    assert started == ["cpu"]
    look_up(Request(data=photos, output=path))
    assert started == ["cpu"]


def test_a_network_that_cannot_start_says_why_at_once(photos, tmp_path, monkeypatch):
    def start(device):
        raise MemoryError("libtorch: failed to map segment")

    monkeypatch.setattr("featx.extraction.request.start_network", start)
    with pytest.raises(MemoryError, match="failed to map segment"):
        look_up(Request(data=photos, output=tmp_path / "F.h5"))


def test_who_wants_no_skipped_image_hears_of_those_that_were(photos, stored, tmp_path):
    (photos / "cat" / "bad.jpg").write_bytes(b"")
    path = extract(photos, output=tmp_path / "F.h5").features
    assert look_up(Request(data=photos, output=path)).found.images == 27
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        look_up(Request(data=photos, output=path, on_error="fail"))


def keep_parts(path, part, cost):
    found = Checkpoints(path)
    found.resume()
    found.keep(part, cost)


def test_parts_that_are_all_in_the_file_go(photos, stored, tmp_path):
    path = extract(photos, output=tmp_path / "F.h5").features
    cost = {"seconds": 1.0, "images": 27, "device": "cpu", "machine": "here"}
    keep_parts(path, read_features(path), cost)
    assert parts_folder(path).is_dir()
    look_up(Request(data=photos, output=path))
    assert not parts_folder(path).exists()


def test_parts_of_images_that_are_away_stay(photos, provenance, stored, tmp_path):
    path = extract(photos, output=tmp_path / "F.h5").features
    elsewhere = tmp_path / "elsewhere"
    for k in range(2):
        draw_photo(elsewhere / "ab"[k] / "x.png", k, 99)
    inventory = hash_images(read_inventory(elsewhere), "skip")
    done = extract_inventory(
        inventory, CountingEngine(), provenance,
        Request(data=elsewhere, output=tmp_path / "away.h5", cache_dir=Path("c")),
    )  # fmt: skip
    cost = {"seconds": 1.0, "images": 2, "device": "cpu", "machine": "here"}
    keep_parts(path, read_features(done.features), cost)
    look_up(Request(data=photos, output=path))
    assert (parts_folder(path) / "000000.h5").exists()
