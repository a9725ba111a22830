import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from shared import CLASSES, draw_photo

from featx.config import KERAS
from featx.deployment.drift import detect_drift
from featx.deployment.predict import predict as stream
from featx.deployment.predict import predict_features
from featx.deployment.record import collect_predictions
from featx.errors import DatasetError, ImageError, LayersError, ModelError
from featx.extraction.extract import extract
from featx.features.file import read_features
from featx.finetuning.finetune import finetune
from featx.heads.fit import fit
from featx.network.backbone import empty_state
from featx.network.weights import load_weights, save_weights
from featx.training.model import read_model, write_model


def predict(*words, **options):
    return collect_predictions(stream(*words, **options))


@pytest.fixture
def made(kept, stored, full_width, drawn_photos):
    """A feature file, a head on it and a fine-tuned network."""

    def make(folder):
        features = extract(drawn_photos, split="first:6,1", cache_dir=folder / "cache").features
        head = write_model(fit(features, "logreg"), folder / "head.safetensors")
        tuned, _ = finetune(drawn_photos, split="first:6,1", epochs=1, output=folder / "run")
        return features, head.path, tuned.path.parent

    return kept(("a head and a network", full_width), make)


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
    told = predict(run, [photos / "dog"], unknown=0.3).predictions  # three images were val
    assert all(one.doubt.unknown == (one.doubt.p_value <= 0.3) for one in told)
    with pytest.raises(ModelError, match=r"--unknown 0\.05 needs 19 or more"):
        predict(run, [photos / "dog"], unknown=0.05)
    told = predict(run, [photos / "dog"], sets=0.5).predictions  # of three the second
    trained = read_model(run)
    y_val, p = trained.arrays["sets.labels"], trained.outcome.probabilities["val"]
    limit = np.sort(1 - p[np.arange(len(y_val)), y_val])[1]
    for one in predict(run, [photos / "dog"], top=3).predictions:
        inside = tuple(name for name, share in one.top if 1 - share <= limit + 1e-6)
        (found,) = [other.doubt.classes for other in told if other.path == one.path]
        assert found == inside
    assert sum(p for _, p in done.predictions[0].top) == pytest.approx(1)
    found = detect_drift(run, [photos / "dog"])
    assert (found.known, found.images, [one.score for one in found.tests]) == (
        3,
        9,
        ["probability"],
    )


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
        ModelError, match=r"was made with weights from a local file, file:other .* with --weights"
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


def test_images_are_taken_as_results_are(made, photos, tmp_path):
    _, head, _ = made
    taken = []

    def endless():
        while True:
            for path in sorted((photos / "dog").iterdir()):
                taken.append(path)
                yield path

    found = stream(head, listed=endless(), batch_size=4, num_workers=1)
    assert not taken
    first = [next(found) for _ in range(9)]
    found.close()
    assert [one.path for one in first] == [str(path) for path in taken[:9]]
    assert len(taken) <= 9 + 4 + 3 * 4  # a batch under way, two decoded ahead, and one


def test_results_come_in_order_whatever_fails(made, photos, tmp_path):
    _, head, _ = made
    paths = sorted(photos.glob("*/*"))
    for i in (0, 5, 6, 26):
        paths.insert(i, tmp_path / f"gone{i}.jpg")
    found = list(stream(head, listed=paths, batch_size=4))
    assert [one.path for one in found] == [str(path) for path in paths]
    assert [type(one).__name__ for one in found].count("Skipped") == 4
    alone = {one.path: one.probability for one in stream(head, paths[1:3])}
    assert alone == pytest.approx({one.path: one.probability for one in found[1:3]}, abs=1e-5)


def test_folders_are_searched_to_the_bottom(made, photos, tmp_path):
    _, head, _ = made
    deep = draw_photo(photos / "a" / "b" / "deep.png", 0, 1)
    (photos / "cat" / "loop").symlink_to(photos)
    draw_photo(photos / ".hidden" / "x.png", 0, 1)
    found = [one.path for one in stream(head, [photos])]
    assert found == [str(deep), *map(str, sorted(photos.glob("[cdo]*/[0-9]*")))]
    with pytest.raises(DatasetError, match="the list is empty"):
        list(stream(head))


