"""What an extraction kept and finds damaged, gone, of other data or of another making."""

from dataclasses import replace
from unittest import mock

import interrupted
import numpy as np
import pytest
from interrupted import IMAGES, SHARD, Interrupted, SlowEngine, extract_once, finish
from shared import draw_photo

import featx.extraction.parts
from featx.data import images
from featx.data.hashing import hash_images
from featx.errors import ImageError, OutputExistsError
from featx.extraction import request
from featx.features.file import open_features, read_features
from featx.sources.reading import read_inventory


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "swapped"])
def test_a_damaged_shard_is_computed_again(root, clean, tmp_path, caplog, damage):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    shards = sorted((tmp_path / "work" / "F.h5.parts").glob("*.h5"))
    assert len(shards) == 2
    data = bytearray(shards[0].read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        shards[0].write_bytes(data)
    elif damage == "cut":
        shards[0].write_bytes(data[:-1])
    elif damage == "gone":
        shards[0].unlink()
    else:  # each is whole, but not what its line says
        shards[0].write_bytes(shards[1].read_bytes())
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - SHARD
    assert any(m.startswith("computed again: ") and str(shards[0]) in m for m in caplog.messages)


def test_a_torn_journal_line_is_left_out(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    journal = tmp_path / "work" / "F.h5.parts" / "journal"
    journal.write_bytes(journal.read_bytes()[:-20] + b'\n["x"]\n7\n{"shard": 3}\n')
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - SHARD


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"images"', b'"imageq"'),
        (b'"images": 4', b'"images": 0'),
        (b'"cost": {', b'"cost": 5, "x": {'),
        (b'{"shard"', b"[" * 100_000),
        (b"000000", b"../../"),
    ],
)
def test_any_journal_is_survived(root, clean, tmp_path, before, after):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    journal = tmp_path / "work" / "F.h5.parts" / "journal"
    journal.write_bytes(journal.read_bytes().replace(before, after))
    finish(root, path, clean)


def test_shards_of_images_that_are_away_are_kept(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    away = {root / "cat" / "3.png", root / "dog" / "3.png", root / "owl" / "3.png"}
    for image in away:
        image.rename(tmp_path / image.parent.name)
    extract_once(root, path)
    for image in away:
        (tmp_path / image.parent.name).rename(image)
    with (
        pytest.raises(KeyboardInterrupt),
        mock.patch.object(featx.extraction.parts._Waiting, "flush", flush_and_stop),
    ):
        extract_once(root, path)
    for image in away:
        image.rename(tmp_path / image.parent.name)
    # What a run does that finds all it needs in the file.
    inventory = hash_images(read_inventory(root, interrupted.SPLIT), "skip")
    request.clear_finished(open_features(path), inventory)
    assert list((tmp_path / "work" / "F.h5.parts").glob("0*.h5"))
    for image in away:
        (tmp_path / image.parent.name).rename(image)
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == 0


def flush_and_stop(waiting, keep, done):
    real_flush(waiting, keep, done)
    raise KeyboardInterrupt


real_flush = featx.extraction.parts._Waiting.flush


def test_another_split_goes_on_with_the_same_shards(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt), mock.patch.object(interrupted, "SPLIT", "first:3,1"):
        extract_once(root, path, Interrupted(8))
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - 8


def test_another_datasets_shards_are_not_taken(root, clean, tmp_path):
    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    other = tmp_path / "others"
    for kind, name in enumerate("ab"):
        for i in range(6):
            draw_photo(other / name / f"{i}.png", kind, 50 + i, size=(40, 40))
    with pytest.raises(OutputExistsError, match=r"F.h5.parts exists .*data: photos → others"):
        extract_once(other, path)
    engine = SlowEngine()
    finish(root, path, clean, engine)
    assert engine.images == IMAGES - 2 - 8


def test_shards_of_another_making_are_not_mixed_in(root, clean, tmp_path, monkeypatch):

    path = tmp_path / "work" / "F.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_once(root, path, Interrupted(8))
    other = replace(interrupted.PROVENANCE, precision="bf16")
    with monkeypatch.context() as patch:
        patch.setattr(interrupted, "PROVENANCE", other)
        with pytest.raises(OutputExistsError, match=r"F.h5.parts exists .*precision: fp32 → bf16"):
            extract_once(root, path)
        engine = SlowEngine()
        assert extract_once(root, path, engine, overwrite=True).precision == "bf16"
        assert engine.images == IMAGES - 2
    finish_overwritten = extract_once(root, path, overwrite=True)
    assert finish_overwritten.features.read_bytes() == clean


def test_a_twin_is_not_skipped_for_anothers_fault(root, clean, tmp_path):
    # cat/0.png and cat/5.png are the same bytes; the one that is tried cannot be read.
    real = images.open_rgb

    def fail_first(path, digest=None):
        if path == root / "cat" / "0.png":
            raise ImageError(str(path), "input/output error", "unreadable")
        return real(path, digest)

    path = tmp_path / "work" / "F.h5"
    with mock.patch.object(images, "open_rgb", fail_first):
        finish(root, path, clean)


def test_an_image_that_changes_during_the_run_is_not_stored_under_its_old_name(root, tmp_path):
    path = root / "cat" / "4.png"
    before = path.read_bytes()

    class Meddling(SlowEngine):
        def run(self, pixels):
            if not self.images:
                draw_photo(path, 2, 777, size=(40, 40))
            return super().run(pixels)

    done = extract_once(root, tmp_path / "F.h5", Meddling())
    (one, _) = done.skipped_files
    assert (one.path, one.kind, one.reason) == (
        "cat/4.png", "unreadable", "changed while it was being read",
    )  # fmt: skip
    path.write_bytes(before)
    done = extract_once(root, tmp_path / "F.h5")
    assert (done.extracted, len(done.skipped_files)) == (1, 1)
    X = read_features(done.features).X
    clean = read_features(extract_once(root, tmp_path / "other" / "F.h5").features).X
    assert np.array_equal(X, clean)
