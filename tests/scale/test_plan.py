"""Planning: images cut into lists, how features are made settled, once."""

import logging
from itertools import chain

import pytest
from planned import SPLIT

from featx.errors import OutputExistsError
from featx.scale.plan import make_plan
from featx.scale.plan_file import read_all, read_plan, read_shard
from featx.sources.reading import read_inventory


def test_a_plan_is_made_once(root, plan, caplog):
    caplog.set_level(logging.INFO)
    assert make_plan(root, plan.folder, split=SPLIT, shard_size=7) == plan == read_plan(plan.folder)
    assert f"{plan.folder} is this plan already" in caplog.messages
    with pytest.raises(OutputExistsError, match=r"split_rule: first:4,2 → first:5,2"):
        make_plan(root, plan.folder, split="first:5,2", shard_size=7)
    with pytest.raises(OutputExistsError, match=r"shard_size: 7 → 8"):
        make_plan(root, plan.folder, split=SPLIT, shard_size=8)
    with pytest.raises(OutputExistsError, match="a folder with other files"):
        make_plan(root, root, split=SPLIT)


def test_the_shards_are_the_dataset_in_order(root, plan):
    whole = read_inventory(root, SPLIT)
    shards = [read_shard(plan, shard) for shard in range(5)]
    unread = {one.path for one in chain.from_iterable(shard.unread for shard in shards)}
    assert [len(shard) for shard in shards] == [7, 7, 6, 7, 2]
    names = list(chain.from_iterable(shard.iterate_names() for shard in shards))
    assert names == [name for name in whole.iterate_names() if name not in unread]
    assert unread == {"dog/gone.jpg"}
    assert plan.images == 30
    assert plan.skipped == 1
    assert read_all(plan).fingerprint() == plan.fingerprint


def test_a_plan_without_its_last_file_is_none(root, plan):
    lists = sorted((plan.folder / "lists").iterdir())
    (plan.folder / "plan.json").unlink()
    again = make_plan(root, plan.folder, split=SPLIT, shard_size=7, overwrite=True)
    assert again == plan
    assert sorted((plan.folder / "lists").iterdir()) == lists


def test_gpus_that_are_elsewhere(stored, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    plan = make_plan(photos, tmp_path / "plan", split=SPLIT, device="cuda", precision="fp16")
    assert (plan.choice.engine, plan.provenance.precision, plan.batch_size) == (
        "torch",
        "fp16",
        128,
    )
