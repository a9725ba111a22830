"""Plans: shards computed apart, in any order, twice, by several processes, are one file."""

import json
import logging
import shutil

import numpy as np
import pytest
from made_archives import pack_tar
from planned import SPLIT
from shared import PROVENANCE, CountingEngine, draw_photo

from featx.data.hashing import hash_images
from featx.errors import DatasetError, OutputExistsError, PlanError
from featx.extraction.extract import extract, extract_inventory
from featx.extraction.request import Request
from featx.features.file import cost_path, read_features
from featx.scale import shard as sharding
from featx.scale.merge import merge
from featx.scale.plan import make_plan
from featx.scale.plan_file import read_shard
from featx.scale.shard import ShardWorker
from featx.sources.groups import Grouping
from featx.sources.reading import read_inventory


def extract_shard(plan, shard, **options):
    return ShardWorker(plan, **options).extract(shard)


def extract_alone(root, path):
    inventory = hash_images(read_inventory(root, SPLIT), "skip")
    options = {"output": path, "cache_dir": path.parent, "num_workers": 1}
    extract_inventory(inventory, CountingEngine(), PROVENANCE, Request(data=inventory, **options))
    return path.read_bytes()


def test_shards_in_any_order_are_one_file(root, plan, engine, tmp_path):
    assert (plan.images, plan.skipped, len(plan.shards)) == (30, 1, 5)
    for shard in (3, 0, 4, 2, 1):
        done = extract_shard(plan.folder, shard)
        assert done.extracted == done.images
    assert engine.images == 28
    again = extract_shard(plan, 3)  # twice is harmless, and costs nothing
    assert (again.extracted, again.images, engine.images) == (0, 7, 28)
    done = merge(plan.folder, tmp_path / "F.h5")
    assert (done.images, len(done.skipped_files)) == (28, 2)
    assert (tmp_path / "F.h5").read_bytes() == extract_alone(root, tmp_path / "alone" / "F.h5")
    assert merge(plan.folder, tmp_path / "F.h5").fingerprint == done.fingerprint
    cost = json.loads((tmp_path / "F.h5.cost.json").read_text())
    assert (cost["images"], cost["device"]) == (27, "cpu")  # one of them twice


def test_groups_go_through_plan_and_shards(root, engine, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    asked = {"split": "0.4,0.3,0.3", "group_pattern": r"(\w)\."}
    plan = make_plan(root, tmp_path / "plan", shard_size=7, **asked)
    assert plan.split_rule == r"0.4,0.3,0.3 --group-pattern (\w)\."
    for shard in range(len(plan.shards)):
        extract_shard(plan, shard)
    caplog.clear()
    merge(plan.folder, tmp_path / "F.h5")
    assert caplog.messages == []  # of groups the plan has said what there is to say
    held = read_features(tmp_path / "F.h5")
    assert held.groups.tolist() == [path[-5] for path in held.paths.tolist()]
    sides = set(zip(held.groups.tolist(), held.splits.tolist(), strict=True))
    assert len(sides) == len(set(held.groups.tolist())) == 10
    side = dict(sides)
    assert side["y"] == side["0"]  # copy.jpg has the bytes of 00.jpg
    # As one machine makes it.
    inventory = hash_images(
        read_inventory(root, asked["split"], grouping=Grouping("pattern", r"(\w)\.")), "skip"
    )
    alone = tmp_path / "alone" / "F.h5"
    request = Request(data=inventory, output=alone, cache_dir=alone.parent, num_workers=1)
    extract_inventory(inventory, CountingEngine(), PROVENANCE, request)
    assert (tmp_path / "F.h5").read_bytes() == alone.read_bytes()
    # Another grouping of the same images is another plan.
    with pytest.raises(OutputExistsError, match=r"groups: .* → "):
        make_plan(root, plan.folder, shard_size=7, group_pattern=r"(\w)\w\.")
    assert make_plan(root, plan.folder, shard_size=7, **asked) == plan


def test_copies_in_several_shards_cost_what_one_of_them_cost(root, engine, tmp_path):
    for path in list(root.rglob("*.png")):
        for i in range(8):
            shutil.copyfile(path, path.with_stem(f"{path.stem}_{i}"))
    plan = make_plan(root, tmp_path / "plan", split=SPLIT, shard_size=50)
    assert len(plan.shards) > 2
    for shard in range(len(plan.shards)):
        features = extract_shard(plan, shard).features
        cost = {"seconds": 10.0 * count_contents(features), "images": count_contents(features)}
        kept = json.loads(cost_path(features).read_text())
        cost_path(features).write_text(json.dumps(kept | cost))
    done = merge(plan.folder, tmp_path / "F.h5")
    n = count_contents(done.features)
    assert n < engine.images < done.images  # some were computed in two shards
    cost = json.loads(cost_path(done.features).read_text())
    assert (cost["images"], cost["seconds"]) == (n, pytest.approx(10.0 * n))


def count_contents(path):
    return len(set(read_features(path).hashes.tolist()))


def test_the_network_itself(stored, photos, tmp_path):
    options = {"split": SPLIT, "batch_size": 4, "engine": "torch"}
    alone = extract(photos, output=tmp_path / "F.h5", **options).features.read_bytes()
    plan = make_plan(photos, tmp_path / "plan", shard_size=10, **options)
    for shard in range(3):
        extract_shard(plan, shard, num_workers=shard)
    merged = merge(plan.folder, tmp_path / "M.h5")
    assert merged.features.read_bytes() == alone
    assert (merged.engine, merged.weights) == (plan.provenance.engine, "imagenet1k-v1")
    half = make_plan(photos, tmp_path / "half", shard_size=30, storage="float16", **options)
    extract_shard(half, 0)
    whole, stored_half = (read_features(p).X for p in (tmp_path / "F.h5", half.features_path(0)))
    assert stored_half.stored == np.float16
    assert np.array_equal(stored_half[:], whole[:].astype(np.float16).astype(np.float32))


def test_a_plan_of_features_that_pillow_decoded_is_carried_out_by_it(stored, photos, tmp_path):
    made = extract(photos, split="first:4,2", engine="torch", decode="pillow")
    plan = make_plan(photos, tmp_path / "plan", split="first:4,2", engine="torch")
    assert plan.choice.decode == "exact"
    (done,) = (extract_shard(plan, shard) for shard in range(len(plan.shards)))
    assert read_features(done.features).provenance == read_features(made.features).provenance


def test_a_killed_shard_goes_on(plan, engine, monkeypatch):
    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 4)
    real, seen = engine.run, []

    def run(pixels):
        seen.append(len(pixels))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(pixels)

    monkeypatch.setattr(engine, "run", run)
    with pytest.raises(KeyboardInterrupt):
        extract_shard(plan, 0)
    done = extract_shard(plan, 0)
    assert (done.extracted, done.images, engine.images) == (3, 7, 7)


