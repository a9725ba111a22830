"""Groups from the command line: the four ways to name them, and what is said where they fail."""

import json

import pytest
from PIL import ExifTags, Image

from featx.features.file import read_features

SPLIT = ("--split", "0.5,0.2,0.3")


def write_sites(photos, site=lambda name, i: f"site{i % 5}", splits=None):
    """A manifest of all photographs, each with a site, and with a split where there are some."""
    lines = ["path,label,site" + (",split" if splits else "")]
    for one in sorted(photos.rglob("*.*g")):
        name, i = one.parent.name, int(one.stem)
        lines.append(f"{name}/{one.name},{name},{site(name, i)}")
        if splits:
            lines[-1] += f",{splits(i)}"
    table = photos / "sites.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def put_into_folders(photos):
    for one in sorted(photos.rglob("*.*g")):
        folder = one.parent / f"site{int(one.stem) % 5}"
        folder.mkdir(exist_ok=True)
        one.rename(folder / one.name)
    return photos


def photograph_bursts(photos):
    """All as JPEGs, three photographs of a minute together."""
    for k, one in enumerate(sorted(photos.rglob("*.*g"))):
        exif = Image.Exif()
        taken = f"2024:05:03 {k % 5:02d}:00:{k // 5:02d}"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        Image.open(one).save(one.with_suffix(".jpeg"), exif=exif)
        one.unlink()
    return photos


WAYS = {
    "column": (write_sites, ("--group", "site")),
    "folder": (put_into_folders, ("--group-folder",)),
    "time": (photograph_bursts, ("--group-time", "60")),
}


@pytest.mark.parametrize("way", ["column", "folder", "time"])
def test_each_way_keeps_groups_whole(run, photos, stored, tmp_path, way):
    prepare, words = WAYS[way]
    out = tmp_path / "F.h5"
    done = run("extract", prepare(photos), *SPLIT, *words, "-o", out, "--json")
    assert done.exit_code == 0, done.stderr
    held = read_features(out)
    sides = set(zip(held.groups.tolist(), held.splits.tolist(), strict=True))
    assert len(sides) == len(set(held.groups.tolist())) == 5
    assert {split for _, split in sides} == {"train", "val", "test"}
    assert held.split_rule == " ".join([SPLIT[1], *words])
    assert "groups       5" in run("info", out).stdout
    # What fits counts groups, and says so.
    fitted = run("fit", out, "--clf", "centroid")
    assert "95 % interval, by groups" in fitted.stdout
    assert "folds choose C, k and the like instead of 5, since cat has " in fitted.stderr


def test_views_say_what_groups_are_once(run, photos, stored, tmp_path):
    table = write_sites(photos, splits=lambda i: ("train", "val", "test")[i % 3])
    words = ["--group", "site", "--views", "1", "-o", tmp_path / "F.h5"]
    done = run("extract", table, *words, "--json")
    assert done.stderr.count("4 of 5 groups are in more than one split (such as site0: ") == 1
    # And it is in the JSON.
    assert any(note.startswith("4 of 5 groups") for note in json.loads(done.stdout)["notes"])


def test_compare_counts_groups(run, photos, stored, tmp_path):
    out = tmp_path / "out"
    words = ["--group-pattern", "/([0-9]+)", "--split", "0.4,0.2,0.4", "--clf", "ridge"]
    words += ["--clf", "knn", "--baseline", "none", "--no-learning-curves", "-o", out]
    done = run("compare", photos, *words, "--cv", "1x3")
    assert done.exit_code == 0, done.stderr
    assert "test 95 %, by groups" in done.stdout
    assert "Images come in groups (4 train, 2 val, 3 test), and one observation is" in done.stdout
    assert "ridge: random split " in done.stdout
    assert "no mistake; its least certain classes (intervals by groups): " in done.stdout
    values = json.loads((out / "results.json").read_text())
    for candidate in values["candidates"]:
        for found in candidate["evaluation"].values():
            methods = {found["mean_per_class_ci95_method"], found["ece_ci95_method"]}
            methods |= {one["ci95_method"] for one in [*found["per_class"], *found["bins"]]}
            assert methods <= {"cluster-bootstrap", "wilson-of-groups"}
    assert values["cv"]["groups"] == 9
    assert any("keeps 9 groups whole, and shares differ from" in note for note in values["notes"])
    page = (out / "report.html").read_text()
    assert page.count("95 % interval by groups") >= 3


def blank(table):
    lines = table.read_text().splitlines()
    lines[3:5] = [line.rpartition(",")[0] + "," for line in lines[3:5]]
    table.write_text("\n".join(lines) + "\n")
    return table


