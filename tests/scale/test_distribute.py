"""What is asked of a cluster, the shards being computed here."""

import pytest

from featx.extraction.extract import extract
from featx.features.file import read_features
from featx.scale.distribute import extract_distributed
from featx.scale.shard import ShardWorker


@pytest.fixture
def no_ray(monkeypatch):
    """Shards one after the other in this process, in the place of Ray's actors."""

    def run(plan, **options):
        worker = ShardWorker(plan, num_workers=0)
        return sum(worker.extract(shard).extracted for shard in range(len(plan.shards)))

    monkeypatch.setattr("featx.scale.distribute.import_ray", lambda address: None)
    monkeypatch.setattr("featx.scale.distribute.run_with_ray", run)


def test_corrected_labels_are_in_the_file_as_in_that_of_one_machine(
    no_ray, stored, photos, tmp_path
):
    made = read_features(extract(photos, split="first:5,2", engine="torch").features)
    path = tmp_path / "C.csv"
    path.write_text(f"sha256,answer,label\n{made.hashes[0]},is,wolf\n{made.hashes[3]},leave out,\n")
    options = {"split": "first:5,2", "engine": "torch", "labels": path}
    alone = extract(photos, output=tmp_path / "alone.h5", **options)
    done = extract_distributed(photos, output=tmp_path / "F.h5", shard_size=9, **options)
    assert (done.images, done.extracted) == (alone.images, 26)
    assert done.features.read_bytes() == alone.features.read_bytes()
    assert read_features(done.features).classes == ("cat", "dog", "owl", "wolf")
