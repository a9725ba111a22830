"""Features that no network made: what heads are tried on, in memory and in a file."""

from dataclasses import replace

import numpy as np

from featx.config import CLASSIFIERS
from featx.features.content import Features
from featx.features.file import read_features, write_features
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.memory import plan_reading
from featx.heads.recipe import make_recipe
from featx.network.layers import list_columns

TRAINABLE = [clf for clf in CLASSIFIERS if clf != "imagenet"]


def make_features(provenance, n_per=12, classes=("a", "b", "c"), dim=40, seed=0, splits=(6, 2)):
    rng = np.random.default_rng(seed)
    n = n_per * len(classes)
    targets = np.repeat(np.arange(len(classes)), n_per)
    centres = rng.normal(0, 1, (len(classes), dim))
    split = np.array((["train"] * splits[0] + ["val"] * splits[1] + ["test"] * n_per)[:n_per])
    return Features(
        X=(centres[targets] + rng.normal(0, 2.0, (n, dim))).astype(np.float32),
        targets=targets,
        splits=np.tile(split, len(classes)),
        paths=np.array([f"{i}.jpg" for i in range(n)]),
        hashes=np.array([f"{i:064x}" for i in range(n)]),
        classes=classes,
        provenance=provenance,
        dataset="made",
        split_rule="manifest",
    )


def write(features, tmp_path, storage="float32"):
    """The same features, left in a file."""
    made = replace(features, provenance=replace(features.provenance, storage=storage))
    write_features(made, tmp_path / "F.h5")
    return read_features(tmp_path / "F.h5")


def allow(features, clf, views=(), **options):
    """One byte less than the head takes in memory."""
    recipe = make_recipe(features, clf, HeadOptions(**options), views=views, max_memory=1 << 50)
    return plan_reading(features, recipe, max_memory=1 << 50).needed - 1


def thin_grids(monkeypatch, some, heads=CLASSIFIERS):
    """Leave heads some of their values alone, so that their fits stay quick."""
    for clf in heads:
        kind = find_kind(clf)
        if kind.grid is not None:
            grid = replace(kind.grid, values=kind.grid.values[some])
            monkeypatch.setattr(f"featx.heads.{clf}.KIND", replace(kind, grid=grid))


def add_layers(features, telling=(), layers="all", strength=8.0, seed=1):
    """The same images with outputs of a resnet18's stages: noise of orders apart, but where told.

    `telling` are outputs, such as ("layer2", "max"), whose first columns tell the classes.
    """
    made = replace(features.provenance, backbone="resnet18", layers=layers)
    rng = np.random.default_rng(seed)
    columns = list_columns(layers, "resnet18")
    beside = np.empty((len(features.targets), columns[-1].stop), np.float32)
    for power, one in enumerate(columns):
        part = rng.gamma(2.0, 1.0, (len(beside), one.stop - one.start))
        if (one.layer, one.pool) in telling:
            part[:, :24] += strength * (features.targets[:, None] == np.arange(24) % 3)
        beside[:, one.start : one.stop] = part * 10.0 ** (power % 4 - 2)
    return replace(features, provenance=made, layers=beside)
