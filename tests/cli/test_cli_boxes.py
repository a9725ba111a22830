"""`--boxes` from the command line: what is extracted, planned, compared and predicted of boxes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from shared import draw_photo

import featx
from featx.decoding import crops
from featx.features.file import read_features
from featx.report.rerun import say_training

BOXES = ((3, 5, 40, 60), (30, 0, 60, 30), (50, 40, 25, 33))  # of each picture of 90 x 80
SPLIT = ("--split", "0.5,0.2,0.3@1")


@pytest.fixture
def pictures(tmp_path):
    """Eighteen pictures of three classes; of kinds that are decoded in different ways."""
    turned = Image.Exif()
    turned[0x0112] = 3
    for kind, name in enumerate(("cat", "dog", "owl")):
        for i in range(6):
            path = tmp_path / "photos" / name / f"{i}.{('jpg', 'png', 'jpg')[i % 3]}"
            with Image.open(draw_photo(path, kind, i)) as image:
                image.load()
            if i % 3 == 1:
                image.putalpha(Image.linear_gradient("L").resize(image.size))
            image.save(path, **({"exif": turned} if i % 3 == 2 else {}))
    return tmp_path / "photos"


@pytest.fixture
def boxes(pictures):
    """Three boxes of each picture, those of one class not one after the other."""
    path = pictures.parent / "boxes.csv"
    rows = [
        f"{one.relative_to(pictures)},{','.join(map(str, box))}"
        for box in BOXES
        for one in sorted(pictures.rglob("*.*g"))
    ]
    path.write_text("\n".join(["path,x,y,w,h", *rows]))
    return path


@pytest.fixture
def cut(pictures, tmp_path):
    """The same boxes cut out by Pillow and saved as PNGs: DIR/<class>/<picture>-<x>-<y>.png."""
    for one in sorted(pictures.rglob("*.*g")):
        with Image.open(one) as opened:
            whole = ImageOps.exif_transpose(opened)
        if whole.mode == "RGBA":
            whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
        for x, y, w, h in BOXES:
            path = tmp_path / "cut" / one.parent.name / f"{one.name}-{x}-{y}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.convert("RGB").crop((x, y, x + w, y + h)).save(path)
    return tmp_path / "cut"


def name_cut(path):
    """What the file of a box is called in `cut`."""
    picture, (x, y, _, _) = crops.split_name(path)
    return f"{picture}-{x}-{y}.png"


def read_rows(path, rename=str):
    held = read_features(path)
    return dict(zip(map(rename, held.paths.tolist()), held.X, strict=True))


def test_rows_are_those_of_the_boxes_saved(
    run, pictures, boxes, cut, stored, tmp_path, monkeypatch
):
    decoded, real = [], crops.decode_sooner
    monkeypatch.setattr(
        crops, "decode_sooner", lambda name, *rest: decoded.append(name) or real(name, *rest)
    )
    out = tmp_path / "F.h5"
    words = (pictures, "--boxes", boxes, *SPLIT, "--engine", "torch", "-o", out, "--json")
    done = run("extract", *words, "--num-workers", 2)
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["images"], values["extracted"], values["skipped"]) == (54, 54, 0)
    assert len(decoded) == len(set(decoded)) == 18
    assert run("extract", cut, "--engine", "torch", "-o", tmp_path / "C.h5").exit_code == 0
    wanted, found = read_rows(tmp_path / "C.h5"), read_rows(out, name_cut)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    held = read_features(out)
    assert held.groups.tolist() == [path.rpartition("/")[0] for path in held.paths]
    again = json.loads(run("extract", *words).stdout)
    assert (again["extracted"], again["reused"]) == (0, 54)
    (pictures / "cat" / "0.jpg").touch()
    (pictures / "cat" / "0.jpg").write_bytes((pictures / "dog" / "0.jpg").read_bytes())
    changed = json.loads(run("extract", *words, "--rehash").stdout)
    assert (changed["extracted"], changed["images"]) == (0, 54)  # the dog's boxes, known by content


def test_shards_make_the_same_file(run, pictures, boxes, stored, tmp_path):
    words = (pictures, "--boxes", boxes, "--pad", 0.1, *SPLIT, "--engine", "torch",
             "--batch-size", 4)  # fmt: skip
    made = run("plan", *words, "-o", tmp_path / "plan", "--shard-size", 20)
    assert made.exit_code == 0, made.stderr
    assert run("extract", "--plan", tmp_path / "plan", "-q").exit_code == 0
    merged = run("merge", tmp_path / "plan", "-o", tmp_path / "M.h5")
    assert (merged.exit_code, merged.stderr) == (0, "")
    assert run("extract", *words, "-o", tmp_path / "F.h5").exit_code == 0
    assert (tmp_path / "M.h5").read_bytes() == (tmp_path / "F.h5").read_bytes()
    boxes.write_text(boxes.read_text() + "\ncat/0.jpg,1,1,9,9")
    assert "1 image is new" in run("merge", tmp_path / "plan", "-o", tmp_path / "M.h5").stderr
    other = run("plan", *words, "-o", tmp_path / "plan", "--shard-size", 20, "--pad", 0.2)
    assert f"boxes: {boxes} --pad 0.1 → {boxes} --pad 0.2" in other.stderr
    named = run("extract", "--plan", tmp_path / "plan", "--boxes", boxes, "--pad", 0.2)
    assert "--boxes, --pad: the plan has settled that" in named.stderr


def test_what_is_wrong_is_said_and_skipped(run, pictures, boxes, stored, tmp_path):
    boxes.write_text(boxes.read_text() + "\ncat/0.jpg,500,1,9,9\ncat/1.png,1,1,9,-9\nx.jpg,1,1,9,9")
    out = tmp_path / "F.h5"
    words = ("extract", pictures, "--boxes", boxes, "-o", out, "--engine", "torch", "--json")
    done = run(*words)
    values = json.loads(done.stdout)
    assert [(one["path"], one["kind"]) for one in values["skipped_files"]] == [
        ("cat/0.jpg/boxes.csv, line 56/", "bad-box"),
        ("cat/1.png/boxes.csv, line 57/", "bad-box"),
    ]
    assert values["notes"] == [
        f"boxes of pictures that are not in {pictures}: 1 (such as 'x.jpg', {boxes}, line 58)"
    ]
    again = json.loads(run(*words).stdout)
    assert (again["extracted"], again["skipped"]) == (0, 2)
    failed = run(*words[:-1], "--on-error", "fail", "--overwrite")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1] == (
        f"Error: {pictures}/cat/0.jpg/boxes.csv, line 56: the box is none: it lies outside the "
        "picture, 90 x 80 pixels"
    )
    several = run("extract", boxes, "--boxes", boxes, "--multi-label")
    assert (several.exit_code, "--multi-label" in several.stderr) == (1, True)
    alone = run("extract", pictures, "--pad", 0.1)
    assert (alone.exit_code, "--pad goes with --boxes." in alone.stderr) == (2, True)


def test_a_comparison_is_of_boxes_and_repeats_itself(run, pictures, boxes, stored, tmp_path):
    out = tmp_path / "out"
    words = ("--clf", "ridge", "--epochs", 1, "--no-strangers", "--no-learning-curves", "--json")
    done = run("compare", pictures, "--boxes", boxes, *SPLIT, *words, "-o", out)
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["dataset"]["name"] == "photos-boxes"
    again = run("compare", "--config", out / "featx.toml", "--json")
    assert again.exit_code == 0, again.stderr
    scores = [
        {one["name"]: one["evaluation"]["test"] for one in told["candidates"]}
        for told in (values, json.loads(again.stdout))
    ]
    assert scores[0] == scores[1]
    model = next(out.glob("ridge*.safetensors"))
    seen = run(
        "explain", model, pictures / "cat" / "0.jpg" / "[3,5,40,60]", "-o", tmp_path / "maps"
    )
    assert seen.exit_code == 0, seen.stderr


def test_predictions_name_the_boxes(run, pictures, boxes, cut, stored, tmp_path, monkeypatch):
    assert run("extract", cut, *SPLIT, "-o", "F.h5").exit_code == 0
    assert run("fit", "F.h5", "--clf", "ridge", "-o", "m.safetensors").exit_code == 0
    boxes.write_text(boxes.read_text() + "\ncat/0.jpg,500,1,9,9")
    words = ("predict", "m.safetensors", pictures, "--boxes", boxes, "--max-skipped", 1)
    done = run(*words, "--csv", "said.csv", "--json")
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    said = {one["path"]: one for one in json.loads(
        run("predict", "m.safetensors", cut, "--json").stdout)["predictions"]}  # fmt: skip
    assert len(values["predictions"]) == 54
    for one in values["predictions"]:
        path, box = one["path"].removeprefix(f"{pictures}/"), one["box"]
        wanted = said[f"{cut}/{path}-{box['x']}-{box['y']}.png"]
        assert (one["class"], one["probability"]) == (wanted["class"], wanted["probability"])
    assert [one["kind"] for one in values["skipped_files"]] == ["bad-box"]
    rows = list(csv.DictReader(Path("said.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", "rank", "class", "probability", "x", "y", "w", "h"]
    first = values["predictions"][0]
    assert rows[0]["path"] == first["path"]
    assert {name: int(rows[0][name]) for name in "xywh"} == first["box"]
    assert run(*words, "--csv", "said.csv").exit_code == 0  # which is written anew
    drawn = run(*words, "--explain", "maps", "--json")
    assert len(json.loads(drawn.stdout)["predictions"]) == 54, drawn.stderr
    # By the name that is bare, and by that from here.
    monkeypatch.chdir(pictures)
    (pictures / "one.csv").write_text("path,x,y,w,h\n0.jpg,3,5,40,60\n")
    for row in ("0.jpg", "cat/0.jpg"):
        (pictures / "one.csv").write_text(f"path,x,y,w,h\n{row},3,5,40,60\n")
        found = list(featx.predict(tmp_path / "here/m.safetensors", ["cat/0.jpg"], boxes="one.csv"))
        assert [one.path for one in found] == ["cat/0.jpg/[3,5,40,60]"]
    with pytest.raises(featx.FeatxError, match="the list is empty; left out: images without a box"):
        list(featx.predict(tmp_path / "here/m.safetensors", ["dog/0.jpg"], boxes="one.csv"))


@pytest.mark.parametrize("kind", ["tar", "gztar", "zip"])
def test_boxes_of_pictures_in_an_archive(run, pictures, boxes, stored, tmp_path, kind):
    words = ("--boxes", boxes, *SPLIT, "--engine", "torch", "--json")
    done = run("extract", pictures, *words, "-o", tmp_path / "F.h5")
    assert done.exit_code == 0, done.stderr
    packed = shutil.make_archive(tmp_path / "packed" / "photos", kind, pictures)
    whole = run(
        "extract", packed, *words, "-o", tmp_path / "A.h5", "--cache-dir", tmp_path / "none"
    )
    assert whole.exit_code == 0, whole.stderr
    assert json.loads(whole.stdout)["extracted"] == 54
    wanted, found = read_rows(tmp_path / "F.h5"), read_rows(tmp_path / "A.h5")
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert (
        read_features(tmp_path / "A.h5").fingerprint == read_features(tmp_path / "F.h5").fingerprint
    )
    assert run("fit", tmp_path / "F.h5", "--clf", "centroid", "-o", "m.safetensors").exit_code == 0
    said = run("predict", "m.safetensors", packed, "--boxes", boxes, "--json")
    assert len(json.loads(said.stdout)["predictions"]) == 54


def test_pages_and_commands_show_boxes(run, pictures, boxes, stored, tmp_path):
    out = tmp_path / "F.h5"
    assert run("extract", pictures, "--boxes", boxes, *SPLIT, "-o", out).exit_code == 0
    done = run("audit", out, "--root", pictures, "--report", tmp_path / "audit.html", "--json")
    assert done.exit_code == 0, done.stderr
    assert "data:image/jpeg" in (tmp_path / "audit.html").read_text()
    near = run("similar", out, pictures / "cat" / "0.jpg" / "[3,5,40,60]", "-k", 1, "--json")
    (found,) = json.loads(near.stdout)["similar"]
    assert found["nearest"][0]["path"] == "cat/0.jpg/[3,5,40,60]"
    assert found["nearest"][0]["same"]
    assert run("fit", out, "--clf", "centroid", "-o", "m.safetensors").exit_code == 0
    extracting, _ = say_training(featx.read_model("m.safetensors"))
    assert extracting.startswith("featx extract DATA --split 0.5,0.2,0.3@1 --boxes BOXES ")
