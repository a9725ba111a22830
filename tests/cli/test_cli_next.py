"""`featx next`: from a folder with unlabelled/ to a CSV that is filled in and read back."""

import csv
import json

import pytest

from featx.sources.reading import read_dataset


@pytest.fixture
def waiting(run, photos, stored, tmp_path):
    """Five of nine pictures a class labelled, the others in a folder of their own."""
    (photos / "Unlabelled").mkdir()
    for path in sorted(photos.glob("*/0[5-9].*")):
        path.rename(photos / "Unlabelled" / f"{path.parent.name}{path.name}")
    done = run("extract", photos, "-o", tmp_path / "F.h5", "-q")
    assert "images without a label: 12" in done.stderr
    return tmp_path / "F.h5"


def test_a_csv_is_filled_in_and_read_back(run, waiting, photos, tmp_path):
    table, page = tmp_path / "next.csv", tmp_path / "next.html"
    words = ("next", waiting, "--n", 6, "--csv", table, "--report", page, "--root", photos)
    done = run(*words, "--json")
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["labelled"], values["unlabelled"], len(values["images"])) == (15, 12, 6)
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 6
    assert "<script" not in text
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one["path"] for one in values["images"]]
    again = run(*words, "-q")
    assert again.exit_code == 0, again.stderr
    assert again.stdout.endswith(f"written: {table}, {page}\n")
    filled = "path,sha256,label\n" + "".join(
        f"{row['path']},{row['sha256']},{row['path'][11:14]}\n" for row in rows
    )
    table.write_text(filled, "utf-8")
    assert set(read_dataset(table, root=photos).classes) <= {"cat", "dog", "owl"}
    fitted = run("fit", waiting, "--clf", "centroid", "--labels", table, "--json")
    assert fitted.exit_code == 0, fitted.stderr
    assert json.loads(fitted.stdout)["labels"]["changed"] == 6
    on = json.loads(run("next", waiting, "--labels", table, "--no-forecast", "--json").stdout)
    assert (on["labelled"], on["unlabelled"], on["labels"]["changed"]) == (21, 6, 6)
    assert not {row["path"] for row in rows} & {one["path"] for one in on["images"]}
    refused = run(*words)
    assert refused.exit_code == 1
    assert "6 labels that someone filled in" in refused.stderr
    assert table.read_text("utf-8") == filled
    assert run(*words, "--overwrite").exit_code == 0


def test_a_file_without_a_pool_is_said(run, feature_file):
    done = run("next", feature_file("first:5,2"))
    assert done.exit_code == 1
    assert "each of its 27 images has a label" in done.stderr
