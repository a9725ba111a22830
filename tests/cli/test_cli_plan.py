import json
import shutil

import pytest


@pytest.fixture
def planned(run, photos, stored, tmp_path):
    """A plan of three shards made by the command."""
    folder = tmp_path / "plan"
    words = ("--split", "first:4,2", "--shard-size", 10, "--engine", "torch", "--batch-size", 4)
    made = run("plan", photos, "-o", folder, *words)
    assert made.exit_code == 0
    assert made.stdout == (
        f"{folder}: 27 images in 3 shards of at most 10 (imagenet1k-v1, "
        f"{json.loads((folder / 'plan.json').read_text())['provenance']['engine']} fp32)\n"
        f"next: featx extract --plan {folder} --shard I for I from 0 to 2, then featx merge "
        f"{folder} -o F.h5\n"
    )
    return folder


def test_plan_shards_merge(run, photos, planned, tmp_path):
    done = run("extract", "--plan", planned, "--shard", "0/2", "--json")
    values = json.loads(done.stdout)
    assert [part["images"] for part in values["shards"]] == [10, 7]
    assert "10 extracted" in done.stderr
    missing = run("merge", planned, "-o", tmp_path / "F.h5")
    assert missing.exit_code == 1
    assert missing.stderr == (
        f"Error: {planned}: 1 of 3 shards are not done: shard 1 is not there (featx extract --plan "
        f"{planned} --shard 1)\n"
    )
    assert run("extract", "--plan", planned, "-q").stdout == f"{planned}: 3 of 3 shards done\n"
    merged = json.loads(run("merge", planned, "-o", tmp_path / "F.h5", "--json").stdout)
    alone = run("extract", photos, "-o", tmp_path / "G.h5", "--split", "first:4,2",
                "--engine", "torch", "--batch-size", 4, "--json")  # fmt: skip
    assert (tmp_path / "F.h5").read_bytes() == (tmp_path / "G.h5").read_bytes()
    assert merged.keys() == json.loads(alone.stdout).keys() - {"views"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan", "P", "photos"], "DATA: the plan has settled that"),
        (["--plan", "P", "--precision", "bf16"], "--precision: the plan has settled that"),
        (["--plan", "P", "--shard", "3/2"], "3/2: I goes from 0 to 1"),
        (["--plan", "P", "--shard", "-1"], "neither a number from 0 nor I/N"),
        (["photos", "--shard", "1"], "--shard goes with --plan"),
        ([], "Missing argument 'DATA'; or name a --plan"),
    ],
)
def test_what_does_not_go_together(run, planned, words, said):
    wrong = run("extract", *[planned if word == "P" else word for word in words])
    assert wrong.exit_code == 2
    assert said in " ".join(wrong.stderr.split())


def test_skipped_images_count(run, photos, stored, tmp_path):
    for i in range(3):
        (photos / "cat" / f"gone{i}.png").symlink_to("nowhere")
    made = run("plan", photos, "-o", tmp_path / "p", "--engine", "torch", "--json")
    assert made.exit_code == 3
    assert json.loads(made.stdout)["skipped"] == 3
    assert "skipped cat/gone0.png: no such file or directory" in made.stderr
    assert run("plan", photos, "-o", tmp_path / "q", "--on-error", "fail").exit_code == 1
    shutil.rmtree(photos)
    assert run("plan", photos, "-o", tmp_path / "q").exit_code == 1
