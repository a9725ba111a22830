import io
import json
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from shared import draw_photo
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from featx.decoding.decoders import describe_decoder, read_decode
from featx.errors import (
    DatasetError,
    DeviceError,
    ExtractionError,
    ImageError,
    LayersError,
    WeightsError,
)
from featx.extraction import row_filling, shared_runner
from featx.extraction.extract import extract
from featx.extraction.transformer import ResNet50Features
from featx.features import row_cache as rowcache
from featx.features.file import read_features
from featx.network.backbone import empty_state
from featx.network.engine import TorchEngine
from featx.network.weights import hash_state, load_weights, save_weights


@pytest.fixture(autouse=True)
def fresh():
    shared_runner._built.clear()
    rowcache._opened.clear()


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
    shared_runner._built.clear()  # another process, as it were
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert again.predict(paths[:3]).tolist() == y[:3]
    assert sum(images) == 27


def test_what_an_older_featx_pickled_has_what_came_since():
    made = ResNet50Features(backbone="resnet18", cache_dir=False)
    old = {k: v for k, v in vars(made).items() if k not in ("layers", "depth", "profiles")}
    back = ResNet50Features.__new__(ResNet50Features)
    back.__setstate__(old)
    assert back.get_params() == made.get_params()
    assert len(back.get_feature_names_out()) == 512


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
    same = [tmp_path / "deep.png", Image.open(tmp_path / "deep.png")]
    found = ResNet50Features(cache_dir=False).transform(same)
    assert np.array_equal(found[0], found[1])
    # By their type, whatever their values: 32 bits have no known scale.
    with pytest.raises(ImageError, match="image 0: cannot be used: floating-point samples of 32"):
        ResNet50Features().transform([Image.fromarray(deep.astype(np.float32))])
    for values in (deep, deep * 10):
        with pytest.raises(ImageError, match="image 1: cannot be used: signed integers of 32 bits"):
            ResNet50Features().transform([upright, Image.fromarray(values)])


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


def test_layers_are_columns_of_the_same_pass(photos, stored, images):
    paths = list_photos(photos)[:6]
    last = ResNet50Features(batch_size=3).transform(paths)
    wide = ResNet50Features(batch_size=3, layers="all")
    rows = wide.fit_transform(paths)
    assert (rows.shape, len(images)) == ((6, 7680), 4)
    assert np.array_equal(rows[:, :2048], last)
    names = wide.get_feature_names_out().tolist()
    assert (len(set(names)), names[2048], names[-1]) == (
        7680, "resnet50_layer1_avg_0", "resnet50_layer4_max_2047",
    )  # fmt: skip
    for layers, width in (("max", 3840), ("last,layer2:max", 2560)):
        some = ResNet50Features(batch_size=3, layers=layers)
        own = [names.index(name) for name in some.get_feature_names_out()]
        assert len(own) == width
        assert np.array_equal(some.transform(paths), rows[:, own])
    assert len(images) == 4  # what is there has them all
    with pytest.raises(LayersError, match="layer5"):
        ResNet50Features(layers="layer5").transform(paths)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_mixin_order,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learns_own_checks(check):
    check("ResNet50Features", ResNet50Features())


def test_it_fills_data_frames(photos, stored, images):
    pandas = pytest.importorskip("pandas")
    paths = list_photos(photos)[:3]
    made = ResNet50Features().set_output(transform="pandas")
    column = pandas.Series(paths, index=["a", "b", "c"])
    frame = made.fit_transform(column)
    assert frame.shape == (3, 2048)
    assert frame.columns[-1] == "resnet50_2047"
    assert (frame.dtypes == np.float32).all()
    assert np.array_equal(made.transform(column), frame)
    assert np.array_equal(made.transform(pandas.DataFrame({"path": paths})), frame)
    with pytest.raises(DatasetError, match="a table of 2 columns"):
        made.transform(pandas.DataFrame({"path": paths, "n": 1}))
    table = pandas.DataFrame({"path": paths, "weight": [1.0, 2.0, 3.0]})
    both = ColumnTransformer([("image", ResNet50Features(), "path")], remainder="passthrough")
    filled = both.set_output(transform="pandas").fit_transform(table)
    assert filled.columns[0] == "image__resnet50_0"
    assert filled.columns[-1] == "remainder__weight"
    assert np.array_equal(filled.iloc[:, :2048], frame)
    assert sum(images) == 3


