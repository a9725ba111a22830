"""What must never change unseen: the bytes of feature files, and the hashes of recipes.

A cache is worth what its keys are worth. Where one of these hashes changes on purpose, every file
or model of users' is computed again: that wants a new schema and a line in the changelog.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from shared import CLASSES, PROVENANCE

import featx
from featx.config import SPLITS, Preprocessing
from featx.decoding.pixel_format import FIRST_COLOURS
from featx.errors import OutputExistsError
from featx.features.content import Features
from featx.network.backbone import empty_state
from featx.network.catalogue import KNOWN, KnownWeights
from featx.network.weights import Weights, hash_state, save_weights
from featx.storage.files import hash_json


@pytest.fixture(autouse=True)
def short_grids():
    """Shorten none: they are part of a recipe."""


# No mean, no deviation; a crop that is a single pixel after the last stage, so that nothing is
# averaged.
EXACT = Preprocessing(36, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def make_exact_state():
    """A ResNet50 whose every number has one possible rounding, whatever adds it up, in any order.

    Each convolution passes some input channel on by a single tap of 1, batch norm is the identity
    (its variance and epsilon make exactly 1), and a block adds two numbers.
    """
    rng = np.random.default_rng(5)
    state = {}
    for name, shape in ((n, tuple(t.shape)) for n, t in empty_state().items()):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            state[name] = torch.full(shape, 1 - 1e-5)
        elif len(shape) == 4:
            state[name] = torch.zeros(shape)
            taken = torch.from_numpy(rng.permutation(np.arange(shape[0]) % shape[1]))
            state[name][torch.arange(shape[0]), taken, shape[2] // 2, shape[3] // 2] = 1
        else:
            ones = len(shape) == 1 and name.endswith("weight")
            state[name] = torch.full(shape, float(ones))
    return state


def save_exact_weights(folder):
    state = make_exact_state()
    weights = Weights("imagenet1k-v1", EXACT, False, "made", hash_state(state), state)
    save_weights(weights, folder / f"{weights.name}.safetensors")
    return folder / f"{weights.name}.safetensors"


@pytest.fixture
def exact(kept, tmp_path, monkeypatch):
    """That network as the stored "imagenet1k-v1", and every version that a file names made one."""
    folder = tmp_path / "weights"
    folder.mkdir()
    file = kept("exact weights", save_exact_weights)
    (folder / file.name).symlink_to(file)
    monkeypatch.setitem(KNOWN, "imagenet1k-v1", KnownWeights(EXACT, False, "exact"))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    monkeypatch.setattr(
        "featx.extraction.result.version",
        {"featx": "1", "torch": "1", "numpy": "2.0.0"}.__getitem__,
    )
    for user in ("extraction.runner", "features.cache", "features.provenance"):
        monkeypatch.setattr(f"featx.{user}.describe_decoder", lambda decode: "pillow 1")
    monkeypatch.setattr("featx.decoding.pixel_format.find_littlecms", lambda: "1")


@pytest.fixture
def pictures(tmp_path):
    """photos/<class>/*: noise of several sizes, without loss."""
    root = tmp_path / "photos"
    for kind, name in enumerate(CLASSES):
        for i in range(4):
            rng = np.random.default_rng([kind, i])
            pixels = rng.integers(0, 256, (36 + 9 * i, 40 + 5 * kind, 3), np.uint8)
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


# The first files of featx did not look at colour profiles: asked to, it makes them still.
@pytest.mark.parametrize(
    ("engine", "storage", "profiles", "sha256"),
    [
        (
            "torch", "float32", "ignore",
            "dc32f2498ec4643d33fba22cb336b4b65d59ccd66c0b66e5d1c260e0f42bc0fd",
        ),
        (
            "openvino", "float32", "ignore",
            "bd5eed1291ae3138de416ca9e21c5f3a1b03d8ddbdc2130d53f6b29404b83ccb",
        ),
        (
            "torch", "float16", "ignore",
            "1b6b1fedfee8690d97861e7658333642f1719977a2041fc17cfd60a23500dd27",
        ),
        (
            "torch", "float32", "srgb",
            "35f0ab7c8efe007402ae6280cfdf62a333979911ac5b4397a27b246ce5fa5c18",
        ),
    ],
)  # fmt: skip
def test_the_bytes_of_a_feature_file(engine, storage, profiles, sha256, exact, pictures, tmp_path):
    out = tmp_path / "F.h5"
    featx.extract(
        pictures, split="first:2,1", output=out, engine=engine, storage=storage, profiles=profiles
    )
    found = featx.load_features(out)
    assert found.X.shape == (12, 2048)
    assert len(np.unique(found.X)) > 50  # no network of zeros
    assert hashlib.sha256(out.read_bytes()).hexdigest() == sha256


@pytest.fixture
def learned():
    """Features of three classes, six rows each, that every head learns something from."""
    rng = np.random.default_rng(1)
    targets = np.repeat(np.arange(3), 6)
    X = (rng.integers(0, 8, (18, 12)) + 8 * np.eye(3, 12)[targets]).astype(np.float32)
    names = [f"{CLASSES[k]}/{i}.png" for k in range(3) for i in range(6)]
    return Features(
        X=X,
        targets=targets,
        splits=np.array([SPLITS[max(0, i % 6 - 3)] for i in range(18)]),
        paths=np.array(names),
        hashes=np.array([hashlib.sha256(name.encode()).hexdigest() for name in names]),
        classes=CLASSES,
        provenance=PROVENANCE,
        dataset="photos",
        split_rule="first:4,1",
    )


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"clf": "logreg"}, "c706a86d286636ee617cf7306734ea37f805d548c2fd213b7254cfb0f727cb06"),
        (
            {"clf": "logreg", "C": 0.5, "calibrate": True, "refit": True, "scale": "l2"},
            "f808e38881e1ea92fe86ada38944c79aa924a84bf23dd429a8b9b5e33468d702",
        ),
        (
            {"clf": "linear", "learning_rate": 1e-3},
            "ef65d2d6ce4e4277f13e49cd2f243881f20bcb0054e8592c6b66c46aef717161",
        ),
        (
            {
                "clf": "linear",
                "epochs": 2,
                "seed": 3,
                "class_weight": "balanced",
                "learning_rate": 1e-3,
            },
            "27ec123e960dd29d340d871caf616cc54352a7684c6e6defe22fa758e919d695",
        ),
        ({"clf": "linear"}, "840d54e329ae405eac7a8de1aaf71f856982a0f3d5699bff826e50a7b583b448"),
        ({"clf": "svm"}, "637cf6b4a7aad4cc5f3a721d151a4f152f2512f416b00667b134a0144b739072"),
        ({"clf": "ridge"}, "6a30d2e2bbf77f9d113255d7fabbf83860540263d5a5813d4ac97a2445bceee1"),
        ({"clf": "knn"}, "6a37adbf94c87074430bb01a50daa0a56a282013b69944b3a5798e5c224f34b4"),
        (
            {"clf": "centroid", "scale": "standard"},
            "22f4154b72a219667e534804457ccad08b3f758f224cb9a66ae555a57f456c48",
        ),
    ],
)
def test_the_recipe_of_a_head(options, key, learned):
    model = featx.fit(learned, **options)
    assert hash_json(model.recipe) == model.recipe_key == key


def test_the_recipe_of_imagenets_own_layer(exact, learned, monkeypatch):
    # Its features have as many numbers as its layer takes, and name the weights that have it.
    wide = np.tile(learned.X, (1, 2048 // 12 + 1))[:, :2048]
    made = {**vars(PROVENANCE), "weights": "imagenet1k-v1"}
    sha256 = hash_state(make_exact_state())
    provenance = type(PROVENANCE)(**{**made, "weights_sha256": sha256})
    model = featx.fit(
        type(learned)(**{**vars(learned), "X": wide, "provenance": provenance}), "imagenet"
    )
    assert (
        hash_json(model.recipe)
        == "42f32c57aa4b83e846138d098f853a10f120c905b85822b2cc4bd3fb9a4cdb7a"
    )


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (
            {"train": "fc", "learning_rate": 1e-3},
            "695c0c487d3200a0d1315a6518c7566bc8d353541604d30e59fc816eea704f0d",
        ),
        (
            {
                "train": "fc",
                "augment": True,
                "class_weight": "balanced",
                "seed": 2,
                "learning_rate": 1e-3,
            },
            "525d905392e21f20e8efeabf9efcfd5563d1ac8ff371443a7c741d98ad13a9f8",
        ),
        ({"train": "fc"}, "85c6b14d951daff0209c80b4525f029b1a193c8ac74eb92f2104c234ce9b8902"),
        ({"train": "layer4"}, "3b9b75ff1c40aaf1c94dfd03b0fff35719a009ae28aec3c2119c963101f5ce4d"),
        (
            {"train": "last3", "learning_rate": 1e-4},
            "237f06cea8a6f2ab42ffd0d2049d9da61da4387d9c6ba495dd429fa029d00013",
        ),
        (
            {
                "train": "layer4",
                "prefix_cache": False,
                "calibrate": True,
                "learning_rate": 1e-4,
            },
            "b48e3c8d545ad94a832b78d7a17ccdc31676aaef13dbf863a1130f9356f183c4",
        ),
        (
            {"train": "all", "batch_size": 6, "learning_rate": 1e-4},
            "16c7277c5ab4c886f5b6037c4d6aed539f5a663cac657b62c820ffbc6fc5ff42",
        ),
    ],
)
def test_the_recipe_of_a_baseline(options, key, exact, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.finetuning.recipe.describe_decoder", lambda decode: "pillow 1")
    model, skipped = featx.finetune(
        pictures, split="first:2,1", epochs=1, output=tmp_path / "run", profiles="ignore", **options
    )
    assert not skipped
    assert hash_json(model.recipe) == model.recipe_key == key


def test_the_recipe_of_a_baseline_that_follows_profiles(exact, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.finetuning.recipe.describe_decoder", lambda decode: "pillow 1")
    model, _ = featx.finetune(pictures, split="first:2,1", epochs=1, output=tmp_path / "run")
    assert model.recipe_key == "e738420f1330a689fe100ea850db1ed73f4ba48ef8d6b926e286fc781bf0b7ab"


def test_a_file_of_the_first_making_goes_on_as_it_was_made(exact, pictures, tmp_path):
    def extract(name, **options):
        out = tmp_path / name
        done = featx.extract(pictures, split="0.5,0.25,0.25", output=out, engine="torch", **options)
        return done.extracted, hashlib.sha256(out.read_bytes()).hexdigest()

    n, first = extract("F.h5", profiles="ignore")
    assert n == 12
    assert extract("F.h5") == (0, first)
    pixels = np.random.default_rng(9).integers(0, 256, (40, 40, 3), np.uint8)
    for name in CLASSES:
        Image.fromarray(pixels + len(name)).save(pictures / name / "more.png")
    n, grown = extract("F.h5")
    assert n == 3
    assert featx.load_features(tmp_path / "F.h5").provenance.colours == FIRST_COLOURS
    # Byte for byte what the first making makes of all at once, and no other does.
    assert extract("G.h5", profiles="ignore", overwrite=True)[1] == grown
    with pytest.raises(OutputExistsError, match="icc to srgb"):
        extract("F.h5", profiles="srgb")
