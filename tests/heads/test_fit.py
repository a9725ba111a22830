from dataclasses import replace

import numpy as np
import pytest
from made_features import TRAINABLE, make_features, thin_grids
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler, normalize

from featx.config import SCALES
from featx.errors import FeatureFileError, ModelError, OutputExistsError
from featx.features.file import write_features
from featx.heads.fit import fit
from featx.heads.head import load_head
from featx.heads.kind import find_kind
from featx.training.model import read_model, write_model
from featx.training.scaling import fit_scaler


@pytest.fixture(autouse=True)
def short_grids(monkeypatch):
    """A fourth of the values of C, the first and the last among them."""
    thin_grids(monkeypatch, slice(None, None, 4), ["logreg"])


@pytest.fixture
def features(provenance):
    return make_features(provenance)


@pytest.mark.parametrize("clf", TRAINABLE)
@pytest.mark.parametrize("scale", SCALES)
def test_a_saved_head_predicts_the_same(features, clf, scale, tmp_path):
    options = {"scale": scale, "choose_on": "val", "refit": False}  # val's figures are the head's
    fitted = fit(features, clf, epochs=4, **options)
    write_model(fitted, tmp_path / "m.safetensors")
    back = read_model(tmp_path / "m.safetensors")
    assert replace(back, arrays={}, path=None, outcome=None) == replace(
        fitted, arrays={}, outcome=None
    )
    assert back.outcome.to_dict() == fitted.outcome.to_dict()
    head = load_head(back)
    for split in ("val", "test"):
        X, y = features.split(split)
        probabilities = head.predict_proba(X)
        assert np.allclose(probabilities, fitted.outcome.probabilities[split])
        assert np.allclose(probabilities.sum(axis=1), 1)
        score = fitted.outcome.scores[split]
        assert (score.correct, score.total) == ((probabilities.argmax(1) == y).sum(), len(y))


def test_equal_features_are_warned_of(features, caplog):
    assert fit(features, "centroid").outcome.details["alike"] is False
    assert not caplog.messages
    blank = replace(features, X=np.full_like(features.X, 0.5))
    assert fit(blank, "centroid", scale="standard").outcome.details["alike"] is True
    assert [one[:40] for one in caplog.messages] == ["made: all 36 images have the same featur"]


def test_scaling_is_learned_from_train_alone(features, provenance):
    X, _ = features.split("train")
    reference = StandardScaler().fit(X.astype(np.float64))
    scaler = fit_scaler("standard", X)
    assert np.allclose(scaler.mean, reference.mean_)
    assert np.allclose(scaler.scale, reference.scale_)
    assert np.allclose(fit_scaler("l2", X).apply(X), normalize(X))
    moved = features.X.copy()
    moved[features.splits != "train"] += 1000.0
    for clf in ("logreg", "linear"):
        fits = [
            load_head(
                fit(f, clf, C=0.1, scale="standard", epochs=1, refit=False, learning_rate=1e-3)
            )
            for f in (features, replace(features, X=moved))
        ]
        assert np.array_equal(fits[0].scaler.mean, fits[1].scaler.mean)
        assert np.array_equal(fits[0].fit.coef, fits[1].fit.coef)
    constant = np.ones((4, 2), np.float32)
    assert np.isfinite(fit_scaler("standard", constant).apply(constant)).all()


@pytest.mark.parametrize("options", [{}, {"choose_on": "val", "refit": False}, {"scale": "auto"}])
def test_test_never_chooses(features, options):
    other = replace(features, targets=features.targets.copy())
    test = np.flatnonzero(features.splits == "test")
    other.targets[test] = np.roll(other.targets[test], 4)
    for clf in TRAINABLE:
        first, second = (fit(f, clf, epochs=5, **options) for f in (features, other))
        a, b = first.arrays, second.arrays
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
        for told in ("chosen", "scale", "temperature"):
            assert first.outcome.details[told] == second.outcome.details[told]
        assert first.outcome.scores["val"] == second.outcome.scores["val"]
        assert first.outcome.scores["test"] != second.outcome.scores["test"]


def test_what_is_recorded(features):
    model = fit(features, "logreg")
    outcome = model.to_dict()
    assert outcome["clf"] == "logreg"
    assert outcome["C"] in model.recipe["C"]
    assert outcome["chosen_by"] == "folds of train and val, then refitted"
    assert (outcome["val"], outcome["refit"]) == ("out of fold", True)
    assert outcome["choice"]["on"] == model.recipe["choose_on"] == "folds"
    assert 0 < outcome["choice"]["tried"] <= outcome["choice"]["of"] == 12
    assert outcome["converged"] is True
    assert outcome["counts"]["train"]["total"] == 18
    assert outcome["trainable_parameters"] == 3 * 41
    assert outcome["classes"] == ["a", "b", "c"]
    assert outcome["ci95"]["test"][0] <= outcome["accuracy"]["test"] <= outcome["ci95"]["test"][1]
    linear = fit(features, "linear", epochs=7).to_dict()
    assert len(linear["history"]) == 7
    assert set(linear["history"][0]["loss"]) == {"train", "val", "test"}