def test_arrays_of_names_and_of_pixels(tmp_path, stored):
    paths = [str(draw_photo(tmp_path / f"{i}.png", 1, i)) for i in range(2)]
    made = ResNet50Features(cache_dir=False)
    expected = made.transform(paths)
    for X in (np.array(paths), np.array(paths, object), np.array(paths, object)[:, None]):
        assert np.array_equal(made.transform(X), expected)
    assert np.array_equal(made.transform(tuple(paths)), expected)
    stacked = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert stacked.shape == (2, 80, 90, 3)
    assert np.array_equal(made.transform(stacked), expected)
    assert np.array_equal(made.transform(stacked[:, :, ::-1].copy()[:, :, ::-1]), expected)
    grey = stacked[..., 0]
    coloured = np.repeat(grey[..., None], 3, axis=3)
    assert np.array_equal(made.transform(grey), made.transform(coloured))


def test_a_picture_stays_what_it_is(tmp_path, stored):
    path = draw_photo(tmp_path / "a.png", 1, 1)
    made = ResNet50Features(cache_dir=False)
    expected = made.transform([path])
    picture = Image.open(path)
    picture.info["note"] = "mine"
    assert np.array_equal(made.transform([picture, picture]), np.repeat(expected, 2, axis=0))
    assert (picture.size, picture.mode, picture.info["note"]) == ((90, 80), "RGB", "mine")
    assert np.array_equal(picture, Image.open(path)), "it can still be used"
    palette = Image.open(path).convert("P")
    before = palette.tobytes(), palette.getpalette()
    made.transform([palette])
    assert (palette.tobytes(), palette.getpalette(), palette.mode) == (*before, "P")
    stream = io.BytesIO(path.read_bytes())
    used = Image.open(stream)
    stream.seek(17)
    assert np.array_equal(made.transform([used]), expected)
    stream = io.BytesIO(path.read_bytes())
    closed = Image.open(stream)
    stream.close()
    with pytest.raises(ImageError, match="image 1: cannot be decoded: "):
        made.transform([path, closed])
    cut = Image.open(io.BytesIO(path.read_bytes()[:-2000]))
    with pytest.raises(ImageError, match="image 0: cannot be decoded: "):
        made.transform([cut])


def test_pictures_beyond_the_limit(monkeypatch, stored):
    monkeypatch.setenv("FEATX_MAX_PIXELS", "10")
    with pytest.raises(ImageError, match="image 0: 4 x 4 pixels, more than 10"):
        ResNet50Features().transform([Image.new("RGB", (4, 4))])


def replace_weights(stored):
    """Put other parameters under the same name."""
    path = stored / "imagenet1k-v1.safetensors"
    held = load_weights(path, empty_state())
    state = held.state | {"conv1.weight": 2 * held.state["conv1.weight"]}
    path.unlink()  # a link
    save_weights(replace(held, state=state, sha256=hash_state(state)), path)


def test_rows_of_another_decoder_are_not_taken_for_those_of_fit(
    photos, stored, monkeypatch, tmp_path
):
    paths = list_photos(photos)[:2]
    fitted = ResNet50Features(cache_dir=tmp_path / "own").fit(paths)
    assert read_decode(fitted.provenance_.decoder) == "exact"
    shared_runner._built.clear()
    with monkeypatch.context() as patch:
        by_pillow = describe_decoder("pillow")
        patch.setattr("featx.extraction.runner.describe_decoder", lambda decode: by_pillow)
        rows = ResNet50Features(cache_dir=tmp_path / "pillow").fit_transform(paths)
    shared_runner._built.clear()
    # What is fitted anew takes what is there, and goes on so.
    anew = ResNet50Features(cache_dir=tmp_path / "pillow").fit(paths)
    assert anew.provenance_.decoder == by_pillow
    assert np.array_equal(anew.transform(paths), rows)
    found = fitted.set_params(cache_dir=tmp_path / "pillow").transform(paths)
    assert not np.array_equal(found, rows)
    assert np.allclose(found, rows, atol=0.05 * np.abs(rows).max())


