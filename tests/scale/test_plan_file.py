"""A plan on the disk: read as it was written, or refused with what is wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from featx.errors import PlanError
from featx.scale.plan_file import describe_plan, open_list, read_plan, read_shard
from featx.scale.shard import ShardWorker


def extract_shard(plan, shard):
    return ShardWorker(plan).extract(shard)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda plan: (plan.folder / "plan.json").unlink(), r"no plan in .*featx plan DATA -o"),
        (lambda plan: (plan.folder / "plan.json").write_text("[" * 100_000), "cannot be read"),
        (
            lambda plan: (plan.folder / "plan.json").write_text('{"schema": 99}'),
            "no plan of schema",
        ),
        (lambda plan: edit_plan(plan, "batch_size", 5), r"damaged \(SHA-256\)"),
        (lambda plan: plan.list_path(1).unlink(), "no such file"),
        (lambda plan: shutil.copy(plan.list_path(0), plan.list_path(1)), "not the list that"),
        (lambda plan: plan.list_path(1).write_bytes(b"rubbish"), "not a shard list"),
    ],
)
def test_a_damaged_plan_is_refused(plan, damage, said):
    damage(plan)
    with pytest.raises(PlanError, match=said):
        extract_shard(plan.folder, 1)


def edit_plan(plan, key, value):
    path = plan.folder / "plan.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, key: value}))


def test_shards_that_are_not_there(plan):
    with pytest.raises(PlanError, match=r"has 5 shards, from 0 to 4: there is no shard 5"):
        extract_shard(plan, 5)


def test_a_plan_comes_back_as_it_was(plan):
    assert read_plan(plan.folder) == plan
    assert read_plan(str(plan.folder)) == plan
    facts = describe_plan(plan)
    assert json.loads(json.dumps(facts)) == facts
    assert "folder" not in facts  # a plan may be moved
    moved = plan.folder.rename(plan.folder.with_name("moved"))
    assert read_plan(moved) == replace(plan, folder=moved)


def test_images_may_lie_elsewhere(plan):
    here = read_shard(plan, 1)
    there = read_shard(plan, 1, Path("/mnt/photos"))
    assert there.root == Path("/mnt/photos")
    assert list(there.iterate_names()) == list(here.iterate_names())
    assert there.fingerprint() == here.fingerprint()


def test_a_list_says_what_its_images_are(plan):
    columns = open_list(plan, 0)
    hashes = [digest.decode() for digest in columns["hashes"][:].tolist()]
    assert columns["paths"][:][0].decode() == "cat/00.jpg"
    assert all(len(bytes.fromhex(digest)) == 32 for digest in hashes)
    assert columns["targets"][:].tolist() == [0] * 7
    assert columns["sizes"][:].min() > 0
