import json
import logging
import os
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from shared import TINY, CountingEngine, draw_photo

from featx.data import images
from featx.data.hashing import hash_images
from featx.decoding.decoders import describe_decoder
from featx.errors import DatasetError, ExtractionError, ImageError, OutputExistsError
from featx.extraction.extract import extract, extract_inventory
from featx.extraction.request import Request
from featx.features.cache import cache_path
from featx.features.costs import read_full_cost
from featx.features.file import cost_path, read_features
from featx.features.provenance import Provenance
from featx.network.engine import TorchEngine
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import Weights, hash_state, save_weights
from featx.sources.reading import read_dataset, read_inventory


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def work(photos, cache, counting, provenance):
    """Extract the photographs as they now are with the counting engine."""

    def run(split="first:4,2", engine=counting, provenance=provenance, root=photos, **options):
        inventory = hash_images(read_inventory(root, split), options.get("on_error", "skip"))
        defaults = {"output": None, "cache_dir": cache, "num_workers": 2}
        request = Request(data=root, **(defaults | options))
        return extract_inventory(inventory, engine, provenance, request)

    return run


def test_features_are_in_the_datasets_order(work, photos, counting):
    done = work()
    found = read_features(done.features)
    dataset = read_dataset(photos, "first:4,2")
    assert tuple(found.paths) == dataset.paths
    assert np.array_equal(found.targets, dataset.targets)
    assert np.array_equal(found.splits, dataset.splits)
    for i in (0, 10, 26):
        alone = counting.run(
            images.load_image(photos / dataset.paths[i], TINY, decode="pillow")[None]
        )[0]
        assert np.array_equal(found.X[i], alone)


def test_a_second_run_computes_nothing(work, counting):
    first = work()
    assert (first.images, first.extracted, first.reused, counting.images) == (27, 27, 0, 27)
    before = first.features.read_bytes()
    second = work()
    assert (second.images, second.extracted, second.reused, counting.images) == (27, 0, 27, 27)
    assert second.features == first.features
    assert second.features.read_bytes() == before


def test_only_what_changed_is_computed(work, photos, counting):
    work()
    for i in range(3):
        draw_photo(photos / "cat" / f"new{i}.png", 0, 100 + i)
    draw_photo(photos / "dog" / "01.png", 1, 200)  # other bytes under an old name
    (photos / "owl" / "00.jpg").rename(photos / "owl" / "renamed.jpg")
    (photos / "owl" / "01.png").unlink()
    done = work()
    assert (done.images, done.extracted, done.reused, done.removed) == (29, 4, 25, 1)
    assert counting.images == 27 + 4
    fresh = work(engine=CountingEngine(), cache_dir=photos.parent / "other")
    assert done.features.read_bytes() == fresh.features.read_bytes()


def test_identical_files_cost_one_pass(work, photos, counting):
    shutil.copy(photos / "cat" / "00.jpg", photos / "cat" / "copy.jpg")
    done = work()
    assert (done.images, done.extracted, counting.images) == (28, 28, 27)
    (photos / "cat" / "copy.jpg").unlink()
    done = work()
    assert (done.images, done.removed, counting.images) == (27, 1, 27)


def test_other_splits_reuse_the_rows(work, counting):
    first, second = work(), work("0.6,0.2,0.2@1")
    assert first.features != second.features
    assert (second.extracted, counting.images) == (0, 27)


PREPROCESSING = {
    "resize": 80,
    "crop": 56,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "interpolation": "bicubic",
}
PARTS = {"preprocessing", "storage"}  # that are not just any text
CHANGES = [
    *(
        (f.name, "changed")
        for f in fields(Provenance)
        # Layers are a closed set: test_layers_kept.py.
        if f.name not in ("preprocessing", "storage", "layers")
    ),
    ("storage", "float16"),
    *(("preprocessing", {**TINY.to_dict(), key: value}) for key, value in PREPROCESSING.items()),
]


