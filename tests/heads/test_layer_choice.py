"""Which of the network's stages a head reads: chosen as its value is, by held-out rows."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import TRAINABLE, add_layers, make_features, thin_grids, write

from featx.deployment.predict import predict_features
from featx.errors import LayersError
from featx.heads.fit import fit
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.recipe import make_recipe
from featx.training.model import read_model, write_model


@pytest.fixture
def blank(provenance):
    """Features that tell nothing of the classes."""
    made = make_features(provenance, n_per=20, splits=(10, 4))
    rng = np.random.default_rng(3)
    return replace(made, X=rng.normal(0, 1, (len(made.targets), 512)).astype(np.float32))


@pytest.fixture
def told(provenance):
    """Features that tell the classes, as far as their noise lets them."""
    return make_features(provenance, n_per=20, dim=512, splits=(10, 4))


@pytest.fixture
def thin(monkeypatch):
    thin_grids(monkeypatch, slice(None, None, 6))


def test_maxima_are_chosen_where_they_alone_tell(blank, thin):
    features = add_layers(blank, [("layer2", "max")])
    found = fit(features)
    details = found.outcome.details
    assert details["layers"] == "max"
    assert [one["layers"] for one in details["layers_tried"]] == ["last", "avg", "max", "all"]
    assert [one["columns"] for one in details["layers_tried"]] == [512, 960, 960, 1920]
    losses = {one["layers"]: one["log_loss"] for one in details["layers_tried"]}
    assert min(losses, key=losses.get) == "max"
    assert details["choice"]["log_loss"] == losses["max"]
    assert found.outcome.scores["test"].accuracy > 0.9
    assert fit(features, layers="last").outcome.scores["test"].accuracy < 0.7


def test_the_best_alone_is_fitted(blank, thin, monkeypatch):
    features = add_layers(blank, [("layer2", "max")])
    kind, widths = find_kind("ridge"), []

    def train(task):
        widths.append(task.X.shape[1])
        return kind.train(task)

    monkeypatch.setattr("featx.heads.ridge.KIND", replace(kind, train=train))
    found = fit(features, "ridge", scale="auto")
    assert widths == [960]
    alone = fit(features, "ridge", layers="max", scale=found.outcome.details["scale"])
    assert found.arrays.keys() == alone.arrays.keys()
    assert all(np.array_equal(found.arrays[k], alone.arrays[k]) for k in alone.arrays)
    assert found.outcome.details["choice"] == alone.outcome.details["choice"]


def leave_val_out(features):
    """The same, with val's images among train's."""
    return replace(features, splits=np.where(features.splits == "val", "train", features.splits))


@pytest.mark.parametrize(
    ("clf", "options"),
    [
        ("linear", {"epochs": 10, "learning_rate": 0.01}),
        ("linear", {"epochs": 10}),
        ("logreg", {"C": 0.01}),
    ],
)
def test_without_val_folds_of_train_choose_them(blank, clf, options):
    features = leave_val_out(add_layers(blank, [("layer2", "max")]))
    found = fit(features, clf, **options)
    details = found.outcome.details
    losses = {one["layers"]: one["log_loss"] for one in details["layers_tried"]}
    assert details["layers"] == min(losses, key=losses.get) != "last"
    assert found.outcome.scores["test"].accuracy > 0.8
    if clf == "linear":  # of the rates on the chosen layers, and the fit on all of train
        assert losses[details["layers"]] == min(one["loss"] for one in details["rates"])
        rate = details["chosen"]["value"]
        alone = fit(features, clf, epochs=10, layers=details["layers"], learning_rate=rate)
        assert np.array_equal(found.arrays["coef"], alone.arrays["coef"])


def test_a_given_C_leaves_layers_to_val(blank):
    features = add_layers(blank, [("layer2", "max")])
    found = fit(features, C=0.01, choose_on="val", refit=False)
    assert found.outcome.details["layers"] == "max"


def test_the_last_layer_stays_where_it_tells(told, thin):
    found = fit(add_layers(told))
    assert found.outcome.details["layers"] == "last"
    alone = fit(told)
    assert all(np.array_equal(found.arrays[k], alone.arrays[k]) for k in alone.arrays)


def test_what_is_not_chosen_is_not_in_the_recipe(told):
    layered = add_layers(told)
    alone = replace(layered, provenance=replace(layered.provenance, layers="last"), layers=None)
    for options in (HeadOptions(), HeadOptions(layers="last")):
        assert "layers" not in make_recipe(alone, "logreg", options)
    assert "layers" not in make_recipe(layered, "logreg", HeadOptions(layers="last"))
    assert "layers" not in make_recipe(layered, "imagenet", HeadOptions())


@pytest.mark.parametrize("options", [{}, {"choose_on": "val", "refit": False}])
def test_labels_of_test_change_nothing(blank, thin, options):
    features = add_layers(blank, [("layer3", "avg")])
    other = replace(features, targets=features.targets.copy())
    test = np.flatnonzero(features.splits == "test")
    other.targets[test] = np.roll(other.targets[test], 4)
    first, second = (fit(f, **options) for f in (features, other))
    assert first.arrays.keys() == second.arrays.keys()
    assert all(np.array_equal(first.arrays[k], second.arrays[k]) for k in first.arrays)
    told = "layers", "layers_tried", "chosen", "scale"
    assert all(first.outcome.details[k] == second.outcome.details[k] for k in told)


def test_columns_are_scaled_by_what_is_learned_from(blank):
    features = add_layers(blank, [("layer2", "max")])
    moved = replace(features, layers=features.layers.copy())
    moved.layers[features.splits == "test"] *= 100.0
    first, second = (fit(f, layers="max", C=0.01) for f in (features, moved))
    assert all(np.array_equal(first.arrays[k], second.arrays[k]) for k in first.arrays)
    learned = features.layers[np.isin(features.splits, ("train", "val"))][:, 64:128]
    assert np.allclose(first.arrays["level.mean"][:64], learned.mean(axis=0))
    assert np.allclose(first.arrays["level.scale"][:64], learned.std(axis=0))


@pytest.mark.parametrize("clf", TRAINABLE)
@pytest.mark.parametrize("layers", ["max", "last,layer1", "auto"])
def test_a_saved_head_reads_its_layers_again(told, thin, clf, layers, tmp_path):
    features = add_layers(told, [("layer4", "max")])
    fitted = fit(features, clf, layers=layers, epochs=2, choose_on="val", refit=False)
    write_model(fitted, tmp_path / "m.safetensors")
    found = predict_features(read_model(tmp_path / "m.safetensors"), features)
    for split in ("val", "test"):
        mine = found[features.rows(split)]
        assert np.allclose(mine, fitted.outcome.probabilities[split], atol=1e-6)


def test_a_model_of_before_there_were_layers_reads_the_last(told, tmp_path):
    fitted = fit(told, "centroid", choose_on="val", refit=False)
    del fitted.outcome.details["layers"]
    write_model(fitted, tmp_path / "m.safetensors")
    old = read_model(tmp_path / "m.safetensors")
    found = predict_features(old, told)[told.rows("test")]
    assert np.allclose(found, fitted.outcome.probabilities["test"], atol=1e-6)


@pytest.mark.parametrize("clf", ["logreg", "ridge", "centroid"])
def test_blocks_find_what_memory_finds(blank, thin, clf, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.config.BLOCK_BYTES", 1 << 16)
    features = write(add_layers(blank, [("layer2", "max")], layers="max"), tmp_path)
    options = {"choose_on": "val", "layers": "auto", "C": 0.01}
    whole = fit(features, clf, **options)
    monkeypatch.setattr("featx.heads.memory.estimate_whole", lambda *rest: 1 << 60)
    blocks = fit(features, clf, **options, max_memory=1 << 40)
    assert whole.outcome.details["layers"] == blocks.outcome.details["layers"] == "max"
    for split in ("val", "test"):
        a, b = (found.outcome.probabilities[split] for found in (whole, blocks))
        assert np.allclose(a, b, atol=1e-4)


def test_layers_that_are_missing_are_said_with_what_adds_them(told, tmp_path):
    features = write(add_layers(told, layers="max"), tmp_path)
    said = f"featx extract DATA -o {features.path} --layers all adds what is missing"
    with pytest.raises(LayersError, match=r"layer1:avg, layer2:avg, layer3:avg") as error:
        fit(features, layers="avg")
    assert said in str(error.value)
    with pytest.raises(LayersError, match="none"):
        fit(features, layers="layer5")
    made = replace(told.provenance, preprocessing={**told.provenance.preprocessing, "view": 2})
    with pytest.raises(LayersError, match=r"extract DATA -o F.h5 --layers max --views 2 adds"):
        fit(features, layers="max", views=[replace(told, provenance=made)])
    recipe = make_recipe(features, "logreg", HeadOptions())
    assert [one["layers"] for one in recipe["layers"]] == ["last", "max"]