@pytest.mark.parametrize("cache_dir", [None, False])
def test_other_weights_than_those_of_fit_are_refused(photos, stored, images, cache_dir):
    paths = list_photos(photos)[:2]
    made = ResNet50Features(cache_dir=cache_dir)
    first = made.fit(paths).transform(paths)
    assert made.provenance_.weights == "imagenet1k-v1"
    back = pickle.loads(pickle.dumps(made))
    assert not hasattr(clone(made), "provenance_")
    replace_weights(stored)
    with pytest.raises(
        WeightsError, match=r"fitted with the weights imagenet1k-v1 \(sha256 .*\), "
    ):
        back.transform(paths)
    # What was not fitted takes what is there, and so does what is fitted again.
    other = clone(made).transform(paths)
    assert not np.array_equal(other, first)
    assert np.array_equal(back.fit_transform(paths), other)
    assert np.array_equal(back.transform(paths), other)
    assert sum(images) == (8 if cache_dir is False else 4)


def test_a_weights_file_that_changed_is_refused(photos, tiny_file, tmp_path):
    paths = list_photos(photos)[:2]
    own = tmp_path / "own.safetensors"
    own.symlink_to(tiny_file)
    made = ResNet50Features(str(own)).fit(paths)
    assert made.transform(paths).shape == (2, 2048)
    (tmp_path / "imagenet1k-v1.safetensors").symlink_to(tiny_file)
    replace_weights(tmp_path)
    own.unlink()
    (tmp_path / "imagenet1k-v1.safetensors").rename(own)
    with pytest.raises(WeightsError, match=r"those found now are others .*weights_sha256"):
        made.transform(paths)


