"""Where features are kept, and which file is just what is asked for."""

import os
from dataclasses import replace

import pytest
from made_features import make_features
from shared import PROVENANCE

from featx.features.cache import (
    OpenFiles,
    cache_path,
    find_cache_dir,
    find_differences,
    is_asked_for,
    list_same_data,
    open_made_alike,
    prepare_cache,
)
from featx.features.file import open_features, read_features, write_features
from featx.features.provenance import Choice
from featx.sources.reading import read_inventory


def test_an_argument_comes_before_the_environment_and_that_before_here(monkeypatch, tmp_path):
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    assert str(find_cache_dir()) == "cache"
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path))
    assert find_cache_dir() == tmp_path
    assert str(find_cache_dir("x")) == "x"


def test_names_tell_data_splits_and_makings_apart(photos, tmp_path):
    plain, split = read_inventory(photos), read_inventory(photos, "first:4,1")
    names = {
        cache_path(plain, PROVENANCE, tmp_path),
        cache_path(split, PROVENANCE, tmp_path),
        cache_path(plain, replace(PROVENANCE, precision="bf16"), tmp_path),
        cache_path(read_inventory(photos / "cat"), PROVENANCE, tmp_path),
    }
    assert len(names) == 4
    assert cache_path(plain, PROVENANCE, tmp_path) in names
    assert all(path.suffix == ".h5" and path.parent == tmp_path for path in names)


def test_files_of_one_making_are_found_and_damaged_ones_said(tmp_path, caplog):
    made = make_features(PROVENANCE)
    for name in ("a", "b", "c"):
        write_features(made, tmp_path / f"{name}.h5")
    other = replace(made, provenance=replace(PROVENANCE, precision="bf16"))
    write_features(other, tmp_path / "d.h5")
    (tmp_path / "e.h5").write_text("somebody else's")
    data = (tmp_path / "b.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = open_made_alike(PROVENANCE, tmp_path, tmp_path / "a.h5", OpenFiles())
    assert [one.path.name for one in found] == ["c.h5"]
    assert "not reused" in caplog.text
    assert "b.h5" in caplog.text
    assert "e.h5" not in caplog.text


def test_the_named_file_is_looked_at_first_then_the_newest(photos, tmp_path):
    inventory = read_inventory(photos)
    old = cache_path(inventory, PROVENANCE, tmp_path)
    new = cache_path(inventory, replace(PROVENANCE, precision="bf16"), tmp_path)
    for path in (new, old):
        path.write_bytes(b"x")
    for age, path in ((9, old), (1, new)):
        os.utime(path, times=2 * (path.stat().st_mtime - age,))
    mine = tmp_path / "mine.h5"
    assert list_same_data(inventory, tmp_path, mine) == [new, old]
    mine.write_bytes(b"x")
    assert list_same_data(inventory, tmp_path, mine) == [mine, new, old]


def test_a_file_is_read_once_while_it_stays_what_it_is(tmp_path):
    path, opened = tmp_path / "F.h5", OpenFiles()
    write_features(make_features(PROVENANCE), path)
    first = opened.open(path)
    assert opened.open(path) is first
    write_features(make_features(PROVENANCE, seed=1), path)
    assert opened.open(path).sha256 != first.sha256


def test_differences_name_the_field_the_data_and_the_split(photos, tmp_path):
    inventory = read_inventory(photos)
    write_features(make_features(PROVENANCE), tmp_path / "F.h5")
    there = [open_features(tmp_path / "F.h5")]
    other = replace(PROVENANCE, precision="bf16")
    found = find_differences(there, inventory, other)
    assert "precision: fp32 → bf16" in found
    assert f"data: made → {inventory.name}" in found
    assert "split: manifest → none" in found
    assert "split: manifest → none" not in find_differences(there, inventory, other, True)
    assert any(one.startswith("images: only 0 of its 36") for one in found)


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ({}, True),
        ({"engine": "torch"}, True),
        ({"engine": "openvino"}, False),
        ({"precision": "bf16"}, False),
        ({"precision": "auto"}, True),
        ({"storage": "float16"}, False),
        ({"decode": "fast"}, False),
        ({"protocol": "linear-eval"}, False),
        ({"backbone": "resnet18"}, False),
    ],
)
def test_what_is_there_is_what_is_asked_for_or_not(feature_file, choice, asked):
    made = read_features(feature_file("first:4,1")).provenance
    assert is_asked_for(made, "auto", Choice(**choice)) is asked


def test_the_folder_keeps_itself_out_of_git(tmp_path):
    prepare_cache(tmp_path / "c")
    ignore = tmp_path / "c" / ".gitignore"
    assert ignore.read_text().endswith("*\n")
    ignore.write_text("mine")
    prepare_cache(tmp_path / "c")
    assert ignore.read_text() == "mine"
