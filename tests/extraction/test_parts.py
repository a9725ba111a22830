"""The network a part at a time: what makes a part, what it holds, what is never kept."""

from dataclasses import replace

import numpy as np
import pytest
from shared import PROVENANCE, CountingEngine

from featx.config import Preprocessing
from featx.data.feeding import Feed
from featx.data.hashing import hash_images
from featx.data.images import load_image
from featx.errors import ExtractionError, ImageError
from featx.extraction import parts
from featx.extraction.parts import Part, estimate_parts, part_features, run_parts
from featx.features.ledger import Ledger
from featx.sources.reading import read_inventory
from featx.timing import Stages


@pytest.fixture
def run_all(photos):
    """`run_all(...)`: all photographs by the engine that counts; the parts, and what was done."""

    def run(engine=None, load=None, refuse=lambda error: None):
        inventory = hash_images(read_inventory(photos), "skip")
        framing = Preprocessing.from_dict(PROVENANCE.preprocessing)
        ledger, kept = Ledger(inventory), []
        feed = Feed(load or (lambda path, _: load_image(path, framing)), Stages(), 1)
        done = run_parts(
            ledger, engine or CountingEngine(), feed, kept.append, refuse=refuse, progress=False
        )
        return kept, done, inventory

    return run


def test_a_part_ends_before_it_is_larger_than_may_be_lost(run_all, monkeypatch):
    monkeypatch.setattr(parts, "PART_IMAGES", 10)  # batches are of four
    kept, done, _ = run_all()
    assert [len(part.images) for part in kept] == [8, 8, 8, 3]
    assert (done.computed, done.failed) == (27, 0)
    assert all(part.X.shape == (len(part.images), 12) for part in kept)


def test_a_part_ends_with_the_batch_that_takes_its_time(run_all, monkeypatch, clock):
    monkeypatch.setattr(parts, "PART_SECONDS", 3.0)
    engine = CountingEngine()
    real = engine.run

    def run(pixels):
        clock(2.0)
        return real(pixels)

    engine.run = run
    kept, done, _ = run_all(engine)
    assert [len(part.images) for part in kept] == [8, 8, 8, 3]
    assert [part.seconds for part in kept] == [4.0, 4.0, 4.0, 2.0]
    assert done.seconds == 14.0


def test_what_fails_belongs_to_its_part(run_all, monkeypatch):
    monkeypatch.setattr(parts, "PART_IMAGES", 10)

    def load(path, digest):
        if "/".join(path.parts[-2:]) in ("cat/02.jpg", "owl/08.jpg"):
            raise ImageError(str(path), "cut short", "damaged")
        return np.zeros((8, 8, 3), np.uint8)

    kept, done, inventory = run_all(load=load)
    assert (done.computed, done.failed) == (25, 2)
    failed = [image.path for part in kept for image, _ in part.failures]
    assert failed == ["cat/02.jpg", "owl/08.jpg"]
    features = part_features(kept[0], inventory, PROVENANCE)
    (one,) = features.skipped
    assert (one.path, one.kind, len(one.digest)) == ("cat/02.jpg", "damaged", 64)


def test_whoever_asks_may_refuse_what_fails(run_all):
    def load(path, digest):
        raise ImageError(str(path), "cut short", "damaged")

    def refuse(error):
        raise error

    with pytest.raises(ImageError, match=r"00\.jpg: cut short"):
        run_all(load=load, refuse=refuse)


def test_an_engine_that_can_is_given_the_next_batch_meanwhile(run_all):
    class Ahead(CountingEngine):
        under_way = most = 0

        def submit(self, pixels):
            found = self.run(pixels)
            self.under_way += 1
            self.most = max(self.most, self.under_way)

            def wait():
                self.under_way -= 1
                return found

            return wait

    engine, plain = Ahead(), CountingEngine()
    ((part,), _, _), ((expected,), _, _) = run_all(engine), run_all(plain)
    assert [image.path for image in part.images] == [image.path for image in expected.images]
    assert np.array_equal(part.X, expected.X)
    assert (engine.most, engine.under_way) == (2, 0)


def test_numbers_that_are_not_finite_are_never_kept(run_all):
    with pytest.raises(ExtractionError, match=r"NaN or infinite features for cat/00\.jpg"):
        run_all(CountingEngine(broken=True))


def test_ctrl_c_keeps_what_is_computed(run_all, caplog):
    engine = CountingEngine()
    real = engine.run

    def run(pixels):
        if engine.images >= 12:
            raise KeyboardInterrupt
        return real(pixels)

    engine.run = run
    with pytest.raises(KeyboardInterrupt):
        run_all(engine)
    assert "12 of 27 images are kept" in caplog.text


def test_a_number_too_large_for_its_storage_is_said(run_all):
    kept, _, inventory = run_all()
    half = replace(PROVENANCE, storage="float16")
    large = replace(kept[0], X=np.full_like(kept[0].X, 7e4))
    assert part_features(kept[0], inventory, half).X.dtype == np.float32
    with pytest.raises(ExtractionError, match=r"a feature is 70000 and float16 ends at 65504"):
        part_features(large, inventory, half)


def test_room_for_parts_is_about_what_they_take(tmp_path):
    one = estimate_parts(512, 2048)
    assert 512 * 2048 * 4 < one < 1.2 * 512 * 2048 * 4
    assert estimate_parts(5120, 2048) == pytest.approx(10 * one, rel=0.05)


def test_an_empty_part_is_features_of_nothing(run_all):
    _, _, inventory = run_all()
    nothing = part_features(
        Part([], np.empty((0, 12), np.float32), [], 0.0, "cpu"), inventory, PROVENANCE
    )
    assert len(nothing.targets) == 0
    assert nothing.classes == inventory.classes