def test_what_is_all_there_loads_no_torch(photos, stored, tmp_path):
    paths = list_photos(photos)[:3]
    made = ResNet50Features(cache_dir=tmp_path / "kept")
    np.save(tmp_path / "rows.npy", made.fit_transform(paths))
    (tmp_path / "made.pickle").write_bytes(pickle.dumps(made))
    # The small network goes by a name whose recipe this test has changed and the child has not.
    code = f"""
import pickle, sys
import numpy as np
from pathlib import Path
from featx import ResNet50Features
from featx.network.catalogue import KNOWN, KnownWeights
from featx.config import Preprocessing
here = Path({str(tmp_path)!r})
pre = Preprocessing.from_dict({json.loads(json.dumps(made.provenance_.preprocessing))!r})
KNOWN["imagenet1k-v1"] = KnownWeights(pre, False, "small")
kept, expected = here / "kept", np.load(here / "rows.npy")
assert np.array_equal(ResNet50Features(cache_dir=kept).fit_transform({paths!r}), expected)
fitted = ResNet50Features(cache_dir=kept).fit({paths!r})
assert np.array_equal(fitted.transform({paths!r}), expected)
back = pickle.loads((here / "made.pickle").read_bytes())
assert np.array_equal(back.transform({paths!r}), expected)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.full_width
def test_a_grid_search_in_processes_computes_each_image_once(photos, tiny_file, tmp_path):
    paths = list_photos(photos)
    y = [path.split("/")[-2] for path in paths]
    features = ResNet50Features(str(tiny_file), engine="torch", cache_dir=tmp_path / "kept")
    pipeline = make_pipeline(features, LogisticRegression(max_iter=5000))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=3, n_jobs=2)
    # Those of an earlier test may stand in a folder that is gone, where MKL cannot be loaded.
    get_reusable_executor().shutdown(wait=True)
    search.fit(paths, y)
    assert search.best_score_ > 0.5
    (folder,) = (tmp_path / "kept" / "rows").iterdir()
    cache = rowcache.RowCache(folder, 2048)
    cache._look()
    written = [digest for held in cache._files.values() for digest in held]
    assert len(written) == len(set(written)) == 27


def test_threads_compute_each_image_once(photos, stored, images):
    paths = list_photos(photos)[:12]
    expected = ResNet50Features(cache_dir=False).transform(paths)
    del images[:]
    found = {}

    def work(n):
        found[n] = ResNet50Features().transform(paths[n:] + paths[:n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(images) == 12
    for n in range(3):
        assert np.array_equal(found[n], np.roll(expected, -n, axis=0))


def test_what_was_computed_before_an_end_stays(photos, stored, images, monkeypatch):
    paths = list_photos(photos)
    made = ResNet50Features(batch_size=4)
    run = TorchEngine.run

    def stop(self, pixels):
        if sum(images) == 12:
            raise KeyboardInterrupt
        return run(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(TorchEngine, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            made.transform(paths)
    made.transform(paths)
    assert sum(images) == 27
    # A kill leaves what was written; one file an image, where writing is due at once.
    del images[:]
    monkeypatch.setattr(row_filling, "PART_SECONDS", 0.0)
    other = ResNet50Features(batch_size=9, cache_dir="other")
    other.transform(paths)
    (folder,) = other._find_home().glob("rows/*")
    assert len(list(folder.glob("*.rows"))) == 3


def test_nan_is_not_kept(photos, stored, monkeypatch):
    monkeypatch.setattr(TorchEngine, "run", lambda self, x: np.full((len(x), 2048), np.nan, "f4"))
    with pytest.raises(ExtractionError, match="NaN or infinite features for image 0"):
        ResNet50Features().transform(list_photos(photos)[:2])


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"cache_dir": True}, DatasetError, "cache_dir=True: name a folder, or say None for"),
        ({"engine": "jax"}, DatasetError, "engine='jax': say one of auto, torch, openvino"),
        ({"precision": "int4"}, DatasetError, "precision='int4': say one of fp32"),
        ({"device": "tpu"}, DeviceError, "device='tpu': say one of auto, cpu, cuda"),
        ({"batch_size": 0}, DatasetError, "batch_size=0: at least 1, or None"),
        ({"num_workers": -1}, DatasetError, "num_workers=-1: at least 0, or None"),
    ],
)
def test_parameters_that_are_none(wrong, kind, message, stored):
    made = ResNet50Features(**wrong)
    for call in (made.fit, made.transform, made.fit_transform):
        with pytest.raises(kind, match=message):
            call(["a.jpg"])


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


def test_pixels_are_read_as_the_parameters_say(stored, tmp_path, caplog):
    grey = np.random.default_rng(0).integers(0, 4096, (64, 64), np.uint16)
    deep, bright = tmp_path / "deep.png", tmp_path / "bright.png"
    Image.fromarray(grey).save(deep)
    Image.fromarray((grey.astype(int) * 255 // 4095).astype(np.uint8)).save(bright)
    expected = ResNet50Features().transform([bright])
    for options in ({"depth": "used 12"}, {"sample_range": (0, 4095)}, {"sample_range": "0,4095"}):
        assert np.array_equal(ResNet50Features(**options).fit_transform([deep]), expected)
    assert not caplog.messages
    assert not np.array_equal(ResNet50Features(profiles="ignore").transform([deep]), expected)
    assert "brightest sample 4,094 of 65,535 in 1 of 1 images" in caplog.text
    for options, said in (
        ({"depth": "used"}, "say how many bits they use, as in 'used 12'"),
        ({"channels": "0,1"}, "expected one number from 0, or three"),
        ({"profiles": "adobe"}, "unknown profiles 'adobe'"),
    ):
        with pytest.raises(DatasetError, match=said):
            ResNet50Features(**options).fit([deep])


def test_processes_decode_files_and_threads_what_is_in_memory(photos, stored):
    paths = list_photos(photos)[:5]
    expected = ResNet50Features(cache_dir=False).transform(paths)
    by_processes = ResNet50Features(cache_dir=False, decode_processes=1)
    assert np.array_equal(by_processes.transform(paths), expected)
    pictures = [np.asarray(Image.open(paths[0])), paths[1]]
    assert np.array_equal(by_processes.transform(pictures), expected[:2])
    with pytest.raises(DatasetError, match="decode_processes=-1: at least 0, or None"):
        ResNet50Features(decode_processes=-1).transform(paths)