def test_two_classes(provenance):
    features = make_features(provenance, classes=("no", "yes"))
    model = fit(features, "logreg", C=0.1)
    head = load_head(model)
    assert head.fit.coef.shape == (2, 40)
    X, y = features.split("train")
    assert (head.predict_proba(X).argmax(1) == y).mean() > 0.9


def test_features_that_cannot_be_fitted(features, provenance, tmp_path):
    unlabelled = replace(features, targets=np.full(36, -1), classes=())
    write_features(unlabelled, tmp_path / "F.h5")
    with pytest.raises(FeatureFileError, match=r"F.h5: its images have no labels"):
        fit(tmp_path / "F.h5")
    with pytest.raises(FeatureFileError, match="it has no train images"):
        fit(replace(features, splits=np.full(36, "test")))
    lost = features.splits.copy()
    lost[(features.targets == 1) & (lost == "train")] = "test"
    with pytest.raises(FeatureFileError, match="train has no image of b: nothing could learn it"):
        fit(replace(features, splits=lost))
    for options, message in (
        ({"clf": "forest"}, "unknown clf 'forest'"),
        ({"C": -1.0}, "it must be a positive number"),
        ({"scale": "minmax"}, "unknown scale"),
    ):
        with pytest.raises(ModelError, match=message):
            fit(features, **options)


