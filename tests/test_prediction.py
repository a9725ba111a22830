import shutil

import numpy as np
import pytest
from conftest import draw_photo

from featx.errors import DatasetError, ImageError, ModelError
from featx.extraction import extract
from featx.finetuning import finetune
from featx.heads import fit
from featx.models import write_model
from featx.prediction import collect_predictions, predict_features
from featx.prediction import predict as stream
from featx.store import read_features


def predict(*words, **options):
    return collect_predictions(stream(*words, **options))


@pytest.fixture
def made(stored, photos, tmp_path):
    """A feature file, a head on it and a fine-tuned network."""
    features = extract(photos, split="first:6,1", cache_dir=tmp_path / "cache").features
    head = write_model(fit(features, "logreg"), tmp_path / "head.safetensors")
    tuned, _ = finetune(photos, split="first:6,1", epochs=1, output=tmp_path / "run")
    return features, head.path, tuned.path.parent


def test_a_head_says_of_an_image_what_it_said_of_its_features(made, photos):
    features, head, _ = made
    held = read_features(features)
    done = predict(head, [photos / p for p in held.paths], top=2)
    expected = predict_features(head, held)
    assert [held.classes.index(one.label) for one in done.predictions] == expected.argmax(
        1
    ).tolist()
    assert np.allclose([one.probability for one in done.predictions], expected.max(1), atol=1e-5)
    first = done.predictions[0]
    assert len(first.top) == 2
    assert first.top[0] == (first.label, first.probability)
    assert first.top[0][1] >= first.top[1][1]


def test_a_fine_tuned_network_predicts(made, photos):
    _, _, run = made
    done = predict(run, [photos / "dog"], top=99)
    assert [one.path for one in done.predictions] == [
        str(p) for p in sorted((photos / "dog").iterdir())
    ]
    assert len(done.predictions[0].top) == 3
    assert sum(p for _, p in done.predictions[0].top) == pytest.approx(1)


def test_files_that_are_no_images(made, photos, tmp_path):
    _, head, _ = made
    (tmp_path / "text.jpg").write_text("x")
    good = draw_photo(tmp_path / "good.png", 0, 1)
    done = predict(head, [tmp_path / "text.jpg", good])
    assert [one.path for one in done.predictions] == [str(good)]
    (one,) = done.skipped_files
    assert (one.path, one.reason) == (str(tmp_path / "text.jpg"), "not an image")
    with pytest.raises(ImageError, match=r"text.jpg: not an image"):
        predict(head, [tmp_path / "text.jpg"])
    with pytest.raises(DatasetError, match=r"no such image: .*gone.jpg"):
        predict(head, [tmp_path / "gone.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no images in .*empty"):
        predict(head, [tmp_path / "empty"])


def test_a_head_refuses_features_of_other_weights(made, photos, tmp_path, random_state):
    import torch

    _, head, run = made
    other = {**random_state, "conv1.weight": random_state["conv1.weight"] * 1.01}
    torch.save(other, tmp_path / "other.pth")
    features = extract(
        photos, weights=str(tmp_path / "other.pth"), output=tmp_path / "other.h5"
    ).features
    with pytest.raises(
        ModelError, match="learned on features of imagenet1k-v1, and meets those of file:other"
    ):
        predict_features(head, read_features(features))
    for model in (head, run):
        with pytest.raises(ModelError, match="the numbers would mean nothing"):
            predict(model, [photos / "cat"], weights=str(tmp_path / "other.pth"))
    local = write_model(fit(features), tmp_path / "local.safetensors").path
    assert predict(local, [photos / "cat"]).predictions  # by the file that was read last
    (tmp_path / "other.pth").rename(tmp_path / "moved.pth")
    with pytest.raises(
        ModelError, match=r"learned on weights from a local file, file:other .* with --weights"
    ):
        predict(local, [photos / "cat"])
    assert predict(local, [photos / "cat"], weights=str(tmp_path / "moved.pth")).predictions


def test_a_network_takes_no_features(made):
    features, _, run = made
    with pytest.raises(ModelError, match="is a fine-tuned network: it takes images, not features"):
        predict_features(run, read_features(features))


def test_a_copied_file_predicts_the_same(made, photos, tmp_path):
    _, head, _ = made
    shutil.copy(head, tmp_path / "elsewhere.safetensors")
    a, b = (
        predict(m, [photos / "cat"]).predictions for m in (head, tmp_path / "elsewhere.safetensors")
    )
    assert a == b


def test_images_are_decoded_as_those_were_that_it_learned_on(stored, photos, tmp_path):
    for kind, name in enumerate(("cat", "dog", "owl")):
        draw_photo(photos / name / "large.jpg", kind, 99, size=(700, 600))
    models = {}
    for decode in ("exact", "fast"):
        features = extract(photos, decode=decode, cache_dir=tmp_path / "cache").features
        models[decode] = fit(features, "logreg", C=1.0, output=tmp_path / f"{decode}.safetensors")
        held = read_features(features)
        expected = predict_features(models[decode].path, held).max(1)
        done = predict(models[decode].path, [photos / p for p in held.paths])
        assert np.allclose([one.probability for one in done.predictions], expected, atol=1e-5)
    tuned, _ = finetune(photos, epochs=1, decode="fast", output=tmp_path / "run")
    done = predict(tuned.path.parent, [photos / "cat" / "large.jpg"])
    assert len(done.predictions) == 1


def test_a_calibrated_network_predicts_what_was_scored(stored, photos, tmp_path):
    tuned, _ = finetune(
        photos, split="first:4,2", epochs=1, calibrate=True, class_weight="balanced",
        output=tmp_path / "run",
    )  # fmt: skip
    assert tuned.outcome.details["temperature"] != 1.0
    test = [photos / name / f"{i:02d}.{'png' if i % 2 else 'jpg'}" for name in tuned.classes
            for i in range(6, 9)]  # fmt: skip
    said = predict(tuned.path.parent, test, top=3)
    expected = tuned.outcome.probabilities["test"]
    found = np.array([[dict(one.top)[name] for name in tuned.classes] for one in said.predictions])
    assert np.allclose(found, expected, atol=1e-5)