BAD = {
    "a column that is not there": (
        write_sites, ("--group", "animal"),
        "has no column 'animal' to group by (--group): its first line names path, label, site",
    ),
    "empty in some rows": (
        lambda photos: blank(write_sites(photos)), ("--group", "site"),
        "--group site gives 2 of 27 images no group, such as cat/02.jpg; write one into every line",
    ),
    "one group": (
        lambda photos: write_sites(photos, lambda *_: "home"), ("--group", "site"),
        "puts all 27 images into one group (home): nothing could be learned from some groups and "
        "tested on others; name what divides them more finely, or leave groups out",
    ),
    "shares that cannot be": (
        lambda photos: write_sites(photos, lambda _, i: i % 2), ("--group", "site", *SPLIT),
        "without any image: there are 2 groups, and a group has to stay whole; divide them more "
        "finely, or ask for fewer splits, such as 0.8,0,0.2",
    ),
    "images counted": (
        write_sites, ("--group", "site", "--split", "first:4,2"),
        "--split first:4,2 counts images one by one, and --group site keeps groups whole: give "
        "fractions",
    ),
    "two ways": (
        write_sites, ("--group", "site", "--group-time", "3"),
        "--group site and --group-time 3: say one of them",
    ),
    "a pattern that is none": (
        lambda photos: photos, ("--group-pattern", "(["), "is no regular expression: "
    ),
    "a folder that is none": (
        lambda photos: photos, ("--group-folder",),
        "--group-folder gives 27 of 27 images no group, such as cat/00.jpg; it takes DIR/",
    ),
    "no times": (
        lambda photos: photos, ("--group-time", "3"), "and none of 27 images has one; programs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["extract", "compare"])
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_grouped_is_said(run, photos, stored, command, case):
    prepare, words, said = BAD[case]
    done = run(command, prepare(photos), *words)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not list(photos.parent.glob("here/*"))


def test_a_class_of_one_group(run, photos, stored, tmp_path):
    table = write_sites(photos, lambda name, i: "home" if name == "owl" else f"site{i % 4}")
    out = tmp_path / "F.h5"
    done = run("extract", table, "--split", "0.6,0,0.4", "--group", "site", "-o", out)
    assert done.exit_code == 0
    assert (
        "a class has all its images in one group, which is train: owl (9); nothing" in done.stderr
    )
    assert "keeps 5 groups whole, and shares differ from those asked for: " in done.stderr
    fitted = run("fit", out, "--clf", "ridge")
    assert fitted.exit_code == 0
    assert "2 folds choose C, k and the like instead of 5, since owl has 1 group" in fitted.stderr
    crossed = run("fit", out, "--clf", "ridge", "--cv", "2x3")
    assert crossed.exit_code == 1
    assert "owl has 9 in 1 group:" in crossed.stderr
    assert "find more images, or leave the class out" in crossed.stderr


def test_fewer_images_of_a_class_than_folds(run, photos, stored, tmp_path):
    for one in sorted((photos / "owl").iterdir())[3:]:
        one.unlink()
    out = tmp_path / "F.h5"
    run("extract", photos, "--split", "0.7,0,0.3", "-o", out)
    fitted = run("fit", out, "--clf", "centroid")
    said = "2 folds choose C, k and the like instead of 5, since owl has 2 images: add images of "
    assert said in fitted.stderr
    assert "(folds of train, 2 since a class has no more images)" in fitted.stdout
    assert said not in run("fit", out, "--clf", "ridge").stderr  # which leaves out single images
    words = ["--split", "0.7,0,0.3", "--clf", "ridge", "--clf", "knn", "--baseline", "none"]
    compared = run("compare", photos, *words)
    assert compared.stderr.count(said) == 1


def test_fine_tuning_keeps_groups_whole(run, photos, stored, tmp_path):
    words = ["finetune", photos, "--split", "0.4,0.2,0.4", "--epochs", "1", "-o", tmp_path / "run"]
    words += ["--learning-rate", "0.001", "--group-pattern", "/([0-9]+)"]
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    assert "95 % interval, by groups" in done.stdout
    values = json.loads(run(*words, "--json", "-q").stdout)  # as it was trained before
    assert {split: n["total"] for split, n in values["counts"].items()} == {
        "train": 12, "val": 6, "test": 9,
    }  # fmt: skip
    assert "wilson" not in values["ci95_method"].values()
    assert any("keeps 9 groups whole" in note for note in values["notes"])
