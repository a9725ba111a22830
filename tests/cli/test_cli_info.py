import json


def test_info(run, photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    run("extract", photos, "--split", "first:4,2", "-o", out, "-q")
    values = json.loads(run("info", out, "--json").stdout)
    assert values["counts"]["val"] == {"cat": 2, "dog": 2, "owl": 2}
    assert values["weights"] == "imagenet1k-v1"
    text = run("info", out).stdout
    assert "27: 12 train, 6 val, 9 test; 0 skipped" in text
    assert "3: cat, dog, owl" in text
    assert "colours      icc to srgb by littlecms" in text
