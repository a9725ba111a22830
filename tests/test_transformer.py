import pickle

import numpy as np
import pytest
from conftest import draw_photo
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from featx import transformer
from featx.engine import TorchEngine
from featx.errors import DatasetError, ImageError, WeightsError
from featx.extraction import extract
from featx.store import read_features
from featx.transformer import ResNet50Features


@pytest.fixture(autouse=True)
def fresh():
    transformer._built.clear()


@pytest.fixture
def images(monkeypatch):
    """How many images the network has seen."""
    seen = []
    run = TorchEngine.run
    monkeypatch.setattr(
        TorchEngine, "run", lambda self, pixels: seen.append(len(pixels)) or run(self, pixels)
    )
    return seen


def list_photos(photos):
    return sorted(str(path) for path in photos.rglob("*.*g"))


def test_rows_are_those_of_a_feature_file(photos, stored):
    paths = list_photos(photos)
    held = read_features(extract(photos, split="first:5,2").features)
    rows = dict(zip(held.paths.tolist(), held.X[:], strict=True))
    found = ResNet50Features().fit_transform(paths)
    assert found.dtype == np.float32
    for path, row in zip(paths, found, strict=True):
        assert np.array_equal(row, rows[str(path).removeprefix(f"{photos}/")])


def test_a_grid_search_runs_the_network_once_an_image(photos, stored, images):
    paths = list_photos(photos)
    y = [path.split("/")[-2] for path in paths]
    pipeline = make_pipeline(ResNet50Features(), LogisticRegression(max_iter=5000))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3)
    search.fit(paths, y)
    assert sum(images) == len(paths) == 27
    assert search.predict(paths).tolist() == y
    transformer._built.clear()  # another process, as it were
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert again.predict(paths[:3]).tolist() == y[:3]
    assert sum(images) == 27


def test_equal_pictures_are_computed_once_and_damage_again(photos, stored, images, tmp_path):
    paths = list_photos(photos)[:4]
    cached = ResNet50Features(cache_dir=tmp_path / "kept")
    first = cached.transform([*paths, paths[0]])
    assert sum(images) == 4
    assert np.array_equal(first[0], first[4])
    (file,) = (tmp_path / "kept" / "rows").rglob("*.rows")
    data = bytearray(file.read_bytes())
    data[-500] ^= 1
    file.write_bytes(data)
    assert np.array_equal(cached.transform(paths), first[:4])
    assert sum(images) == 8
    assert np.array_equal(cached.transform(paths), first[:4])
    assert sum(images) == 8
    assert np.array_equal(ResNet50Features(cache_dir=False).transform(paths), first[:4])
    assert sum(images) == 12


def test_pictures_in_memory_are_those_of_their_files(tmp_path, stored):
    path = draw_photo(tmp_path / "a.png", 1, 1)
    upright = Image.open(path).convert("RGB")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    turned.save(tmp_path / "b.png", exif=exif)
    pictures = [path, upright, np.asarray(upright), Image.open(tmp_path / "b.png")]
    found = ResNet50Features(cache_dir=False).transform(pictures)
    for row in found[1:]:
        assert np.array_equal(row, found[0])
    clear = upright.convert("RGBA")
    clear.putalpha(0)
    white = Image.new("RGB", upright.size, "white")
    a, b = ResNet50Features(cache_dir=False).transform([clear, white])
    assert np.array_equal(a, b)
    assert ResNet50Features(cache_dir=False).transform([upright.convert("CMYK")]).shape == (1, 2048)
    deep = (np.arange(7200, dtype=np.int32) * 9).reshape(80, 90)
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "deep.png")
    same = [tmp_path / "deep.png", Image.open(tmp_path / "deep.png"), Image.fromarray(deep)]
    found = ResNet50Features(cache_dir=False).transform(same)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    with pytest.raises(ImageError, match="image 0: cannot be used: floating-point pixels have"):
        ResNet50Features().transform([Image.fromarray(deep.astype(np.float32))])
    with pytest.raises(ImageError, match="image 1: cannot be used: grey values from 0 to 647910"):
        ResNet50Features().transform([upright, Image.fromarray(deep * 10)])


def test_other_weights_have_other_rows(photos, stored, images):
    paths = list_photos(photos)[:2]
    ResNet50Features().transform(paths)
    ResNet50Features(precision="bf16").transform(paths)
    assert sum(images) == 4


def test_the_contract(photos, stored):
    made = ResNet50Features(weights="imagenet1k-v1", batch_size=3, cache_dir=False)
    assert clone(made).get_params() == made.get_params()
    assert made.fit(["x.jpg"]) is made
    names = made.get_feature_names_out()
    assert (len(names), names[0], names[-1]) == (2048, "resnet50_0", "resnet50_2047")
    assert not made.__sklearn_tags__().input_tags.two_d_array


def test_it_fills_data_frames(photos, stored):
    pytest.importorskip("pandas")
    made = ResNet50Features(cache_dir=False)
    frame = made.set_output(transform="pandas").transform(list_photos(photos)[:2])
    assert frame.shape == (2, 2048)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "no images: the sequence is empty"),
        ("a.jpg", "str is one image: give a list of images"),
        ([3], "image 0 is a int: expected a path, a PIL image or a uint8 array"),
        ([np.zeros((2, 2, 3))], r"image 0 is an array of shape \(2, 2, 3\), float64: expected"),
        ([np.zeros((2, 2, 4), np.uint8)], r"image 0 is an array of shape \(2, 2, 4\), uint8: exp"),
        (np.zeros((9, 8, 3), np.uint8), r"an array of shape \(9, 8, 3\) is one image, or none"),
        (np.zeros((9, 64)), r"an array of shape \(9, 64\) is one image, or none"),
        (np.array("a.jpg"), r"an array of shape \(\) is one image, or none"),
        (np.array([["a.jpg", "b"]]), "a table of 2 columns: name the one that holds images"),
        ((path for path in ["a.jpg"]), "a generator can be gone through only once"),
        (iter(["a.jpg"]), "a list_iterator can be gone through only once"),
        ({"a.jpg"}, "a set has no order"),
        ({"a.jpg": 1}, "a dict has no order"),
        (b"a.jpg", "bytes is one image"),
        (None, "NoneType is no sequence of images"),
        ([b"a.jpg"], "image 0 is a bytes: expected"),
    ],
)
def test_what_is_no_image(X, message):
    with pytest.raises(DatasetError, match=message):
        ResNet50Features().fit(X)


def test_images_that_cannot_be_had(tmp_path, stored):
    with pytest.raises(ImageError, match=r"none.jpg: No such file"):
        ResNet50Features().transform([tmp_path / "none.jpg"])
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"bad.jpg: "):
        ResNet50Features().transform([tmp_path / "bad.jpg"])
    with pytest.raises(WeightsError, match="unknown backbone 'vgg16'"):
        ResNet50Features(backbone="vgg16").fit(["a.jpg"])
