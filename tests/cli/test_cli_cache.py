"""What lies in the cache folder is told, and what is removed is featx's own and of no use."""

import json
import os
import re

import pytest
from made_cache import fill_cache

from featx.extraction.extract import extract
from featx.features.file import parts_folder
from featx.features.housekeeping import list_cache, remove_entry
from featx.storage.locks import hold_lock


@pytest.fixture
def cache(photos, stored, tmp_path):
    """The folder, and the whole file in it."""
    return tmp_path / "c", fill_cache(photos, tmp_path / "c")


def walk(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_what_is_there(cache, run):
    folder, whole = cache
    values = json.loads(run("cache", "list", "--cache-dir", folder, "--json").stdout)
    found = {os.path.relpath(one["path"], folder): one for one in values["entries"]}
    rows = next(name for name in found if name.startswith("rows/"))
    assert set(found) == {
        whole.name, "cut.h5", "old.h5", "begun.h5", "gone.h5", rows, f".a.h5.{32 * 'a'}.tmp"
    }  # fmt: skip
    kinds = {name: (one["kind"], one["images"]) for name, one in found.items()}
    assert kinds[whole.name] == ("features", 27)
    assert kinds["begun.h5"] == ("unfinished", 27)
    assert kinds[rows][0] == "rows"
    assert found[whole.name]["made_by"].startswith("resnet50 imagenet1k-v1, torch")
    assert found["cut.h5"]["useless"].startswith("damaged: it has")
    assert found["gone.h5"]["useless"] == "its feature file is gone"
    assert found["begun.h5"]["useless"] == found[rows]["useless"] == ""
    # With what lies beside it.
    beside = [path for path in folder.iterdir() if path.name.startswith(whole.name)]
    assert sorted(found[whole.name]["files"]) == sorted(map(str, beside))
    assert found[whole.name]["bytes"] == sum(path.stat().st_size for path in beside)
    text = run("cache", "list", "--cache-dir", folder).stdout
    assert re.search(r"begun\.h5 +unfinished +27 ", text)
    assert "of no use: damaged" in text


def test_only_the_useless_goes(cache, run, photos):
    folder, _ = cache
    before = walk(folder)
    words = ["cache", "prune", "--cache-dir", folder]
    would = run(*words, "--dry-run")
    assert "would remove 4 of 4 entries" in would.stdout
    assert walk(folder) == before
    done = json.loads(run(*words, "--yes", "--json").stdout)
    gone = {"cut.h5", "cut.h5.cost.json", "old.h5", "gone.h5.files", f".a.h5.{32 * 'a'}.tmp"}
    assert before - walk(folder) == gone
    assert len(done["removed"]) == 4
    assert "nothing" in run(*words).stdout
    # What is left is as good as before.
    assert extract(photos, cache_dir=folder).extracted == 0
    assert [one.kind for one in list_cache(folder)] == ["unfinished", "features", "rows"]


def test_all_is_all_that_is_featxs(cache, run):
    folder, _ = cache
    assert run("cache", "prune", "--cache-dir", folder, "--all", "-y").exit_code == 0
    assert walk(folder) == {
        ".gitignore", "begun.h5.parts/notes.txt", f".b.h5.{32 * 'b'}.tmp", "linked.h5", "notes.h5",
        "other.h5", "rows/mine/x",
    } - {"linked.h5"}  # whose file is gone; the link itself stays  # fmt: skip
    assert (folder / "linked.h5").is_symlink()
    assert list_cache(folder) == []


def test_what_an_extraction_is_at_work_on_stays(cache, run):
    folder, whole = cache
    with hold_lock(parts_folder(whole), whole):
        done = run("cache", "prune", "--cache-dir", folder, "--all", "--yes")
    assert done.exit_code == 0
    assert "kept: " in done.stderr
    assert "is being written by process" in done.stderr
    assert whole.exists()
    (entry,) = list_cache(folder)
    remove_entry(entry)
    assert not list(folder.glob(f"{whole.name}*"))


def test_it_asks(cache, app, run):
    from click.testing import CliRunner

    folder, _ = cache
    before = walk(folder)
    words = ["cache", "prune", "--cache-dir", str(folder)]
    for said in ("n\n", ""):
        done = CliRunner().invoke(app, words, input=said)
        assert done.exit_code == 1
        assert "Remove them? [y/N]" in done.stderr
        assert walk(folder) == before
    assert run(*words, "--json").exit_code == 2
    done = CliRunner().invoke(app, words, input="y\n")
    assert "removed 4 of 4 entries" in done.stdout


def test_no_folder_is_nothing(run, tmp_path):
    assert run("cache", "list").stdout == "0 bytes in cache\n"
    assert run("cache", "prune").stdout == "removed nothing, 0 bytes\n"
