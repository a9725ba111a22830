"""A plan of a few photographs, by the engine that counts."""

import shutil

import pytest
from planned import SPLIT
from shared import PROVENANCE, CountingEngine

from featx.scale import plan as planning
from featx.scale import shard as sharding
from featx.scale.plan import make_plan


@pytest.fixture
def root(photos):
    """Thirty images: two of the same bytes far from each other, one empty, one link to nowhere."""
    shutil.copy(photos / "cat" / "00.jpg", photos / "owl" / "copy.jpg")
    (photos / "dog" / "broken.jpg").write_bytes(b"")
    (photos / "dog" / "gone.jpg").symlink_to("nowhere")
    return photos


@pytest.fixture
def engine(monkeypatch):
    """Plans and shards by the engine that counts."""
    counting = CountingEngine()
    monkeypatch.setattr(planning, "_settle", lambda *_, **__: (PROVENANCE, counting.batch_size))
    monkeypatch.setattr(sharding, "_build_engine", lambda *_: counting)
    return counting


@pytest.fixture
def plan(root, engine, tmp_path):
    return make_plan(root, tmp_path / "plan", split=SPLIT, shard_size=7)
