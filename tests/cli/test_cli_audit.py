import csv
import hashlib
import html
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps


@pytest.fixture
def audited(run, photos, stored, tmp_path):
    """27 stripes and 12 scenes; a scene mirrored into another split, one with another label."""
    for name, start in (("sea", 0), ("town", 50)):
        for i in range(6):
            rng = np.random.default_rng(start + i)
            small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            (photos / name).mkdir(exist_ok=True)
            small.resize((240, 180), Image.Resampling.BICUBIC).save(photos / name / f"{i:02d}.png")
    ImageOps.mirror(Image.open(photos / "sea" / "00.png")).save(photos / "sea" / "07.jpg")
    shutil.copy(photos / "sea" / "01.png", photos / "town" / "01b.png")
    Image.new("RGB", (12, 30), (200, 0, 0)).save(photos / "town" / "00-small.png")
    (photos / "town" / "99.jpg").write_bytes(b"no image")
    run("extract", photos, "--split", "first:4,1", "-o", tmp_path / "F.h5", "-q")
    return tmp_path / "F.h5"


def test_what_was_planted_is_found(run, audited, photos, tmp_path):
    table, page = tmp_path / "F.csv", tmp_path / "F.html"
    done = run("audit", audited, "--root", photos, "--json", "--csv", table, "--report", page)
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    found = {(one["kind"], one["path"], one["other"]): one for one in values["findings"]}
    leak = found["leak", "sea/07.jpg", "sea/00.png"]
    assert (leak["split"], leak["other_split"]) == ("test", "train")
    assert leak["detail"].endswith("mirrored")
    assert ("conflict", "town/01b.png", "sea/01.png") in found
    assert ("tiny", "town/00-small.png", "") in found
    assert ("blurred", "town/00-small.png", "") in found
    assert ("skipped", "town/99.jpg", "") in found
    counts = values["leak"]["counts"]
    assert counts["all"]["total"] - counts["without"]["total"] == values["leak"]["leaked"] >= 1
    assert values["counts"]["unseen"] == 0
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert len(rows) == len(values["findings"])
    text = html.unescape(page.read_text("utf-8"))
    assert text.startswith("<!-- featx audit -->\n<!DOCTYPE html>")
    assert "data:image/jpeg;base64," in text
    assert (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in text
    )
    again = run("audit", audited, "--root", photos, "--csv", table, "--report", page, "-q")
    assert again.exit_code == 0, again.stderr
    assert again.stdout.endswith(f"written: {table}, {page}\n")
    piped = run("audit", audited, "--root", photos, "--csv", "-")
    assert piped.stdout == table.read_text("utf-8")


def test_without_pictures_all_else_is_said(run, audited, photos):
    photos.rename(photos.parent / "elsewhere")
    done = run("audit", audited, "--json")
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["root"] is None
    assert "--root" in values["notes"][0]
    assert {one["kind"] for one in values["findings"]} >= {"conflict", "unconfirmed", "skipped"}
    assert not {one["kind"] for one in values["findings"]} & {"tiny", "blurred", "unseen"}
    assert values["leak"]["accuracy"]["all"] >= 0


def test_a_folder_of_the_datas_name_beside_the_file_is_found(run, audited, photos):
    values = json.loads(run("audit", audited, "--json").stdout)
    assert values["root"] == str(photos)
    assert values["looked"] == values["images"]


def test_changed_pictures_are_not_looked_at(run, audited, photos):
    Image.new("RGB", (50, 50)).save(photos / "sea" / "02.png")
    values = json.loads(run("audit", audited, "--json").stdout)
    assert [o["path"] for o in values["findings"] if o["kind"] == "unseen"] == ["sea/02.png"]


def test_what_is_refused(run, audited, photos, tmp_path):
    other = tmp_path / "notes.csv"
    other.write_text("mine\n")
    for option in ("--csv", "--report"):
        done = run("audit", audited, option, other)
        assert done.exit_code == 1
        assert "holds something else" in done.stderr
        assert other.read_text() == "mine\n"
    assert run("audit", audited, "--root", tmp_path / "nowhere").exit_code == 1
    assert run("audit", tmp_path / "none.h5").exit_code == 1
    assert run("audit").exit_code == 2


def test_without_labels_copies_are_found_all_the_same(run, photos, stored, tmp_path):
    folder = photos / "cat"
    shutil.copy(folder / "00.jpg", folder / "zz.jpg")
    run("extract", folder, "-o", tmp_path / "U.h5", "-q")
    done = run("audit", tmp_path / "U.h5", "--root", folder)
    assert done.exit_code == 0, done.stderr
    assert "Labels were not judged" in done.stdout
    assert "zz.jpg" in done.stdout


def test_names_are_no_html(run, photos, stored, tmp_path):
    evil = photos / "<script>alert(1)<"
    (photos / "cat").rename(evil)
    shutil.copy(evil / "00.jpg", evil / "zz.jpg")
    run("extract", photos, "--split", "first:4,2", "-o", tmp_path / "F.h5", "-q")
    page = tmp_path / "F.html"
    assert run("audit", tmp_path / "F.h5", "--root", photos, "--report", page).exit_code == 0
    assert "<script>alert" not in page.read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;" in page.read_text("utf-8")


def test_labels_are_corrected_and_nothing_is_changed(run, audited, photos, tmp_path):
    before = audited.read_bytes()
    digest = hashlib.sha256((photos / "town" / "01b.png").read_bytes()).hexdigest()  # of the sea
    table, page = tmp_path / "corrections.csv", tmp_path / "F.html"
    table.write_text(f"\ufeffsha256;was;answer;label\n{digest};;is;sea\n", "utf-8")
    words = ("audit", audited, "--root", photos, "--labels", table, "--report", page)
    values = json.loads(run(*words, "--json").stdout)
    assert values["labels"]["changed"] == 1
    assert values["labels"]["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert values["counts"]["conflict"] == 0
    assert audited.read_bytes() == before
    text = page.read_text("utf-8")
    assert "Labels corrected by corrections.csv: 1 changed" in text
    assert digest in text
    table.write_text("sha256,label\n" + "0" * 64 + ",sea\n")
    done = run(*words)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {table}: none of its 1 contents (sha256) is among")
