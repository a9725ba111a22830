"""What is kept beside the features goes with them: files, resume, reuse, shards, exports."""

import json

import h5py
import numpy as np
import pytest
from shared import draw_photo

import featx
from featx.errors import FeatureFileError, LayersError
from featx.features.file import open_features, read_features
from featx.scale.merge import merge
from featx.scale.plan import make_plan
from featx.scale.shard import ShardWorker

OPTIONS = {"split": "first:4,2", "engine": "torch"}


@pytest.fixture
def wide(photos, stored, tmp_path):
    return featx.extract(photos, output=tmp_path / "W.h5", layers="all", **OPTIONS).features


def test_the_features_are_those_of_a_file_without(photos, wide, tmp_path):
    plain = featx.extract(photos, output=tmp_path / "F.h5", **OPTIONS).features
    with h5py.File(plain) as one, h5py.File(wide) as other:
        assert np.array_equal(one["features"][:], other["features"][:])
        assert "layers" not in one
        assert one.attrs["fingerprint"] == other.attrs["fingerprint"]
        told = json.loads(other.attrs["layer_columns"])
        assert told[0] == {"layer": "layer1", "pool": "avg", "start": 0, "stop": 256}
        assert other["layers"].shape == (27, told[-1]["stop"])
        assert [one["layer"] + one["pool"] for one in told[-3:]] == [
            "layer3avg", "layer3max", "layer4max"
        ]  # fmt: skip
    found = read_features(wide)
    assert found.provenance.layers == "all"
    assert open_features(wide).to_dict()["layers"] == "all"
    assert open_features(plain).to_dict()["layers"] == "last"


def test_a_file_goes_on_as_it_is_and_grows_when_told(photos, wide, tmp_path):
    # Who asks for less finds it there; new images get what the others have.
    again = featx.extract(photos, output=wide, **OPTIONS)
    assert (again.extracted, again.reused) == (0, 27)
    draw_photo(photos / "cat" / "zz.png", 0, 99)
    more = featx.extract(photos, output=wide, **OPTIONS)
    assert (more.extracted, more.reused) == (1, 27)
    assert read_features(wide).layers.shape[0] == 28
    # Who asks for more has all images computed again, and needs no --overwrite.
    plain = featx.extract(photos, output=tmp_path / "F.h5", **OPTIONS).features
    grown = featx.extract(photos, output=plain, layers="avg", **OPTIONS)
    assert (grown.extracted, grown.reused) == (28, 0)
    assert read_features(plain).provenance.layers == "avg"


def test_killed_and_resumed_it_is_the_same_file(photos, wide, tmp_path, monkeypatch):
    from featx.network.engine import TorchEngine

    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 8)
    real, runs = TorchEngine.run, []

    def run(self, pixels):
        runs.append(len(pixels))
        if len(runs) == 3:
            raise KeyboardInterrupt
        return real(self, pixels)

    monkeypatch.setattr(TorchEngine, "run", run)
    out = tmp_path / "K.h5"
    options = {**OPTIONS, "layers": "all", "batch_size": 4}
    with pytest.raises(KeyboardInterrupt):
        featx.extract(photos, output=out, cache_dir=tmp_path / "none", **options)
    done = featx.extract(photos, output=out, cache_dir=tmp_path / "none", **options)
    assert done.reused > 0
    whole = featx.extract(photos, output=tmp_path / "L.h5", cache_dir=tmp_path / "no", **options)
    assert out.read_bytes() == whole.features.read_bytes()


def test_shards_are_one_machines_file(photos, stored, tmp_path):
    options = {**OPTIONS, "layers": "layer2:max", "batch_size": 4}
    whole = featx.extract(photos, output=tmp_path / "F.h5", **options).features
    plan = make_plan(photos, tmp_path / "plan", shard_size=10, **options)
    assert plan.provenance.layers == "layer2:max"
    for shard in range(3):
        ShardWorker(plan).extract(shard)
    merged = merge(plan.folder, tmp_path / "M.h5").features
    assert merged.read_bytes() == whole.read_bytes()


def test_float16_halves_them_too(photos, stored, tmp_path):
    path = featx.extract(
        photos, output=tmp_path / "H.h5", layers="max", storage="float16", **OPTIONS
    ).features
    with h5py.File(path) as file:
        assert file["layers"].dtype == file["features"].dtype == np.float16
    assert read_features(path).layers[:2].dtype == np.float32


def test_exports_carry_them(wide, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    done = featx.export_features(wide, parquet=tmp_path / "W.parquet", npy=tmp_path / "W.npy")
    table = parquet.read_table(tmp_path / "W.parquet")
    assert table.column_names[-2:] == ["features", "layers"]
    layers = read_features(wide).layers[:]
    flat = table["layers"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(flat.reshape(layers.shape), layers)
    assert np.array_equal(np.load(tmp_path / "W.layers.npy"), layers)
    assert np.load(tmp_path / "W.npy").shape == (27, 2048)
    assert sorted(one.path.name for one in done.written) == [
        "W.csv", "W.json", "W.layers.npy", "W.npy", "W.parquet"
    ]  # fmt: skip


def test_damage_is_found_in_them(wide):
    file = open_features(wide)
    rows = file.columns["layers"]
    data = bytearray(wide.read_bytes())
    data[rows.offset + 1000] ^= 4
    wide.write_bytes(data)
    with pytest.raises(FeatureFileError, match="damaged"):
        open_features(wide)


def test_words_that_name_no_layer_are_refused_before_any_work(tmp_path):
    with pytest.raises(LayersError, match="'layer9' is none"):
        featx.extract(tmp_path / "nowhere", layers="layer9")