def test_what_is_not_done_is_named_with_its_command(plan, tmp_path, caplog):
    for shard in (0, 1, 2, 4):
        extract_shard(plan, shard)
    where = plan.folder
    with pytest.raises(
        PlanError,
        match=rf"1 of 5 shards are not done: shard 3 is not there "
        rf"\(featx extract --plan {where} --shard 3\)$",
    ):
        merge(where, tmp_path / "F.h5")
    extract_shard(plan, 3)
    data = bytearray(plan.features_path(1).read_bytes())
    data[len(data) // 2] ^= 1
    plan.features_path(1).write_bytes(data)
    shutil.copy(plan.features_path(0), plan.features_path(2))  # whole, but another shard's
    with pytest.raises(PlanError) as caught:
        merge(where, tmp_path / "F.h5")
    said = str(caught.value)
    assert "2 of 5" in said
    assert "shard 1 is damaged: its bytes are not those that were written" in said
    assert f"shard 2 is of other images than the plan's (featx extract --plan {where}" in said
    assert not (tmp_path / "F.h5").exists()
    for shard in (1, 2):
        assert extract_shard(plan, shard).extracted > 0
    merge(where, tmp_path / "F.h5")


def test_a_shard_made_otherwise_is_refused(root, plan, engine, monkeypatch, tmp_path):
    for shard in range(5):
        extract_shard(plan, shard)
    other = make_plan(root, tmp_path / "other", split=SPLIT, shard_size=7)
    object.__setattr__(other, "provenance", PROVENANCE.__class__(**{
        **PROVENANCE.to_dict(), "precision": "bf16"}))  # fmt: skip
    extract_shard(other, 2)
    shutil.copy(other.features_path(2), plan.features_path(2))
    with pytest.raises(PlanError, match=r"shard 2 is made otherwise \(precision: fp32 → bf16\)"):
        merge(plan.folder, tmp_path / "F.h5")


def test_data_that_has_changed_since(root, plan, engine, tmp_path, caplog):
    extract_shard(plan, 0)
    path = root / "dog" / "01.png"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # the same size
    with pytest.raises(DatasetError, match=r"dog/01.png is not what it was when the plan was made"):
        extract_shard(plan, 1)
    path.write_bytes(before + b"x")
    (root / "dog" / "00.jpg").unlink()
    with pytest.raises(
        DatasetError,
        match=r"photos has changed since .*plan was made: of shard 1, 1 gone or unreadable "
        r"\(dog/00.jpg\) and 1 of another size \(dog/01.png\); featx plan … --overwrite",
    ):
        extract_shard(plan, 1)
    draw_photo(root / "cat" / "new.png", 0, 77)
    with pytest.raises(
        OutputExistsError,
        match=r"1 image is new \(cat/new.png\); 1 image is gone \(dog/00.jpg\); "
        r"1 image has other bytes \(dog/01.png\)",
    ):
        make_plan(root, plan.folder, split=SPLIT, shard_size=7)
    engine.images = 0
    again = make_plan(root, plan.folder, split=SPLIT, shard_size=7, overwrite=True)
    for shard in range(len(again.shards)):
        extract_shard(again, shard)
    # What shard 0 had done is used where it is still shard 0's.
    assert engine.images == 28 - 7
    merge(plan.folder, tmp_path / "F.h5")
    assert (tmp_path / "F.h5").read_bytes() == extract_alone(root, tmp_path / "alone" / "F.h5")
    (root / "cat" / "new.png").unlink()
    merge(plan.folder, tmp_path / "G.h5")
    (said,) = (m for m in caplog.messages if "since the plan was made," in m)
    assert said == f"{plan.folder}: since the plan was made, 1 image is gone (cat/new.png)"


def test_other_folders_and_machines(root, plan, engine, monkeypatch, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved, symlinks=True)
    shutil.rmtree(root)
    with pytest.raises(DatasetError, match=r"7 gone or unreadable .*--root names another folder"):
        extract_shard(plan, 0)
    for shard in range(5):
        extract_shard(plan, shard, root=moved)
    assert merge(plan.folder, tmp_path / "F.h5").images == 28
    monkeypatch.undo()
    with pytest.raises(PlanError, match=r"asks for counting 1 and this machine has"):
        extract_shard(make_other_engine(plan), 1, root=moved)


def make_other_engine(plan):
    plan.features_path(1).unlink()
    return plan


def test_a_shard_without_any_picture(photos, engine, tmp_path):
    for path in (photos / "cat").iterdir():
        path.write_text(f"no image {path}")
    plan = make_plan(photos, tmp_path / "plan", split=SPLIT, shard_size=9)
    assert [extract_shard(plan, shard).images for shard in range(3)] == [0, 9, 9]
    assert merge(plan.folder, tmp_path / "F.h5").images == 18
    assert len(read_features(tmp_path / "F.h5").skipped) == 9


def test_a_picture_that_is_too_large_here_does_not_keep_a_plan_from_ending(
    photos, engine, tmp_path, monkeypatch
):
    draw_photo(photos / "cat" / "large.png", 0, 50, size=(300, 300))
    plan = make_plan(photos, tmp_path / "plan", split=SPLIT, shard_size=10)
    monkeypatch.setenv("FEATX_MAX_PIXELS", "20000")
    for shard in range(3):
        extract_shard(plan, shard)
    assert extract_shard(plan, 0).extracted == 0
    done = merge(plan.folder, tmp_path / "F.h5")
    assert [(one.path, one.kind) for one in done.skipped_files] == [("cat/large.png", "too-large")]


@pytest.mark.parametrize("home", [".", "data/photos"])
def test_shards_of_an_archive_that_lies_elsewhere(home, photos, engine, tmp_path, caplog):
    top = tmp_path / "top"
    (top / home).parent.mkdir(parents=True, exist_ok=True)
    photos = shutil.copytree(photos, top / home)
    packed = pack_tar(top, tmp_path / "photos.tar.gz", "w:gz")
    plan = make_plan(packed, tmp_path / "plan", split=SPLIT, shard_size=10)
    alone = extract_alone(packed, tmp_path / "alone" / "F.h5")
    moved = packed.rename(tmp_path / "elsewhere.tar.gz")
    for shard in range(len(plan.shards)):
        extract_shard(plan.folder, shard, root=moved)
    assert engine.images == 27
    merge(plan.folder, tmp_path / "F.h5")
    assert (tmp_path / "F.h5").read_bytes() == alone
    moved.rename(packed)
    (photos / "cat" / "00.jpg").unlink()
    pack_tar(top, packed, "w:gz")
    caplog.clear()
    merge(plan.folder, tmp_path / "G.h5")
    assert "since the plan was made" in caplog.text
    with pytest.raises(DatasetError, match=r"1 gone or unreadable \(cat/00\.jpg\)"):
        sharding._check_unchanged(plan, 0, read_shard(plan, 0))