def test_each_part_of_the_preprocessing_is_changed():
    assert PREPROCESSING.keys() == TINY.to_dict().keys()


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_every_field_of_the_provenance_makes_another_file(work, provenance, field, value, tmp_path):
    first = work()
    work(output=tmp_path / "F.h5")
    changed = replace(provenance, **{field: value})
    engine = CountingEngine()
    done = work(provenance=changed, engine=engine)
    assert (done.extracted, engine.images) == (27, 27)
    assert done.features != first.features
    with pytest.raises(OutputExistsError, match=rf"holds something else \({field}: "):
        work(output=tmp_path / "F.h5", provenance=changed)


def test_another_schema_makes_another_file(work, monkeypatch, tmp_path):
    first = work()
    work(output=tmp_path / "F.h5")
    for module in ("file", "provenance"):
        monkeypatch.setattr(f"featx.features.{module}.SCHEMA", 99)
    engine = CountingEngine()
    done = work(engine=engine)
    assert (done.extracted, engine.images) == (27, 27)
    assert done.features != first.features
    with pytest.raises(OutputExistsError, match="schema 2, and this featx reads schema 99"):
        work(output=tmp_path / "F.h5")


def test_a_named_output_is_not_replaced_by_something_else(work, tmp_path, provenance, photos):
    out = tmp_path / "F.h5"
    work(output=out)
    assert work(output=out).extracted == 0
    before = out.read_bytes()
    with pytest.raises(
        OutputExistsError, match=r"holds something else \(weights: tiny → big\); name another"
    ):
        work(output=out, provenance=replace(provenance, weights="big"))
    with pytest.raises(OutputExistsError, match=r"split: first:4,2 → first:5,2"):
        work("first:5,2", output=out)
    other = tmp_path / "others"
    for name in "ab":
        for i in range(8):
            draw_photo(other / name / f"{i}.png", 7, i)
    with pytest.raises(
        OutputExistsError, match=r"data: photos → others; images: only 0 of its 27 are in"
    ):
        work(root=other, output=out)
    assert out.read_bytes() == before
    assert (
        work(output=out, provenance=replace(provenance, weights="big"), overwrite=True).images == 27
    )
    (tmp_path / "thesis.h5").write_text("not ours")
    with pytest.raises(OutputExistsError, match="not a feature file"):
        work(output=tmp_path / "thesis.h5")
    assert (tmp_path / "thesis.h5").read_text() == "not ours"


def test_an_unreadable_image_is_skipped_named_and_counted(work, photos, counting):
    (photos / "cat" / "08.jpg").write_bytes(b"")
    (photos / "dog" / "08.jpg").write_text("text")
    (photos / "owl" / "link.jpg").symlink_to("nowhere.jpg")
    done = work()
    assert (done.images, done.extracted, len(done.skipped_files)) == (25, 25, 3)
    assert [(one.path, one.kind, one.reason) for one in done.skipped_files] == [
        ("cat/08.jpg", "empty", "empty file"),
        ("dog/08.jpg", "not-an-image", "not an image"),
        ("owl/link.jpg", "unreadable", "no such file or directory"),
    ]
    assert work().skipped_files == done.skipped_files
    assert counting.images == 25
    assert done.to_dict()["skipped"] == 3
    draw_photo(photos / "dog" / "08.png", 1, 8)
    (photos / "dog" / "08.jpg").unlink()
    assert len(work().skipped_files) == 2


