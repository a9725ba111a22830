"""Maps of pictures: what two networks under two engines and every linear head make of them."""

import numpy as np
import pytest
from shared import CLASSES

from featx.data.dataset import Skipped
from featx.deployment.predict import predict
from featx.errors import DatasetError, ModelError
from featx.explaining.explain import explain
from featx.features.file import read_features
from featx.finetuning.finetune import finetune
from featx.heads.fit import fit


@pytest.fixture
def model(feature_file, tmp_path):
    features = read_features(feature_file("first:6,1"))
    return fit(features, "logreg", C=1.0, scale="standard", output=tmp_path / "m.safetensors").path


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_mean_and_bias_are_the_logits_that_predict_has(model, photos, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    said = list(predict(model, photos / "dog", engine=engine, top=3))
    found = list(explain(model, photos / "dog", engine=engine, top=3))
    assert [one.prediction for one in found] == said
    for one in found:
        logits = one.maps.mean((1, 2)) + one.biases
        odds = np.exp(logits - logits.max())
        expected = dict(one.prediction.top)
        assert np.allclose(odds / odds.sum(), [expected[name] for name in CLASSES], rtol=1e-4)
        assert one.shown == one.prediction.label
        assert one.logit == pytest.approx(logits.max())
        assert (one.map.shape, one.pixels.shape) == ((2, 2), (64, 64, 3))


def test_a_map_keeps_its_picture(model, photos):
    """Processes write the next batches where the last one's pictures were."""
    by_threads, by_processes = (
        [one.pixels.tobytes() for one in explain(
            model, photos, engine="torch", batch_size=2, decode_processes=n
        )] for n in (0, 1)
    )  # fmt: skip
    assert by_processes == by_threads


def test_a_difference_of_two_is_the_logarithm_of_their_odds(model, photos):
    (one,) = explain(model, photos / "cat" / "00.jpg", shown="owl", against="dog", top=3)
    odds = dict(one.prediction.top)
    # Of probabilities in float32, each of which is 6e-8 of itself off.
    assert one.logit == pytest.approx(np.log(odds["owl"] / odds["dog"]), rel=1e-6, abs=1e-6)
    assert np.array_equal(one.map, one.maps[2] - one.maps[1])
    values = one.to_dict()
    assert (values["shown"], values["against"]) == ("owl", "dog")
    assert np.mean(values["map"]) + values["bias"] == pytest.approx(values["logit"])


@pytest.mark.parametrize("train", ["fc", "last3"])
def test_a_fine_tuned_network_has_maps(stored, photos, tmp_path, train):
    tuned, _ = finetune(
        photos, split="first:6,1", epochs=1, train=train, learning_rate=1e-3, output=tmp_path / "r"
    )
    (one,) = explain(tuned, photos / "cat" / "00.jpg", top=3)
    logits = one.maps.mean((1, 2)) + one.biases
    assert np.allclose(
        np.exp(logits) / np.exp(logits).sum(), [dict(one.prediction.top)[n] for n in CLASSES]
    )


def test_what_has_no_map_says_so_before_the_network_is_looked_for(
    model, feature_file, photos, tmp_path, stored
):
    features = read_features(feature_file("first:6,1", "all"))
    fit(features, "knn", output=tmp_path / "knn.safetensors")
    fit(features, "logreg", C=1.0, layers="avg", output=tmp_path / "avg.safetensors")
    fit(features, "ridge", layers="last", output=tmp_path / "ridge.safetensors")
    assert list(explain(tmp_path / "ridge.safetensors", photos / "cat"))
    (stored / "imagenet1k-v1.safetensors").unlink()
    with pytest.raises(ModelError, match="knn has no map"):
        explain(tmp_path / "knn.safetensors", photos)
    with pytest.raises(ModelError, match="reads --layers avg: a map is the last layer's averages"):
        explain(tmp_path / "avg.safetensors", photos)
    for words in ({"shown": "cow"}, {"against": "cow"}):
        with pytest.raises(ModelError, match="has no class 'cow': say one of cat, dog, owl"):
            explain(model, photos, **words)
    with pytest.raises(ModelError, match="'cat' against itself is nothing"):
        explain(model, photos, shown="cat", against="cat")
    with pytest.raises(DatasetError, match="no such image"):
        explain(model, photos / "gone.jpg")


def test_what_is_no_image_is_skipped(model, photos):
    (photos / "cat" / "03.png").write_text("x")
    found = list(explain(model, photos / "cat"))
    assert [isinstance(one, Skipped) for one in found] == [i == 3 for i in range(9)]
