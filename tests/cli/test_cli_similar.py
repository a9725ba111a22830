import json


def test_similar(run, feature_file, photos, tmp_path):
    file = feature_file("first:6,1")
    photo = photos / "cat" / "00.jpg"
    values = json.loads(run("similar", file, photo, "-k", 2, "--json", "-q").stdout)
    (one,) = values["similar"]
    assert one["path"] == str(photo)
    assert one["nearest"][0]["path"] == "cat/00.jpg"
    assert [near["same"] for near in one["nearest"]] == [True, False]
    assert (values["skipped"], values["left_out"]) == (0, [])
    text = run("similar", file, photo, "-k", 2, "-q").stdout.splitlines()
    assert text[2].split() == [
        str(photo), "1.0000", "cat", "train", "cat/00.jpg", "the", "same", "file"
    ]  # fmt: skip
    assert len(text) == 4
    (tmp_path / "text.jpg").write_text("x")
    done = run("similar", file, photo, tmp_path / "text.jpg", "-q")
    assert done.exit_code == 3
    assert "text.jpg: not an image" in done.stderr
