"""Commands on archives: what they say of a folder they say of the same packed."""

import csv
import json

from made_archives import pack_parquet, pack_shards, pack_tar

from featx.auditing.audit import find_root
from featx.features.file import read_features


def test_extract_and_predict(run, photos, stored, tmp_path):
    packed, out = pack_tar(photos, tmp_path / "photos.tar"), tmp_path / "F.h5"
    done = run("extract", packed, "--split", "first:6,1", "-o", out, "--engine", "torch", "--json")
    assert json.loads(done.stdout)["images"] == 27
    again = run("extract", packed, "--split", "first:6,1", "-o", out, "--engine", "torch")
    assert "27 images, 0 extracted" in again.stdout
    assert find_root(read_features(out)) == find_root(read_features(out), packed) == packed
    model = tmp_path / "m.safetensors"
    run("fit", out, "-C", "1", "-o", model, "-q")
    told = {}
    for what in (photos / "dog", packed / "dog", packed, packed / "dog" / "00.jpg"):
        done = run("predict", model, what, "--csv", tmp_path / "p.csv", "-q")
        assert done.exit_code == 0
        with (tmp_path / "p.csv").open(newline="") as file:
            # Batches of other sizes have other last bits.
            rows = [(*row.values(),) for row in csv.DictReader(file)]
            told[what] = [[*rest, f"{float(p):.3f}"] for *rest, p in rows]
    folder = [[row[0].replace(str(photos), str(packed)), *row[1:]] for row in told[photos / "dog"]]
    assert told[packed / "dog"] == folder
    assert [row for row in told[packed] if "/dog/" in row[0]] == folder
    assert told[packed / "dog" / "00.jpg"] == folder[:1]


def test_shards_and_tables_are_predicted(run, photos, feature_file, tmp_path):
    model = tmp_path / "m.safetensors"
    run("fit", feature_file("first:6,1"), "-C", "1", "-o", model, "-q")
    shards = pack_shards(photos, tmp_path / "shards", 3)
    table = pack_parquet(photos, tmp_path / "photos.parquet")
    for what, n in ((shards, 27), (shards / "shard-{000..001}.tar", 18), (table, 27)):
        done = run("predict", model, what, "--json", "-q")
        assert done.exit_code == 0
        assert len(json.loads(done.stdout)["predictions"]) == n


def test_what_is_no_archive(run, tmp_path):
    (tmp_path / "no.tar").write_text("path,label\n" * 99)
    done = run("extract", tmp_path / "no.tar")
    assert done.exit_code == 1
    assert done.stderr == f"Error: {tmp_path}/no.tar: it is no tar file (invalid header)\n"
