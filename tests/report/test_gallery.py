import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from made_features import make_features
from PIL import Image
from shared import draw_photo

from featx.report.gallery import embed_pictures, iterate_thumbnails, show_predictions


@pytest.fixture
def said(provenance):
    """Features, and what a candidate says of their test images: the first class, more and less."""
    features = make_features(provenance)
    n = len(features.rows("test"))
    sure = np.linspace(0.5, 0.9, n)
    probabilities = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    candidate = SimpleNamespace(
        name="logreg", outcome=SimpleNamespace(probabilities={"test": probabilities})
    )
    return features, show_predictions(SimpleNamespace(features=features), candidate)


def test_mistakes_are_the_surest_ones(said):
    features, shown = said
    rows = features.rows("test")
    assert [one["path"] for one in shown["mistakes"]] == [
        str(path) for path in features.paths[rows[features.targets[rows] > 0]][::-1]
    ]
    assert {(one["truth"], one["predicted"]) for one in shown["examples"]} == {("a", "a")}
    assert {one["predicted"] for one in shown["mistakes"]} == {"a"}


def test_beside_a_mistake_are_the_nearest_train_images(said):
    features, shown = said
    assert not any("nearest" in one for one in shown["examples"])
    X = features.X / np.linalg.norm(features.X, axis=1, keepdims=True)
    train = features.rows("train")
    for one in shown["mistakes"]:
        cosines = X[train] @ X[int(one["path"].removesuffix(".jpg"))]
        expected = train[np.argsort(-cosines)[:3]]
        assert [near["path"] for near in one["nearest"]] == [f"{row}.jpg" for row in expected]
        assert [near["class"] for near in one["nearest"]] == [
            features.classes[k] for k in features.targets[expected]
        ]
        assert [near["cosine"] for near in one["nearest"]] == pytest.approx(
            np.sort(cosines)[:-4:-1].tolist(), abs=1e-6
        )


def test_thumbnails_have_a_long_side_and_are_named(tmp_path):
    draw_photo(tmp_path / "a.png", 0, 0, size=(90, 60))
    (tmp_path / "b.jpg").write_bytes(b"no image")
    found = dict(iterate_thumbnails(tmp_path, {"a.png": 30, "b.jpg": 30, "gone.jpg": 30}, "rgb"))
    assert found.keys() == {"a.png"}
    assert Image.open(io.BytesIO(found["a.png"])).size == (30, 20)


def test_pictures_are_jpegs_in_the_page(tmp_path):
    draw_photo(tmp_path / "a.png", 0, 0, size=(900, 600))
    draw_photo(tmp_path / "b.png", 1, 0, size=(600, 900))
    found = embed_pictures(tmp_path, ["a.png"], ["b.png"], "rgb")

    def measure(uri):
        head, _, data = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        return Image.open(io.BytesIO(base64.b64decode(data))).size

    assert {name: measure(uri) for name, uri in found.items()} == {
        "a.png": (320, 213), "b.png": (75, 112)
    }  # fmt: skip
