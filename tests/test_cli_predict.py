import csv
import json

import pytest
from conftest import draw_photo


@pytest.fixture
def model(run, photos, stored, tmp_path):
    run("extract", photos, "--split", "first:6,1", "-o", tmp_path / "F.h5", "-q")
    run("fit", tmp_path / "F.h5", "-o", tmp_path / "m.safetensors", "-q")
    return tmp_path / "m.safetensors"


def test_predict(run, model, photos, tmp_path):
    done = run(
        "predict", model, photos / "dog", "--top", "2", "--csv", tmp_path / "p.csv", "--json", "-q"
    )
    assert done.exit_code == 0
    values = json.loads(done.stdout)["predictions"]
    assert len(values) == 9
    assert values[0]["path"] == str(photos / "dog" / "00.jpg")
    assert values[0]["class"] == values[0]["top"][0]["class"] in {"cat", "dog", "owl"}
    assert 0 < values[0]["probability"] <= 1
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert rows[0]["class"] == values[0]["class"]
    table = run("predict", model, photos / "dog" / "00.jpg", "-q").stdout.splitlines()
    assert table[0].split() == ["image", "class", "probability"]
    assert table[2].split()[:2] == [str(photos / "dog" / "00.jpg"), values[0]["class"]]


def test_no_image(run, model, tmp_path):
    (tmp_path / "text.jpg").write_text("x")
    alone = run("predict", model, tmp_path / "text.jpg", "-q")
    assert alone.exit_code == 1
    assert alone.stderr == f"Error: {tmp_path / 'text.jpg'}: not an image\n"
    good = draw_photo(tmp_path / "good.png", 0, 0)
    both = run("predict", model, tmp_path / "text.jpg", good, "-q")
    assert both.exit_code == 3
    assert both.stderr.startswith(f"skipped {tmp_path / 'text.jpg'}: not an image\n")
    assert str(good) in both.stdout


def test_no_model(run, tmp_path):
    (tmp_path / "m.safetensors").write_text("x")
    done = run("predict", tmp_path / "m.safetensors", "x.jpg")
    assert done.exit_code == 1
    assert "m.safetensors is not a model file" in done.stderr