def test_on_error_fail_stops_and_stores_nothing(work, photos, cache):
    (photos / "cat" / "08.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"cat/08.jpg: empty file"):
        work(on_error="fail")
    assert not list(cache.glob("*.h5"))
    work()
    with pytest.raises(ImageError, match=r"cat/08.jpg: empty file"):
        work(on_error="fail")


def test_nothing_decodable_is_an_error(work, photos, cache):
    for path in photos.glob("*/*"):
        path.write_text(f"no image {path}")
    with pytest.raises(
        ExtractionError, match=r"^none of 27 images could be decoded \(cat/00.jpg: not an image"
    ):
        work()
    assert not list(cache.glob("*.h5"))


def test_numbers_that_are_not_finite_are_never_stored(work, cache):
    with pytest.raises(ExtractionError, match=r"NaN or infinite features for cat/00.jpg"):
        work(engine=CountingEngine(broken=True))
    assert not list(cache.glob("*.h5"))


def test_a_killed_run_leaves_no_file(work, cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.storage.hdf5.write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert [p.name for p in cache.iterdir()] == [".gitignore"]


def test_a_damaged_file_is_made_again(work, counting, caplog):
    done = work()
    whole = done.features.read_bytes()
    done.features.write_bytes(whole[: len(whole) // 2])
    assert work().extracted == 27
    assert any(m.startswith(f"not reused: {done.features}") for m in caplog.messages)
    assert done.features.read_bytes() == whole


def test_the_cache_keeps_itself_out_of_git_and_knows_its_cost(work, cache):
    done = work()
    assert "*" in (cache / ".gitignore").read_text().split()
    cost = json.loads((cache / f"{done.features.name}.cost.json").read_text())
    assert cost["images"] == 27
    assert read_full_cost(read_features(done.features))["seconds"] == cost["seconds"]
    work()
    assert json.loads((cache / f"{done.features.name}.cost.json").read_text()) == cost


def test_names_of_files_are_plain(work, photos, provenance, tmp_path):
    strange = tmp_path / "my photos; rm -rf ~"
    photos.rename(strange)
    path = cache_path(read_dataset(strange), provenance, tmp_path)
    assert path.name.startswith("my_photos__rm_-rf__-")


def test_names_that_are_not_utf8_are_skipped(work, photos):
    bad = photos / "cat" / "caf\udce9.jpg"
    try:
        shutil.copy(photos / "cat" / "00.jpg", bad)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    done = work()
    (one,) = done.skipped_files
    assert (one.path, one.kind) == ("cat/caf\\udce9.jpg", "bad-name")
    assert done.images == 27


def test_extract_end_to_end(stored, photos, cache, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    done = extract(photos, split="first:4,2", cache_dir=cache, batch_size=16)
    assert (done.images, done.extracted, done.weights) == (27, 27, "imagenet1k-v1")
    found = read_features(done.features)
    assert found.X.shape == (27, 2048)
    assert found.provenance.preprocessing == TINY.to_dict()

    def never(*_, **__):
        raise AssertionError("the network was built")

    monkeypatch.setattr("featx.network.engine_choice.make_engine", never)
    again = extract(photos, split="first:4,2", cache_dir=cache)
    assert (again.extracted, again.reused, again.features) == (0, 27, done.features)
    assert again.fingerprint == done.fingerprint
    assert f"weights: imagenet1k-v1, since {done.features} has them" in caplog.messages


def test_extract_local_weights_and_bad_data(tiny_file, photos, tmp_path):
    shutil.copy(tiny_file, tmp_path / "mine.safetensors")
    done = extract(
        photos / "cat", weights=str(tmp_path / "mine.safetensors"), output=tmp_path / "F.h5"
    )
    assert (done.images, set(read_features(done.features).targets)) == (9, {-1})
    again = extract(
        photos / "cat", weights=str(tmp_path / "mine.safetensors"), output=tmp_path / "F.h5"
    )
    assert again.extracted == 0
    with pytest.raises(DatasetError):
        extract(tmp_path / "nowhere")


def test_a_cost_is_of_no_more_images_than_it_is_known_of(work, photos, cache):
    first = work()
    path = cost_path(first.features)
    cost = {"seconds": 90.0, "images": 9, "device": "cpu", "machine": "big"}
    path.write_text(json.dumps({**cost, "fingerprint": first.fingerprint}))
    # Of the other 18 nothing is known: they are taken to have cost as much each.
    assert read_full_cost(read_features(first.features)) == {"seconds": 270.0}
    done = work("0.6,0.2,0.2@1")
    cost = json.loads(cost_path(done.features).read_text())
    assert (cost["images"], cost["seconds"]) == (9, 90.0)


def test_costs_go_with_the_rows_that_were_reused(work, photos, cache, tmp_path):
    first = work()
    path = cost_path(first.features)
    cost = {"seconds": 270.0, "images": 27, "device": "cpu", "machine": "big"}
    path.write_text(json.dumps({**cost, "fingerprint": first.fingerprint}))
    other = tmp_path / "others"
    for name in ("a", "b"):
        for i in range(7):
            draw_photo(other / name / f"{i}.png", 9, 10 * i + (name == "b"))
    # Nothing of the first folder is in this one: nothing of its cost is, either.
    assert read_full_cost(read_features(work(root=other).features))["seconds"] < 90
    for i in range(3):
        shutil.copy(
            photos / "cat" / f"{i:02d}.{'png' if i % 2 else 'jpg'}", other / "a" / f"x{i}.png"
        )
    done = work("first:5,2", root=other)
    cost = json.loads(cost_path(done.features).read_text())
    assert cost["images"] == 17
    assert 30 <= cost["seconds"] < 90  # three rows of ten seconds each, not all 27
    assert cost["machine"] == "several"


def test_a_failure_of_the_machine_is_tried_again(work, photos, monkeypatch, tmp_path):
    def fail(path, *_):
        kind = "unreadable" if path.name == "00.jpg" else "damaged"
        raise ImageError(str(path), "input/output error", kind)

    monkeypatch.setattr("featx.data.feeding.load_image", fail)
    with pytest.raises(ExtractionError, match="none of 27 images could be decoded"):
        work(cache_dir=tmp_path / "other")
    real = images.load_image
    monkeypatch.setattr(
        "featx.data.feeding.load_image",
        lambda path, *rest: (fail if path.name in ("00.jpg", "01.png") else real)(path, *rest),
    )
    assert len(work().skipped_files) == 6
    monkeypatch.undo()
    # What the file itself was at fault for is remembered by its content, the rest is not.
    assert [one.path for one in work().skipped_files] == ["cat/01.png", "dog/01.png", "owl/01.png"]


def test_an_output_that_cannot_be_written_is_said_before_the_work(work, tmp_path, counting):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file"):
        work(output=tmp_path / "file" / "F.h5")
    assert counting.images == 0


def test_a_file_called_like_known_weights_is_not_them(
    stored, random_state, photos, cache, tmp_path
):
    other = {**random_state, "conv1.weight": random_state["conv1.weight"] * 2}
    torch.save(other, tmp_path / "imagenet1k-v1.pth")
    local = extract(photos, weights=str(tmp_path / "imagenet1k-v1.pth"), cache_dir=cache)
    assert local.weights == "file:imagenet1k-v1"
    known = extract(photos, weights="imagenet1k-v1", cache_dir=cache)
    assert (known.weights, known.extracted) == ("imagenet1k-v1", 27)
    # Nor are stored weights that have been replaced since.
    changed = Weights("imagenet1k-v1", TINY, False, "x", hash_state(other), other)
    (stored / "imagenet1k-v1.safetensors").unlink()
    save_weights(changed, stored / "imagenet1k-v1.safetensors")
    assert extract(photos, cache_dir=cache).extracted == 27


@pytest.mark.full_width
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_network_gives_the_same_bytes_after_any_history(
    stored, photos, tmp_path, monkeypatch, engine
):
    if engine == "openvino":
        pytest.importorskip("openvino")
    options = {"split": "first:4,2", "batch_size": 4, "num_workers": 2, "engine": engine}
    kind = {"torch": TorchEngine, "openvino": OpenVinoEngine}[engine]
    clean = extract(photos, output=tmp_path / "clean" / "F.h5", **options).features.read_bytes()
    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 4)
    path = tmp_path / "work" / "F.h5"
    moved = [photos / "cat" / "03.png", photos / "owl" / "08.jpg"]
    for i, image in enumerate(moved):
        image.rename(tmp_path / f"{i}.moved")
    real, batches = kind.run, []

    def interrupted(self, pixels):
        batches.append(len(pixels))
        if len(batches) in (3, 5):
            raise KeyboardInterrupt
        return real(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "run", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                extract(photos, output=path, **options)
        assert extract(photos, output=path, **options).images == 25
    for i, image in enumerate(moved):
        (tmp_path / f"{i}.moved").rename(image)
    done = extract(photos, output=path, **options)
    assert (done.images, done.extracted) == (27, 2)
    assert path.read_bytes() == clean


def test_odd_costs_are_no_costs(work, photos):
    done = work()
    path = cost_path(done.features)
    for odd in ("", "[" * 100_000, '{"seconds": 1, "images": 1e400}', '{"seconds": "1"}', "7"):
        path.write_text(odd)
        assert read_full_cost(read_features(done.features)) == {}
    whole = {"seconds": 5, "images": 27, "device": "cpu", "machine": "x", "fingerprint": "other"}
    path.write_text(json.dumps(whole))  # of another state of the file
    assert read_full_cost(read_features(done.features)) == {}


def test_names_of_folders_that_are_not_utf8(stored, photos, tmp_path):
    strange = tmp_path / "data\udcff"
    try:
        shutil.copytree(photos, strange)
        (strange / "dog").rename(strange / "caf\udce9")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    done = extract(strange, output=tmp_path / "F.h5")
    assert (done.images, len(done.skipped_files)) == (18, 9)
    assert {one.kind for one in done.skipped_files} == {"bad-name"}
    found = read_features(tmp_path / "F.h5")
    assert (found.dataset, found.classes) == ("data\\udcff", ("caf\\udce9", "cat", "owl"))


def test_where_an_output_may_be(stored, photos, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "."):
        with pytest.raises(OutputExistsError, match=r"no regular file|a link to itself"):
            extract(photos, output=tmp_path / name, overwrite=True)
    with pytest.raises(OutputExistsError, match="no regular file"):
        extract(photos, output="")
    (tmp_path / "link.h5").symlink_to("real.h5")
    extract(photos, output=tmp_path / "link.h5")
    draw_photo(photos / "cat" / "new.png", 0, 77)
    assert extract(photos, output=tmp_path / "link.h5").extracted == 1
    assert (tmp_path / "link.h5").is_symlink()
    assert len(read_features(tmp_path / "real.h5").X) == 28
    (tmp_path / "G.h5.parts").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"G.h5.parts exists .*move it away"):
        extract(photos, output=tmp_path / "G.h5")


def test_fast_decoding_is_another_file(photos, stored, cache, monkeypatch):
    def call(**options):
        return extract(photos, split="first:4,2", engine="torch", cache_dir=cache, **options)

    exact, fast = call(), call(decode="fast")
    assert exact.features != fast.features
    assert (exact.extracted, fast.extracted) == (27, 27)
    made = read_features(fast.features).provenance
    assert made.decoder == read_features(exact.features).provenance.decoder + (
        "; jpeg at reduced scale"
    )
    monkeypatch.setattr("featx.network.engine_choice.make_engine", None)
    assert call().features == exact.features
    assert call(decode="fast").features == fast.features


@pytest.mark.parametrize(("open_way", "older"), [("exact", "pillow"), ("fast", "pillow-fast")])
def test_a_file_that_pillow_decoded_goes_on_as_it_was_made(photos, stored, cache, open_way, older):
    def call(**options):
        return extract(photos, split="first:4,2", engine="torch", cache_dir=cache, **options)

    made = call(decode=older)
    assert call(decode=open_way).features == made.features
    draw_photo(photos / "cat" / "new.png", 0, 77)
    grown = call(decode=open_way)
    assert (grown.features, grown.extracted) == (made.features, 1)
    assert read_features(made.features).provenance.decoder == describe_decoder(older)
    # Where there is nothing, the same words decode otherwise, and what that made is not Pillow's.
    shutil.rmtree(cache)
    anew = call(decode=open_way)
    assert read_features(anew.features).provenance.decoder == describe_decoder(open_way)
    asked = call(decode=older)
    assert (asked.features != anew.features, asked.extracted) == (True, anew.extracted)


def test_features_do_not_know_how_many_threads_decoded(photos, stored, tmp_path):
    made = [
        extract(
            photos, split="first:4,2", engine="torch", num_workers=n, cache_dir=tmp_path / str(n)
        ).features.read_bytes()
        for n in (0, 1, 3)
    ]
    assert made[0] == made[1] == made[2]


def test_every_stage_is_counted(work, photos, stored, cache):
    done = work()
    assert set(done.stages) == {"wait", "network", "keep", "write", "decode"}
    whole = extract(photos, split="first:4,2", engine="torch", cache_dir=cache / "other")
    assert set(whole.stages) == {"find", "start", "wait", "network", "keep", "write", "decode"}
    one_by_one = sum(v for k, v in whole.stages.items() if k != "decode")
    assert one_by_one <= whole.seconds * 1.01
    again = extract(photos, split="first:4,2", engine="torch", cache_dir=cache / "other")
    assert set(again.stages) == {"find"}
