import json
import re
from pathlib import Path

from featx.features.file import read_features


def test_extract_says_what_it_did(run, photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    words = ["extract", photos, "--split", "first:4,2", "-o", out]
    done = run(*words, "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert set(values) >= {
        "features", "images", "extracted", "reused", "skipped", "skipped_files", "seconds",
        "images_per_second", "weights", "engine", "precision", "device", "fingerprint",
    }  # fmt: skip
    assert values["features"] == str(out)
    assert (values["images"], values["extracted"], values["reused"]) == (27, 27, 0)
    assert values["images_per_second"] > 0
    assert values["fingerprint"] == read_features(out).fingerprint
    assert done.stderr == (
        f"weights: imagenet1k-v1, since it is stored ({stored / 'imagenet1k-v1.safetensors'})\n"
        f"extracting 27 images with {values['engine']} on {values['device']}\n"
    )
    again = run(*words)
    assert again.stdout.startswith(
        f"{out}: 27 images, 0 extracted, 27 reused, 0 removed, 0 skipped ("
    )
    assert again.stderr == f"weights: imagenet1k-v1, since {out} has them\n"
    assert run(*words, "-q").stderr == ""


def test_places(run, photos, stored, empty_home, tmp_path, monkeypatch):
    assert run("extract", photos, "-q").stdout.startswith("cache/photos-")
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "elsewhere"))
    assert run("extract", photos, "-q").stdout.startswith(f"{tmp_path / 'elsewhere'}/photos-")
    chosen = run("extract", photos, "-q", "--cache-dir", "mine")
    assert chosen.stdout.startswith("mine/photos-")


def test_skipped_images_are_named_and_exit_3(run, photos, stored):
    (photos / "cat" / "08.jpg").write_bytes(b"")
    (photos / "dog" / "\x1b[31m.jpg").write_text("x")
    done = run("extract", photos, "-q")
    assert done.exit_code == 3
    assert done.stderr == (
        "skipped cat/08.jpg: empty file\n"
        "skipped dog/\\x1b[31m.jpg: not an image\n"
        "2 of 28 images were skipped, more than --max-skipped 0.05 allows: exit code 3\n"
    )
    assert "26 images, 26 extracted, 0 reused, 0 removed, 2 skipped" in done.stdout
    lenient = run("extract", photos, "-q", "--max-skipped", "0.1", "--json")
    assert lenient.exit_code == 0
    assert json.loads(lenient.stdout)["skipped_files"][0] == {
        "path": "cat/08.jpg",
        "kind": "empty",
        "reason": "empty file",
    }
    strict = run("extract", photos, "-q", "--on-error", "fail")
    assert strict.exit_code == 1
    assert strict.stderr == f"Error: {photos / 'cat' / '08.jpg'}: empty file\n"


def test_ignored_files_are_noted(run, photos, stored):
    (photos / "notes.txt").write_text("x")
    said = run("extract", photos, "-q").stderr
    assert said.startswith(f"Warning: {photos}: left out: ")
    assert "1 (notes.txt)" in said


def test_another_output_is_refused(run, photos, stored, tmp_path):
    (tmp_path / "thesis.h5").write_text("years of work")
    done = run("extract", photos, "-o", tmp_path / "thesis.h5", "-q")
    assert done.exit_code == 1
    assert "exists and holds something else (not a feature file" in done.stderr
    assert run("extract", photos, "-o", tmp_path / "thesis.h5", "-q", "--overwrite").exit_code == 0


def test_verbose_says_what_each_stage_cost_and_what_bounds_the_run(run, photos, stored, tmp_path):
    words = ["extract", photos, "-o", tmp_path / "F.h5", "-v"]
    told = run(*words).stderr
    number = r"[\d.]+"
    each = ", ".join(
        f"{name} {number}" for name in ("find", "start", "wait", "network", "keep", "write")
    )
    beside = rf"decode {number} in \d+ threads? beside them"
    assert re.search(f"^seconds: {each}; {beside}$", told, re.MULTILINE)
    assert re.search(r"^(the network bounds|reading and decoding bound) this run: ", told, re.M)
    assert "bound" not in run(*words).stderr, "nothing ran"


def test_fast_decoding_can_be_asked_for(run, photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    assert run("extract", photos, "-o", out, "--decode", "fast", "-q").exit_code == 0
    assert read_features(out).provenance.decoder.endswith("jpeg at reduced scale")
    other = run("extract", photos, "-o", out, "-q")
    assert other.exit_code == 1
    assert "decoder: torch" in other.stderr


def test_a_cache_folder_that_cannot_be_written_says_how_to_name_another(run, photos, stored):
    Path("cache").write_text("a file")
    done = run("extract", photos, "-q")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: cache: file exists: features are kept there unless --cache-dir or FEATX_CACHE "
        "names another folder\n"
    )
    assert run("extract", photos, "-q", "--cache-dir", "other").exit_code == 0


def test_what_is_left_out_is_said_and_stands_in_the_json(run, photos, stored):
    (photos / "cat" / "day").mkdir()
    (photos / "cat" / "00.jpg").rename(photos / "cat" / "day" / "00.jpg")
    (photos / "Thumbs.db").touch()
    words = ["extract", photos, "--split", "first:4,2", "-o", "F.h5", "--json", "-q"]
    done = run(*words)
    assert done.stderr == (
        f"Warning: {photos}: left out: images in subfolders of class folders: 1 "
        "(cat/day/00.jpg); --recursive reads them\n"
        f"Warning: {photos}: left out: files of systems and programs: 1 (Thumbs.db)\n"
    )
    values = json.loads(done.stdout)
    assert values["images"] == 26
    assert values["left_out"] == [
        {"kind": "files of systems and programs", "count": 1, "examples": ["Thumbs.db"]},
        {
            "kind": "images in subfolders of class folders",
            "count": 1,
            "examples": ["cat/day/00.jpg"],
        },
    ]
    values = json.loads(run(*words, "--recursive").stdout)
    assert (values["images"], values["extracted"], len(values["left_out"])) == (27, 1, 1)
    assert values["notes"] == []
