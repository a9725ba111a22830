"""Every `featx …` line of README and docs is one that the real command line takes, and is run."""

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import click
import pytest
import torchvision
from command_lines import collect_lines, parse, split_words
from made_archives import pack_parquet, pack_shards, pack_tar
from shared import draw_photo

REAL_MODEL = torchvision.models.get_model
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What stands for something of the reader's, and a value of its kind.
PLACEHOLDERS = {"…": "x", "I/N": "0/2", "I": "0", "N": "1", "NAME": "x", "SIZE": "1GB"}
# A launcher fills these in before featx sees them: the shard's number, of how many.
PLACEHOLDERS |= {
    "{}": "0",
    "$RANK/$WORLD_SIZE": "0/2",
    "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT": "0/2",
}
LINES = [(page.name, line) for page in PAGES for line in collect_lines(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_the_command_line_takes_it(page, line, app):
    parse(app, [PLACEHOLDERS.get(word, word) for word in split_words(line)])


def test_many_lines_are_found():
    assert len(LINES) > 30


@pytest.mark.parametrize(
    "line",
    [
        "featx fit F.h5 --clf forest",
        "featx fit F.h5 --colour red",
        "featx mend F.h5",
        "featx weights mend",
        "featx extract photos --split 0.7,0.9",
    ],
)
@pytest.mark.parametrize("block", ["Text.\n\n    {}  # a word\n", "Text.\n\n```sh\n$ {}\n```\n"])
def test_what_the_command_line_refuses_is_found(line, block, app):
    (found,) = collect_lines(block.format(line))
    with pytest.raises(click.UsageError):
        parse(app, split_words(found))


def test_continued_lines_are_joined_and_prose_is_left_out():
    text = "Say featx mend.\n\n    srun featx fit F.h5 \\\n        --clf logreg > out.txt\n"
    (found,) = collect_lines(text)
    assert split_words(found) == ["fit", "F.h5", "--clf", "logreg"]


# Lines that no test here runs, and why: each is a line of some page.
NOT_RUN = {
    "featx weights fetch auto": "asks the network",
    "featx predict model.safetensors - --null --csv said.csv > /dev/null": "reads a pipe; "
    "tests/cli/test_cli_predict.py does it",
    "featx data caltech256-animals --download data": "downloads 1.2 GB",
    "featx demo": "takes minutes; tests/test_cli_demo.py runs it",
    "featx compare data/caltech256/caltech256-animals.csv --weights imagenet1k-v1 --protocol "
    "paper": "needs that download",
    "featx extract --plan plan --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT": "needs Slurm",
    "featx extract --plan plan --shard {}": "needs GNU parallel",
    "featx extract --plan plan --shard $RANK/$WORLD_SIZE": "needs torchrun",
    "featx extract photos --split 0.7,0.1,0.2 -o F.h5 --runner ray --address head:6379": "needs a "
    "cluster; tests/scale/test_ray_cluster.py starts one",
    "featx extract photos --split 0.7,0.1,0.2 -o F.h5 --device cuda": "needs a GPU",
    "featx extract photos --split 0.7,0.1,0.2 --engine torch --device cuda -o cuda.h5 "
    "--cache-dir other": "needs a GPU",
}
# What a page's lines begin from, where it does not say so itself.
MAKE_FEATURES = "featx extract photos --split 0.7,0.1,0.2 -o F.h5"
BEFORE = dict.fromkeys(("audit.md", "elsewhere.md", "ranks.md", "unknown.md"), MAKE_FEATURES)
BEFORE["explaining.md"] = f"{MAKE_FEATURES}\nfeatx fit F.h5 --clf ridge -o model.safetensors"
# What stands in for a line or a word that a few small pictures have no use for.
LINE_STANDS_FOR = {
    "featx extract --plan plan --shard 7": "featx extract --plan plan --shard 0",
    "featx compare photos": "featx compare sorted",
}
WORD_STANDS_FOR = {
    "caltech101-animals": "photos",
    "digits": "photos",
    "shards/shard-{000..127}.tar": "shards/shard-{000..002}.tar",
    "first:30,6": "first:5,2",
    "first:60,10": "first:5,2",
}
RUN_PAGES = sorted({page for page, _ in LINES})


def strip(line):
    """The line without its comment and with single spaces."""
    return " ".join(re.sub(r"\s+#.*", "", line).split())


def list_scenes(folder):
    """Pictures with the labels of their class, and of whether their number is odd."""
    for path in sorted(folder.glob("*/*")):
        name, odd = path.parent.name, int(path.stem) % 2
        yield path.relative_to(folder), f"{name}{'|dog' * odd}" if name != "owl" else "odd" * odd


@pytest.fixture
def desk(photos, stored, monkeypatch):
    """What pages take for granted: photos/, the same by split and burst, new/, CSVs, weights.

    boxes.csv and detections.json have boxes in all photographs.

    growing/ has pictures in unlabelled/, and waiting/ has others of no class.
    """
    folder = photos.parent / "desk"
    folder.mkdir()
    shutil.move(photos, folder / "photos")
    (folder / "new").mkdir()
    for name in ("cat", "owl"):
        shutil.copy(folder / "photos" / name / "00.jpg", folder / "new" / f"{name}.jpg")
    shutil.copytree(folder / "photos", folder / "growing")
    for i in range(4):
        draw_photo(folder / "growing" / "unlabelled" / f"{i}.jpg", i % 3, 50 + i)
        draw_photo(folder / "waiting" / f"{i}.jpg", i % 3, 60 + i)
    pack_tar(folder / "photos", folder / "photos.tar")
    pack_shards(folder / "photos", folder / "shards", 3)
    (folder / "hub").mkdir()
    for split in ("train", "test"):
        pack_parquet(folder / "photos", folder / "hub" / f"{split}-00000-of-00001.parquet")
    digest = hashlib.sha256((folder / "photos" / "cat" / "00.jpg").read_bytes()).hexdigest()
    (folder / "corrections.csv").write_text(f"sha256,label\n{digest},dog\n")
    lines = [f"photos/{name},{labels}\n" for name, labels in list_scenes(folder / "photos")]
    (folder / "scenes.csv").write_text("path,label\n" + "".join(lines))
    (folder / "taxonomy.csv").write_text("class,kind\ncat,pet\ndog,pet\nowl,bird\n")
    (folder / "field.csv").write_text("class,share\ncat,0.1\ndog,0.2\nowl,0.7\n")
    detected = [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.5, 0.6]}]
    found = [p.relative_to(folder / "photos").as_posix() for p in (folder / "photos").rglob("*.*g")]
    detections = {"images": [{"file": one, "detections": detected} for one in found]}
    (folder / "detections.json").write_text(json.dumps(detections))
    rows = (f"{one},{8 * k},10,40,50" for one in found for k in range(2))
    (folder / "boxes.csv").write_text("\n".join(["path,x,y,w,h", *rows]))
    with (folder / "images.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for path in sorted((folder / "photos").glob("*/*")):
            place = int(path.stem)
            split = "train" if place < 5 else "val" if place < 7 else "test"
            writer.writerow([path.relative_to(folder / "photos"), path.parent.name, split])
            burst = f"{path.parent.name}-{place // 2}"
            for home in (Path("sorted", split), Path("bursts")):
                there = folder / home / path.parent.name / (burst if home.name == "bursts" else "")
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, there)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_commands_of_a_page_run_one_after_the_other(page, desk, run, monkeypatch):
    text = next(one for one in PAGES if one.name == page).read_text("utf-8")
    for settings in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (desk / "featx.toml").write_text(settings)
    said = [strip(line) for found, line in LINES if found == page]
    for line in [*BEFORE.get(page, "").splitlines(), *said]:
        line = LINE_STANDS_FOR.get(line, line)
        if line in NOT_RUN:
            continue
        words = []
        for word in split_words(line):
            word = WORD_STANDS_FOR.get(word, word)
            words += sorted(map(str, desk.glob(word))) if "*" in word else [word]
        # One epoch and one head: what is tested is that a line runs, not what it learns.
        if words[0] in ("compare", "finetune"):
            words += ["--epochs", "1"]
        if words[0] == "compare" and "--multi-label" not in words:
            words += ["--no-learning-curves", *(() if "--clf" in words else ("--clf", "logreg"))]
        with monkeypatch.context() as patch:
            if words[0] == "doctor":  # makes up parameters of the real network
                patch.setattr(torchvision.models, "get_model", REAL_MODEL)
            done = run(*words)
        assert done.exit_code == 0, (line, done.output)


def test_what_is_not_run_is_there():
    assert {strip(line) for _, line in LINES} >= NOT_RUN.keys()