def test_a_threshold_makes_unknown(made, photos, tmp_path):
    _, head, _ = made
    plain = list(stream(head, [photos], top=2))
    middle = float(np.median([one.probability for one in plain]))
    said = list(stream(head, [photos], top=2, threshold=middle))
    for before, after in zip(plain, said, strict=True):
        known = before.probability >= middle
        assert after.label == (before.label if known else "unknown")
        assert (after.top, after.probability) == (before.top, before.probability)
        rows = list(after.to_rows())
        assert rows[0] == (1, after.label, after.probability)
        assert rows[1] == (2, *before.top[1])
    assert {one.label for one in said} > {"unknown"}


def test_a_class_named_unknown_and_a_threshold(stored, photos, tmp_path):
    (photos / "owl").rename(photos / "unknown")
    model = fit(extract(photos, output=tmp_path / "F.h5").features, output=tmp_path / "m").path
    with pytest.raises(ModelError, match="has a class named unknown, and so has a threshold"):
        stream(model, [photos], threshold=0.5)
    assert len(list(stream(model, [photos]))) == 27


def test_weights_are_found_by_hash_among_the_stored(made, photos, stored, tmp_path, random_state):
    other = {**random_state, "conv1.weight": random_state["conv1.weight"] * 1.01}
    torch.save(other, tmp_path / "other.pth")
    features = extract(photos, weights=str(tmp_path / "other.pth"), output=tmp_path / "O.h5")
    model = fit(features.features, "centroid", output=tmp_path / "m.safetensors").path
    expected = list(stream(model, [photos / "cat"]))
    held = load_weights(tmp_path / "other.pth", empty_state())
    (tmp_path / "other.pth").unlink()
    with pytest.raises(ModelError, match="neither among the stored ones nor where it was last"):
        stream(model, [photos / "cat"])
    save_weights(replace(held, preprocessing=KERAS), stored / "trap.safetensors")
    with pytest.raises(ModelError, match="neither among the stored ones"):
        stream(model, [photos / "cat"])  # the same tensors, and another meaning
    save_weights(held, stored / "mine.safetensors")
    assert list(stream(model, [photos / "cat"])) == expected


def test_a_file_that_is_another_by_now_is_not_taken(stored, photos, tmp_path, random_state):
    other = {**random_state, "conv1.weight": random_state["conv1.weight"] * 1.01}
    place = tmp_path / "other.pth"
    torch.save(other, place)
    features = extract(photos, weights=str(place), output=tmp_path / "O.h5").features
    model = fit(features, "centroid", output=tmp_path / "m.safetensors").path
    torch.save(random_state, place)
    with pytest.raises(ModelError, match="name it with --weights"):
        stream(model, [photos])
    place.write_text("x")
    with pytest.raises(ModelError, match="name it with --weights"):
        stream(model, [photos])


def test_openvino_says_what_torch_says(made, photos, monkeypatch):
    pytest.importorskip("openvino")
    _, head, run = made
    for model in (head, run):
        one, two = (list(stream(model, [photos], engine=e)) for e in ("torch", "openvino"))
        assert [a.label for a in one] == [b.label for b in two]
        found = np.array([[a.probability, b.probability] for a, b in zip(one, two, strict=True)])
        assert np.allclose(found[:, 0], found[:, 1], atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("layers", ["max", "last,layer2"])
def test_a_head_on_layers_says_of_an_image_what_it_said_of_its_rows(
    feature_file, photos, tmp_path, engine, layers
):
    if engine == "openvino":
        pytest.importorskip("openvino")
    held = read_features(feature_file("first:6,1", "all"))
    model = fit(held, "logreg", C=0.01, layers=layers, output=tmp_path / "m.safetensors")
    expected = predict_features(model, held)
    done = predict(model, [photos / path for path in held.paths], engine=engine, top=3)
    found = np.array([[dict(one.top)[name] for name in CLASSES] for one in done.predictions])
    assert np.abs(found - expected).max() <= 1e-4
    assert expected.max() > 0.4  # not a third each, whatever the pictures
    narrow = replace(held, provenance=replace(held.provenance, layers="avg"), layers=None)
    with pytest.raises(LayersError, match="featx extract DATA"):
        predict_features(model, narrow)