def test_a_named_model_is_not_replaced_by_another(features, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    fit(features, C=0.1, output=path)
    fit(features, C=0.1, output=path)
    monkeypatch.setattr("featx.heads.fit.train_head", None)  # refused before the work
    with pytest.raises(OutputExistsError, match=r"C: \[0.1\] → \[0.2\]"):
        fit(features, C=0.2, output=path)
    monkeypatch.undo()
    fit(features, C=0.2, output=path, overwrite=True)
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="not a model file"):
        fit(features, C=0.2, output=path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("clf", TRAINABLE)
def test_two_classes_and_no_val_for_every_head(provenance, clf):
    features = make_features(provenance, classes=("no", "yes"), splits=(8, 0))
    model = fit(features, clf, epochs=60)
    found = load_head(model).predict_proba(features.X)
    assert found.shape == (24, 2)
    assert model.outcome.scores["train"].accuracy > 0.7
    by = {"linear": "the last epoch", "ridge": "leave-one-out of train"}
    assert model.outcome.details["chosen_by"] == by.get(clf, "folds of train")


@pytest.mark.parametrize("clf", TRAINABLE)
def test_one_image_per_class_for_every_head(provenance, clf):
    features = make_features(provenance, splits=(1, 0))
    assert np.isfinite(fit(features, clf).outcome.probabilities["test"]).all()


def test_refitting_learns_from_val_too(features):
    X, y = (
        np.concatenate(p) for p in zip(*(features.split(s) for s in ("train", "val")), strict=True)
    )
    for clf in TRAINABLE:
        plain, again = fit(features, clf, refit=False), fit(features, clf)
        if clf == "linear":
            assert again.arrays["coef"].shape == plain.arrays["coef"].shape
            continue
        assert again.outcome.details["chosen"]["value"] == plain.outcome.details["chosen"]["value"]
        assert again.outcome.scores["val"] == plain.outcome.scores["val"]  # while it was held out
        assert any(
            a.shape != b.shape or not np.allclose(a, b)
            for a, b in zip(plain.arrays.values(), again.arrays.values(), strict=True)
        )
    knn = fit(features, "knn").arrays
    assert np.allclose(knn["X"], X)
    assert np.array_equal(knn["y"], y)


def test_vals_figure_is_out_of_fold(features):
    model = fit(features, "logreg", C=0.03)
    X, y = (
        np.concatenate(p) for p in zip(*(features.split(s) for s in ("train", "val")), strict=True)
    )
    plain = LogisticRegression(C=0.03, tol=1e-8, max_iter=9999)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = cross_val_predict(plain, X, y, cv=folds, method="predict_proba")[18:]
    assert np.allclose(model.outcome.probabilities["val"], expected, atol=2e-3)
    kept = fit(features, "logreg", C=0.03, refit=False, choose_on="val").outcome
    before = fit(features, "logreg", C=0.03, choose_on="val").outcome
    assert np.allclose(before.probabilities["val"], kept.probabilities["val"], atol=2e-3)
    assert (before.details["val"], kept.details["val"]) == (
        "held out, before refitting",
        "held out",
    )


def test_auto_chooses_the_scaling_with_the_lowest_loss(features):
    # A column as large as all others together, which means nothing.
    loud = replace(features, X=features.X.copy())
    loud.X[:, 0] = np.random.default_rng(3).normal(0, 1e4, len(loud.X))
    for clf in ("centroid", "logreg", "linear"):
        found = fit(loud, clf, scale="auto", epochs=3)
        scale = found.outcome.details["scale"]
        assert scale == "standard" if clf != "linear" else scale != "none"
        assert found.recipe["scales"] == ["none", "standard", "l2", "center-l2"]
        alone = fit(loud, clf, scale=scale, epochs=3)
        assert all(np.array_equal(found.arrays[n], alone.arrays[n]) for n in alone.arrays)


NO_FOLDS = (
    "default: a class has one image, or all or each class are one group, so there are no folds"
)


def test_fewer_images_than_folds(provenance):
    features = make_features(provenance, splits=(2, 1))
    told = fit(features, "logreg").outcome.details["chosen_by"]
    assert told == "folds of train and val, 3 since a class has no more images, then refitted"
    rare = np.flatnonzero((features.targets == 0) & (features.splits != "test"))[1:]
    features.splits[rare] = ""
    told = fit(features, "logreg").outcome.details["chosen_by"]
    assert told == "val, since a class has one image, which leaves no folds, then refitted"


def test_one_group_leaves_no_folds(provenance):
    features = make_features(provenance)
    home = replace(features, groups=np.where(features.splits == "test", features.paths, "home"))
    told = fit(home, "knn").outcome.details["chosen_by"]
    assert told == "val, since all images are one group, which leaves no folds, then refitted"
    alone = replace(home, splits=np.where(home.splits == "val", "", home.splits))
    told = fit(alone, "knn").outcome.details["chosen_by"]
    assert told == NO_FOLDS


@pytest.mark.parametrize("clf", ["logreg", "linear", "svm", "ridge", "knn", "centroid"])
def test_groups_that_are_the_classes_leave_no_folds(provenance, clf):
    features = make_features(provenance)
    apart = replace(features, groups=np.array(features.classes)[features.targets])
    found = fit(apart, clf, epochs=1).outcome
    told = found.details["chosen_by"]
    assert told == ("val" if clf == "linear" else f"{NO_FOLDS}, then refitted")
    assert found.scores["train"].total == (features.splits == "train").sum()


def test_class_weights_move_those_that_know_them(provenance):
    features = make_features(provenance)
    rare = np.flatnonzero((features.targets == 0) & (features.splits == "train"))[2:]
    features.splits[rare] = ""
    for clf in TRAINABLE:
        plain, balanced = (
            fit(features, clf, class_weight=w, C=1e-4, epochs=3) for w in ("none", "balanced")
        )
        same = all(np.array_equal(plain.arrays[n], balanced.arrays[n]) for n in plain.arrays)
        assert same == (not find_kind(clf).weighed)


def test_imagenets_layer_belongs_to_the_features(stored, tiny_weights, provenance, tmp_path):
    features = make_features(provenance, dim=2048)
    ours = replace(
        provenance, weights=tiny_weights.name, weights_sha256=tiny_weights.sha256
    )  # fmt: skip
    model = fit(replace(features, provenance=ours), "imagenet", output=tmp_path / "m.safetensors")
    back = load_head(read_model(tmp_path / "m.safetensors"))
    X, _ = features.split("test")
    assert np.allclose(back.predict_proba(X), model.outcome.probabilities["test"])
    with pytest.raises(ModelError, match="its last layer means nothing for them"):
        fit(features, "imagenet", weights="imagenet1k-v1")


def test_a_damaged_head_is_refused(features, tmp_path):
    for clf, lost in (("knn", "X"), ("logreg", "coef")):
        model = fit(features, clf)
        arrays = {k: v for k, v in model.arrays.items() if k != lost}
        with pytest.raises(ModelError, match=f"is damaged: it lacks '{lost}'"):
            load_head(replace(model, arrays=arrays))
    knn = fit(features, "knn")
    wrong = knn.arrays | {"y": knn.arrays["y"] + 1}
    with pytest.raises(ModelError, match="not for 3 classes"):
        load_head(replace(knn, arrays=wrong))


@pytest.mark.parametrize("clf", TRAINABLE)
@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: np.full_like(X, 0.3),
        lambda X, y: np.zeros_like(X),
        lambda X, y: X[12 * y],  # equal within each class
        lambda X, y: np.where(np.arange(X.shape[1]) == 3, 1.5, X),
        lambda X, y: X * np.logspace(-20, 10, X.shape[1]),
        lambda X, y: X * 1e15,
    ],
    ids=["equal", "zero", "equal in classes", "one column", "scales apart", "huge"],
)
def test_no_library_speaks_of_odd_features(provenance, clf, change):
    """Warnings are errors here."""
    made = make_features(provenance)
    odd = replace(made, X=change(made.X, made.targets).astype(np.float32))
    model = fit(odd, clf, epochs=1)
    assert model.outcome.scores["test"].total == 12


@pytest.mark.parametrize("clf", TRAINABLE)
def test_no_library_speaks_of_many_classes_of_few(provenance, clf):
    classes = tuple(f"{k:03}" for k in range(60))
    made = make_features(provenance, n_per=3, classes=classes, dim=8, splits=(2, 0))
    assert fit(made, clf, epochs=1).classes == classes
