import pytest

from featx.data.dataset import Leftovers, Skipped
from featx.deployment.classifier import read_classifier
from featx.deployment.stream import RunOptions, name_sources, stream_images
from featx.errors import DatasetError
from featx.features.file import read_features
from featx.heads.fit import fit


@pytest.fixture
def classifier(feature_file, tmp_path):
    fit(read_features(feature_file("first:6,1")), "centroid", output=tmp_path / "m.safetensors")
    return read_classifier(tmp_path / "m.safetensors")


@pytest.mark.parametrize("places", [False, True])
def test_each_image_is_judged_once_in_order_with_what_the_network_gave(classifier, photos, places):
    (photos / "cat" / "05.png").write_text("x")
    left_out = Leftovers()
    (photos / "cat" / "note.txt").touch()
    seen = []

    def judge(batch):
        seen.append((len(batch.paths), batch.pixels.shape, batch.rows.shape))
        return [path.name for path in batch.paths]

    sources = name_sources([photos / "cat"], [photos / "dog" / "00.jpg"], left_out)
    how = RunOptions(engine="torch", batch_size=4, num_workers=0)
    said = list(stream_images(classifier, sources, judge, how, "look", places))
    names = [one.kind if isinstance(one, Skipped) else one for one in said]
    whole = [f"{i:02d}.{'png' if i % 2 else 'jpg'}" for i in range(9)]
    assert names == [*whole[:5], "not-an-image", *whole[6:], "00.jpg"]
    wide = 2048 * (5 if places else 1)
    assert seen == [(n, (n, 64, 64, 3), (n, wide)) for n in (4, 4, 1)]
    assert [one.count for one in left_out.list()] == [1]


def test_what_is_not_there_is_named_before_anything_runs(classifier, tmp_path):
    with pytest.raises(DatasetError, match="no such image: "):
        name_sources([tmp_path / "gone.jpg"])
    nothing = stream_images(classifier, name_sources([]), lambda batch: [], RunOptions(), "look")
    with pytest.raises(DatasetError, match="the list is empty"):
        list(nothing)
