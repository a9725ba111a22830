import json

import pytest


@pytest.fixture
def model(run, feature_file, tmp_path):
    run("fit", feature_file("first:6,1"), "-C", "1", "-o", tmp_path / "m.safetensors", "-q")
    return tmp_path / "m.safetensors"


def test_explain(run, model, photos, tmp_path):
    (photos / "dog" / "04.jpg").write_text("x")
    words = ("explain", model, photos / "dog", "--class", "dog", "--against", "owl", "-q")
    done = run(*words, "-o", tmp_path / "maps", "--json", "--max-skipped", "0.2")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert len(values["explanations"]) == 8
    first = values["explanations"][0]
    assert (first["shown"], first["against"]) == ("dog", "owl")
    assert sum(map(sum, first["map"])) / 4 + first["bias"] == pytest.approx(first["logit"])
    assert values["skipped_files"][0]["path"] == str(photos / "dog" / "04.jpg")
    assert done.stderr == f"skipped {photos / 'dog' / '04.jpg'}: not an image\n"
    assert values["page"] == str(tmp_path / "maps" / "index.html")
    assert len(list((tmp_path / "maps").glob("*.png"))) == 8
    again = run(*words, "-o", tmp_path / "maps")
    assert again.exit_code == 1
    assert "maps exists and holds something else (a folder with files)" in again.stderr
    text = run(*words, "-o", tmp_path / "maps", "--overwrite")
    assert text.exit_code == 3
    assert text.stdout.splitlines()[2].split()[:1] == [str(photos / "dog" / "00.jpg")]
    assert "dog against owl" in text.stdout
    assert f"written: {tmp_path / 'maps' / 'index.html'}" in text.stdout


def test_what_cannot_be_explained(run, model, photos, feature_file, tmp_path):
    cow = run("explain", model, photos, "-o", "maps", "--class", "cow", "-q")
    assert (cow.exit_code, cow.stderr) == (
        1, f"Error: {model} has no class 'cow': say one of cat, dog, owl\n"
    )  # fmt: skip
    run("fit", tmp_path / "F.h5", "--clf", "knn", "-o", tmp_path / "knn.safetensors", "-q")
    knn = run("predict", tmp_path / "knn.safetensors", photos, "--explain", "maps", "-q")
    assert knn.exit_code == 1
    assert knn.stderr.startswith("Error: knn has no map: its scores are no sum over the places")


def test_predict_draws_what_it_says(run, model, photos, tmp_path):
    words = ("predict", model, photos / "cat", "--top", "2", "-q")
    plain = run(*words)
    drawn = run(*words, "--explain", tmp_path / "maps", "--csv", tmp_path / "p.csv")
    assert drawn.stdout == plain.stdout
    assert len(list((tmp_path / "maps").iterdir())) == 10
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 19


def test_a_split_of_a_feature_file(run, model, photos, tmp_path):
    shown = run("explain", model, tmp_path / "F.h5", "--root", photos, "--json", "-q")
    values = json.loads(shown.stdout)
    assert [one["path"] for one in values["explanations"]] == [
        str(path)
        for name in ("cat", "dog", "owl")
        for path in sorted((photos / name).iterdir())[7:]
    ]
    assert values["page"] is None
    (photos / "cat" / "06.jpg").unlink()
    drawn = run("explain", model, tmp_path / "F.h5", "--part", "val", "-o", tmp_path / "m", "-q")
    assert drawn.exit_code == 3  # one of three is not there
    assert len(list((tmp_path / "m").glob("*.png"))) == 2
    for words in (("F.h5", photos), (photos, "--part", "val")):
        assert run("explain", model, *words, "-q").exit_code == 2
